//! What a reload may not change.

use std::net::SocketAddr;

use crate::config::{Admin, Config, ServerTls, Store};
use crate::secret::Secret;

/// What of its configuration a running gateway cannot change. The rest of it is not kept: what
/// was published holds it.
#[derive(Debug)]
pub(super) struct Fixed {
    listen: Vec<SocketAddr>,
    workers: usize,
    /// Without what its TLS is made of.
    admin: Admin,
    metrics_listen: Option<SocketAddr>,
    store: Option<Store>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            workers: config.workers,
            admin: fixed(&config.admin),
            metrics_listen: config.metrics.listen,
            store: config.store.clone(),
        }
    }

    /// The key that `next` would change but cannot.
    pub(super) fn changed_by(&self, next: &Config) -> Option<&'static str> {
        [
            (self.listen != next.listen, "listen"),
            (self.workers != next.workers, "workers"),
            (self.admin != fixed(&next.admin), "admin"),
            (self.metrics_listen != next.metrics.listen, "metrics.listen"),
            (self.store != next.store, "store"),
        ]
        .into_iter()
        .find_map(|(changed, key)| changed.then_some(key))
    }
}

/// What of `admin` is fixed: whether it has TLS, and asks for certificates, but not by which
/// certificates and keys, which end and are replaced.
fn fixed(admin: &Admin) -> Admin {
    let stays = |tls: &ServerTls| ServerTls {
        certificate_pem: String::new(),
        private_key_pem: Secret::new(String::new()),
        client_ca_pem: tls.client_ca_pem.as_ref().map(|_| String::new()),
        client_crl_pem: None,
    };
    Admin {
        tls: admin.tls.as_ref().map(stays),
        ..admin.clone()
    }
}
