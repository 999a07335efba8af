//! What a slot tells of itself to health reports.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::slot::TokenSlot;
use super::source::TokenFailure;

/// What a slot holds, for health reports. Never the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// No token was obtained yet.
    Absent {
        /// Whether a fetch is under way.
        fetching: Fetching,
    },
    /// The last one is not attached any more; the next flow starts or joins a fetch.
    Spent {
        /// When its server stops accepting it, or has stopped.
        expires_at: SystemTime,
        /// Whether a fetch is under way.
        fetching: Fetching,
    },
    /// A token that may be attached.
    Fresh {
        /// How much longer it may be attached.
        remaining: Duration,
        /// When its server stops accepting it.
        expires_at: SystemTime,
    },
}

/// Whether a fetch is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// Yes.
    Now,
    /// No; the next flow starts one.
    Not,
}

impl TokenSlot {
    /// What the slot holds now.
    pub fn state(&self) -> TokenState {
        let now = self.now();
        let held = self.current.load();
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(now)) {
            return TokenState::Fresh {
                remaining: token.fresh_for(now),
                expires_at: token.expires_at(),
            };
        }
        let fetching = match self.lock().flying() {
            Some(_) => Fetching::Now,
            None => Fetching::Not,
        };
        match held.as_ref() {
            None => TokenState::Absent { fetching },
            Some(token) => TokenState::Spent {
                expires_at: token.expires_at(),
                fetching,
            },
        }
    }

    /// How token requests fail, while they do.
    pub(super) fn failure(&self) -> Option<TokenFailure> {
        let now = self.now();
        let work = self.lock();
        let failing = work.memory.failing()?;
        let to_wait = failing.next_attempt.saturating_sub(now.monotonic());
        let over = now.monotonic().saturating_sub(failing.next_attempt);
        Some(TokenFailure {
            class: failing.class,
            reason: Arc::clone(&failing.reason),
            since: failing.since,
            attempts: failing.attempts,
            next_attempt_at: now.wall() + to_wait - over,
        })
    }
}
