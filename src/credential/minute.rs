//! How often something may happen in a minute.

use std::collections::VecDeque;
use std::time::Duration;

/// What is counted over.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// When something happened within the last minute, and how often it may.
#[derive(Debug)]
pub(super) struct Minute {
    times: VecDeque<Duration>,
    times_max: usize,
}

impl Minute {
    /// Nothing so far, and at most `times_max` in a minute.
    pub(super) fn new(times_max: u32) -> Self {
        Self {
            times: VecDeque::new(),
            times_max: usize::try_from(times_max).unwrap_or(usize::MAX).max(1),
        }
    }

    /// From when on it may happen again.
    pub(super) fn free_at(&self) -> Duration {
        match self.times.len().checked_sub(self.times_max) {
            Some(first) => self.times[first] + MINUTE,
            None => Duration::ZERO,
        }
    }

    /// It happens at `now`. What is further back than a minute is forgotten.
    pub(super) fn note(&mut self, now: Duration) {
        let over = |time: &Duration| *time + MINUTE <= now;
        while self.times.front().is_some_and(over) {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_happen_twice_a_minute_happens_no_third_time_within_it() {
        let mut minute = Minute::new(2);
        let at = Duration::from_secs;
        assert_eq!(minute.free_at(), Duration::ZERO);

        minute.note(at(10));
        assert_eq!(minute.free_at(), Duration::ZERO);
        minute.note(at(50));
        assert_eq!(minute.free_at(), at(70));
        minute.note(at(70));
        assert_eq!(minute.free_at(), at(110));
        assert_eq!(minute.times.len(), 2, "no more is kept than counts");
    }
}
