//! What the feed tells of itself: to `/readyz`, to `/readyz?verbose` and to the metrics.

use std::time::SystemTime;

use serde::Serialize;

use crate::control::health::date;

/// How the store and what is served of it stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Where what is served was read.
    #[serde(flatten)]
    pub served_from: ServedFrom,
    /// The store's revision that it was read at.
    pub revision: u64,
    /// How many of its connectors flows find.
    pub connectors: usize,
    /// Those that they should find and do not.
    pub broken: Vec<BrokenReport>,
    /// How many more there are.
    pub broken_omitted: usize,
    /// Why the store cannot be used, while that lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<OutageReport>,
}

/// Where what is served of the store was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "served_from", rename_all = "lowercase")]
pub enum ServedFrom {
    /// Nowhere so far: nothing of it is served.
    Nothing,
    /// In the snapshot on this machine's disk; the store could not be used since the start.
    Snapshot {
        /// When it was taken.
        #[serde(rename = "snapshot_of", serialize_with = "date")]
        at: SystemTime,
    },
    /// In the store itself.
    Store,
}

/// A connector of the store that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokenReport {
    /// Its ID.
    pub connector: String,
    /// The store's revision at its last change.
    pub revision: u64,
    /// Why. Never shows a secret.
    pub error: String,
}

/// The store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutageReport {
    /// Since when, as far as was noticed.
    #[serde(serialize_with = "date")]
    pub since: SystemTime,
    /// What it said first. Shows neither its address nor a password.
    pub error: String,
}
