//! When the certificates and revocation lists of the gateway end.
//!
//! # Invariants
//!
//! What a connector's certificates say is read when the connector is published, and a text that
//! many connectors have, once; so what a publication costs goes by what it changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::{Config, ServerTls};
use crate::connector::{Connector, ConnectorId, Scheme};
use crate::metrics::CertificateExpiry;
use crate::tls;

/// When all that was published ends.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    own: Vec<CertificateExpiry>,
    connectors: HashMap<ConnectorId, Vec<CertificateExpiry>>,
}

/// When the texts end that were read already, by where they lie: they are held as long as this is.
#[derive(Default)]
struct Read(HashMap<*const u8, Option<SystemTime>>);

/// All that ends under `config`, the connectors of the store aside.
pub fn expiries(config: &Config) -> Vec<CertificateExpiry> {
    let mut expiries = Expiries::default();
    expiries.configure(config);
    expiries.change(&config.connectors, []);
    expiries.all()
}

impl Expiries {
    /// Those of the gateway itself are as `config` says.
    pub(super) fn configure(&mut self, config: &Config) {
        let mut own = Vec::new();
        let mut put = |usage, at: Option<SystemTime>| own.extend(expiry("none", usage, at));
        let planes = [
            (&config.tls, ["listener", "client_ca", "client_crl"]),
            (
                &config.admin.tls,
                ["admin", "admin_client_ca", "admin_client_crl"],
            ),
        ];
        for (tls, [shown, client_ca, client_crl]) in planes {
            let Some(tls) = tls else { continue };
            let ServerTls {
                certificate_pem,
                private_key_pem: _,
                client_ca_pem,
                client_crl_pem,
            } = tls;
            put(shown, tls::not_after(certificate_pem));
            let bundle = client_ca_pem.as_deref();
            put(client_ca, bundle.and_then(tls::first_not_after));
            let lists = client_crl_pem.as_deref();
            put(client_crl, lists.and_then(tls::revocation::next_update));
        }
        let trusted = config.trust.ca_bundles.iter();
        let trusted = trusted.filter_map(|bundle| tls::first_not_after(bundle));
        put("trust", trusted.min());
        let oidc = config.admin.oidc.as_ref();
        let bundle = oidc.and_then(|oidc| oidc.ca_bundle.as_deref());
        put("oidc", bundle.and_then(tls::first_not_after));
        self.own = own;
    }

    /// Connectors were `published`, and others are `gone`. Says whether that changes anything here.
    pub(super) fn change<'a>(
        &mut self,
        published: impl IntoIterator<Item = &'a Arc<Connector>>,
        gone: impl IntoIterator<Item = &'a ConnectorId>,
    ) -> bool {
        let mut changed = false;
        for id in gone {
            changed |= self.connectors.remove(id).is_some();
        }
        let mut read = Read::default();
        for connector in published {
            let ends = read.connector(connector);
            changed |= match ends.is_empty() {
                true => self.connectors.remove(&connector.id).is_some(),
                false => {
                    let before = self.connectors.insert(connector.id.clone(), ends);
                    before.as_ref() != self.connectors.get(&connector.id)
                }
            };
        }
        changed
    }

    /// All of them, the first to end first.
    pub(super) fn all(&self) -> Vec<CertificateExpiry> {
        let all = self.own.iter().chain(self.connectors.values().flatten());
        let mut all: Vec<_> = all.cloned().collect();
        all.sort_by(|one, other| {
            let key = |one: &CertificateExpiry| (one.at, one.usage);
            let order = key(one).cmp(&key(other));
            order.then_with(|| one.connector.cmp(&other.connector))
        });
        all
    }
}

impl Read {
    fn connector(&mut self, connector: &Connector) -> Vec<CertificateExpiry> {
        let shown = match connector.kind.scheme() {
            Scheme::ClientCertificate(pair) => Some(("resource", pair)),
            Scheme::OAuth2(oauth) => {
                let pair = oauth.client_authentication.certificate();
                pair.map(|pair| ("token", pair))
            }
            Scheme::None | Scheme::Basic(_) | Scheme::Header(_) => None,
        };
        let shown = shown.map(|(usage, pair)| (usage, tls::not_after(&pair.certificate_pem)));
        let bundle = self.once(connector.ca_bundle.as_ref(), tls::first_not_after);
        let lists = self.once(connector.crl.as_ref(), tls::revocation::next_update);
        let trusted = [("ca_bundle", bundle), ("crl", lists)];
        let id = connector.id.as_str();
        let ends = shown.into_iter().chain(trusted);
        ends.filter_map(|(usage, at)| expiry(id, usage, at))
            .collect()
    }

    fn once(
        &mut self,
        text: Option<&Arc<str>>,
        read: fn(&str) -> Option<SystemTime>,
    ) -> Option<SystemTime> {
        let text = text?;
        *self.0.entry(text.as_ptr()).or_insert_with(|| read(text))
    }
}

fn expiry(
    connector: &str,
    usage: &'static str,
    at: Option<SystemTime>,
) -> Option<CertificateExpiry> {
    at.map(|at| CertificateExpiry {
        connector: connector.to_owned(),
        usage,
        at,
    })
}
