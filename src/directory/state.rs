//! What belongs to a connector for as long as its ID lives, whatever is edited or reloaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use crate::metrics::Series;

/// A connector's limits in use and its counters. A reload resets nothing of it.
#[derive(Debug)]
pub struct ConnectorState {
    /// Where its figures are counted.
    pub series: Arc<Series>,
    connections: CachePadded<AtomicU32>,
    waiting: AtomicU32,
    freed: Notify,
}

/// The right to one open connection, held by the connection's task as long as it lives.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<ConnectorState>);

impl ConnectorState {
    /// The state of a connector that is new, counted in `series`.
    pub fn new(series: Arc<Series>) -> Self {
        Self {
            series,
            connections: CachePadded::new(AtomicU32::new(0)),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
        }
    }

    /// Takes one of `connections_max` connections, if one is left.
    pub fn try_connect(self: &Arc<Self>, connections_max: u32) -> Option<ConnectionPermit> {
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| {
                (open < connections_max).then_some(open + 1)
            })
            .ok()
            .map(|_| ConnectionPermit(Arc::clone(self)))
    }

    /// Connections open now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }

    /// Returns once [`ConnectorState::tell_freed`] was called after `look` found nothing.
    ///
    /// `look` runs again each time something was freed, so that nothing freed between look and
    /// wait is missed.
    pub async fn wait_until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(found) = look() {
                // This waiter may have taken a notice that another one needs.
                self.tell_freed();
                return found;
            }
            freed.await;
        }
    }

    /// Tells one waiter that a connection came free or may be opened.
    ///
    /// Whoever frees writes first and then looks for waiters; a waiter counts itself first and then
    /// looks for what is free. Sequential consistency is what keeps both from missing the other.
    pub fn tell_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.tell_freed();
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
