//! A worker: one thread, one current-thread runtime, its share of the connections.
//!
//! # Shape
//!
//! The listener hands a worker accepted sockets: as [`Message`]s, or by [`Worker::take_up`] if the
//! worker is the only one and the listener runs on its thread. Each becomes a task, a conversation,
//! that ends when the client, the sweep or the drain says so.

use std::fmt;
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::Plane;
use super::caller::RequestIds;
use super::conversation;
use super::listener::ClientSlot;
use super::meter::{Signal, Tick};
use super::pool::Pool;
use super::sweep::{SWEEP_INTERVAL, Sweep};
use crate::clock::Clock;
use crate::dial::Dialer;
use crate::directory::{Directory, PoolId};
use crate::logging::Record;
use crate::metrics::{Series, WorkerCounters};

/// How long an idle connection stays open in a drain, so that a request already on its
/// way is still answered.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How long connections have to say that the gateway gave up.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A client has connected.
    Connected(StdStream, Open),
    /// Something was published, after which no connector uses these pools any more.
    Retired(Arc<[PoolId]>),
    /// Say on every connection that no more requests are welcome.
    Drain,
    /// Close what idles; the listener takes nothing new.
    CloseIdle,
    /// Close everything and end.
    Stop,
}

/// One worker, as its own tasks and its siblings see it.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) pool: Pool,
    pub(crate) sweep: Arc<Sweep>,
    pub(crate) tick: Tick,
    /// Told when something was published: what is permitted may have changed.
    pub(super) published: Notify,
    plane: Arc<Plane>,
    /// Weak, or workers would keep each other, and the secrets they can reach, for ever.
    siblings: OnceLock<Box<[Weak<Worker>]>>,
    /// Whether what idles is to be closed.
    closing_idle: AtomicBool,
    stopping: AtomicBool,
    request_ids: RequestIds,
}

/// Its number alone: workers know their siblings and are known by their connections, so showing
/// what they hold would never end.
impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(index: usize, plane: Arc<Plane>) -> Self {
        let request_ids = RequestIds::new(&plane.clock);
        Self {
            index,
            pool: Pool::default(),
            sweep: Arc::new(Sweep::default()),
            tick: Tick::default(),
            published: Notify::new(),
            plane,
            siblings: OnceLock::new(),
            closing_idle: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            request_ids,
        }
    }

    /// Makes the workers known to each other.
    pub(crate) fn introduce(workers: &Arc<[Arc<Self>]>) {
        for worker in workers.iter() {
            worker
                .siblings
                .get_or_init(|| workers.iter().map(Arc::downgrade).collect());
        }
    }

    /// The other workers.
    pub(crate) fn siblings(&self) -> impl Iterator<Item = Arc<Self>> {
        let all = self.siblings.get().into_iter().flatten();
        all.filter_map(Weak::upgrade)
            .filter(|other| other.index != self.index)
    }

    pub(crate) fn plane(&self) -> &Plane {
        &self.plane
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.plane.clock
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.plane.dialer
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.plane.directory
    }

    pub(crate) fn counters(&self) -> &WorkerCounters {
        self.plane.metrics.worker(self.index)
    }

    pub(crate) fn unknown_series(&self) -> Arc<Series> {
        Arc::clone(&self.plane.unknown)
    }

    /// Writes a request down, without waiting for whoever reads the log.
    pub(crate) fn write_record(&self, record: Record) {
        self.plane.access_log.write(record, self.counters());
    }

    /// An ID for a request that arrived at the time `now`.
    pub(crate) fn next_request_id(&self, now: Duration) -> HeaderValue {
        self.request_ids.next(now)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Serves until told to stop, then until the last connection has ended or `stop` said so.
    pub(crate) async fn run(self: Arc<Self>, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = sweep.tick() => {
                    self.look_around();
                    continue;
                }
            };
            match message {
                Some(Message::Connected(socket, open)) => {
                    // One that cannot even be set up is its client's loss alone.
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        self.take_up(socket, open);
                    }
                }
                Some(Message::Retired(pools)) => {
                    self.pool.retire(&pools);
                    self.published.notify_waiters();
                }
                Some(Message::Drain) => self.sweep.signal_clients(Signal::Drain),
                Some(Message::CloseIdle) => {
                    self.closing_idle.store(true, Ordering::Release);
                    self.sweep.await_silent_clients_anew();
                }
                Some(Message::Stop) | None => break,
            }
        }
        self.stopping.store(true, Ordering::Release);
        self.sweep.signal_clients(Signal::Stop);
        // Their tasks have a last word to say before the runtime drops them.
        drop(tokio::time::timeout(LAST_WORDS, self.sweep.emptied()).await);
        self.pool.clear();
    }

    /// Converses with a new client, on the thread of this worker.
    pub(crate) fn take_up(self: &Arc<Self>, socket: TcpStream, open: Open) {
        // Whom nobody would tell any more that the gateway stops is not listened to.
        if self.is_stopping() {
            return;
        }
        tokio::spawn(conversation::converse(self, socket, open));
    }

    fn look_around(&self) {
        let now = self.clock().monotonic();
        self.tick.set(now);
        self.request_ids.date(self.clock());
        self.sweep.run();
        if self.closing_idle.load(Ordering::Acquire) {
            self.sweep.close_idle_clients(DRAIN_GRACE);
        }
        self.pool.sweep(now);
    }
}

/// Counts a client connection with its worker as long as it is open, and a panic that ended it.
#[derive(Debug)]
pub(crate) struct Open {
    worker: Arc<Worker>,
    _slot: ClientSlot,
}

impl Open {
    pub(crate) fn new(worker: &Arc<Worker>, slot: ClientSlot) -> Self {
        worker.counters().connection_opened();
        Self {
            worker: Arc::clone(worker),
            _slot: slot,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.counters().connection_closed();
        if std::thread::panicking() {
            self.worker.counters().panicked();
        }
    }
}
