//! What is remembered of one name, and what that is worth at a given time. No I/O, no clock.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::lookup::is_denial;
use super::race;

/// How long an answer is good. The system's resolver does not tell the record's own lifetime.
const ANSWER_LIFETIME: Duration = Duration::from_secs(10);
/// The age from which a use of an answer starts a look-up behind it.
const REFRESH_AFTER: Duration = Duration::from_secs(8);
/// The age up to which an answer is used while that look-up runs; an older one is waited for.
const REVALIDATED_AGE_MAX: Duration = Duration::from_secs(20);
/// How long a look-up is waited for before the answer of before is used (the client response timer
/// of RFC 8767 §5, which has 1.8 s: longer than a whole dial may take here).
const PATIENCE: Duration = Duration::from_millis(500);
/// The age up to which an answer is used while nobody can be asked for a newer one (the maximum
/// stale timer of RFC 8767 §5, which has a day and more; names in clouds change hands faster).
const STALE_AGE_MAX: Duration = Duration::from_secs(3600);
/// The same where name servers say that the name has no address (any more). RFC 8767 §4 would have
/// that believed at once, but it knows what a server said; the system's resolver gives the same
/// answer for some of its own faults.
const DENIED_AGE_MAX: Duration = Duration::from_secs(60);
/// How soon after a failed look-up the next may start; doubled by each failure in a row while there
/// is an old answer to use.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The most it is doubled to.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The age from which an answer may be doubted, so that a dead origin costs few look-ups.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// The most addresses of a name that are remembered and tried.
pub(super) const ADDRESSES_MAX: usize = 16;

/// The addresses of a name, and when they were looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In the order in which they are to be tried; at least one.
    pub addresses: Arc<[IpAddr]>,
    /// By [`crate::clock::Clock::monotonic`].
    pub at: Duration,
}

/// Why there is no newer answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Arc<io::Error>,
    /// Whether the name was said to have no address, now or since the last answer.
    denied: bool,
    /// Failures in a row.
    times: u32,
    retry_at: Duration,
}

/// What a look-up came to, for everyone who waits for it.
pub(super) type Told = Result<Answer, Failure>;

/// What is known of a name.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// Its last use, counted over all names.
    pub(super) used: u64,
    answer: Option<Answer>,
    /// Whether none of the addresses took a connection.
    doubted: bool,
    /// Since the last answer.
    failure: Option<Failure>,
    asking: Option<Asking>,
}

/// A look-up under way.
#[derive(Debug)]
struct Asking {
    began: Duration,
    told: watch::Receiver<Option<Told>>,
}

/// What whoever asks for a name is to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Use this.
    Use(Answer),
    /// Use this, though its time is over: there is none better.
    UseStale(Answer),
    /// Give up.
    Fail(Arc<io::Error>),
    /// Wait for the look-up.
    Wait(Wait),
}

/// A wait for a look-up.
#[derive(Debug)]
pub(super) struct Wait {
    /// What it comes to.
    pub(super) told: watch::Receiver<Option<Told>>,
    /// What may be used if it fails or takes until `late_at`.
    pub(super) stale: Option<Answer>,
    /// When it has taken too long.
    pub(super) late_at: Duration,
}

impl Answer {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at)
    }

    /// Whether it may be used in spite of `failure`.
    pub(super) fn outlasts(&self, failure: Option<&Failure>, now: Duration) -> bool {
        let denied = failure.is_some_and(|failure| failure.denied);
        let age_max = if denied {
            DENIED_AGE_MAX
        } else {
            STALE_AGE_MAX
        };
        self.age(now) < age_max
    }
}

