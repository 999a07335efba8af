//! Closes connections whose time is up.
//!
//! # Invariants
//!
//! No connection waits without a limit: the sweep looks at every [`Meter`] of a worker at least
//! once a [`SWEEP_INTERVAL`], so a limit is overrun by no more than that.
//!
//! A connection that is in use is never asked to rest: only one on which nothing was asked for
//! [`REST_AFTER`](super::meter::REST_AFTER).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::meter::{Meter, Patience, Signal};

/// How often a worker looks at its connections.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// How many connections begin to rest in one look, so that it is no burst of work. The allocator
/// gives freed memory back to the system when more is freed a second later.
const REST_AT_ONCE_MAX: usize = 512;

/// A worker's connections, as the sweep sees them.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    watched: Mutex<slab::Slab<Watched>>,
    /// Told when a connection is gone.
    left: Notify,
}

#[derive(Debug)]
struct Watched {
    meter: Arc<Meter>,
    patience: Patience,
    side: Side,
}

/// Which side of the gateway a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Towards flows.
    Client,
    /// Towards origins.
    Upstream,
}

/// Keeps a connection in the sweep until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    sweep: Arc<Sweep>,
    key: usize,
}

impl Sweep {
    pub(crate) fn watch(
        self: &Arc<Self>,
        meter: &Arc<Meter>,
        patience: Patience,
        side: Side,
    ) -> Registration {
        let watched = Watched {
            meter: Arc::clone(meter),
            patience,
            side,
        };
        let key = self.lock().insert(watched);
        Registration {
            sweep: Arc::clone(self),
            key,
        }
    }

    /// Closes every connection whose time is up, and lets those rest that nobody uses.
    pub(crate) fn run(&self) {
        let mut resting = 0;
        for (_, watched) in self.lock().iter() {
            if watched.meter.is_overdue(&watched.patience) {
                watched.meter.signal(Signal::Close);
            } else if resting < REST_AT_ONCE_MAX && watched.meter.is_due_to_rest() {
                watched.meter.signal(Signal::Rest);
                resting += 1;
            }
        }
    }

    /// Asks every client connection for `signal`.
    pub(crate) fn signal_clients(&self, signal: Signal) {
        for (_, watched) in self.lock().iter() {
            if watched.side == Side::Client {
                watched.meter.signal(signal);
            }
        }
    }

    /// Gives client connections that have not spoken yet their time once more: a request may be on
    /// its way on any of them.
    pub(crate) fn await_silent_clients_anew(&self) {
        for (_, watched) in self.lock().iter() {
            if watched.side == Side::Client {
                watched.meter.await_anew_if_silent();
            }
        }
    }

    /// Closes client connections on which nothing was asked for `grace`.
    pub(crate) fn close_idle_clients(&self, grace: Duration) {
        for (_, watched) in self.lock().iter() {
            if watched.side == Side::Client && watched.meter.is_idle_for(grace) {
                watched.meter.signal(Signal::Close);
            }
        }
    }

    /// Returns once no client connection is left.
    pub(crate) async fn emptied(&self) {
        let has_clients = || self.lock().iter().any(|(_, it)| it.side == Side::Client);
        while has_clients() {
            self.left.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, slab::Slab<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sweep.lock().try_remove(self.key);
        self.sweep.left.notify_one();
    }
}
