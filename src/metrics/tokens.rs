//! What is counted of token requests. They are rare and run on their own runtime, so one lock does.
//!
//! # Invariants
//!
//! Rows go by the labels of [`Series`](super::Series), which are bounded and stay as they are for as
//! long as a connector lives. A second bound here would move a connector from one row to another
//! as rows come and go, and its gauge would go down where it never went up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::OTHER;
use super::histogram::Histogram;

/// How a token request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// A token came.
    Ok,
    /// The token endpoint refused (RFC 6749 §5.2).
    Rejected,
    /// It answered with something that holds no usable token.
    Malformed,
    /// It did not answer in time.
    Timeout,
    /// There was no connection to it.
    Unreachable,
}

impl TokenOutcome {
    /// Its name, in metrics, logs and health reports.
    pub fn name(self) -> &'static str {
        TOKEN_OUTCOMES[self as usize]
    }
}

/// Whether another token request is likely to fail the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// It may pass by itself.
    Temporary,
    /// It stays until somebody changes something, here or at the authorization server.
    Permanent,
}

/// The names of [`FailureClass`], in its order.
pub(super) const FAILURE_CLASSES: [&str; 2] = ["temporary", "permanent"];

impl FailureClass {
    /// Its name, in metrics, logs and health reports.
    pub fn name(self) -> &'static str {
        FAILURE_CLASSES[self as usize]
    }
}

/// The names of [`TokenOutcome`], in its order.
pub(super) const TOKEN_OUTCOMES: [&str; 5] =
    ["ok", "rejected", "malformed", "timeout", "unreachable"];

/// Where a token came from, or had to, that replicas share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedOutcome {
    /// Another replica had obtained it already.
    Taken,
    /// It was obtained here, for all of them.
    Fetched,
    /// Another replica was obtaining it.
    Waited,
    /// Another replica was to obtain it and went away; it was obtained here.
    Lapsed,
    /// What is shared was out of reach; it was obtained here, for this replica alone.
    Unavailable,
}

/// The names of [`SharedOutcome`], in its order.
pub(super) const SHARED_OUTCOMES: [&str; 5] =
    ["taken", "fetched", "waited", "lapsed", "unavailable"];

/// Counts token requests, per connector.
#[derive(Debug, Default)]
pub struct TokenMetrics {
    pub(super) shared: [AtomicU64; SHARED_OUTCOMES.len()],
    pub(super) revocations: [AtomicU64; TOKEN_OUTCOMES.len()],
    rows: Mutex<HashMap<Arc<str>, TokenRow>>,
    pub(super) took: Histogram,
}

/// What is known of one connector's token requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenRow {
    pub(super) outcomes: [u64; TOKEN_OUTCOMES.len()],
    pub(super) expires_at: Option<SystemTime>,
    /// How many connectors of this row have no token request but failed ones to show, by class.
    pub(super) failing: [u64; FAILURE_CLASSES.len()],
    /// How many tokens were obtained with the secrets before a promotion.
    pub(super) fallbacks: u64,
}

