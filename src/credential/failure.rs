//! What a slot remembers of token requests that failed, and when the next may go out.
//!
//! # Invariants
//!
//! Never more than `tokens.retries_per_minute_max` attempts that fail in any minute, whatever
//! happens between them. No attempt before the server's `Retry-After` is over
//! (RFC 9110 §10.2.3; five minutes are believed at most). A temporary failure is tried again within
//! [`DELAY_MAX`] while nobody has a token, unless one of the two forbids it; a permanent one every
//! [`PROBE`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::TokenError;
use super::minute::{MINUTE, Minute};
use super::token::Moment;
use crate::metrics::FailureClass;

/// The longest first pause; it doubles with every failure.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// The longest pause where no token is left: recovery is noticed that soon.
const DELAY_MAX: Duration = Duration::from_secs(2);
/// The longest pause where the token held is good for much longer.
const DELAY_AHEAD_MAX: Duration = Duration::from_secs(30);
/// The pause after a permanent failure, which a tenth at most is added to.
const PROBE: Duration = Duration::from_secs(300);

/// A failure that is not over.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    /// What went wrong last.
    pub(super) reason: Arc<TokenError>,
    /// Whether it may pass by itself.
    pub(super) class: FailureClass,
    /// When the first attempt failed.
    pub(super) since: SystemTime,
    /// How many failed since then.
    pub(super) attempts: u32,
    /// When the next may go out, on the monotonic clock.
    pub(super) next_attempt: Duration,
}

/// What a failed attempt added to what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The attempt before it succeeded, or there was none.
    Began,
    /// It failed in another way than the one before.
    Changed,
    /// It failed like the one before.
    Nothing,
}

/// One attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// When it began, on the monotonic clock.
    pub(super) started: Duration,
    /// When it failed.
    pub(super) ended: Moment,
    /// How much longer the token held may be attached.
    pub(super) token_left: Duration,
    /// Chance, from 0 to 1.
    pub(super) draw: f64,
}

/// One slot's memory of failures.
#[derive(Debug)]
pub(super) struct Memory {
    attempts: Minute,
    attempts_per_minute_max: u32,
    /// Apart, since most connectors never fail.
    failing: Option<Box<Failing>>,
    /// The failure that is over; until a minute later it is why an attempt may not go out yet.
    last: Option<Arc<TokenError>>,
}

impl Memory {
    /// Nothing to remember.
    pub(super) fn new(attempts_per_minute_max: u32) -> Self {
        Self {
            attempts: Minute::new(attempts_per_minute_max),
            attempts_per_minute_max: attempts_per_minute_max.max(1),
            failing: None,
            last: None,
        }
    }

    /// The failure that is not over.
    pub(super) fn failing(&self) -> Option<&Failing> {
        self.failing.as_deref()
    }

    /// Why no attempt may go out at `now`, and until when not.
    pub(super) fn forbids(&self, now: Duration) -> Option<(Arc<TokenError>, Duration)> {
        let (reason, until) = match &self.failing {
            Some(failing) => (&failing.reason, failing.next_attempt),
            None => (self.last.as_ref()?, self.attempts.free_at()),
        };
        (now < until).then(|| (Arc::clone(reason), until))
    }

    /// An attempt failed for `reason`.
    pub(super) fn failed(&mut self, reason: &Arc<TokenError>, attempt: Attempt) -> News {
        self.attempts.note(attempt.started);
        let before = self.failing.take();
        let (since, attempts) = match &before {
            Some(before) => (before.since, before.attempts.saturating_add(1)),
            None => (attempt.ended.wall(), 1),
        };
        let news = match &before {
            None => News::Began,
            Some(before) if looks_like(&before.reason, reason) => News::Nothing,
            Some(_) => News::Changed,
        };
        self.failing = Some(Box::new(Failing {
            class: reason.class(),
            since,
            attempts,
            next_attempt: self.next_attempt(reason, attempts, attempt),
            reason: Arc::clone(reason),
        }));
        news
    }

    /// An attempt succeeded; what it ended is returned.
    pub(super) fn succeeded(&mut self) -> Option<Failing> {
        let over = self.failing.take();
        if let Some(over) = &over {
            self.last = Some(Arc::clone(&over.reason));
        }
        over.map(|over| *over)
    }

