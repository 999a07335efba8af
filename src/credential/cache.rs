//! The bounded map of token slots, and the key under which a token may be found.
//!
//! # Invariants
//!
//! [`TokenKey`] holds everything that decides a token, so an edited connector never finds its old
//! token and two connectors never share one. The map only lets equal keys meet in one slot: a
//! connector's entry holds its slot itself, so an eviction costs nothing but that meeting, and no
//! request reads the map.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use uuid::Uuid;

use super::shared::SharedKey;
use super::slot::TokenSlot;
use crate::connector::{
    Assertion, ClientAuthentication, ClientCertificate, Connector, ConnectorId, GrantType, OAuth2,
    Revision, SigningAlgorithm, StaticHeader,
};

/// What decides a token. Secrets are in it as a fingerprint only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    connector: ConnectorId,
    revision: Revision,
    /// Over all the rest: token endpoint, grant, username, passwords, client, its authentication,
    /// secret, certificates, assertion, scope, parameters, fields, trust anchors, revocation lists,
    /// and what it falls back on.
    fingerprint: [u8; 32],
}

impl TokenKey {
    /// The key of `connector`'s token at `revision`.
    pub(super) fn new(connector: &Connector, revision: Revision, oauth2: &OAuth2) -> Self {
        static KEY: OnceLock<hmac::Key> = OnceLock::new();
        let key = KEY.get_or_init(|| {
            let chance = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
            hmac::Key::new(hmac::HMAC_SHA256, &chance)
        });
        let mut print = Fingerprint::under(key);
        print.token(connector, oauth2);
        Self {
            connector: connector.id.clone(),
            revision,
            fingerprint: print.finish(),
        }
    }
}

/// The key under which replicas share `connector`'s token. It is made of what all of them know
/// alike, under a `key` that all of them have: the revision is the store's.
pub(super) fn shared_key(key: &hmac::Key, connector: &Connector, oauth2: &OAuth2) -> SharedKey {
    let mut print = Fingerprint::under(key);
    print.text("shared token").text(connector.id.as_str());
    print.token(connector, oauth2);
    SharedKey::new(connector.id.clone(), print.finish())
}

/// HMAC-SHA-256: equal inputs meet, and a dump of the map gives nobody a digest to guess passwords
/// against. The key is this process's own, or one that replicas have in common.
struct Fingerprint(hmac::Context);

impl Fingerprint {
    fn under(key: &hmac::Key) -> Self {
        Self(hmac::Context::with_key(key))
    }

    /// Adds all that decides a token beside whose it is, and, where it comes from the store, since
    /// which of the store's revisions.
    fn token(&mut self, connector: &Connector, oauth2: &OAuth2) {
        match connector.stored.as_deref() {
            Some(stored) => self.text("store").text(&stored.revision.to_string()),
            None => self.text("file"),
        };
        self.oauth2(oauth2);
        if let Some(bundle) = &connector.ca_bundle {
            self.text("anchors").text(bundle);
        }
        if let Some(lists) = &connector.crl {
            self.text("revoked").text(lists);
        }
        let stored = connector.stored.as_deref();
        if let Some(fallback) = stored.and_then(|stored| stored.fallback.as_ref()) {
            self.text("fallback").oauth2(&fallback.oauth2);
        }
    }

    fn oauth2(&mut self, oauth2: &OAuth2) {
        // Taken apart by name: a new field does not compile until it is decided on here.
        let OAuth2 {
            grant,
            token_url,
            revocation_url,
            client_id,
            client_authentication,
            certificate_to_resource: _,
            scope,
            token_parameters,
            token_headers,
        } = oauth2;
        self.text(token_url.as_str()).text(client_id);
        // Decides where the token ends, so that one kept by its key is never ended elsewhere.
        if let Some(url) = revocation_url {
            self.text("revocation").text(url.as_str());
        }
        if let Some(scope) = scope {
            self.text("scope").text(scope);
        }
        self.grant(grant);
        self.client_authentication(client_authentication);
        for (name, value) in token_parameters {
            self.text("parameter").text(name).text(value.expose());
        }
        for StaticHeader { name, value } in token_headers {
            self.text("field").text(name.as_str()).text(value.expose());
        }
    }

    /// Adds one text, its length before it, so that no two sequences of texts run together.
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn grant(&mut self, grant: &GrantType) {
        match grant {
            GrantType::ClientCredentials => {
                self.text("client_credentials");
            }
            GrantType::Password { username, password } => {
                self.text("password").text(username).text(password.expose());
            }
        }
    }

    fn client_authentication(&mut self, authentication: &ClientAuthentication) {
        self.text(authentication.name());
        match authentication {
            ClientAuthentication::None => {}
            ClientAuthentication::ClientSecretBasic(secret)
            | ClientAuthentication::ClientSecretPost(secret) => {
                self.text(secret.expose());
            }
            ClientAuthentication::TlsClientAuth(certificate)
            | ClientAuthentication::SelfSignedTlsClientAuth(certificate) => {
                self.certificate(certificate);
            }
            ClientAuthentication::PrivateKeyJwt {
                certificate,
                assertion,
            } => {
                self.certificate(certificate);
                self.assertion(assertion);
            }
        }
    }

    fn certificate(&mut self, certificate: &ClientCertificate) {
        let ClientCertificate {
            certificate_pem,
            private_key_pem,
        } = certificate;
        self.text(certificate_pem).text(private_key_pem.expose());
    }

    fn assertion(&mut self, assertion: &Assertion) {
        let Assertion {
            audience,
            algorithm,
            typ,
            key_id,
            lifetime,
        } = assertion;
        let algorithm = match algorithm {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Ps256 => "PS256",
            SigningAlgorithm::Es256 => "ES256",
        };
        self.text(audience).text(algorithm).text(typ);
        self.text(key_id.as_deref().unwrap_or_default());
        self.text(&lifetime.as_millis().to_string());
    }

    fn finish(self) -> [u8; 32] {
        let mut print = [0; 32];
        print.copy_from_slice(self.0.sign().as_ref());
        print
    }
}

/// The slots of all connectors.
#[derive(Clone)]
pub(super) struct Slots(Cache<TokenKey, Arc<TokenSlot>>);

impl Slots {
    /// Room for `entries_max` slots.
    pub(super) fn new(entries_max: u64) -> Self {
        Self(
            Cache::builder()
                .max_capacity(entries_max)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        )
    }

    /// The slot of `key`, if it is there.
    pub(super) fn find(&self, key: &TokenKey) -> Option<Arc<TokenSlot>> {
        self.0.get(key)
    }

    /// Puts `slot` under its key, unless another came first, which is then the one to use.
    pub(super) fn keep(&self, slot: TokenSlot) -> Arc<TokenSlot> {
        self.0.get_with(slot.key().clone(), || Arc::new(slot))
    }

    /// Puts a slot that is in use already under its key.
    pub(super) fn hold(&self, slot: Arc<TokenSlot>) {
        self.0.insert(slot.key().clone(), slot);
    }

    /// Takes the slot of `key` out.
    pub(super) fn remove(&self, key: &TokenKey) {
        self.0.invalidate(key);
    }
}

/// A key for tests that need one and do not care which.
#[cfg(test)]
pub(super) fn any_key() -> TokenKey {
    TokenKey {
        connector: ConnectorId::parse("any").expect("an ID"),
        revision: Revision(0),
        fingerprint: [0; 32],
    }
}
