//! From configuration to [`Directory`]: the only writer of what the data plane reads.
//!
//! # Invariants
//!
//! A publication is whole or does not happen: everything is built before anything is swapped. A
//! connector that did not change keeps its entry, and with it its token and connections; one that
//! did keeps its [`ConnectorState`], so that a reload resets no counter and no limit.
//!
//! Only what differs is built and told: among 100,000 connectors, one that is edited costs the
//! comparison of the others and nothing else.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, Tokens, Trust};
use crate::connector::{Connector, ConnectorId, ResourceDomain, Revision};
use crate::credential::{Credentials, Source};
use crate::dial::AddressPolicy;
use crate::directory::{
    ConnectorState, Directory, Entries, Entry, PoolId, Settings, Snapshot, Upstream,
};
use crate::metrics::{CertificateExpiry, Metrics};
use crate::tls::TlsError;
use crate::tls::client::TrustAnchors;
use crate::tls::server::{Protocols, ServerIdentity};

mod expiries;
mod ground;

use expiries::{expiry, own_expiries, tell_expiries};
use ground::{Basis, Ground};

/// Turns configurations into what the data plane reads.
#[derive(Debug)]
pub struct Publisher {
    directory: Arc<Directory>,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    published: Mutex<Published>,
}

/// What the last publication was made of.
#[derive(Debug)]
struct Published {
    trust: Trust,
    tokens: Tokens,
    connectors_max: usize,
    system: TrustAnchors,
    /// Those of the gateway's own certificates.
    expiries: Vec<CertificateExpiry>,
    ground: Ground,
}

