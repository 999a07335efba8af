//! What is counted of connections that were to begin with a PROXY protocol header. Those that are
//! closed for it are few, so both planes count in one place.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Where flows connect.
    Flows,
    /// Where administrators connect.
    Admin,
}

/// Why one was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerRefusal {
    /// It came from nowhere that headers are believed from.
    Stranger,
    /// It began with none of version 2.
    Missing,
    /// It began with one that is wrong.
    Malformed,
}

/// The names of [`Listener`], in its order.
pub(super) const LISTENERS: [&str; 2] = ["flows", "admin"];
/// The names of [`BalancerRefusal`], in its order.
pub(super) const BALANCER_REFUSALS: [&str; 3] = ["stranger", "missing", "malformed"];

type Counts = [[AtomicU64; BALANCER_REFUSALS.len()]; LISTENERS.len()];

/// Counts connections that were closed for their header.
#[derive(Debug, Default)]
pub struct ProxyProtocolMetrics {
    counts: Counts,
}

impl Listener {
    /// Its name, as a label and in the log.
    pub fn name(self) -> &'static str {
        LISTENERS[self as usize]
    }
}

impl ProxyProtocolMetrics {
    /// Counts one.
    pub fn refused(&self, listener: Listener, reason: BalancerRefusal) {
        self.counts[listener as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives every count with its labels.
    pub(super) fn read(&self, mut row: impl FnMut(&str, &str, u64)) {
        for (listener, counts) in LISTENERS.iter().zip(&self.counts) {
            for (reason, count) in BALANCER_REFUSALS.iter().zip(counts) {
                row(listener, reason, count.load(Ordering::Relaxed));
            }
        }
    }
}
