//! TLS towards flows and administrators.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::client::{certificates, private_key};
use super::{ALPN_H2, ALPN_HTTP11, TlsError, provider};
use crate::config::ServerTls;

/// The protocols a listener offers by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2, else HTTP/1.1.
    Http2AndHttp11,
    /// HTTP/1.1.
    Http11,
}

/// Builds a listener's TLS configuration.
///
/// With a client CA, certificates are asked for and verified, but a client without one gets
/// through the handshake: it is refused by a readable 401 instead of an alert.
///
/// # Errors
///
/// [`TlsError`] saying which part cannot be used.
pub fn server_config(tls: &ServerTls, protocols: Protocols) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate_pem)?;
    let key = private_key(tls.private_key_pem.expose())?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let builder = match &tls.client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(TlsError::Anchor)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .allow_unauthenticated()
                .build()
                .map_err(TlsError::ClientCa)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(TlsError::KeyPair)?;
    config.alpn_protocols = match protocols {
        Protocols::Http2AndHttp11 => vec![ALPN_H2.to_vec(), ALPN_HTTP11.to_vec()],
        Protocols::Http11 => vec![ALPN_HTTP11.to_vec()],
    };
    Ok(Arc::new(config))
}
