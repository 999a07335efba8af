//! The only place that asks what time it is.
//!
//! [`Clock::wall`] judges what other processes also see (a token's expiry, a certificate's dates);
//! [`Clock::monotonic`] judges deadlines, because a wall clock can be set back. A test holds a
//! [`Turned`] clock and moves it; tokio's own time is never paused, since real sockets run under
//! it.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

/// A source of time: the system's, or a test's.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Turned(Turned),
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System {
            started: Instant::now(),
        })
    }

    /// A clock that stands still until `turned` is moved.
    pub fn turned(turned: &Turned) -> Self {
        Self(Source::Turned(turned.clone()))
    }

    /// The date and time, as other processes see it too.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Turned(turned) => turned.wall(),
        }
    }

    /// Time since this clock was made; never goes back.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Turned(turned) => turned.elapsed(),
        }
    }

    /// Returns once [`Clock::monotonic`] has reached `deadline`.
    pub async fn sleep_until(&self, deadline: Duration) {
        match &self.0 {
            Source::System { started } => {
                tokio::time::sleep_until((*started + deadline).into()).await;
            }
            Source::Turned(turned) => turned.reached(deadline).await,
        }
    }
}

/// When `limit` will have passed in real time, which is what limits on sockets are told by whatever
/// clock is shown.
pub fn in_real_time(limit: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + limit
}

/// A date and time as RFC 3339 §5.6 writes it, in UTC, to the millisecond.
pub fn rfc3339(at: SystemTime) -> impl Display {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    fmt::from_fn(move |f| write!(f, "{at:.3}"))
}

/// A clock that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Turned(Arc<TurnedState>);

#[derive(Debug)]
struct TurnedState {
    start: SystemTime,
    elapsed_ms: AtomicU64,
    /// What was added to the wall clock alone, in milliseconds, as an operator or NTP would.
    step_ms: std::sync::atomic::AtomicI64,
    moved: Notify,
}

impl Turned {
    /// A clock that shows `start` until it is moved.
    pub fn starting_at(start: SystemTime) -> Self {
        Self(Arc::new(TurnedState {
            start,
            elapsed_ms: AtomicU64::new(0),
            step_ms: std::sync::atomic::AtomicI64::new(0),
            moved: Notify::new(),
        }))
    }

    /// Lets `by` pass, in whole milliseconds, and wakes every sleeper whose time has come.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }

    /// Sets the wall clock forward (or back, below zero) without any time passing.
    pub fn step_wall_ms(&self, by_ms: i64) {
        self.0.step_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.elapsed_ms.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        let step_ms = self.0.step_ms.load(Ordering::SeqCst);
        let step = Duration::from_millis(step_ms.unsigned_abs());
        let now = self.0.start + self.elapsed();
        if step_ms < 0 { now - step } else { now + step }
    }

    async fn reached(&self, deadline: Duration) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.elapsed() >= deadline {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_lets_no_time_pass() {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(10_000));
        let clock = Clock::turned(&turned);

        turned.advance(Duration::from_secs(5));
        turned.step_wall_ms(-3_600_000);

        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        assert_eq!(
            clock.wall(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(10_005 - 3_600)
        );
    }

    #[test]
    fn dates_are_written_in_utc_to_the_millisecond() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);

        assert_eq!(rfc3339(at(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(at(1_800_000_000_123)).to_string(),
            "2027-01-15T08:00:00.123Z"
        );
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_turned_past_its_deadline() {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        let clock = Clock::turned(&turned);
        let sleeper = tokio::spawn(async move { clock.sleep_until(Duration::from_secs(60)).await });

        turned.advance(Duration::from_secs(60));

        assert!(sleeper.await.is_ok());
    }
}
