//! From configuration to [`Directory`]: the only writer of what the data plane reads.
//!
//! # Invariants
//!
//! A publication is whole or does not happen: everything is built before anything is swapped. A
//! connector that did not change keeps its entry, and with it its token and connections; one that
//! did keeps its [`ConnectorState`], so that a reload resets no counter and no limit.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, ServerTls, Tokens, Trust};
use crate::connector::{Connector, ConnectorId, Http2, Origin, ResourceDomain, Revision, Scheme};
use crate::credential::{self, Credentials, Source};
use crate::dial::AddressPolicy;
use crate::directory::{
    ConnectorState, Directory, Entry, PoolId, Retired, Settings, Snapshot, Upstream,
};
use crate::metrics::{CertificateExpiry, Metrics};
use crate::tls::client::{ClientTls, Generation, TrustAnchors};
use crate::tls::server::{Protocols, ServerIdentity};
use crate::tls::{self, TlsError};

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
    ground: Ground,
}

/// What entries are built on, shared by all that agree on it.
#[derive(Clone, Debug)]
struct Ground {
    anchors: TrustAnchors,
    credential_settings: credential::Settings,
    identities: HashMap<IdentityKey, ClientTls>,
    pools: HashMap<(Origin, Generation), (PoolId, Retired)>,
    next_pool: u64,
}

/// Everything that decides a TLS identity towards origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct IdentityKey {
    ca_bundle: Option<Arc<str>>,
    certificate: Option<String>,
    /// Tells two keys of one certificate apart without keeping either: the connector's.
    owner: Option<String>,
    http2: Http2,
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
        let mut ground = Ground::new(config, &system, 0)?;
        let nothing = Snapshot {
            settings: Arc::new(settings(config)?),
            entries: imbl::HashMap::new(),
        };
        let builder = Builder {
            credentials: &credentials,
            metrics: &metrics,
            previous: &nothing,
            reuse: Reuse::Nothing,
        };
        let first = builder.build(config, &mut ground)?;
        credentials.warm(sources_to_warm(&nothing, &first.entries));
        tell_expiries(&metrics, config);
        Ok(Self {
            directory: Arc::new(Directory::new(first)),
            credentials,
            metrics,
            published: Mutex::new(Published {
                trust: config.trust.clone(),
                tokens: config.tokens,
                connectors_max: config.metrics.connectors_max,
                system,
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
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let same_trust = published.trust == config.trust;
        let same_ground = same_trust && published.tokens == config.tokens;
        let mut ground = match same_trust {
            true => published.ground.under(config.tokens),
            false => Ground::new(config, &published.system, published.ground.next_pool)?,
        };
        let previous = self.directory.current().clone();
        let builder = Builder {
            credentials: &self.credentials,
            metrics: &self.metrics,
            previous: &previous,
            reuse: match same_ground {
                true => Reuse::Unchanged,
                false => Reuse::Nothing,
            },
        };
        self.metrics.bound_series(config.metrics.connectors_max);
        let next = match builder.build(config, &mut ground) {
            Ok(next) => next,
            Err(error) => {
                self.take_back(&published, &previous);
                return Err(error);
            }
        };
        ground.forget_unused(&next);
        let live = next.entries.clone();
        self.directory.publish(next);
        for (id, entry) in &previous.entries {
            let now = live.get(id);
            if now.is_some_and(|now| Arc::ptr_eq(now, entry)) {
                continue;
            }
            self.credentials.retire(&entry.source);
            if let Some(now) = now {
                now.state.edited(&now.connector.bulkhead);
            }
        }
        self.credentials.warm(sources_to_warm(&previous, &live));
        if published.tokens.entries_max != config.tokens.entries_max {
            let sources = live.values().map(|entry| &entry.source);
            self.credentials.hold(config.tokens.entries_max, sources);
        }
        self.metrics.retain(|id| live.contains_key(id));
        tell_expiries(&self.metrics, config);
        *published = Published {
            trust: config.trust.clone(),
            tokens: config.tokens,
            connectors_max: config.metrics.connectors_max,
            system: published.system.clone(),
            ground,
        };
        Ok(retire_pools(&previous, &self.directory.current()))
    }

    /// Forgets what a publication that failed has noted on its way: series of connectors that do
    /// not exist, and tokens made on its ground, which the next revision must not find.
    fn take_back(&self, published: &Published, previous: &Snapshot) {
        self.metrics.bound_series(published.connectors_max);
        self.metrics.retain(|id| previous.entries.contains_key(id));
        let sources = previous.entries.values().map(|entry| &entry.source);
        self.credentials.hold(published.tokens.entries_max, sources);
    }
}

/// Where the credentials come from that are wanted before any flow asks: those of connectors that
/// are new or changed.
fn sources_to_warm(
    previous: &Snapshot,
    live: &imbl::HashMap<ConnectorId, Arc<Entry>>,
) -> Vec<Source> {
    let wanted = live.values().filter(|entry| {
        let connector = &entry.connector;
        let before = previous.entry(connector.id.as_str());
        let stays = before.is_some_and(|before| Arc::ptr_eq(before, entry));
        connector.enabled && connector.warm && !stays
    });
    wanted.map(|entry| entry.source.clone()).collect()
}

/// Retires the pools of `previous` that nothing in `current` leads to.
fn retire_pools(previous: &Snapshot, current: &Snapshot) -> Vec<PoolId> {
    let upstreams = |snapshot: &Snapshot| -> HashMap<PoolId, Retired> {
        let upstreams = snapshot.entries.values().map(|entry| &entry.upstream);
        upstreams
            .map(|upstream| (upstream.pool, upstream.retired.clone()))
            .collect()
    };
    let used = upstreams(current);
    let before = upstreams(previous).into_iter();
    before
        .filter(|(pool, _)| !used.contains_key(pool))
        .map(|(pool, retired)| {
            retired.retire();
            pool
        })
        .collect()
}

/// Whether entries of the previous snapshot may stand for connectors that did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    Unchanged,
    Nothing,
}

struct Builder<'a> {
    credentials: &'a Credentials,
    metrics: &'a Metrics,
    previous: &'a Snapshot,
    reuse: Reuse,
}

