//! What `/readyz?verbose` tells of connectors: the control plane's words for what the directory
//! holds.

use crate::control::{FailureReport, TokenReport, TokenState};
use crate::credential::{self, TokenFailure};
use crate::directory::Directory;
use crate::logging;

/// The state of every token.
pub(super) fn token_reports(directory: &Directory) -> Vec<TokenReport> {
    let entries = directory.current().entries.clone();
    let reports = entries.iter().filter_map(|(id, entry)| {
        let (state, expires_at) = match entry.source.state()? {
            credential::TokenState::Absent { .. } => (TokenState::Absent, None),
            credential::TokenState::Fresh { expires_at, .. } => {
                (TokenState::Fresh, Some(expires_at))
            }
            credential::TokenState::Spent { expires_at, .. } => {
                (TokenState::Spent, Some(expires_at))
            }
        };
        Some(TokenReport {
            connector: id.to_string(),
            state,
            expires_at,
            failing: entry.source.failure().map(failure_report),
        })
    });
    let mut reports: Vec<_> = reports.collect();
    reports.sort_unstable_by(|one, other| one.connector.cmp(&other.connector));
    reports
}

fn failure_report(failure: TokenFailure) -> FailureReport {
    FailureReport {
        class: failure.class.name(),
        outcome: failure.reason.outcome().name(),
        code: failure.reason.code().map(str::to_owned),
        error: logging::with_sources(&*failure.reason),
        since: failure.since,
        attempts: failure.attempts,
        next_attempt_at: failure.next_attempt_at,
    }
}
