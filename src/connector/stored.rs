//! What a connector has beside its keys when it comes from the store.

use std::sync::Arc;
use std::time::SystemTime;

use super::OAuth2;

/// Where in the store's history a connector stands, and what it may fall back on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The store's revision at the connector's last change, its tokens' purge included: the same on
    /// every replica.
    pub revision: u64,
    /// What it authenticated with before its secrets were last promoted, while that is kept.
    pub fallback: Option<Fallback>,
}

/// The client and its grant as they were before new secrets took their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// How tokens were asked for.
    pub oauth2: Arc<OAuth2>,
    /// Until when that may be done again.
    pub until: SystemTime,
}
