//! The acceptor: hands each new connection to the worker with the least to do.
//!
//! Among several workers it is a thread of its own. A worker that is the only one accepts itself:
//! there is nothing to choose, and handing over costs two threads a wake-up each.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};

use super::worker::{Message, Open, Worker};
use crate::directory::Directory;
use socket2::SockRef;

/// How long accepting pauses when the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the listeners take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake {
    /// Every connection.
    All,
    /// What the system has taken already, and then nothing.
    Queued,
    /// Nothing.
    Nothing,
}

/// The client connections that are open, and the listeners that may bring others.
#[derive(Debug, Default)]
pub(crate) struct ClientSlots {
    open: AtomicUsize,
    listening: AtomicUsize,
    freed: Notify,
    empty: (Mutex<()>, Condvar),
}

/// One open client connection.
#[derive(Debug)]
pub(crate) struct ClientSlot(Arc<ClientSlots>);

/// A listener that takes connections.
#[derive(Debug)]
pub(crate) struct Listening(Arc<ClientSlots>);

impl ClientSlots {
    /// Counts a listener until it is done.
    pub(crate) fn listening(self: &Arc<Self>) -> Listening {
        self.listening.fetch_add(1, Ordering::AcqRel);
        Listening(Arc::clone(self))
    }

    /// Waits until fewer than `directory`'s limit are open, then takes one. While none is left,
    /// new connections wait in the system's queue.
    async fn take(self: &Arc<Self>, directory: &Directory) -> ClientSlot {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(slot) = self.try_take(directory) {
                return slot;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>, directory: &Directory) -> Option<ClientSlot> {
        let connections_max = directory.current().settings.limits.connections_max;
        if self.open.load(Ordering::Acquire) >= connections_max {
            return None;
        }
        self.open.fetch_add(1, Ordering::AcqRel);
        Some(ClientSlot(Arc::clone(self)))
    }

    /// Blocks until no connection is open and no listener brings another, or `limit` has passed.
    pub(crate) fn wait_empty(&self, limit: Duration) {
        let (lock, emptied) = &self.empty;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |(): &mut ()| {
            self.listening.load(Ordering::Acquire) > 0 || self.open.load(Ordering::Acquire) > 0
        };
        drop(emptied.wait_timeout_while(guard, limit, busy));
    }

    fn tell_empty(&self) {
        let (lock, emptied) = &self.empty;
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        emptied.notify_all();
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.tell_empty();
        }
        self.0.freed.notify_waiters();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::AcqRel);
        self.0.tell_empty();
    }
}

/// A worker's mailbox, with what is needed to choose among several.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) worker: Arc<Worker>,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
}

/// Who takes up what is accepted.
#[derive(Clone, Debug)]
pub(crate) enum Takers {
    /// The only worker, on its own thread.
    Alone(Arc<Worker>),
    /// The worker with the least to do.
    Several(Arc<[Mailbox]>),
}

/// Accepts on `listener` what `intake` says.
pub(crate) async fn accept(
    listener: StdListener,
    listening: Listening,
    directory: Arc<Directory>,
    takers: Takers,
    mut intake: watch::Receiver<Intake>,
) -> io::Result<()> {
    let Listening(slots) = &listening;
    // Linux gives what is accepted the options of the listener.
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    let listener = TcpListener::from_std(listener)?;
    while let Some(slot) = place(slots, &directory, &mut intake).await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = intake.wait_for(|intake| *intake != Intake::All) => break,
        };
        hand_over(accepted.map(|(socket, _)| socket), slot, &takers).await;
    }
    // Closing the listener would reset connections that the system has taken already. The socket
    // itself is asked for them: what the runtime knows of it is a moment old.
    let listener = listener.into_std()?;
    while *intake.borrow() == Intake::Queued {
        let accepted = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            accepted => accepted,
        };
        let accepted = accepted.and_then(|(socket, _)| {
            socket.set_nonblocking(true)?;
            TcpStream::from_std(socket)
        });
        let slot = tokio::select! {
            slot = slots.take(&directory) => slot,
            _ = intake.wait_for(|intake| *intake == Intake::Nothing) => break,
        };
        hand_over(accepted, slot, &takers).await;
    }
    Ok(())
}

/// A place for one more connection; `None` once no more are taken as they come.
async fn place(
    slots: &Arc<ClientSlots>,
    directory: &Directory,
    intake: &mut watch::Receiver<Intake>,
) -> Option<ClientSlot> {
    if *intake.borrow() != Intake::All {
        return None;
    }
    if let Some(slot) = slots.try_take(directory) {
        return Some(slot);
    }
    tokio::select! {
        slot = slots.take(directory) => Some(slot),
        _ = intake.wait_for(|intake| *intake != Intake::All) => None,
    }
}

