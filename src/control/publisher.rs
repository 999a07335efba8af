//! From configuration to [`Directory`]: the only writer of what the data plane reads.
//!
//! # Invariants
//!
//! A publication is whole or does not happen: everything is built before anything is swapped. A
//! connector that did not change keeps its entry, and with it its token and connections; one that
//! did keeps its `ConnectorState`, so that a reload resets no counter and no limit.
//!
//! What is published is the configuration's connectors and the store's, side by side: a
//! configuration replaces its own and leaves the store's as they are, and the reverse. An ID is
//! used once; where both name it, the configuration's connector is the one that is served.
//!
//! Only what differs is built and told: among 100,000 connectors, one that is edited costs the
//! comparison of the others and nothing else.
//!
//! An inactive connector is known and leads nowhere: it holds no pool, no TLS identity, no secret
//! beside its own text and no token, so that what it held is gone with its deactivation. The token
//! of one that was deactivated or deleted is ended at its authorization server too, where that
//! offers it (RFC 7009).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::expiry;
use crate::config::{Config, Tokens, Trust};
use crate::connector::ConnectorId;
use crate::credential::{Credentials, Source};
use crate::dial::AddressPolicy;
use crate::directory::{Directory, Entries, Entry, PoolId, Settings, Snapshot};
use crate::metrics::Metrics;
use crate::tls::TlsError;
use crate::tls::client::TrustAnchors;
use crate::tls::server::{Protocols, ServerIdentity};

mod amend;
mod build;
mod expiries;
mod ground;

pub use amend::{Amended, Withdrawal};
pub use expiries::expiries;

use build::{Builder, Differences, Next};
use expiries::Expiries;
use ground::{Basis, Ground};

/// Turns configurations into what the data plane reads.
#[derive(Debug)]
pub struct Publisher {
    directory: Arc<Directory>,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    published: Mutex<Published>,
    expiring: watch::Sender<expiry::Published>,
}

/// What the last publication was made of.
#[derive(Debug)]
struct Published {
    trust: Trust,
    tokens: Tokens,
    connectors_max: usize,
    system: TrustAnchors,
    expiries: Expiries,
    ground: Ground,
    /// Which of the entries are the store's.
    stored: HashSet<ConnectorId>,
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
    /// A connector that both the configuration and the store have.
    #[error(
        "connector {connector} is in the store and in the configuration; an ID is used once: name \
         the configuration's otherwise, or delete the store's"
    )]
    Clash {
        /// Its ID.
        connector: String,
    },
}

impl PublishError {
    /// Both have `connector`.
    pub(super) fn clash(connector: &ConnectorId) -> Self {
        Self::Clash {
            connector: connector.to_string(),
        }
    }
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
        let (nothing, stored) = (Entries::default(), HashSet::new());
        let settings = Arc::new(settings(config)?);
        let differences = Differences::of(config, &nothing, &stored, None);
        let builder = Builder {
            credentials: &credentials,
            metrics: &metrics,
            previous: &nothing,
        };
        let first = builder.build(&differences, &mut ground)?;
        credentials.warm(sources_to_warm(&first.made));
        let mut expiries = Expiries::default();
        expiries.configure(config);
        expiries.change(&config.connectors, []);
        let publisher = Self {
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
                stored,
            }),
            expiring: watch::Sender::default(),
        };
        publisher.tell(&publisher.published().expiries);
        Ok(publisher)
    }

    /// When what was published ends, from now on.
    pub fn expiring(&self) -> watch::Receiver<expiry::Published> {
        self.expiring.subscribe()
    }

    /// Tells when all ends that is published.
    fn tell(&self, expiries: &Expiries) {
        let all = expiries.all();
        self.metrics.replace_certificates(all.iter().cloned());
        self.expiring.send_replace(all.into());
    }

    /// What was published.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Publishes `config` beside what the store has, and returns the pools that nothing leads to any
    /// more.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then the last publication stands as it was.
    pub fn publish(&self, config: &Config) -> Result<Vec<PoolId>, PublishError> {
        let mut published = self.published();
        published.refuse_clashes(config)?;
        let settings = Arc::new(settings(config)?);
        let basis = published.other_basis(config)?;
        let previous = self.directory.current().entries.clone();
        let differences = Differences::of(config, &previous, &published.stored, basis.as_ref());
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
        published.expiries.configure(config);
        published
            .expiries
            .change(next.published(), next.withdrawn());
        self.tell(&published.expiries);
        published.trust = config.trust.clone();
        published.tokens = config.tokens;
        published.connectors_max = config.metrics.connectors_max;
        Ok(retired)
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds what differs; if that fails, nothing is left of it.
    fn build(
        &self,
        published: &mut Published,
        previous: &Entries,
        differences: &Differences,
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
            if next.ends(entry) {
                self.credentials.revoke(&entry.source);
            }
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
    /// An ID that the store has is no longer the configuration's to use.
    fn refuse_clashes(&self, config: &Config) -> Result<(), PublishError> {
        let mut connectors = config.connectors.iter();
        match connectors.find(|one| self.stored.contains(&one.id)) {
            None => Ok(()),
            Some(one) => Err(PublishError::clash(&one.id)),
        }
    }

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
        inbound: config.inbound.clone(),
        tls,
        policy: AddressPolicy::allowing(&config.trust.allow_addresses),
        access: config.logs.access,
    })
}

#[cfg(test)]
mod tests;
