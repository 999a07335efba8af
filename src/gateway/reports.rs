//! What `/readyz?verbose` tells of connectors: the control plane's words for what the directory
//! holds.

use crate::control::validate::told;
use crate::control::{FailureReport, TokenReport, TokenState};
use crate::credential::{self, FailureClass, TokenFailure};
use crate::directory::Directory;

/// The state of every token, those that cannot be renewed first: the list is cut where it is long.
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
    worst_first(reports.collect())
}

/// What stays until somebody changes something, then what may pass; by ID within each.
fn worst_first(mut reports: Vec<TokenReport>) -> Vec<TokenReport> {
    let rank = |report: &TokenReport| match &report.failing {
        Some(failing) if failing.class == FailureClass::Permanent.name() => 0,
        Some(_) => 1,
        None => 2,
    };
    reports.sort_unstable_by(|one, other| {
        (rank(one), &one.connector).cmp(&(rank(other), &other.connector))
    });
    reports
}

fn failure_report(failure: TokenFailure) -> FailureReport {
    FailureReport {
        class: failure.class.name(),
        outcome: failure.reason.outcome().name(),
        code: failure.reason.code().map(str::to_owned),
        error: told(&*failure.reason),
        since: failure.since,
        attempts: failure.attempts,
        next_attempt_at: failure.next_attempt_at,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn report(connector: &str, class: Option<FailureClass>) -> TokenReport {
        let at = SystemTime::UNIX_EPOCH;
        TokenReport {
            connector: connector.into(),
            state: TokenState::Absent,
            expires_at: None,
            failing: class.map(|class| FailureReport {
                class: class.name(),
                outcome: "rejected",
                code: None,
                error: String::new(),
                since: at,
                attempts: 1,
                next_attempt_at: at,
            }),
        }
    }

    #[test]
    fn what_fails_stands_before_what_does_not_and_what_will_not_pass_before_that() {
        let reports = worst_first(vec![
            report("a", None),
            report("d", Some(FailureClass::Temporary)),
            report("c", Some(FailureClass::Temporary)),
            report("b", None),
            report("z", Some(FailureClass::Permanent)),
        ]);

        let order: Vec<_> = reports.iter().map(|one| one.connector.as_str()).collect();
        assert_eq!(order, ["z", "c", "d", "a", "b"]);
    }
}