async fn hand_over(accepted: io::Result<TcpStream>, slot: ClientSlot, takers: &Takers) {
    let socket = match accepted {
        Ok(socket) => socket,
        Err(error) if is_the_clients(&error) => return,
        Err(error) => {
            tracing::error!(%error, "no connection can be accepted");
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            return;
        }
    };
    // Elsewhere than on Linux the listener's option may not be the connection's.
    if !cfg!(target_os = "linux") && socket.set_nodelay(true).is_err() {
        return;
    }
    let mailboxes = match takers {
        Takers::Alone(worker) => {
            expect_silence(&socket);
            return worker.take_up(socket, Open::new(worker, slot));
        }
        Takers::Several(mailboxes) => mailboxes,
    };
    // One that this runtime cannot let go of is its client's loss alone.
    let Ok(socket) = socket.into_std() else {
        return;
    };
    let idlest = mailboxes
        .iter()
        .min_by_key(|mailbox| mailbox.worker.counters().load());
    if let Some(idlest) = idlest {
        // Counted before it is handed over: the next one must not go to the same worker only
        // because that has not looked into its mailbox yet.
        let open = Open::new(&idlest.worker, slot);
        // A worker that takes no more messages is stopping, and the process with it.
        drop(idlest.messages.send(Message::Connected(socket, open)));
    }
}

/// Has the runtime forget that it takes an accepted socket for readable: a client that is silent
/// would pass for one that has spoken. What has come by now is told when the runtime next asks the
/// system, which it cannot have done since: it runs on this thread.
fn expect_silence(socket: &TcpStream) {
    let nothing = || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
    // It fails by intent.
    drop(socket.try_io(Interest::READABLE, nothing));
}

/// Whether a failed accept concerns one client only.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::dial::{AddressPolicy, Dialer, Lookup, Resolver};
    use crate::directory::{Settings, Snapshot};
    use crate::doorkeeper::Doorkeeper;
    use crate::logging::AccessLog;
    use crate::metrics::{Listener, Metrics};
    use crate::proxy::Plane;
    use crate::proxy::admit::InFlight;
    use crate::proxy::rewrite::Via;

    fn plane(workers: usize) -> Arc<Plane> {
        let config = Config::parse("connectors: []", "/".as_ref()).unwrap();
        let clock = Clock::system();
        let names = Lookup::Table(Arc::default());
        let metrics = Metrics::new(workers, 1);
        let runtime = tokio::runtime::Handle::current();
        let resolver = Resolver::new(names, clock.clone(), runtime, metrics.lookups());
        Arc::new(Plane {
            doorkeeper: Doorkeeper::new(Listener::Flows, metrics.doors(), clock.clone()),
            directory: Arc::new(Directory::new(Snapshot {
                settings: Arc::new(Settings {
                    limits: config.limits,
                    timeouts: config.timeouts,
                    hosts: config.hosts,
                    inbound: config.inbound,
                    tls: None,
                    policy: AddressPolicy::default(),
                    access: config.logs.access,
                }),
                entries: imbl::HashMap::new(),
            })),
            dialer: Dialer::new(resolver),
            clock,
            unknown: metrics.unknown(),
            metrics,
            access_log: AccessLog::none(),
            via: Via::new("1a2b"),
            in_flight: InFlight::default(),
            draining: std::sync::atomic::AtomicBool::new(false),
        })
    }

    #[tokio::test]
    async fn connections_that_come_at_once_are_spread_though_no_worker_has_looked_yet() {
        let plane = plane(4);
        let (mailboxes, mut inboxes): (Vec<_>, Vec<_>) = (0..4)
            .map(|index| {
                let worker = Arc::new(Worker::new(index, Arc::clone(&plane)));
                let (messages, inbox) = mpsc::unbounded_channel();
                (Mailbox { worker, messages }, inbox)
            })
            .unzip();
        let takers = Takers::Several(mailboxes.into());
        let slots = Arc::new(ClientSlots::default());
        let listener = StdListener::bind("127.0.0.1:0").unwrap();

        for _ in 0..8 {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).await;
            let slot = slots.take(&plane.directory).await;
            hand_over(socket, slot, &takers).await;
        }

        assert_eq!(plane.metrics.worker(0).client_connections(), 2);
        for inbox in &mut inboxes {
            let handed = std::iter::from_fn(|| inbox.try_recv().ok());
            assert_eq!(handed.count(), 2);
        }
        // What no worker took up is not counted on.
        assert_eq!(plane.metrics.worker(0).client_connections(), 0);
        assert_eq!(slots.open.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn a_client_that_is_silent_is_not_taken_to_have_spoken_and_one_that_speaks_is_heard() {
        use tokio::io::AsyncWriteExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (socket, _) = listener.accept().await.unwrap();

        expect_silence(&socket);

        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(socket.poll_read_ready(&mut cx).is_pending());
        client.write_all(b"G").await.unwrap();
        socket.readable().await.unwrap();
    }
}