impl Builder<'_> {
    fn build(&self, config: &Config, ground: &mut Ground) -> Result<Snapshot, PublishError> {
        let mut entries = imbl::HashMap::new();
        for connector in &config.connectors {
            let entry = self.entry(connector, ground)?;
            entries.insert(connector.id.clone(), entry);
        }
        Ok(Snapshot {
            settings: Arc::new(settings(config)?),
            entries,
        })
    }

    fn entry(
        &self,
        connector: &Connector,
        ground: &mut Ground,
    ) -> Result<Arc<Entry>, PublishError> {
        let previous = self.previous.entry(connector.id.as_str());
        if let Some(previous) = previous
            && self.reuse == Reuse::Unchanged
            && *previous.connector == *connector
        {
            return Ok(Arc::clone(previous));
        }
        let failed = |source| PublishError::Connector {
            connector: connector.id.to_string(),
            source,
        };
        let (state, revision) = match previous {
            Some(previous) => (
                Arc::clone(&previous.state),
                Revision(previous.revision.0 + 1),
            ),
            None => {
                let series = self.metrics.series(&connector.id);
                (Arc::new(ConnectorState::new(series)), Revision(1))
            }
        };
        let unaddressable = || PublishError::Unaddressable {
            connector: connector.id.to_string(),
        };
        let resource: &ResourceDomain =
            connector.kind.resource_domain().ok_or_else(unaddressable)?;
        let tls = ground.identity(connector).map_err(failed)?;
        let pool = ground.pool(resource.origin(), &tls);
        let upstream = Upstream::new(resource.clone(), tls, pool).ok_or_else(unaddressable)?;
        let label = Arc::clone(state.series.label());
        let source = self
            .credentials
            .source(connector, revision, &ground.credential_settings, label)
            .map_err(failed)?;
        Ok(Arc::new(Entry {
            connector: Arc::new(connector.clone()),
            revision,
            state,
            upstream,
            source,
        }))
    }
}

