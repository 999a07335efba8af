//! What is counted of name look-ups. They are rare, so all workers count in one place.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a look-up, or a dial that needed one, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// Addresses came.
    Ok,
    /// None came: there is no such name, or nobody could be asked.
    Failed,
    /// Addresses were used past their time, because newer ones failed to come.
    Stale,
}

/// The names of [`LookupOutcome`], in its order.
pub(super) const LOOKUP_OUTCOMES: [&str; 3] = ["ok", "failed", "stale"];

/// Counts name look-ups.
#[derive(Debug, Default)]
pub struct LookupMetrics {
    outcomes: [AtomicU64; LOOKUP_OUTCOMES.len()],
}

impl LookupMetrics {
    /// Counts one.
    pub fn count(&self, outcome: LookupOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each outcome was counted, in the order of [`LOOKUP_OUTCOMES`].
    pub(super) fn read(&self) -> [u64; LOOKUP_OUTCOMES.len()] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.outcomes.each_ref().map(read)
    }

    /// How often one outcome was counted.
    #[cfg(test)]
    pub(crate) fn counted(&self, outcome: LookupOutcome) -> u64 {
        self.read()[outcome as usize]
    }
}
