//! A time limit that is set anew for each request on a connection.
//!
//! A timer of tokio's own for each request is put into a list and taken out again, under a lock.
//! One that stays and is only ever set to a later time is neither: tokio looks at what it says by
//! then when its old time has come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::clock;

/// A timer that stays with its connection.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// One that goes off at once, if nobody sets it.
    pub(super) fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    /// Has it go off after `limit`.
    pub(super) fn set(&mut self, limit: Duration) {
        self.0.as_mut().reset(clock::in_real_time(limit));
    }

    /// Ready once it has gone off.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
