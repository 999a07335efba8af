//! What a slot does and remembers beside its token: the fetch under way, failures, rejections, the
//! timer.
//!
//! # Invariants
//!
//! A flow waits for a fetch only while nothing is known against it. While token requests fail, it
//! is turned away at once, be it between two attempts or during one that nobody asked for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::error::TokenError;
use super::failure::Memory;
use super::minute::Minute;
use super::source::Unobtained;
use super::token::{Moment, Token};
use crate::metrics::CacheOutcome;

/// What a flow is told that asks while an attempt is under way.
const ATTEMPT_TAKES: Duration = Duration::from_secs(1);

/// What is done and remembered beside the token. The lock around it is held for look-ups only,
/// never across an await.
pub(super) struct Work {
    pub(super) flight: Option<Flight>,
    pub(super) memory: Memory,
    pub(super) rejections: Minute,
    /// Until when what origins say of tokens is not believed, on the monotonic clock.
    pub(super) vain_until: Duration,
    /// Looks at the slot when its time has come.
    pub(super) timer: Option<AbortHandle>,
    /// Nothing is fetched ahead any more.
    pub(super) retired: bool,
    /// The connector is gone: a token that still comes is ended at its server.
    pub(super) revoked: bool,
}

/// What a fetch came to, shared among those who waited for it.
pub(super) type Landed = Result<Arc<Token>, Turned>;

/// Why a flow gets no token, and when it may ask again.
#[derive(Clone, Debug)]
pub(super) struct Turned {
    pub(super) reason: Arc<TokenError>,
    pub(super) retry_after: Duration,
}

/// A fetch under way.
#[derive(Clone)]
pub(super) struct Flight {
    /// Holds `None` until the fetch lands.
    pub(super) landing: watch::Receiver<Option<Landed>>,
    pub(super) asked_by: AskedBy,
}

/// Who set a fetch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedBy {
    /// A flow that waits for it.
    Flow,
    /// A renewal, another attempt after a failure, or a connector that is to be warm.
    Nobody,
}

impl Work {
    /// Nothing yet; of failures and rejections `per_minute_max` each may come in a minute.
    pub(super) fn new(per_minute_max: u32) -> Self {
        Self {
            flight: None,
            memory: Memory::new(per_minute_max),
            rejections: Minute::new(per_minute_max),
            vain_until: Duration::ZERO,
            timer: None,
            retired: false,
            revoked: false,
        }
    }

    /// The fetch under way. A flight whose task is gone closed its channel.
    pub(super) fn flying(&self) -> Option<&Flight> {
        let flight = self.flight.as_ref();
        flight.filter(|flight| flight.landing.has_changed().is_ok())
    }

    /// Whether a fetch is under way.
    pub(super) fn is_flying(&self) -> bool {
        self.flying().is_some()
    }

    /// Whether a flow that has no token may start a fetch or wait for the one under way.
    pub(super) fn admits(&self, now: Moment) -> Result<(), Turned> {
        match (self.flying(), self.memory.failing()) {
            (Some(_), None) => Ok(()),
            (Some(flight), Some(failing)) => match flight.asked_by {
                AskedBy::Flow => Ok(()),
                // It may fail like the one before, and take its time to.
                AskedBy::Nobody => Err(Turned {
                    reason: Arc::clone(&failing.reason),
                    retry_after: ATTEMPT_TAKES,
                }),
            },
            // The timer is about to try again: a flow that did so itself would have to wait.
            (None, Some(failing)) if self.has_timer() => Err(Turned {
                reason: Arc::clone(&failing.reason),
                retry_after: failing.next_attempt.saturating_sub(now.monotonic()),
            }),
            (None, _) => match self.memory.forbids(now.monotonic()) {
                None => Ok(()),
                Some((reason, until)) => Err(Turned {
                    reason,
                    retry_after: until.saturating_sub(now.monotonic()),
                }),
            },
        }
    }

    /// Whether the slot will be looked at by itself. A timer whose runtime is gone will do nothing.
    fn has_timer(&self) -> bool {
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| !timer.is_finished())
    }

    /// Nothing is planned any more.
    pub(super) fn stop_timer(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
    }
}

impl Turned {
    /// For `reason`, which says nothing of the next attempt.
    pub(super) fn soon(reason: TokenError) -> Self {
        Self {
            reason: Arc::new(reason),
            retry_after: ATTEMPT_TAKES,
        }
    }

    pub(super) fn unobtained(self, cache: CacheOutcome) -> Unobtained {
        Unobtained {
            reason: self.reason,
            retry_after: self.retry_after,
            cache,
        }
    }
}
