//! Requests in a time, by the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! # Invariants
//!
//! Never more than `burst` requests at once, nor more than `per_second` lastingly, whatever number
//! of workers ask. One number a connector, no lock, and nothing is written for a refused request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::connector::Rate;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How full a connector's bucket is.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it will be full again, in nanoseconds of the monotonic clock.
    full_at: AtomicU64,
    /// The rate that is reckoned with: a second's requests in the upper half, the burst in the
    /// lower.
    rate: AtomicU64,
}

impl Bucket {
    /// Takes one request's worth out, or says how long it is until that is there.
    ///
    /// What was taken under another rate counts for a whole bucket of `rate` at most, so that an
    /// edit takes effect at once.
    pub(super) fn take(&self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let (now, gap) = (nanos(now), gap(rate));
        let latest = now.saturating_add(depth(rate));
        self.reckon_with(rate, latest);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(gap);
            if next > latest {
                return Err(Duration::from_nanos(next - latest));
            }
            let taken = self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match taken {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }

    /// How many requests it would let through now.
    pub(super) fn left(&self, rate: Rate, now: Duration) -> u64 {
        let (now, depth) = (nanos(now), depth(rate));
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        depth.saturating_sub(missing) / gap(rate)
    }

    /// Forgives what another rate would take longer to fill up again than this one at its
    /// `latest`.
    fn reckon_with(&self, rate: Rate, latest: u64) {
        let rate = u64::from(rate.per_second) << 32 | u64::from(rate.burst);
        if self.rate.load(Ordering::Relaxed) != rate
            && self.rate.swap(rate, Ordering::AcqRel) != rate
        {
            self.full_at.fetch_min(latest, Ordering::AcqRel);
        }
    }
}

/// The time between two requests at the lasting rate.
fn gap(rate: Rate) -> u64 {
    (NANOS_PER_SECOND / u64::from(rate.per_second.max(1))).max(1)
}

/// The time an empty bucket takes to fill.
fn depth(rate: Rate) -> u64 {
    gap(rate).saturating_mul(u64::from(rate.burst.max(1)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 50,
        burst: 100,
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How many requests pass at `now` before one is refused.
    fn passing(bucket: &Bucket, rate: Rate, now: Duration) -> usize {
        let mut passed = 0;
        while bucket.take(rate, now).is_ok() {
            passed += 1;
        }
        passed
    }

    #[test]
    fn a_burst_passes_and_then_the_lasting_rate() {
        let bucket = Bucket::default();
        for (now, passes) in [
            (ms(5_000), 100),
            (ms(5_000), 0),
            (ms(5_019), 0),
            (ms(5_020), 1),
            (ms(5_100), 4),
            (ms(6_100), 50),
            (ms(8_100), 100),
            (ms(60_000), 100),
        ] {
            assert_eq!(passing(&bucket, RATE, now), passes, "at {now:?}");
        }
    }

    #[test]
    fn a_refusal_says_when_there_is_room_and_there_is_none_before() {
        for (per_second, burst, wait) in [(50, 100, ms(20)), (1, 1, ms(1_000)), (4, 2, ms(250))] {
            let (bucket, rate) = (Bucket::default(), Rate { per_second, burst });
            let now = ms(7_000);
            passing(&bucket, rate, now);

            assert_eq!(bucket.take(rate, now), Err(wait));
            let before = Duration::from_nanos(1);
            assert_eq!(bucket.take(rate, now + wait - before), Err(before));
            assert_eq!(bucket.take(rate, now + wait), Ok(()));
        }
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let bucket = Bucket::default();
        passing(&bucket, RATE, ms(1_000));
        for _ in 0..1_000 {
            assert!(bucket.take(RATE, ms(1_000)).is_err());
        }

        assert_eq!(bucket.take(RATE, ms(1_020)), Ok(()));
    }

    #[test]
    fn a_higher_rate_takes_effect_at_once_on_a_bucket_that_a_lower_one_emptied() {
        let slow = Rate {
            per_second: 1,
            burst: 100,
        };
        let bucket = Bucket::default();
        assert_eq!(passing(&bucket, slow, ms(1_000)), 100);

        assert_eq!(bucket.take(RATE, ms(1_000)), Err(ms(20)));
        assert_eq!(passing(&bucket, RATE, ms(1_100)), 5);
    }

    #[test]
    fn what_is_left_is_what_passes() {
        let bucket = Bucket::default();
        for now in [ms(1_000), ms(1_030), ms(1_500), ms(9_000)] {
            let left = bucket.left(RATE, now);
            assert_eq!(passing(&bucket, RATE, now) as u64, left);
            assert_eq!(bucket.left(RATE, now), 0);
        }
    }

    #[test]
    fn threads_that_race_get_exactly_the_burst_between_them() {
        let (bucket, passed) = (Bucket::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if bucket.take(RATE, ms(1_000)).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });

        assert_eq!(passed.into_inner(), 100);
    }
}
