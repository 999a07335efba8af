//! The acceptor: one thread that hands each new connection to the worker with the least to do.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};

use super::worker::{Message, Worker};
use crate::directory::Directory;

/// How long accepting pauses when the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The client connections that are open.
#[derive(Debug, Default)]
pub(crate) struct ClientSlots {
    open: AtomicUsize,
    freed: Notify,
    empty: (Mutex<()>, Condvar),
}

/// One open client connection.
#[derive(Debug)]
pub(crate) struct ClientSlot(Arc<ClientSlots>);

impl ClientSlots {
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

    /// Blocks until no connection is open, or `limit` has passed.
    pub(crate) fn wait_empty(&self, limit: Duration) {
        let (lock, emptied) = &self.empty;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |(): &mut ()| self.open.load(Ordering::Acquire) > 0;
        drop(emptied.wait_timeout_while(guard, limit, busy));
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _guard = self
                .0
                .empty
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.0.empty.1.notify_all();
        }
        self.0.freed.notify_waiters();
    }
}

/// A worker's mailbox, with what is needed to choose among several.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) worker: Arc<Worker>,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
}

/// Accepts on `listener` until `stop` says so, and then what is still in the system's queue.
pub(crate) async fn accept(
    listener: StdListener,
    slots: Arc<ClientSlots>,
    directory: Arc<Directory>,
    workers: Arc<[Mailbox]>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let slot = tokio::select! {
            slot = slots.take(&directory) => slot,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        tokio::select! {
            accepted = listener.accept() => hand_over(accepted, slot, &workers).await,
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // Closing the listener would reset connections that the system has taken already.
    while let Some(accepted) = futures_util::FutureExt::now_or_never(listener.accept()) {
        let slot = slots.take(&directory).await;
        hand_over(accepted, slot, &workers).await;
    }
    Ok(())
}

async fn hand_over(
    accepted: io::Result<(TcpStream, std::net::SocketAddr)>,
    slot: ClientSlot,
    workers: &[Mailbox],
) {
    let socket = match accepted.and_then(|(socket, _)| socket.into_std()) {
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
        // A worker that takes no more messages is stopping, and the process with it.
        drop(idlest.messages.send(Message::Connected(socket, slot)));
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
