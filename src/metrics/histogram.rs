//! A histogram that one worker writes and a scrape reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds: 1 ms to 60 s. Below a millisecond the gateway
/// itself is what is measured; beyond a minute every time limit has struck.
pub(super) const BOUNDS_US: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Counts of durations; the last bucket is the one without a bound.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// The sum of several histograms, at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Per bucket, not cumulative.
    pub(super) buckets: [u64; BUCKETS],
    pub(super) sum_ns: u64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound_us| bound_us * 1_000 < ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Totals {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.load(Ordering::Relaxed);
        }
        self.sum_ns = self
            .sum_ns
            .wrapping_add(histogram.sum_ns.load(Ordering::Relaxed));
    }

    /// Everything that was counted; made of the buckets, so that the two always agree.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(took: Duration) -> Option<usize> {
        let histogram = Histogram::default();
        histogram.observe(took);
        let mut totals = Totals::default();
        totals.add(&histogram);
        totals.buckets.iter().position(|count| *count == 1)
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (bucket, bound_us) in BOUNDS_US.into_iter().enumerate() {
            let bound = Duration::from_micros(bound_us);
            assert_eq!(bucket_of(bound), Some(bucket));
            assert_eq!(bucket_of(bound + Duration::from_nanos(1)), Some(bucket + 1));
        }
    }

    #[test]
    fn what_outlasts_every_bound_is_counted_too() {
        assert_eq!(bucket_of(Duration::from_secs(3_600)), Some(BUCKETS - 1));
        assert_eq!(bucket_of(Duration::MAX), Some(BUCKETS - 1));
        assert_eq!(bucket_of(Duration::ZERO), Some(0));
    }

    #[test]
    fn totals_are_the_sum_of_the_workers() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_millis(3));
        two.observe(Duration::from_millis(4));
        two.observe(Duration::from_secs(2));

        let mut totals = Totals::default();
        totals.add(&one);
        totals.add(&two);

        assert_eq!(totals.count(), 3);
        assert_eq!(totals.sum_ns, 2_007_000_000);
    }
}
