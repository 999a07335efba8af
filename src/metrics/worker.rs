//! What one worker counts for the whole gateway.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How the token cache served a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// A fresh token lay ready.
    Hit,
    /// This request set off the token request it waited for.
    Miss,
    /// It waited for a token request that was under way.
    Joined,
    /// It was turned away at once: a failed token request is remembered.
    Refused,
}

/// The names of [`CacheOutcome`], in its order.
pub(super) const CACHE_OUTCOMES: [&str; 4] = ["hit", "miss", "joined", "refused"];

/// One worker's gauges and counters, on cache lines of their own.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    client_connections: AtomicUsize,
    requests_in_flight: AtomicUsize,
    token_cache: [AtomicU64; CACHE_OUTCOMES.len()],
    panics: AtomicU64,
    access_log_dropped: AtomicU64,
}

impl WorkerCounters {
    /// A client's connection was handed to this worker.
    pub fn connection_opened(&self) {
        self.client_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A client's connection is gone.
    pub fn connection_closed(&self) {
        self.client_connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request's head has arrived.
    pub fn request_started(&self) {
        self.requests_in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer has ended, or either side is gone.
    pub fn request_ended(&self) {
        self.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much this worker has to do: connections and requests in flight.
    pub fn load(&self) -> usize {
        self.client_connections() + self.requests_in_flight()
    }

    /// Client connections open now.
    pub fn client_connections(&self) -> usize {
        self.client_connections.load(Ordering::Relaxed)
    }

    /// Requests being carried now.
    pub fn requests_in_flight(&self) -> usize {
        self.requests_in_flight.load(Ordering::Relaxed)
    }

    /// The token cache served a request.
    pub fn token_cache(&self, outcome: CacheOutcome) {
        self.token_cache[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A task of this worker panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// A line of the access log found no room.
    pub fn access_log_dropped(&self) {
        self.access_log_dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The sum over all workers, at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WorkerTotals {
    pub(super) client_connections: usize,
    pub(super) requests_in_flight: usize,
    pub(super) token_cache: [u64; CACHE_OUTCOMES.len()],
    pub(super) panics: u64,
    pub(super) access_log_dropped: u64,
}

impl WorkerTotals {
    pub(super) fn add(&mut self, worker: &WorkerCounters) {
        self.client_connections += worker.client_connections();
        self.requests_in_flight += worker.requests_in_flight();
        for (total, count) in self.token_cache.iter_mut().zip(&worker.token_cache) {
            *total += count.load(Ordering::Relaxed);
        }
        self.panics += worker.panics.load(Ordering::Relaxed);
        self.access_log_dropped += worker.access_log_dropped.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_what_is_open_and_what_is_in_flight() {
        let worker = WorkerCounters::default();
        worker.connection_opened();
        worker.connection_opened();
        worker.request_started();
        assert_eq!(worker.load(), 3);

        worker.request_ended();
        worker.connection_closed();
        assert_eq!(worker.load(), 1);
    }

    #[test]
    fn each_outcome_of_the_cache_is_counted_under_its_name() {
        let worker = WorkerCounters::default();
        for outcome in [
            CacheOutcome::Hit,
            CacheOutcome::Miss,
            CacheOutcome::Miss,
            CacheOutcome::Joined,
            CacheOutcome::Refused,
        ] {
            worker.token_cache(outcome);
        }

        let mut totals = WorkerTotals::default();
        totals.add(&worker);

        assert_eq!(CACHE_OUTCOMES, ["hit", "miss", "joined", "refused"]);
        assert_eq!(totals.token_cache, [1, 2, 1, 1]);
    }
}
