//! What is told of a slot's token requests: log and gauge.
//!
//! # Invariants
//!
//! Whoever is called at night reads one warning when token requests begin to fail, one when they
//! fail in another way, and one line when they succeed again; what repeats is for `debug`. The
//! gauge goes down exactly as often as it went up, and stays down once the slot is retired.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// What comes after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// How much longer requests are served with the token held.
    pub(super) token_left: Duration,
    /// How long it is until the next attempt.
    pub(super) next_attempt: Duration,
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
    pub(super) fn failed(&self, error: &TokenError, news: News, outlook: Outlook) {
        let Self {
            connector,
            endpoint,
            ..
        } = self;
        let class = error.class().name();
        let outcome = error.outcome().name();
        let Outlook {
            token_left,
            next_attempt,
        } = outlook;
        let meanwhile = match token_left.is_zero() {
            true => "requests are refused until one is",
            false => "the one held is used until it is spent",
        };
        match news {
            News::Began | News::Changed => tracing::warn!(
                %connector,
                %endpoint,
                class,
                outcome,
                code = error.code(),
                description = error.description(),
                error = %with_sources(error),
                token_left_s = token_left.as_secs(),
                next_attempt_s = next_attempt.as_secs(),
                "no token could be obtained; {meanwhile}"
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