    fn next_attempt(&self, reason: &TokenError, attempts: u32, attempt: Attempt) -> Duration {
        let ended = attempt.ended.monotonic();
        let chosen = match reason.class() {
            FailureClass::Permanent => ended + PROBE + (PROBE / 10).mul_f64(attempt.draw),
            FailureClass::Temporary => {
                let paced = match attempts {
                    // A failure may be of the moment: it is looked at again at once.
                    1 => Duration::ZERO,
                    _ => attempt.started + MINUTE / self.attempts_per_minute_max,
                };
                paced.max(ended + delay(attempts, attempt))
            }
        };
        let asked = ended + reason.retry_after().unwrap_or_default();
        chosen.max(asked).max(self.attempts.free_at())
    }
}

/// Exponential back-off with full jitter, so that connectors and replicas that failed together do
/// not come back together. It may grow longer while the token held still serves.
fn delay(attempts: u32, attempt: Attempt) -> Duration {
    let longest = (attempt.token_left / 10).clamp(DELAY_MAX, DELAY_AHEAD_MAX);
    let doubled = DELAY_FIRST * (1 << attempts.saturating_sub(1).min(16));
    doubled.min(longest).mul_f64(attempt.draw)
}

/// Whether two failures would be told in the same words.
fn looks_like(one: &TokenError, other: &TokenError) -> bool {
    one.class() == other.class() && one.outcome() == other.outcome() && one.code() == other.code()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::clock::{Clock, Turned};
    use crate::credential::rejection::Rejection;

    fn rejected(status: u16, code: Option<&str>, retry_after: Option<u64>) -> Arc<TokenError> {
        let status = StatusCode::from_u16(status).expect("a status");
        let rejection = Rejection::new(status, code, None, &[]);
        let wait = retry_after.map(Duration::from_secs);
        Arc::new(TokenError::Rejected(rejection.asking_for(wait)))
    }

    /// Fails like `reason` whenever it may for `time`, each time after `took`, and says when.
    fn outage(
        memory: &mut Memory,
        reason: &Arc<TokenError>,
        (time, took): (Duration, Duration),
        draw: impl Fn(usize) -> f64,
    ) -> Vec<Duration> {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        let clock = Clock::turned(&turned);
        let mut starts = Vec::new();
        while clock.monotonic() < time {
            let started = clock.monotonic();
            starts.push(started);
            turned.advance(took);
            let attempt = Attempt {
                started,
                ended: Moment::of(&clock),
                token_left: Duration::ZERO,
                draw: draw(starts.len()),
            };
            memory.failed(reason, attempt);
            let next = memory.failing().expect("it failed").next_attempt;
            turned.advance(next.saturating_sub(clock.monotonic()));
            // The clock knows whole milliseconds.
            turned.advance(Duration::from_millis(1));
        }
        starts
    }

    fn most_in_a_minute(starts: &[Duration]) -> usize {
        let within = |from: &Duration| {
            let minute = *from..*from + MINUTE;
            starts
                .iter()
                .filter(|start| minute.contains(*start))
                .count()
        };
        starts.iter().map(within).max().unwrap_or_default()
    }

    const AT_ONCE: Duration = Duration::ZERO;
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn no_minute_of_an_outage_holds_more_attempts_than_allowed() {
        for (per_minute_max, draw) in [(30, 0.0), (30, 0.5), (30, 1.0), (1, 0.5), (300, 0.0)] {
            let mut memory = Memory::new(per_minute_max);

            let starts = outage(
                &mut memory,
                &rejected(503, None, None),
                (HOUR, AT_ONCE),
                |_| draw,
            );

            let most = most_in_a_minute(&starts);
            let max = usize::try_from(per_minute_max).expect("it is small");
            assert!(most <= max, "{most} of {per_minute_max}, {draw}");
        }
    }

    #[test]
    fn an_outage_is_looked_at_every_two_seconds_and_first_at_once() {
        let mut memory = Memory::new(30);

        let starts = outage(
            &mut memory,
            &rejected(503, None, None),
            (HOUR, AT_ONCE),
            |n| (n % 10) as f64 / 10.0,
        );

        let pauses: Vec<_> = starts.windows(2).map(|two| two[1] - two[0]).collect();
        let tick = Duration::from_millis(2);
        assert!(pauses[0] <= DELAY_FIRST + tick, "{:?}", pauses[0]);
        // The two attempts of the beginning are one too many for that minute.
        let longer = pauses.iter().filter(|pause| **pause > DELAY_MAX + tick);
        assert!(longer.clone().count() <= 1, "{pauses:?}");
        assert!(
            longer.clone().all(|pause| *pause <= DELAY_MAX * 2),
            "{pauses:?}"
        );
    }

    #[test]
    fn a_permanent_failure_is_probed_twelve_times_an_hour_at_most() {
        for code in ["invalid_client", "invalid_grant", "invalid_scope"] {
            let mut memory = Memory::new(30);

            let starts = outage(
                &mut memory,
                &rejected(400, Some(code), None),
                (HOUR, AT_ONCE),
                |_| 0.0,
            );

            assert_eq!(starts.len(), 12, "{code}");
        }
    }

    #[test]
    fn no_attempt_goes_out_before_the_servers_wait_is_over() {
        // RFC 9110 §10.2.3; RFC 6585 §4.
        let mut memory = Memory::new(30);

        let starts = outage(
            &mut memory,
            &rejected(429, None, Some(45)),
            (Duration::from_secs(300), AT_ONCE),
            |_| 0.0,
        );

        let early = |two: &[Duration]| two[1] - two[0] < Duration::from_secs(45);
        assert!(!starts.windows(2).any(early), "{starts:?}");
        assert!(starts.len() > 5, "{starts:?}");
    }

    #[test]
    fn attempts_that_take_long_are_followed_by_a_pause_of_chance() {
        let mut memory = Memory::new(30);
        let took = Duration::from_secs(10);

        let starts = outage(&mut memory, &rejected(503, None, None), (HOUR, took), |n| {
            (n % 2) as f64
        });

        let pauses: Vec<_> = starts[8..]
            .windows(2)
            .map(|two| two[1] - two[0] - took)
            .collect();
        let short = pauses
            .iter()
            .filter(|pause| **pause < Duration::from_millis(10));
        let long = pauses.iter().filter(|pause| **pause >= DELAY_MAX);
        assert_eq!(short.count() + long.count(), pauses.len(), "{pauses:?}");
    }

    #[test]
    fn a_good_token_lets_the_pauses_grow_and_a_dying_one_does_not() {
        let longest = |token_left: u64| {
            let attempt = Attempt {
                started: Duration::ZERO,
                ended: Moment::of(&Clock::system()),
                token_left: Duration::from_secs(token_left),
                draw: 1.0,
            };
            delay(20, attempt).as_secs()
        };

        assert_eq!(longest(3600), 30);
        assert_eq!(longest(100), 10);
        assert_eq!(longest(10), 2);
        assert_eq!(longest(0), 2);
    }

    #[test]
    fn a_failure_that_is_over_still_counts_in_its_minute() {
        let mut memory = Memory::new(2);
        let clock = Clock::turned(&Turned::starting_at(SystemTime::UNIX_EPOCH));
        let attempt = Attempt {
            started: Duration::ZERO,
            ended: Moment::of(&clock),
            token_left: Duration::ZERO,
            draw: 0.0,
        };
        let reason = rejected(503, None, None);
        for _ in 0..2 {
            memory.failed(&reason, attempt);
            assert!(memory.succeeded().is_some());
        }

        let forbidden = |seconds| memory.forbids(Duration::from_secs(seconds)).is_some();
        assert!(forbidden(59));
        assert!(!forbidden(60));
    }

    #[test]
    fn what_is_new_is_told_from_what_repeats() {
        let mut memory = Memory::new(30);
        let attempt = Attempt {
            started: Duration::ZERO,
            ended: Moment::of(&Clock::system()),
            token_left: Duration::ZERO,
            draw: 0.0,
        };
        let news = [
            rejected(503, None, None),
            rejected(500, None, None),
            rejected(400, Some("invalid_client"), None),
            rejected(400, Some("invalid_scope"), None),
            Arc::new(TokenError::Empty),
            Arc::new(TokenError::IllegalToken),
        ]
        .map(|reason| memory.failed(&reason, attempt));

        use News::{Began, Changed, Nothing};
        assert_eq!(news, [Began, Nothing, Changed, Changed, Changed, Nothing]);
        assert!(memory.succeeded().is_some_and(|over| over.attempts == 6));
        assert_eq!(memory.failed(&rejected(503, None, None), attempt), Began);
    }
}
