//! When a slot was used last, noted on the way of every request.
//!
//! # Invariants
//!
//! A request reads two values that hardly ever change, and writes one of them at most sixteen times
//! in a token's life: workers do not fight for the line of memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::token::Moment;

/// How often a use is noted within a token's life.
const NOTES: u32 = 16;

/// When a slot was used last.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Milliseconds of the monotonic clock and one more; zero before the first use.
    last: AtomicU64,
    /// Nobody looks after the token: its renewal came when it was out of use.
    unattended: AtomicBool,
}

impl Usage {
    /// Notes a use at `now` of a token that lives for `lifetime`, to a sixteenth of that. Returns
    /// whether nobody looks after the token.
    pub(super) fn note(&self, now: Moment, lifetime: Duration) -> bool {
        let (now, last) = (stamp(now), self.last.load(Ordering::Relaxed));
        if last == 0 || now.saturating_sub(last) > millis(lifetime / NOTES) {
            self.last.store(now, Ordering::Relaxed);
        }
        self.unattended.load(Ordering::Relaxed)
    }

    /// Notes a use, to the millisecond.
    pub(super) fn note_exactly(&self, now: Moment) {
        self.last.store(stamp(now), Ordering::Relaxed);
    }

    /// Whether the last use lies less than `period` before `now`.
    pub(super) fn within(&self, period: Duration, now: Moment) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && stamp(now).saturating_sub(last) < millis(period)
    }

    /// Somebody looks after the token, or nobody does.
    pub(super) fn attended(&self, attended: Attended) {
        let unattended = attended == Attended::ByNobody;
        self.unattended.store(unattended, Ordering::Relaxed);
    }
}

/// Whether a timer or a fetch looks after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    /// One of them does.
    Yes,
    /// The next request that finds the token due has to.
    ByNobody,
}

fn stamp(now: Moment) -> u64 {
    millis(now.monotonic()).saturating_add(1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::{Clock, Turned};

    #[test]
    fn a_use_is_noted_to_a_sixteenth_of_a_life() {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        let clock = Clock::turned(&turned);
        let life = Duration::from_secs(16);
        let usage = Usage::default();
        assert!(!usage.within(Duration::MAX, Moment::of(&clock)));

        usage.note(Moment::of(&clock), life);
        assert!(usage.within(Duration::from_millis(1), Moment::of(&clock)));
        turned.advance(Duration::from_millis(999));
        usage.note(Moment::of(&clock), life);
        turned.advance(Duration::from_millis(1));
        assert!(!usage.within(Duration::from_secs(1), Moment::of(&clock)));

        turned.advance(Duration::from_millis(1));
        usage.note(Moment::of(&clock), life);
        assert!(usage.within(Duration::from_millis(1), Moment::of(&clock)));
    }

    #[test]
    fn a_token_that_nobody_looks_after_is_told_to_its_next_user() {
        let now = Moment::of(&Clock::system());
        let usage = Usage::default();
        assert!(!usage.note(now, Duration::ZERO));

        usage.attended(Attended::ByNobody);
        assert!(usage.note(now, Duration::ZERO));

        usage.attended(Attended::Yes);
        assert!(!usage.note(now, Duration::ZERO));
    }
}