impl TokenMetrics {
    /// Counts a token that was to be revoked. Its connector may be gone, so that none is named.
    pub fn revocation(&self, outcome: TokenOutcome) {
        self.revocations[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a token request of the connector with this label.
    pub fn request(&self, connector: &str, outcome: TokenOutcome, took: Duration) {
        self.took.observe(took);
        self.change(connector, |row| row.outcomes[outcome as usize] += 1);
    }

    /// Notes when the connector's newest token expires. Connectors that share a series have none
    /// here: of many expiries in one gauge, none could be told.
    pub fn expiry(&self, connector: &str, expires_at: SystemTime) {
        if connector != OTHER {
            self.change(connector, |row| row.expires_at = Some(expires_at));
        }
    }

    /// A token was needed that replicas share.
    pub fn shared(&self, outcome: SharedOutcome) {
        self.shared[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A token was obtained with the secrets before a promotion, since the new ones were refused.
    pub fn fell_back(&self, connector: &str) {
        self.change(connector, |row| row.fallbacks += 1);
    }

    /// A connector's token requests began to fail.
    pub fn failing(&self, connector: &str, class: FailureClass) {
        self.change(connector, |row| row.failing[class as usize] += 1);
    }

    /// They do not fail in this way any more. A row that is gone meanwhile stays gone.
    pub fn failing_no_more(&self, connector: &str, class: FailureClass) {
        if let Some(row) = self.lock().get_mut(connector) {
            let failing = &mut row.failing[class as usize];
            *failing = failing.saturating_sub(1);
        }
    }

    fn change(&self, connector: &str, change: impl FnOnce(&mut TokenRow)) {
        let mut rows = self.lock();
        match rows.get_mut(connector) {
            Some(row) => change(row),
            None => change(rows.entry(connector.into()).or_default()),
        }
    }

    pub(super) fn retain(&self, live: impl Fn(&str) -> bool) {
        self.lock()
            .retain(|label, _| &**label == OTHER || live(label));
    }

    /// Hands every row to `each`.
    pub(super) fn read(&self, mut each: impl FnMut(&str, &TokenRow)) {
        for (label, row) in self.lock().iter() {
            each(label, row);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, TokenRow>> {
        // A panic amid a count leaves a count too few, nothing worse.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ConnectorId;
    use crate::metrics::Metrics;

    fn row(tokens: &TokenMetrics, connector: &str) -> Option<TokenRow> {
        tokens.lock().get(connector).copied()
    }

    #[test]
    fn connectors_that_share_a_row_have_no_expiry() {
        let tokens = TokenMetrics::default();
        for connector in ["a", OTHER, OTHER] {
            tokens.request(connector, TokenOutcome::Rejected, Duration::ZERO);
            tokens.expiry(connector, SystemTime::UNIX_EPOCH);
        }

        let other = row(&tokens, OTHER).unwrap();
        assert_eq!(other.outcomes, [0, 2, 0, 0, 0]);
        assert_eq!(other.expires_at, None);
        let own = row(&tokens, "a").unwrap();
        assert_eq!(own.expires_at, Some(SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn connectors_that_fail_are_counted_while_they_do() {
        let tokens = TokenMetrics::default();
        for connector in ["a", OTHER, OTHER] {
            tokens.failing(connector, FailureClass::Temporary);
        }
        tokens.failing_no_more(OTHER, FailureClass::Temporary);
        tokens.failing(OTHER, FailureClass::Permanent);

        assert_eq!(row(&tokens, "a").unwrap().failing, [1, 0]);
        assert_eq!(row(&tokens, OTHER).unwrap().failing, [1, 1]);

        tokens.failing_no_more("a", FailureClass::Temporary);
        tokens.failing_no_more("a", FailureClass::Temporary);

        assert_eq!(row(&tokens, "a").unwrap().failing, [0, 0]);
    }

    #[test]
    fn a_failure_ends_in_the_row_it_began_in_whichever_rows_come_and_go() {
        let metrics = Metrics::new(1, 2);
        let id = |id| ConnectorId::parse(id).unwrap();
        let labels = ["a", "b", "c"].map(|one| Arc::clone(metrics.series(&id(one)).label()));
        let [a, b, c] = &labels;
        let tokens = metrics.tokens();
        tokens.request(c, TokenOutcome::Ok, Duration::ZERO);
        tokens.request(a, TokenOutcome::Ok, Duration::ZERO);
        tokens.failing(b, FailureClass::Temporary);

        metrics.retain(|id| id != "a");
        tokens.request(b, TokenOutcome::Ok, Duration::ZERO);
        tokens.failing_no_more(b, FailureClass::Temporary);

        assert_eq!(row(&tokens, OTHER).unwrap().failing, [0, 0]);
        assert_eq!(row(&tokens, "b").unwrap().failing, [0, 0]);
    }

    #[test]
    fn a_connector_that_is_gone_is_forgotten_and_the_shared_row_stays() {
        let tokens = TokenMetrics::default();
        tokens.request("a", TokenOutcome::Ok, Duration::ZERO);
        tokens.request(OTHER, TokenOutcome::Ok, Duration::ZERO);

        tokens.retain(|_| false);

        assert!(row(&tokens, "a").is_none());
        assert!(row(&tokens, OTHER).is_some());
    }
}
