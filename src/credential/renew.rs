//! Tokens before they are asked for: renewals, further attempts after a failure, warm connectors.
//!
//! # Invariants
//!
//! A slot has one timer at most, a task that sleeps until there is something to decide and holds
//! the slot weakly; a retired slot has none. Waking decides from what holds then, by both clocks,
//! so a timer too many or too late does no harm.
//!
//! What nobody uses is left alone: a token that was not used within its last lifetime is not
//! renewed, and a failure is not tried again once no flow has asked for [`ASKED_LATELY`]. The next
//! flow is the one to start anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use uuid::Uuid;

use super::slot::TokenSlot;
use super::source::Source;
use super::token::Token;
use super::usage::Attended;
use super::work::Work;

/// How long flows count as asking after the last one did, where there is no token.
const ASKED_LATELY: Duration = Duration::from_secs(60);
/// How many connectors are warmed at once.
const WARMED_AT_ONCE: usize = 32;

impl TokenSlot {
    /// Has the slot looked at when the monotonic clock shows `at`, instead of whatever was planned.
    pub(super) fn look_again_at(self: &Arc<Self>, work: &mut Work, at: Option<Duration>) {
        work.stop_timer();
        self.usage.attended(Attended::Yes);
        let Some(at) = at.filter(|_| !work.retired) else {
            return;
        };
        let (slot, clock) = (Arc::downgrade(self), self.surroundings.clock.clone());
        let timer = self.surroundings.runtime.spawn(async move {
            clock.sleep_until(at).await;
            if let Some(slot) = slot.upgrade() {
                slot.look();
            }
        });
        work.timer = Some(timer.abort_handle());
    }

    /// A flow used a token that is due and that nobody looks after.
    pub(super) fn renew_after_all(self: &Arc<Self>) {
        self.usage.attended(Attended::Yes);
        self.look();
    }

    /// Sets off what is due, plans what is not due yet, or gives up until a flow comes.
    fn look(self: &Arc<Self>) {
        let mut work = self.lock();
        let now = self.now();
        if work.retired || work.is_flying() {
            return;
        }
        let held = self.current.load_full();
        let (fresh, is_due) = match &held {
            Some(token) => (token.is_fresh(now), token.is_due(now)),
            None => (false, false),
        };
        // A failure is due whatever is held: a life may be too short for a renewal, and a clock that
        // is set back gives a spent token its life again.
        let is_failing = work.memory.failing().is_some();
        if !is_due && !is_failing {
            return;
        }
        let lifetime = held.as_deref().map_or(ASKED_LATELY, Token::lifetime);
        let period = match fresh || !is_failing {
            true => lifetime,
            false => ASKED_LATELY,
        };
        if !self.usage.within(period, now) {
            work.stop_timer();
            self.usage.attended(Attended::ByNobody);
            return;
        }
        match work.memory.forbids(now.monotonic()) {
            Some((_, until)) => self.look_again_at(&mut work, Some(until)),
            None => drop(self.start_ahead(&mut work)),
        }
    }

    /// Obtains a token that no flow has asked for yet, and returns once that has ended.
    async fn warm(self: Arc<Self>) {
        let landing = {
            let mut work = self.lock();
            let now = self.now();
            let held = self.current.load_full();
            let is_fresh = held.is_some_and(|token| token.is_fresh(now));
            let forbidden = work.memory.forbids(now.monotonic()).is_some();
            if work.retired || work.is_flying() || is_fresh || forbidden {
                return;
            }
            // Being warmed counts as a use: a failure is tried again, the token renewed once.
            self.usage.note_exactly(now);
            self.start_ahead(&mut work)
        };
        let mut landing = landing;
        drop(self);
        // An end without a result is an end as well.
        let _landed = landing.wait_for(Option::is_some).await;
    }
}

/// Obtains tokens for `sources` before any flow asks, a few at a time. A flow that comes first
/// starts its own fetch and waits for no other connector's.
pub(super) async fn warm(sources: Vec<Source>) {
    let slots: Vec<Weak<TokenSlot>> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Fixed(_) => None,
            Source::Token(slot) => Some(Arc::downgrade(slot)),
        })
        .collect();
    drop(sources);
    let warming = stream::iter(slots).for_each_concurrent(WARMED_AT_ONCE, |slot| async move {
        if let Some(slot) = slot.upgrade() {
            slot.warm().await;
        }
    });
    warming.await;
}

/// A number by chance, from 0 to 1. It spreads load and guards nothing.
pub(super) fn draw() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    // The first 48 bits of a version 4 UUID are random (RFC 9562 §5.4).
    (high >> 16) as f64 / (1_u64 << 48) as f64
}
