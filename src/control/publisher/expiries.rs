//! When the certificates that the gateway shows end to be valid.

use std::sync::Arc;

use crate::config::{Config, ServerTls};
use crate::connector::{Connector, Scheme};
use crate::metrics::{CertificateExpiry, Metrics};
use crate::tls;

/// Tells all of them.
pub(super) fn tell_expiries<'a>(
    metrics: &Metrics,
    own: &[CertificateExpiry],
    connectors: impl IntoIterator<Item = &'a Arc<Connector>>,
) {
    let shown = connectors.into_iter().filter_map(|one| expiry(one));
    metrics.replace_certificates(own.iter().cloned().chain(shown));
}

/// Those of the gateway's listeners.
pub(super) fn own_expiries(config: &Config) -> Vec<CertificateExpiry> {
    let own = |tls: &Option<ServerTls>, usage| {
        let tls = tls.as_ref()?;
        expiry_of("none", usage, &tls.certificate_pem)
    };
    let own = [
        own(&config.tls, "listener"),
        own(&config.admin.tls, "admin"),
    ];
    own.into_iter().flatten().collect()
}

/// When the certificate that `connector` shows ends to be valid, if it shows one.
pub(super) fn expiry(connector: &Connector) -> Option<CertificateExpiry> {
    let id = connector.id.as_str();
    match connector.kind.scheme() {
        Scheme::ClientCertificate(pair) => expiry_of(id, "resource", &pair.certificate_pem),
        Scheme::OAuth2(oauth) => {
            let pair = oauth.client_authentication.certificate()?;
            expiry_of(id, "token", &pair.certificate_pem)
        }
        Scheme::None | Scheme::Basic(_) | Scheme::Header(_) => None,
    }
}

fn expiry_of(connector: &str, usage: &'static str, pem: &str) -> Option<CertificateExpiry> {
    tls::not_after(pem).map(|at| CertificateExpiry {
        connector: connector.to_owned(),
        usage,
        at,
    })
}