/// Why a configuration cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The listener's certificate, key or client CA.
    #[error("tls cannot be used")]
    Listener(#[source] TlsError),
    /// A CA bundle under `trust`.
    #[error("trust.ca_bundles cannot be used")]
    Trust(#[source] TlsError),
    /// A connector's certificate, key or CA bundle.
    #[error("connector {connector} cannot be used")]
    Connector {
        /// Its ID.
        connector: String,
        /// What is wrong.
        #[source]
        source: TlsError,
    },
    /// A connector whose origin cannot stand in a request.
    #[error("connector {connector} has a resource domain that cannot be addressed")]
    Unaddressable {
        /// Its ID.
        connector: String,
    },
}

impl Publisher {
    /// Publishes `config` for the first time.
    ///
    /// # Errors
    ///
    /// [`PublishError`] naming the part that cannot be used.
    pub fn new(
        config: &Config,
        credentials: Credentials,
        metrics: Arc<Metrics>,
    ) -> Result<Self, PublishError> {
        let system = TrustAnchors::system_and([]).map_err(PublishError::Trust)?;
        let mut ground = Ground::on(Basis::new(config, &system)?);
        let nothing = Entries::default();
        let settings = Arc::new(settings(config)?);
        let differences = Differences::new(&nothing, &config.connectors, Reuse::Nothing);
        let builder = Builder {
            credentials: &credentials,
            metrics: &metrics,
            previous: &nothing,
        };
        let first = builder.build(&differences, &mut ground)?;
        credentials.warm(sources_to_warm(&first.made));
        let expiries = own_expiries(config);
        tell_expiries(&metrics, &expiries, &config.connectors);
        Ok(Self {
            directory: Arc::new(Directory::new(Snapshot {
                settings,
                entries: first.entries,
            })),
            credentials,
            metrics,
            published: Mutex::new(Published {
                trust: config.trust.clone(),
                tokens: config.tokens,
                connectors_max: config.metrics.connectors_max,
                system,
                expiries,
                ground,
            }),
        })
    }

    /// What was published.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Publishes `config` and returns the pools that nothing leads to any more.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then the last publication stands as it was.
    pub fn publish(&self, config: &Config) -> Result<Vec<PoolId>, PublishError> {
        let published = self.published.lock();
        let mut published = published.unwrap_or_else(PoisonError::into_inner);
        let settings = Arc::new(settings(config)?);
        let basis = published.other_basis(config)?;
        let previous = self.directory.current().entries.clone();
        let reuse = match basis {
            Some(_) => Reuse::Nothing,
            None => Reuse::Unchanged,
        };
        let differences = Differences::new(&previous, &config.connectors, reuse);
        let basis = basis.map(|next| std::mem::replace(&mut published.ground.basis, next));
        self.metrics.bound_series(config.metrics.connectors_max);
        let next = match self.build(&mut published, &previous, &differences) {
            Ok(next) => next,
            Err(error) => {
                if let Some(basis) = basis {
                    published.ground.basis = basis;
                }
                return Err(error);
            }
        };
        let retired = self.show(&mut published.ground, settings, &next);
        if published.tokens.entries_max != config.tokens.entries_max {
            let sources = next.entries.values().map(|entry| &entry.source);
            self.credentials.hold(config.tokens.entries_max, sources);
        }
        if !differences.removed.is_empty() {
            self.metrics.retain(|id| next.entries.contains_key(id));
        }
        published.expiries = own_expiries(config);
        tell_expiries(&self.metrics, &published.expiries, &config.connectors);
        published.trust = config.trust.clone();
        published.tokens = config.tokens;
        published.connectors_max = config.metrics.connectors_max;
        Ok(retired)
    }

    /// Publishes one connector, new or edited, and returns the pools that nothing leads to any more.
    /// What it costs does not depend on how many there are, unless a certificate is involved, whose
    /// expiries are told together.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then the last publication stands as it was.
    pub fn publish_one(&self, connector: &Arc<Connector>) -> Result<Vec<PoolId>, PublishError> {
        let published = self.published.lock();
        let mut published = published.unwrap_or_else(PoisonError::into_inner);
        let snapshot = Snapshot::clone(&self.directory.current());
        let differences = Differences {
            built: vec![connector],
            removed: Vec::new(),
        };
        let next = self.build(&mut published, &snapshot.entries, &differences)?;
        let retired = self.show(&mut published.ground, snapshot.settings, &next);
        let touched = next.made.iter().chain(&next.gone);
        if touched
            .into_iter()
            .any(|one| expiry(&one.connector).is_some())
        {
            let connectors = next.entries.values().map(|one| &one.connector);
            tell_expiries(&self.metrics, &published.expiries, connectors);
        }
        Ok(retired)
    }

    /// Builds what differs; if that fails, nothing is left of it.
    fn build(
        &self,
        published: &mut Published,
        previous: &Entries,
        differences: &Differences<'_>,
    ) -> Result<Next, PublishError> {
        let builder = Builder {
            credentials: &self.credentials,
            metrics: &self.metrics,
            previous,
        };
        builder
            .build(differences, &mut published.ground)
            .inspect_err(|_| self.take_back(published, previous))
    }

    /// Shows `next` to the data plane and lets go of what it replaces; returns the pools that
    /// nothing leads to any more.
    fn show(&self, ground: &mut Ground, settings: Arc<Settings>, next: &Next) -> Vec<PoolId> {
        self.directory.publish(Snapshot {
            settings,
            entries: next.entries.clone(),
        });
        let retired = self.let_go(ground, next);
        self.credentials.warm(sources_to_warm(&next.made));
        retired
    }

    /// Lets go of what the entries held that `next` replaces; returns the pools that nothing leads
    /// to any more.
    fn let_go(&self, ground: &mut Ground, next: &Next) -> Vec<PoolId> {
        let mut retired = Vec::new();
        for entry in &next.gone {
            self.credentials.retire(&entry.source);
            if let Some(now) = next.entries.get(&entry.connector.id) {
                now.state.edited(&now.connector.bulkhead);
            }
            retired.extend(ground.release(&entry.upstream));
        }
        retired
    }

    /// Forgets what a publication that failed has noted on its way: series of connectors that do
    /// not exist, and tokens made on its ground, which the next revision must not find.
    fn take_back(&self, published: &Published, previous: &Entries) {
        self.metrics.bound_series(published.connectors_max);
        self.metrics.retain(|id| previous.contains_key(id));
        let sources = previous.values().map(|entry| &entry.source);
        self.credentials.hold(published.tokens.entries_max, sources);
    }
}

impl Published {
    /// What entries are built on under `config`, where that is something else than before.
    fn other_basis(&self, config: &Config) -> Result<Option<Basis>, PublishError> {
        if self.trust != config.trust {
            return Basis::new(config, &self.system).map(Some);
        }
        let others = self.tokens != config.tokens;
        Ok(others.then(|| self.ground.basis.under(config.tokens)))
    }
}

/// Where the credentials come from that are wanted before any flow asks.
fn sources_to_warm(made: &[Arc<Entry>]) -> Vec<Source> {
    let wanted = made
        .iter()
        .filter(|entry| entry.connector.enabled && entry.connector.warm);
    wanted.map(|entry| entry.source.clone()).collect()
}

/// Whether entries of the previous snapshot may stand for connectors that did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    Unchanged,
    Nothing,
}

