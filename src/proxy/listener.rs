//! The acceptor: one thread that hands each new connection to the worker with the least to do.

use std::io;
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

use super::worker::{Message, Open, Worker};
use crate::directory::Directory;

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
            let connections_max = directory.current().settings.limits.connections_max;
            if self.open.load(Ordering::Acquire) < connections_max {
                self.open.fetch_add(1, Ordering::AcqRel);
                return ClientSlot(Arc::clone(self));
            }
            freed.await;
        }
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

/// Accepts on `listener` what `intake` says.
pub(crate) async fn accept(
    listener: StdListener,
    listening: Listening,
    directory: Arc<Directory>,
    workers: Arc<[Mailbox]>,
    mut intake: watch::Receiver<Intake>,
) -> io::Result<()> {
    let Listening(slots) = &listening;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let slot = tokio::select! {
            slot = slots.take(&directory) => slot,
            _ = intake.wait_for(|intake| *intake != Intake::All) => break,
        };
        tokio::select! {
            accepted = listener.accept() => {
                let socket = accepted.and_then(|(socket, _)| socket.into_std());
                hand_over(socket, slot, &workers).await;
            }
            _ = intake.wait_for(|intake| *intake != Intake::All) => break,
        }
    }
    // Closing the listener would reset connections that the system has taken already. The socket
    // itself is asked for them: what the runtime knows of it is a moment old.
    let listener = listener.into_std()?;
    while *intake.borrow() == Intake::Queued {
        let accepted = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            accepted => accepted,
        };
        let socket = accepted.and_then(|(socket, _)| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        tokio::select! {
            slot = slots.take(&directory) => hand_over(socket, slot, &workers).await,
            _ = intake.wait_for(|intake| *intake == Intake::Nothing) => break,
        }
    }
    Ok(())
}

async fn hand_over(accepted: io::Result<StdStream>, slot: ClientSlot, workers: &[Mailbox]) {
    let socket = match accepted {
        Ok(socket) => socket,
        Err(error) if is_the_clients(&error) => return,
        Err(error) => {
            tracing::error!(%error, "no connection can be accepted");
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            return;
        }
    };
    let idlest = workers
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
    use crate::logging::AccessLog;
    use crate::metrics::Metrics;
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
            directory: Arc::new(Directory::new(Snapshot {
                settings: Arc::new(Settings {
                    limits: config.limits,
                    timeouts: config.timeouts,
                    hosts: config.hosts,
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
        let slots = Arc::new(ClientSlots::default());
        let listener = StdListener::bind("127.0.0.1:0").unwrap();

        for _ in 0..8 {
            let socket = StdStream::connect(listener.local_addr().unwrap());
            let slot = slots.take(&plane.directory).await;
            hand_over(socket, slot, &mailboxes).await;
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
}
