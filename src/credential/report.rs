//! What is told of a slot's token requests: log and gauge.
//!
//! # Invariants
//!
//! Whoever is called at night reads one warning when token requests begin to fail, one when they
//! fail in another way, and one line when they succeed again; what repeats is for `debug`. The
//! gauge goes down exactly as often as it went up, and stays down once the slot is retired.

use std::fmt;
use std::sync::Arc;

use crate::connector::{ConnectorId, Origin};
use crate::logging::with_sources;
use crate::metrics::{FailureClass, TokenMetrics};

use super::error::TokenError;
use super::failure::{Failing, News};

/// Whose token requests these are, and where they are counted.
pub(super) struct Report {
    pub(super) connector: ConnectorId,
    /// The connector's name in the metrics.
    pub(super) label: Arc<str>,
    pub(super) endpoint: Origin,
    pub(super) metrics: Arc<TokenMetrics>,
}

impl Report {
    /// A token came; `over` is the failure it ended.
    pub(super) fn obtained(&self, over: Option<&Failing>) {
        let Self {
            connector,
            endpoint,
            ..
        } = self;
        match over {
            None => tracing::debug!(%connector, %endpoint, "obtained a token"),
            Some(over) => tracing::info!(
                %connector,
                %endpoint,
                failed_attempts = over.attempts,
                "obtained a token again"
            ),
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&self, error: &TokenError, news: News) {
        let Self {
            connector,
            endpoint,
            ..
        } = self;
        let class = error.class().name();
        let outcome = error.outcome().name();
        match news {
            News::Began | News::Changed => tracing::warn!(
                %connector,
                %endpoint,
                class,
                outcome,
                code = error.code(),
                description = error.description(),
                error = %with_sources(error),
                "no token could be obtained"
            ),
            News::Nothing => tracing::debug!(
                %connector,
                %endpoint,
                class,
                outcome,
                code = error.code(),
                error = %with_sources(error),
                "no token could be obtained either"
            ),
        }
    }

    /// Moves the gauge from one state to the next.
    pub(super) fn gauge(&self, before: Option<FailureClass>, now: Option<FailureClass>) {
        if before == now {
            return;
        }
        if let Some(class) = before {
            self.metrics.failing_no_more(&self.label, class);
        }
        if let Some(class) = now {
            self.metrics.failing(&self.label, class);
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}