/// What has to be done to what was published.
struct Differences<'a> {
    /// The connectors that are new or changed.
    built: Vec<&'a Arc<Connector>>,
    /// Those that are gone.
    removed: Vec<ConnectorId>,
}

impl<'a> Differences<'a> {
    fn new(previous: &Entries, connectors: &'a [Arc<Connector>], reuse: Reuse) -> Self {
        let mut met = 0;
        let mut differs = |connector: &&Arc<Connector>| {
            let entry = previous.get(&connector.id);
            met += usize::from(entry.is_some());
            let same = |entry: &Arc<Entry>| entry.connector == **connector;
            reuse == Reuse::Nothing || !entry.is_some_and(same)
        };
        let built = connectors.iter().filter(|one| differs(one)).collect();
        // IDs are unique: if every entry was met, none is gone.
        let mut removed = Vec::new();
        if met < previous.len() {
            let stay: HashSet<&ConnectorId> = connectors.iter().map(|one| &one.id).collect();
            let gone = previous.keys().filter(|id| !stay.contains(id));
            removed.extend(gone.cloned());
        }
        Self { built, removed }
    }
}

/// What is to be published.
struct Next {
    entries: Entries,
    /// The entries that were built for it.
    made: Vec<Arc<Entry>>,
    /// The entries that they replace, and those of connectors that are gone.
    gone: Vec<Arc<Entry>>,
}

struct Builder<'a> {
    credentials: &'a Credentials,
    metrics: &'a Metrics,
    previous: &'a Entries,
}

impl Builder<'_> {
    /// Builds what is new and nothing else; if one part fails, `ground` is as it was.
    fn build(
        &self,
        differences: &Differences<'_>,
        ground: &mut Ground,
    ) -> Result<Next, PublishError> {
        let mut next = Next {
            entries: self.previous.clone(),
            made: Vec::with_capacity(differences.built.len()),
            gone: Vec::new(),
        };
        for connector in &differences.built {
            match self.entry(connector, ground) {
                Ok(entry) => next.made.push(entry),
                Err(error) => {
                    for entry in next.made {
                        ground.release(&entry.upstream);
                    }
                    return Err(error);
                }
            }
        }
        for entry in &next.made {
            let id = entry.connector.id.clone();
            next.gone.extend(next.entries.insert(id, Arc::clone(entry)));
        }
        for id in &differences.removed {
            next.gone.extend(next.entries.remove(id));
        }
        Ok(next)
    }

    fn entry(
        &self,
        connector: &Arc<Connector>,
        ground: &mut Ground,
    ) -> Result<Arc<Entry>, PublishError> {
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
                Revision(previous.revision.0 + 1),
            ),
            None => {
                let series = self.metrics.series(&connector.id);
                (Arc::new(ConnectorState::new(series)), Revision(1))
            }
        };
        let resource: &ResourceDomain =
            connector.kind.resource_domain().ok_or_else(unaddressable)?;
        let label = Arc::clone(state.series.label());
        // Before anything is held that would have to be given up.
        let source = self
            .credentials
            .source(
                connector,
                revision,
                &ground.basis.credential_settings,
                label,
            )
            .map_err(failed)?;
        let (tls, pool) = ground.hold(connector, resource.origin()).map_err(failed)?;
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

fn settings(config: &Config) -> Result<Settings, PublishError> {
    let tls = config.tls.as_ref();
    let tls = tls
        .map(|tls| ServerIdentity::new(tls, Protocols::Http2AndHttp11))
        .transpose()
        .map_err(PublishError::Listener)?;
    Ok(Settings {
        limits: config.limits,
        timeouts: config.timeouts,
        hosts: config.hosts.clone(),
        tls,
        policy: AddressPolicy::allowing(&config.trust.allow_addresses),
        access: config.logs.access,
    })
}

#[cfg(test)]
mod tests;
