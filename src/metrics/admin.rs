//! What is counted of the admin API. Its requests are rare, so they are counted behind one lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

/// The most series; the API has fewer operations and statuses than that.
const SERIES_MAX: usize = 1024;

/// Counts requests of administrators.
#[derive(Debug, Default)]
pub struct AdminMetrics(Mutex<BTreeMap<(String, u16), u64>>);

impl AdminMetrics {
    /// Counts one that was answered with `code`; `operation` is one of the API's.
    pub fn count(&self, operation: &str, code: StatusCode) {
        let mut counts = self.counts();
        let key = (operation.to_owned(), code.as_u16());
        if counts.len() < SERIES_MAX || counts.contains_key(&key) {
            *counts.entry(key).or_default() += 1;
        }
    }

    /// How many there were, by operation and code.
    pub(super) fn read(&self) -> BTreeMap<(String, u16), u64> {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(String, u16), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