impl Ground {
    fn new(config: &Config, system: &TrustAnchors, next_pool: u64) -> Result<Self, PublishError> {
        let bundles = config.trust.ca_bundles.iter().map(AsRef::as_ref);
        let anchors = system.and(bundles).map_err(PublishError::Trust)?;
        Ok(Self {
            credential_settings: credential::Settings {
                tokens: config.tokens,
                policy: AddressPolicy::allowing(&config.trust.token_endpoint_allow_addresses),
                anchors: anchors.clone(),
            },
            anchors,
            identities: HashMap::new(),
            pools: HashMap::new(),
            next_pool,
        })
    }

    /// The same ground, so the same connections, where `tokens` says how tokens are obtained.
    fn under(&self, tokens: Tokens) -> Self {
        let mut ground = self.clone();
        ground.credential_settings.tokens = tokens;
        ground
    }

    /// The TLS identity of `connector`, shared with all that want the same.
    fn identity(&mut self, connector: &Connector) -> Result<ClientTls, TlsError> {
        let certificate = connector.kind.scheme().certificate_to_resource();
        let key = IdentityKey {
            ca_bundle: connector.ca_bundle.clone(),
            certificate: certificate.map(|pair| pair.certificate_pem.clone()),
            owner: certificate.map(|_| connector.id.to_string()),
            http2: connector.upstream.http2,
        };
        if let Some(identity) = self.identities.get(&key) {
            // A new private key for an old certificate is another identity all the same: the
            // entry is only rebuilt because something changed.
            if certificate.is_none() {
                return Ok(identity.clone());
            }
        }
        let bundle = connector.ca_bundle.as_deref();
        let anchors = match bundle {
            None => self.anchors.clone(),
            Some(bundle) => self.anchors.and([bundle])?,
        };
        let identity = ClientTls::new(&anchors, certificate, connector.upstream.http2)?;
        self.identities.insert(key, identity.clone());
        Ok(identity)
    }

    fn pool(&mut self, origin: &Origin, tls: &ClientTls) -> (PoolId, Retired) {
        let next_pool = &mut self.next_pool;
        let key = (origin.clone(), tls.generation());
        let pool = self.pools.entry(key).or_insert_with(|| {
            *next_pool += 1;
            (PoolId(*next_pool), Retired::default())
        });
        pool.clone()
    }

    /// Drops what no entry of `published` is built on.
    fn forget_unused(&mut self, published: &Snapshot) {
        let used: HashSet<Generation> = published
            .entries
            .values()
            .map(|entry| entry.upstream.tls.generation())
            .collect();
        let pools: HashSet<PoolId> = published
            .entries
            .values()
            .map(|entry| entry.upstream.pool)
            .collect();
        self.identities
            .retain(|_, identity| used.contains(&identity.generation()));
        self.pools.retain(|_, (pool, _)| pools.contains(pool));
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

/// Says when the certificates that the gateway shows end to be valid.
fn tell_expiries(metrics: &Metrics, config: &Config) {
    let expiry = |connector: &str, usage, pem: &str| {
        tls::not_after(pem).map(|at| CertificateExpiry {
            connector: connector.to_owned(),
            usage,
            at,
        })
    };
    let own = |tls: &Option<ServerTls>, usage| {
        let tls = tls.as_ref()?;
        expiry("none", usage, &tls.certificate_pem)
    };
    let shown = config.connectors.iter().filter_map(|connector| {
        let id = connector.id.as_str();
        match connector.kind.scheme() {
            Scheme::ClientCertificate(pair) => expiry(id, "resource", &pair.certificate_pem),
            Scheme::OAuth2(oauth) => {
                let pair = oauth.client_authentication.certificate()?;
                expiry(id, "token", &pair.certificate_pem)
            }
            Scheme::None | Scheme::Basic(_) | Scheme::Header(_) => None,
        }
    });
    let own = [
        own(&config.tls, "listener"),
        own(&config.admin.tls, "admin"),
    ];
    metrics.replace_certificates(own.into_iter().flatten().chain(shown));
}
