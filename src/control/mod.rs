//! The control plane: publishes connectors, and shows health and metrics.
//!
//! # Invariants
//!
//! It may be slow or broken while flows are served: nothing here is on a request's path. The admin
//! listener answers to its own names only; the metrics listener answers to any, but shows nothing
//! that tells of the configuration, and has no API.

use std::fmt;
use std::sync::Arc;

use crate::metrics::Metrics;

mod bulkheads;
mod health;
mod host;
mod listener;
mod problem;
mod routes;
pub mod access;
pub mod api;
pub mod expiry;
pub mod feed;
pub mod publisher;
pub mod registry;
pub mod store;
pub mod validate;

pub use bulkheads::{BreakerState, BulkheadReport, bulkhead_reporter};
pub use health::{Health, Outcome, Reload};
pub use host::HostRule;
pub use listener::{Door, serve};
pub use routes::{FailureReport, TokenReport, TokenState};

/// What the control plane's listeners show.
pub struct Control {
    /// The gateway's state.
    pub health: Arc<Health>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// The state of the connectors' tokens, asked for by `/readyz?verbose`.
    pub tokens: Box<dyn Fn() -> Vec<TokenReport> + Send + Sync>,
    /// What connectors use of their limits, the same way.
    pub bulkheads: Box<dyn Fn() -> Vec<BulkheadReport> + Send + Sync>,
    /// Where administrators manage connectors.
    pub api: api::Api,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
