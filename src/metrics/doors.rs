//! What is counted of connections that ended before HTTP was spoken on them, by a PROXY protocol
//! header or a TLS handshake. They are few, so both planes count in one place.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Where flows connect.
    Flows,
    /// Where administrators connect.
    Admin,
}

/// Why one was closed that was to begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancerRefusal {
    /// It came from nowhere that headers are believed from.
    Stranger,
    /// It began with none of version 2.
    Missing,
    /// It began with one that is wrong.
    Malformed,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeRefusal {
    /// The client's certificate was not believed.
    Certificate,
    /// The client did not speak TLS as we do, or did not believe us.
    Protocol,
    /// It took too long.
    Timeout,
}

/// The names of [`Listener`], in its order.
const LISTENERS: [&str; 2] = ["flows", "admin"];
/// The names of [`BalancerRefusal`], in its order.
const BALANCER_REFUSALS: [&str; 3] = ["stranger", "missing", "malformed"];

/// The names of [`HandshakeRefusal`], in its order.
const HANDSHAKE_REFUSALS: [&str; 3] = ["certificate", "protocol", "timeout"];

/// By listener and reason.
type Counts<const REASONS: usize> = [[AtomicU64; REASONS]; LISTENERS.len()];

/// Counts connections that were closed at the door.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    headers: Counts<{ BALANCER_REFUSALS.len() }>,
    handshakes: Counts<{ HANDSHAKE_REFUSALS.len() }>,
}

impl Listener {
    /// Its name, as a label and in the log.
    pub fn name(self) -> &'static str {
        LISTENERS[self as usize]
    }
}

impl HandshakeRefusal {
    /// Its name, as a label and in the log.
    pub fn name(self) -> &'static str {
        HANDSHAKE_REFUSALS[self as usize]
    }
}

impl DoorMetrics {
    /// Counts one whose header was not accepted.
    pub fn refused(&self, listener: Listener, reason: BalancerRefusal) {
        self.headers[listener as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one whose handshake failed.
    pub fn handshake_refused(&self, listener: Listener, reason: HandshakeRefusal) {
        self.handshakes[listener as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives every count of headers with its labels.
    pub(super) fn headers(&self, row: impl FnMut(&str, &str, u64)) {
        read(&self.headers, BALANCER_REFUSALS, row);
    }

    /// Gives every count of handshakes with its labels.
    pub(super) fn handshakes(&self, row: impl FnMut(&str, &str, u64)) {
        read(&self.handshakes, HANDSHAKE_REFUSALS, row);
    }
}

fn read<const REASONS: usize>(
    counts: &Counts<REASONS>,
    reasons: [&str; REASONS],
    mut row: impl FnMut(&str, &str, u64),
) {
    for (listener, counts) in LISTENERS.iter().zip(counts) {
        for (reason, count) in reasons.iter().zip(counts) {
            row(listener, reason, count.load(Ordering::Relaxed));
        }
    }
}
