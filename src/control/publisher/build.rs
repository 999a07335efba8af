//! What a publication changes, and the entries that are built for it.

use std::collections::HashSet;
use std::sync::Arc;

use super::ground::{Basis, Ground};
use super::{PublishError, Withdrawal};
use crate::config::Config;
use crate::connector::{Connector, ConnectorId, ResourceDomain, Revision};
use crate::credential::{Credential, Credentials, Source};
use crate::directory::{ConnectorState, Entries, Entry, Upstream};
use crate::metrics::Metrics;

/// What has to be done to what was published.
#[derive(Default)]
pub(super) struct Differences {
    /// The connectors that are new or changed.
    pub(super) built: Vec<Wanted>,
    /// Those that are gone.
    pub(super) removed: Vec<(ConnectorId, Withdrawal)>,
}

/// A connector that gets another entry.
pub(super) struct Wanted {
    pub(super) connector: Arc<Connector>,
    /// Its revision, if no later one was published.
    at: Revision,
}

impl Wanted {
    /// One of the configuration: its changes are counted here.
    fn own(connector: &Arc<Connector>) -> Self {
        Self {
            connector: Arc::clone(connector),
            at: Revision(1),
        }
    }

    /// One of the store, which counts its changes.
    pub(super) fn stored(connector: &Arc<Connector>) -> Self {
        let stored = connector.stored.as_ref();
        Self {
            connector: Arc::clone(connector),
            at: Revision(stored.map_or(1, |stored| stored.revision)),
        }
    }
}

impl Differences {
    /// What another configuration changes; `basis` is what entries are built on from now on, where
    /// that is something else than before. Connectors that are `stored` stay, whatever it says.
    pub(super) fn of(
        config: &Config,
        previous: &Entries,
        stored: &HashSet<ConnectorId>,
        basis: Option<&Basis>,
    ) -> Self {
        let mut met = stored.len();
        let mut differs = |connector: &&Arc<Connector>| {
            let entry = previous.get(&connector.id);
            met += usize::from(entry.is_some());
            let same = |entry: &Arc<Entry>| entry.connector == **connector;
            basis.is_some() || !entry.is_some_and(same)
        };
        let connectors = &config.connectors;
        let differing = connectors.iter().filter(|one| differs(one));
        let mut built: Vec<_> = differing.map(Wanted::own).collect();
        if basis.is_some() {
            let rebuilt = stored.iter().filter_map(|id| previous.get(id));
            built.extend(rebuilt.map(|entry| Wanted::own(&entry.connector)));
        }
        // IDs are unique: if every entry was met, none is gone.
        let mut removed = Vec::new();
        if met < previous.len() {
            let stay: HashSet<&ConnectorId> = connectors.iter().map(|one| &one.id).collect();
            let gone = |id: &&ConnectorId| !stay.contains(id) && !stored.contains(*id);
            let gone = previous.keys().filter(gone).cloned();
            removed.extend(gone.map(|id| (id, Withdrawal::Deleted)));
        }
        Self { built, removed }
    }
}

/// What is to be published.
pub(super) struct Next {
    pub(super) entries: Entries,
    /// The entries that were built for it.
    pub(super) made: Vec<Arc<Entry>>,
    /// The entries that they replace, and those of connectors that are gone.
    pub(super) gone: Vec<Arc<Entry>>,
    /// Of connectors that are gone, those whose tokens are left alone.
    unread: HashSet<ConnectorId>,
}

impl Next {
    /// What was `made` in the place of what stood there before, without what is `removed`.
    pub(super) fn new(
        previous: &Entries,
        made: Vec<Arc<Entry>>,
        removed: &[(ConnectorId, Withdrawal)],
    ) -> Self {
        let mut entries = previous.clone();
        let mut gone = Vec::new();
        for entry in &made {
            let id = entry.connector.id.clone();
            gone.extend(entries.insert(id, Arc::clone(entry)));
        }
        for (id, _) in removed {
            gone.extend(entries.remove(id));
        }
        let unread = removed.iter();
        let unread = unread.filter(|(_, why)| *why == Withdrawal::Unread);
        Self {
            entries,
            made,
            gone,
            unread: unread.map(|(id, _)| id.clone()).collect(),
        }
    }

    /// The connectors whose entries were built for it.
    pub(super) fn published(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.made.iter().map(|entry| &entry.connector)
    }

    /// Those that were served before, and are not any more.
    pub(super) fn withdrawn(&self) -> impl Iterator<Item = &ConnectorId> {
        let gone = self.gone.iter().map(|entry| &entry.connector.id);
        gone.filter(|id| !self.entries.contains_key(*id))
    }

    /// Whether the connector of `entry` is served no more, by anybody: it was deactivated or
    /// deleted.
    pub(super) fn ends(&self, entry: &Entry) -> bool {
        let id = &entry.connector.id;
        match self.entries.get(id) {
            Some(now) => !now.connector.enabled,
            None => !self.unread.contains(id),
        }
    }
}

pub(super) struct Builder<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) metrics: &'a Metrics,
    pub(super) previous: &'a Entries,
}

impl Builder<'_> {
    /// Builds what is new and nothing else; if one part fails, `ground` is as it was.
    pub(super) fn build(
        &self,
        differences: &Differences,
        ground: &mut Ground,
    ) -> Result<Next, PublishError> {
        let mut made = Vec::with_capacity(differences.built.len());
        for wanted in &differences.built {
            match self.entry(wanted, ground) {
                Ok(entry) => made.push(entry),
                Err(error) => {
                    for entry in made {
                        ground.release(&entry.upstream);
                    }
                    return Err(error);
                }
            }
        }
        Ok(Next::new(self.previous, made, &differences.removed))
    }

    /// One entry; an inactive connector's leads nowhere and holds nothing.
    pub(super) fn entry(
        &self,
        wanted: &Wanted,
        ground: &mut Ground,
    ) -> Result<Arc<Entry>, PublishError> {
        let Wanted { connector, at } = wanted;
        let failed = |source| PublishError::Connector {
            connector: connector.id.to_string(),
            source,
        };
        let unaddressable = || PublishError::Unaddressable {
            connector: connector.id.to_string(),
        };
        let (state, revision) = match self.previous.get(&connector.id) {
            Some(previous) => (
                Arc::clone(&previous.state),
                Revision(previous.revision.0 + 1).max(*at),
            ),
            None => {
                let series = self.metrics.series(&connector.id);
                (Arc::new(ConnectorState::new(series)), *at)
            }
        };
        let resource: &ResourceDomain =
            connector.kind.resource_domain().ok_or_else(unaddressable)?;
        let (source, tls, pool) = if connector.enabled {
            let label = Arc::clone(state.series.label());
            let settings = &ground.basis.credential_settings;
            // Before anything is held that would have to be given up.
            let source = self
                .credentials
                .source(connector, revision, settings, label)
                .map_err(failed)?;
            let held = ground.hold(connector, resource.origin());
            let (tls, pool) = held.map_err(|error| {
                self.credentials.retire(&source);
                failed(error)
            })?;
            (source, tls, pool)
        } else {
            let (tls, pool) = ground.nowhere();
            (Source::Fixed(Credential::None), tls, pool)
        };
        let upstream = Upstream::new(resource.clone(), tls, pool);
        Ok(Arc::new(Entry {
            connector: Arc::clone(connector),
            revision,
            state,
            upstream,
            source,
        }))
    }
}
