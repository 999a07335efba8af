//! What the gateway counts of itself, and how a scraper reads it.
//!
//! # Invariants
//!
//! The data plane writes to no line of memory that another worker writes to: every worker counts
//! for itself and a scrape adds up. Nothing is allocated per request, and no lock is taken.
//!
//! The number of series is bounded, whatever flows and origins send: at most `connectors_max`
//! connectors have their own, the rest share `connector="other"`, requests to unknown IDs are
//! `connector="none"`, unknown methods and surplus statuses are `other`. Another bound holds for
//! the connectors that come after it: one that counts somewhere already goes on there, or its
//! gauges would go down where they never went up.
//!
//! Durations are counted in buckets of 1, 2.5, 5, 10, 25, 50, 100, 250 and 500 ms and 1, 2.5, 5,
//! 10, 30 and 60 s.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crossbeam_utils::CachePadded;

use crate::connector::ConnectorId;

mod admin;
mod doors;
mod families;
mod histogram;
mod lookups;
mod requests;
mod scrape;
mod series;
mod store;
mod tokens;
mod worker;

pub use admin::AdminMetrics;
pub use doors::{BalancerRefusal, DoorMetrics, HandshakeRefusal, Listener};
pub use families::{FAMILIES, Family, Kind};
pub use lookups::{LookupMetrics, LookupOutcome};
pub use series::{ConnectionState, RetryCause, Series};
pub use store::{StoreFigures, StoreMetrics};
pub use tokens::{FailureClass, SharedOutcome, TokenMetrics, TokenOutcome};
pub use worker::{CacheOutcome, WorkerCounters};

/// The label of connectors that share a series.
const OTHER: &str = "other";
/// The label of what belongs to no connector.
const NONE: &str = "none";

/// Everything that is counted, one per process.
#[derive(Debug)]
pub struct Metrics {
    counters: Arc<Counters>,
    scrape: scrape::Scrape,
}

/// What a reload of the configuration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The new configuration holds.
    Ok,
    /// The last good one stays.
    Failed,
}

/// The names of [`ReloadOutcome`], in its order.
const RELOAD_OUTCOMES: [&str; 2] = ["ok", "failed"];

/// A certificate of ours that will expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The connector's ID; `none` for the gateway's own.
    pub connector: String,
    /// What it is used for.
    pub usage: &'static str,
    /// The end of its validity (RFC 5280 §4.1.2.5).
    pub at: SystemTime,
}

#[derive(Debug)]
struct Counters {
    workers: Box<[CachePadded<WorkerCounters>]>,
    connectors_max: AtomicUsize,
    directory: Mutex<SeriesDirectory>,
    other: Arc<Series>,
    unknown: Arc<Series>,
    tokens: Arc<TokenMetrics>,
    lookups: Arc<LookupMetrics>,
    doors: Arc<DoorMetrics>,
    store: Arc<StoreMetrics>,
    admin: AdminMetrics,
    reloads: [AtomicU64; RELOAD_OUTCOMES.len()],
    certificates: Mutex<Certificates>,
}

