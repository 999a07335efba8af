//! What keeps one connector's trouble from the others.

use std::time::Duration;

/// The most that one connector may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// The most requests carried at once.
    pub requests_in_flight_max: u32,
    /// The most requests in a time.
    pub rate: Option<Rate>,
    /// When an origin that fails is left alone for a while.
    pub breaker: Option<Breaker>,
    /// The largest request body, in bytes, where the gateway's limit is not to hold.
    pub request_body_bytes_max: Option<u64>,
    /// The largest body of an answer, in bytes.
    pub response_body_bytes_max: Option<u64>,
}

/// Requests in a time: a bucket of `burst` that fills at `per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The lasting rate.
    pub per_second: u32,
    /// The most requests at once.
    pub burst: u32,
}

/// When requests are refused at once because the origin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The failures that open it, if they are at least half of what happened.
    pub failures: u32,
    /// The time they are counted in.
    pub window: Duration,
    /// How long it stays open before a single request probes the origin.
    pub open: Duration,
}

impl Default for Bulkhead {
    fn default() -> Self {
        Self {
            requests_in_flight_max: 512,
            rate: None,
            breaker: Some(Breaker::default()),
            request_body_bytes_max: None,
            response_body_bytes_max: None,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
        }
    }
}
