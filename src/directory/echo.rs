//! When the log last told of an origin that repeats its credential.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the log says no more of one connector.
const SILENCE: Duration = Duration::from_secs(600);

/// Seconds of monotonic time, plus one; 0 if it was never told.
#[derive(Debug, Default)]
pub struct Echo(AtomicU64);

impl Echo {
    /// Whether it is time to tell. `now` is monotonic; of those who ask at once, one is told so.
    pub fn is_news(&self, now: Duration) -> bool {
        let now = now.as_secs() + 1;
        let told = self.0.load(Ordering::Relaxed);
        (told == 0 || now >= told + SILENCE.as_secs())
            && self
                .0
                .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_told_of_once_in_ten_minutes() {
        let echo = Echo::default();

        let told = [0, 0, 1, 599, 600, 601, 1199, 1200]
            .map(|seconds| echo.is_news(Duration::from_secs(seconds)));

        assert_eq!(told, [true, false, false, false, true, false, false, true]);
    }
}