impl Name {
    /// Whether a look-up should start.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let held_off = |failure: &Failure| now < failure.retry_at;
        !self.is_asked() && !self.failure.as_ref().is_some_and(held_off) && !self.is_good(now)
    }

    fn is_good(&self, now: Duration) -> bool {
        let good = |answer: &Answer| answer.age(now) < REFRESH_AFTER;
        !self.doubted && self.answer.as_ref().is_some_and(good)
    }

    /// Whether a look-up is under way; one that was given up with its runtime is not.
    pub(super) fn is_asked(&self) -> bool {
        let live = |asking: &Asking| asking.told.has_changed().is_ok();
        self.asking.as_ref().is_some_and(live)
    }

    /// Whether its last look-up failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Notes that a look-up started, and returns the end that tells what it came to.
    pub(super) fn begin(&mut self, now: Duration) -> watch::Sender<Option<Told>> {
        let (tell, told) = watch::channel(None);
        self.asking = Some(Asking { began: now, told });
        tell
    }

    /// What whoever asks is to do, once a look-up that [`Name::is_due`] has begun.
    pub(super) fn step(&self, now: Duration) -> Step {
        if let Some(answer) = &self.answer
            && !self.doubted
            && answer.age(now) < REVALIDATED_AGE_MAX
        {
            let late = self.is_failing() && answer.age(now) >= ANSWER_LIFETIME;
            let answer = answer.clone();
            return if late {
                Step::UseStale(answer)
            } else {
                Step::Use(answer)
            };
        }
        let failure = self.failure.as_ref();
        let stale = self.answer.clone();
        let stale = stale.filter(|answer| answer.outlasts(failure, now));
        match (&self.asking, failure, stale) {
            // Nobody waits for a look-up that has little hope, or that has taken long already.
            (_, Some(_), Some(stale)) => Step::UseStale(stale),
            (Some(asking), None, Some(stale)) if now >= asking.began + PATIENCE => {
                Step::UseStale(stale)
            }
            (Some(asking), _, stale) => Step::Wait(Wait {
                told: asking.told.clone(),
                stale,
                late_at: asking.began + PATIENCE,
            }),
            (None, Some(failure), None) => Step::Fail(Arc::clone(&failure.error)),
            (None, None, _) => Step::Fail(Arc::new(abandoned())),
        }
    }

    /// Takes note of what its look-up came to.
    pub(super) fn settle(&mut self, found: io::Result<Vec<IpAddr>>, now: Duration) -> Told {
        self.asking = None;
        self.doubted = false;
        match found.and_then(some) {
            Ok(addresses) => {
                let answer = Answer { addresses, at: now };
                self.failure = None;
                self.answer = Some(answer.clone());
                Ok(answer)
            }
            Err(error) => Err(self.failed(error, now)),
        }
    }

    fn failed(&mut self, error: io::Error, now: Duration) -> Failure {
        let before = self.failure.as_ref();
        let times = before.map_or(0, |failure| failure.times);
        let mut failure = Failure {
            denied: is_denial(&error) || before.is_some_and(|failure| failure.denied),
            error: Arc::new(error),
            times: times.saturating_add(1),
            retry_at: now + RETRY_FIRST,
        };
        // What is not used any more would only come back if the next failure were another one.
        self.answer
            .take_if(|answer| !answer.outlasts(Some(&failure), now));
        if self.answer.is_some() {
            let doubled = RETRY_FIRST.saturating_mul(1 << times.min(16));
            failure.retry_at = now + doubled.min(RETRY_MAX);
        }
        self.failure = Some(failure.clone());
        failure
    }

    /// Whether this failure is the first after an answer, which is used from now on.
    pub(super) fn turned_stale(&self) -> bool {
        let first = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.times == 1);
        first && self.answer.is_some()
    }

    /// None of its addresses takes a connection: they are looked up again before they are used
    /// again, unless that was done just now.
    pub(super) fn doubt(&mut self, now: Duration) {
        let old = |answer: &Answer| answer.age(now) >= DOUBT_AFTER;
        self.doubted |= self.answer.as_ref().is_some_and(old);
    }
}

/// The first [`ADDRESSES_MAX`] addresses, of both families if there are both.
fn some(found: Vec<IpAddr>) -> io::Result<Arc<[IpAddr]>> {
    if found.is_empty() {
        let error = "the name has no address";
        return Err(io::Error::new(io::ErrorKind::NotFound, error));
    }
    let mut found = race::interleave(found, IpAddr::is_ipv6);
    found.truncate(ADDRESSES_MAX);
    Ok(found.into())
}

/// A look-up that nobody finished: the gateway is stopping.
pub(super) fn abandoned() -> io::Error {
    io::Error::other("the look-up was abandoned")
}

#[cfg(test)]
mod tests;
