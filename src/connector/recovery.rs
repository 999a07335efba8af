//! What a connector does about an answer that need not be the last word.

use std::time::Duration;

use http::StatusCode;

/// When a request is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Which answers say that the token is not accepted any more.
    pub expired_on: ExpiredOn,
    /// The longest request body that is kept to be sent again, in bytes.
    pub replay_body_bytes_max: u64,
    /// Whether answers and failures that may pass are tried again, beside what is always safe.
    pub retry: Option<Retry>,
}

/// How an origin says that a token is not accepted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredOn {
    /// Statuses that say so by themselves.
    pub statuses: Vec<StatusCode>,
    /// What says so in the body of a 200.
    pub body: Option<BodySign>,
}

/// A place in a JSON body and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySign {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    /// The string, or the number, `true` or `false` as JSON writes it.
    pub equals: String,
}

/// How idempotent requests (RFC 9110 §9.2.2) are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Answers that may pass.
    pub statuses: Vec<StatusCode>,
    /// How often a request is sent in all.
    pub attempts: u32,
    /// The longest wait that an answer's `Retry-After` may ask for; a longer one is the flow's.
    pub wait_max: Duration,
    /// How many of a hundred requests may be sent again, so that retries do not feed an outage.
    pub budget_percent: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            expired_on: ExpiredOn {
                statuses: vec![StatusCode::UNAUTHORIZED],
                body: None,
            },
            replay_body_bytes_max: 64 * 1024,
            retry: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            attempts: 2,
            wait_max: Duration::from_secs(1),
            budget_percent: 20,
        }
    }
}
