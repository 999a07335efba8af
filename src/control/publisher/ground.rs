//! What entries are built on, shared by all that agree on it: trust, TLS identities, pools.
//!
//! # Invariants
//!
//! A pool, and an identity, lives as long as an entry leads to it: each entry that is built counts
//! as one user, and is given up with [`Ground::release`]; an inactive connector's entry is none. So what a publication costs goes by what
//! it changes and not by how many connectors there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::PublishError;
use crate::config::{Config, Tokens, Trust};
use crate::connector::{Connector, Http2, Origin};
use crate::credential;
use crate::dial::AddressPolicy;
use crate::directory::{PoolId, Retired, Upstream};
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, Generation, TrustAnchors, TrustId};

/// The pool of inactive connectors. Real ones are counted from one.
const NOWHERE: PoolId = PoolId(0);

/// What entries are built on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) basis: Basis,
    pools: HashMap<(Origin, Generation), Pool>,
    /// How many pools lie under each identity.
    pools_under: HashMap<Generation, usize>,
    next_pool: u64,
}

/// What of it the settings decide. With another one, every entry is built anew.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    anchors: TrustAnchors,
    pub(super) credential_settings: credential::Settings,
    /// What stands where an inactive connector's identity would: no connection is made under it.
    nobody: ClientTls,
    identities: HashMap<IdentityKey, ClientTls>,
}

/// Everything that decides a TLS identity towards origins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct IdentityKey {
    trust: TrustId,
    certificate: Option<String>,
    /// Tells two keys of one certificate apart without keeping either: the connector's.
    owner: Option<String>,
    http2: Http2,
}

#[derive(Debug)]
struct Pool {
    id: PoolId,
    retired: Retired,
    users: usize,
}

impl Basis {
    pub(super) fn new(config: &Config, system: &TrustAnchors) -> Result<Self, PublishError> {
        let Trust {
            ca_bundles,
            allow_addresses: _,
            token_endpoint_allow_addresses,
        } = &config.trust;
        let bundles = ca_bundles.iter().map(AsRef::as_ref);
        let anchors = system.and(bundles).map_err(PublishError::Trust)?;
        let nobody = ClientTls::new(&anchors, None, Http2::Off).map_err(PublishError::Trust)?;
        Ok(Self {
            credential_settings: credential::Settings {
                tokens: Arc::new(config.tokens),
                policy: AddressPolicy::allowing(token_endpoint_allow_addresses),
                anchors: anchors.clone(),
            },
            anchors,
            nobody,
            identities: HashMap::new(),
        })
    }

    /// The same basis, so the same connections, where `tokens` says how tokens are obtained.
    pub(super) fn under(&self, tokens: Tokens) -> Self {
        let mut basis = self.clone();
        basis.credential_settings.tokens = Arc::new(tokens);
        basis
    }

    /// How many identities are held.
    #[cfg(test)]
    pub(super) fn identities(&self) -> usize {
        self.identities.len()
    }

    /// The TLS identity of `connector`, shared with all that want the same.
    fn identity(&mut self, connector: &Connector) -> Result<ClientTls, TlsError> {
        let certificate = connector.kind.scheme().certificate_to_resource();
        let trust = self.anchors.of(connector)?;
        let key = IdentityKey {
            trust: trust.id(),
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
        let identity = ClientTls::new(&trust, certificate, connector.upstream.http2)?;
        self.identities.insert(key, identity.clone());
        Ok(identity)
    }
}

impl Ground {
    pub(super) fn on(basis: Basis) -> Self {
        Self {
            basis,
            pools: HashMap::new(),
            pools_under: HashMap::new(),
            next_pool: 0,
        }
    }

    /// The identity and pool of `connector`, whose requests go to `origin`; one user more.
    pub(super) fn hold(
        &mut self,
        connector: &Connector,
        origin: &Origin,
    ) -> Result<(ClientTls, (PoolId, Retired)), TlsError> {
        let tls = self.basis.identity(connector)?;
        let generation = tls.generation();
        let (next_pool, pools_under) = (&mut self.next_pool, &mut self.pools_under);
        let pool = self.pools.entry((origin.clone(), generation));
        let pool = pool.or_insert_with(|| {
            *next_pool += 1;
            *pools_under.entry(generation).or_default() += 1;
            Pool {
                id: PoolId(*next_pool),
                retired: Retired::default(),
                users: 0,
            }
        });
        pool.users += 1;
        Ok((tls, (pool.id, pool.retired.clone())))
    }

    /// What an inactive connector leads to: a pool that is retired and that nothing is held of.
    pub(super) fn nowhere(&self) -> (ClientTls, (PoolId, Retired)) {
        let retired = Retired::default();
        retired.retire();
        (self.basis.nobody.clone(), (NOWHERE, retired))
    }

    /// An entry leads to `upstream` no more. Returns the pool if it was the last that did.
    pub(super) fn release(&mut self, upstream: &Upstream) -> Option<PoolId> {
        if upstream.pool == NOWHERE {
            return None;
        }
        let generation = upstream.tls.generation();
        let key = (upstream.resource.origin().clone(), generation);
        let pool = self.pools.get_mut(&key)?;
        pool.users -= 1;
        if pool.users > 0 {
            return None;
        }
        let pool = self.pools.remove(&key)?;
        pool.retired.retire();
        if let Some(pools) = self.pools_under.get_mut(&generation) {
            *pools -= 1;
            if *pools == 0 {
                self.pools_under.remove(&generation);
                let identities = &mut self.basis.identities;
                identities.retain(|_, identity| identity.generation() != generation);
            }
        }
        Some(pool.id)
    }
}
