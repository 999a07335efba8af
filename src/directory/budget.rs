//! How many of a connector's requests may be sent again, so that retries do not feed an outage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How far back "lately" goes: what happened longer ago fades with this time constant.
const LATELY: Duration = Duration::from_secs(10);
/// Retries that are always allowed, as many a second, so that a quiet connector has some too.
const FLOOR_PER_SECOND: f64 = 1.0;

/// A connector's retries, held to a part of its requests.
///
/// A request costs one addition. What was requested and retried lately is estimated when a retry is
/// asked for: requests since the last look are taken to have come evenly.
#[derive(Debug, Default)]
pub struct RetryBudget {
    requests: AtomicU64,
    /// Made when a retry is first asked for; most connectors never do.
    lately: Mutex<Option<Box<Lately>>>,
}

#[derive(Debug, Default)]
struct Lately {
    looked_at: Duration,
    requests_seen: u64,
    requests: f64,
    retries: f64,
}

impl RetryBudget {
    /// A request came.
    pub fn earn(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry if, with it, no more than `percent` of the requests of the last seconds were
    /// sent again, or no more than a few. `now` is the monotonic clock's.
    pub fn try_spend(&self, percent: u32, now: Duration) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        let lately = self.lately.lock();
        let mut lately = lately.unwrap_or_else(PoisonError::into_inner);
        let lately = lately.get_or_insert_default();
        lately.look(requests, now);
        let floor = FLOOR_PER_SECOND * LATELY.as_secs_f64();
        let allowed = lately.requests * f64::from(percent) / 100.0;
        let within = lately.retries + 1.0 <= allowed.max(floor);
        if within {
            lately.retries += 1.0;
        }
        within
    }
}

impl Lately {
    fn look(&mut self, requests: u64, now: Duration) {
        let passed = now.saturating_sub(self.looked_at).as_secs_f64() / LATELY.as_secs_f64();
        let left = (-passed).exp();
        // Of what came evenly over the time that passed, this part has not faded.
        let fresh = match passed > 0.0 {
            true => (1.0 - left) / passed,
            false => 1.0,
        };
        let came = requests.saturating_sub(self.requests_seen) as f64;
        self.requests = self.requests * left + came * fresh;
        self.retries *= left;
        self.requests_seen = requests;
        self.looked_at = self.looked_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` retries are allowed at `now`.
    fn spend(budget: &RetryBudget, count: usize, percent: u32, now: Duration) -> usize {
        let spent = (0..count).filter(|_| budget.try_spend(percent, now));
        spent.count()
    }

    #[test]
    fn a_quiet_connector_may_retry_a_little() {
        let budget = RetryBudget::default();
        budget.earn();

        assert_eq!(spend(&budget, 100, 20, Duration::from_secs(1)), 10);
    }

    #[test]
    fn retries_are_held_to_their_part_of_the_requests() {
        let budget = RetryBudget::default();
        for _ in 0..1000 {
            budget.earn();
        }
        let now = Duration::from_millis(1);
        assert_eq!(spend(&budget, 1000, 20, now), 199);

        for _ in 0..1000 {
            budget.earn();
        }

        assert_eq!(spend(&budget, 1000, 20, now), 200);
    }

    #[test]
    fn requests_of_long_ago_earn_nothing_and_retries_of_long_ago_cost_nothing() {
        let budget = RetryBudget::default();
        for _ in 0..100_000 {
            budget.earn();
        }
        assert!(spend(&budget, 1000, 20, Duration::from_secs(24 * 3600)) <= 10 + 2);

        assert_eq!(spend(&budget, 1000, 20, Duration::from_secs(25 * 3600)), 10);
    }

    #[test]
    fn an_outage_is_not_fed() {
        let budget = RetryBudget::default();
        let mut retried = 0;
        for second in 0..60 {
            for _ in 0..100 {
                budget.earn();
                retried += spend(&budget, 1, 20, Duration::from_secs(second));
            }
        }

        assert!((1100..=1400).contains(&retried), "{retried} of 6000");
    }
}