/// Expiries by connector label and use.
type Certificates = BTreeMap<(Arc<str>, &'static str), SystemTime>;

/// Which connector counts where.
#[derive(Debug, Default)]
struct SeriesDirectory {
    by_connector: HashMap<ConnectorId, Arc<Series>>,
    /// How many of them have a series of their own.
    own: usize,
}

impl Metrics {
    /// Counters for `workers` workers, with series for at most `connectors_max` connectors.
    pub fn new(workers: usize, connectors_max: usize) -> Arc<Self> {
        let counters = Arc::new(Counters {
            workers: (0..workers.max(1))
                .map(|_| CachePadded::default())
                .collect(),
            connectors_max: AtomicUsize::new(connectors_max),
            directory: Mutex::default(),
            other: Arc::new(Series::new(OTHER, workers)),
            unknown: Arc::new(Series::new(NONE, workers)),
            tokens: Arc::default(),
            lookups: Arc::default(),
            doors: Arc::default(),
            store: Arc::default(),
            admin: AdminMetrics::default(),
            reloads: Default::default(),
            certificates: Mutex::default(),
        });
        Arc::new(Self {
            scrape: scrape::Scrape::new(Arc::clone(&counters)),
            counters,
        })
    }

    /// The counters of one worker.
    pub fn worker(&self, index: usize) -> &WorkerCounters {
        let workers = &self.counters.workers;
        workers.get(index).unwrap_or(&workers[0])
    }

    /// Where a connector's figures are counted: a series of its own while there is room, else the
    /// shared one. The same ID gets the same series until [`Metrics::retain`] forgets it.
    pub fn series(&self, connector: &ConnectorId) -> Arc<Series> {
        let mut directory = self.counters.directory();
        if let Some(series) = directory.by_connector.get(connector.as_str()) {
            return Arc::clone(series);
        }
        // "other" and "none" are IDs that a connector may bear, but not series it may own.
        let reserved = [OTHER, NONE].contains(&connector.as_str());
        let series =
            if reserved || directory.own >= self.counters.connectors_max.load(Ordering::Relaxed) {
                Arc::clone(&self.counters.other)
            } else {
                directory.own += 1;
                Arc::new(Series::new(connector.as_str(), self.counters.workers.len()))
            };
        directory
            .by_connector
            .insert(connector.clone(), Arc::clone(&series));
        series
    }

    /// Lets at most `connectors_max` connectors have a series of their own from now on.
    pub fn bound_series(&self, connectors_max: usize) {
        let bound = &self.counters.connectors_max;
        bound.store(connectors_max, Ordering::Relaxed);
    }

    /// Where requests to no known connector are counted.
    pub fn unknown(&self) -> Arc<Series> {
        Arc::clone(&self.counters.unknown)
    }

    /// Forgets the series of connectors that are gone. Whoever still holds one counts into the void;
    /// one that comes back begins at zero, which scrapers take for a restart.
    pub fn retain(&self, live: impl Fn(&str) -> bool) {
        let mut directory = self.counters.directory();
        directory.by_connector.retain(|id, _| live(id.as_str()));
        let other = &self.counters.other;
        let own = |series: &&Arc<Series>| !Arc::ptr_eq(series, other);
        directory.own = directory.by_connector.values().filter(own).count();
        drop(directory);
        self.counters.tokens.retain(live);
    }

    /// The counters of token requests.
    pub fn tokens(&self) -> Arc<TokenMetrics> {
        Arc::clone(&self.counters.tokens)
    }

    /// The counters of name look-ups.
    pub fn lookups(&self) -> Arc<LookupMetrics> {
        Arc::clone(&self.counters.lookups)
    }

    /// The counters of connections that are closed before HTTP is spoken on them.
    pub fn doors(&self) -> Arc<DoorMetrics> {
        Arc::clone(&self.counters.doors)
    }

    /// Where the store's standing is told.
    pub fn store(&self) -> Arc<StoreMetrics> {
        Arc::clone(&self.counters.store)
    }

    /// The counters of the admin API.
    pub fn admin(&self) -> &AdminMetrics {
        &self.counters.admin
    }

    /// Counts a reload.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        self.counters.reloads[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes when one certificate expires. Of the connectors that share a series, the earliest.
    pub fn certificate_expiry(&self, connector: &str, usage: &'static str, at: SystemTime) {
        let label = self.counters.label(connector);
        note(&mut self.counters.certificates(), label, usage, at);
    }

    /// Replaces every expiry noted so far, as a reload does.
    pub fn replace_certificates(&self, all: impl IntoIterator<Item = CertificateExpiry>) {
        let mut next = Certificates::new();
        for one in all {
            let label = self.counters.label(&one.connector);
            note(&mut next, label, one.usage, one.at);
        }
        *self.counters.certificates() = next;
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    pub fn encode(&self) -> String {
        self.scrape.encode()
    }
}

fn note(certificates: &mut Certificates, label: Arc<str>, usage: &'static str, at: SystemTime) {
    let shared = &*label == OTHER;
    let noted = certificates.entry((label, usage)).or_insert(at);
    *noted = if shared { at.min(*noted) } else { at };
}

impl Counters {
    /// The label a connector's figures stand under.
    fn label(&self, connector: &str) -> Arc<str> {
        if connector == NONE {
            return Arc::clone(self.unknown.label());
        }
        let directory = self.directory();
        let series = directory.by_connector.get(connector);
        Arc::clone(series.unwrap_or(&self.other).label())
    }

    /// Every series, each once.
    fn all_series(&self) -> Vec<Arc<Series>> {
        let directory = self.directory();
        let own = directory.by_connector.values();
        own.filter(|series| !Arc::ptr_eq(series, &self.other))
            .chain([&self.other, &self.unknown])
            .map(Arc::clone)
            .collect()
    }

    fn directory(&self) -> MutexGuard<'_, SeriesDirectory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        self.certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
