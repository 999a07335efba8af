//! What all slots of a process have in common when they share tokens: the way to the store, and
//! whether it is left alone.
//!
//! # Invariants
//!
//! No operation on the store is waited for longer than [`PATIENCE`], nor are those that stand before
//! a token together. After one that failed the store is left alone for [`LEFT_ALONE`], by all slots:
//! what is dead or hangs costs each slot that delay at most once in that time, and nobody a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;

use super::cache;
use super::shared::{SharedKey, SharedTokens, Unavailable};
use crate::clock::Clock;
use crate::connector::{Connector, OAuth2};
use crate::logging::with_sources;
use crate::metrics::TokenMetrics;

/// The longest that the store may keep a token waiting.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// How long the store is left alone after it failed.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// The way of all slots to the shared tokens.
pub(super) struct Commons {
    pub(super) shared: Arc<dyn SharedTokens>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<TokenMetrics>,
    key: hmac::Key,
    /// Milliseconds of the monotonic clock.
    left_alone_until: AtomicU64,
    /// The last operation failed.
    failed: AtomicBool,
}

/// What is left of one slot's patience.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Patience {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(PATIENCE)
    }
}

impl Commons {
    /// The way to `shared`.
    pub(super) fn new(
        shared: Arc<dyn SharedTokens>,
        clock: &Clock,
        metrics: &Arc<TokenMetrics>,
    ) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &*shared.fingerprint_key()),
            shared,
            clock: clock.clone(),
            metrics: Arc::clone(metrics),
            left_alone_until: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Under what `connector`'s token is shared.
    pub(super) fn key_of(&self, connector: &Connector, oauth2: &OAuth2) -> SharedKey {
        cache::shared_key(&self.key, connector, oauth2)
    }

    /// Whether an operation would be tried at all.
    pub(super) fn is_left_alone(&self) -> bool {
        millis(self.clock.monotonic()) < self.left_alone_until.load(Ordering::Relaxed)
    }

    /// What `operation` comes to; `None` if it fails, takes longer than `patience` lasts, or is not
    /// tried at all.
    pub(super) async fn ask<T>(
        &self,
        patience: &mut Patience,
        operation: impl Future<Output = Result<T, Unavailable>>,
    ) -> Option<T> {
        if self.is_left_alone() {
            return None;
        }
        let asked = self.clock.monotonic();
        let done = tokio::select! {
            biased;
            done = operation => Some(done),
            () = self.clock.sleep_until(asked.saturating_add(patience.0)) => None,
        };
        let now = self.clock.monotonic();
        patience.0 = patience.0.saturating_sub(now.saturating_sub(asked));
        match done {
            Some(Ok(done)) => {
                if self.failed.swap(false, Ordering::Relaxed) {
                    tracing::info!("tokens are shared with other replicas again");
                }
                Some(done)
            }
            failed => {
                let until = millis(now.saturating_add(LEFT_ALONE));
                self.left_alone_until.store(until, Ordering::Relaxed);
                if !self.failed.swap(true, Ordering::Relaxed) {
                    let failed = failed.and_then(Result::err);
                    let error = failed.as_ref().map(|error| with_sources(error).to_string());
                    let error = error.as_deref().unwrap_or("no answer in time");
                    tracing::warn!(
                        error,
                        "tokens cannot be shared with other replicas for now; each obtains its own"
                    );
                }
                None
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
