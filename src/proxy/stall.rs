//! Pauses within bodies: those of whoever sends, and those of an HTTP/2 client that takes nothing.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::meter::Meter;

/// A limit on the pauses within a body. Its timer is made only when a pause happens.
#[derive(Debug)]
pub(crate) struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whether the timer was set for the present pause.
    waiting: bool,
}

impl Stall {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            waiting: false,
        }
    }

    /// Something moved: the pause is over.
    pub(crate) fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing moved: ready once the pause has lasted for the limit.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over_within(self.limit, cx)
    }

    /// As [`Stall::poll_over`], with another limit for a pause that begins now.
    pub(crate) fn poll_over_within(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.timer {
            Some(timer) if self.waiting => timer,
            Some(timer) => {
                timer.as_mut().set(tokio::time::sleep(limit));
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep(limit))),
        };
        self.waiting = true;
        timer.as_mut().poll(cx)
    }
}

/// An answer on an HTTP/2 stream. Its client may close the stream's window while the connection
/// itself moves on (RFC 9113 §5.2), which the socket does not show.
#[derive(Debug)]
pub(crate) struct Taking {
    meter: Arc<Meter>,
    key: usize,
    since_ms: Arc<AtomicU64>,
}

impl Taking {
    pub(crate) fn new(meter: &Arc<Meter>) -> Self {
        let since_ms = Arc::new(AtomicU64::new(0));
        let streams = meter.untaken_since_ms.lock();
        let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
        Self {
            key: streams.insert(Arc::clone(&since_ms)),
            meter: Arc::clone(meter),
            since_ms,
        }
    }

    /// Bytes were handed over for the client to take.
    pub(crate) fn offered(&self) {
        let now_ms = self.meter.tick.now_ms().max(1);
        self.since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// More is wanted, so the client took what it had.
    pub(crate) fn taken(&self) {
        self.since_ms.store(0, Ordering::Relaxed);
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let streams = self.meter.untaken_since_ms.lock();
        let mut streams = streams.unwrap_or_else(PoisonError::into_inner);
        streams.try_remove(self.key);
    }
}
