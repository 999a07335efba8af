//! What is known of the store, what of it is published, and what is told of both.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::read::{Reading, read};
use super::report::{BrokenReport, OutageReport, ServedFrom, StoreReport};
use crate::clock::Clock;
use crate::config::ConnectorDefaults;
use crate::connector::ConnectorId;
use crate::control::Health;
use crate::control::publisher::{PublishError, Publisher, Withdrawal};
use crate::control::store::{Changes, StoreError};
use crate::directory::PoolId;
use crate::logging;
use crate::metrics::{Metrics, StoreFigures};

/// The most broken connectors that are told by name.
const BROKEN_LISTED_MAX: usize = 100;

/// What a feed works on.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Where connectors are published.
    pub publisher: Arc<Publisher>,
    /// What readiness goes by.
    pub health: Arc<Health>,
    /// Where the store's standing is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

/// What was read, what came of it, and how the store stands.
pub(super) struct Ledger {
    desk: Desk,
    seen: u64,
    served_from: ServedFrom,
    broken: BTreeMap<ConnectorId, Broken>,
    outage: Option<OutageReport>,
}

struct Broken {
    revision: u64,
    error: String,
    cause: Cause,
}

/// Why a connector is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It cannot be opened, read or used.
    Itself,
    /// The configuration has one of its ID.
    Clash,
}

/// How much of the store a reading covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it: what it does not name is gone.
    Whole,
    /// What was changed since the reading before.
    Changed,
}

impl Ledger {
    /// Nothing is known so far.
    pub(super) fn new(desk: Desk) -> Self {
        let ledger = Self {
            desk,
            seen: 0,
            served_from: ServedFrom::Nothing,
            broken: BTreeMap::new(),
            outage: None,
        };
        ledger.tell();
        ledger
    }

    /// The store's revision that is published.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// A connector that both the store and the configuration have, if there is one.
    pub(super) fn clash(&self) -> Option<&ConnectorId> {
        let mut broken = self.broken.iter();
        let clash = broken.find(|(_, broken)| broken.cause == Cause::Clash);
        clash.map(|(id, _)| id)
    }

    /// Publishes what was read; returns the pools that nothing leads to any more.
    pub(super) fn take(
        &mut self,
        changes: &Changes,
        (extent, from): (Extent, ServedFrom),
        defaults: &ConnectorDefaults,
    ) -> Vec<PoolId> {
        let (mut served, mut withdrawn, mut broken) = (Vec::new(), Vec::new(), Vec::new());
        for opened in &changes.connectors {
            let record = &opened.record;
            match read(opened, defaults) {
                Reading::Served(connector) => served.push(connector),
                Reading::Gone => withdrawn.push((record.id.clone(), Withdrawal::Deleted)),
                Reading::Broken(error) => {
                    withdrawn.push((record.id.clone(), Withdrawal::Unread));
                    let revision = record.revision;
                    let cause = Cause::Itself;
                    broken.push((
                        record.id.clone(),
                        Broken {
                            revision,
                            error,
                            cause,
                        },
                    ));
                }
            }
        }
        if extent == Extent::Whole {
            let named: HashSet<_> = changes
                .connectors
                .iter()
                .map(|one| &one.record.id)
                .collect();
            let stored = self.desk.publisher.stored();
            let gone = stored.into_iter().filter(|id| !named.contains(id));
            withdrawn.extend(gone.map(|id| (id, Withdrawal::Deleted)));
        }
        let amended = self.desk.publisher.amend(&served, &withdrawn);
        broken.extend(amended.refused.into_iter().map(|(id, error)| {
            let cause = match &error {
                PublishError::Clash { .. } => Cause::Clash,
                PublishError::Listener(_)
                | PublishError::Trust(_)
                | PublishError::Connector { .. }
                | PublishError::Unaddressable { .. } => Cause::Itself,
            };
            let error = logging::with_sources(&error);
            let mut changed = changes.connectors.iter();
            let opened = changed.find(|one| one.record.id == id);
            let revision = opened.map_or(changes.revision, |one| one.record.revision);
            (
                id,
                Broken {
                    revision,
                    error,
                    cause,
                },
            )
        }));
        self.note_broken(changes, extent, broken);
        self.seen = changes.revision;
        self.served_from = from;
        self.tell();
        amended.retired
    }

    /// The store answered.
    pub(super) fn found(&mut self) {
        if let Some(outage) = self.outage.take() {
            let seconds = self.desk.clock.wall().duration_since(outage.since);
            let outage_seconds = seconds.unwrap_or_default().as_secs();
            tracing::info!(outage_seconds, "the store can be used again");
            self.tell();
        }
    }

    /// The store could not be used. Told once, until it was found again.
    pub(super) fn missed(&mut self, error: &StoreError) {
        if self.outage.is_none() {
            let error = logging::with_sources(error);
            match self.served_from {
                ServedFrom::Nothing => tracing::error!(error, "the store cannot be used"),
                ServedFrom::Store | ServedFrom::Snapshot { .. } => tracing::error!(
                    error,
                    "the store cannot be used; what it held last is served"
                ),
            }
            self.outage = Some(OutageReport {
                since: self.desk.clock.wall(),
                error,
            });
            self.tell();
        }
    }

    /// Notes what cannot be served, and tells each once for each revision.
    fn note_broken(
        &mut self,
        changes: &Changes,
        extent: Extent,
        broken: Vec<(ConnectorId, Broken)>,
    ) {
        let before = match extent {
            Extent::Whole => std::mem::take(&mut self.broken),
            Extent::Changed => {
                let changed = changes.connectors.iter().map(|one| &one.record.id);
                let taken = changed.filter_map(|id| self.broken.remove_entry(id));
                taken.collect()
            }
        };
        for (id, now) in broken {
            let known = before
                .get(&id)
                .is_some_and(|then| then.revision == now.revision && then.error == now.error);
            if !known {
                let Broken {
                    revision,
                    error,
                    cause: _,
                } = &now;
                tracing::error!(
                    connector = %id,
                    revision,
                    error,
                    "a connector of the store cannot be served; the others are"
                );
            }
            self.broken.insert(id, now);
        }
    }

    fn tell(&self) {
        let Desk {
            publisher,
            health,
            metrics,
            clock: _,
        } = &self.desk;
        let connectors = publisher.stored_count();
        let listed = self.broken.iter().take(BROKEN_LISTED_MAX);
        health.published(publisher.directory().current().entries.len());
        health.store(StoreReport {
            served_from: self.served_from,
            revision: self.seen,
            connectors,
            broken: listed
                .map(|(id, broken)| BrokenReport {
                    connector: id.to_string(),
                    revision: broken.revision,
                    error: broken.error.clone(),
                })
                .collect(),
            broken_omitted: self.broken.len().saturating_sub(BROKEN_LISTED_MAX),
            outage: self.outage.clone(),
        });
        metrics.store().stands(StoreFigures {
            up: self.outage.is_none() && self.served_from == ServedFrom::Store,
            revision: self.seen,
            served: connectors,
            broken: self.broken.len(),
        });
    }
}
