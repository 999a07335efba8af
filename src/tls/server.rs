//! TLS towards flows and administrators.

use std::sync::Arc;
use std::{fmt, io};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

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

/// A connection from a client, after its handshake.
pub type Stream = TlsStream<TcpStream>;

/// A listener's certificate and key, and whom it asks for certificates.
#[derive(Clone)]
pub struct ServerIdentity {
    config: Arc<ServerConfig>,
    client_certificates: ClientCertificates,
}

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nobody is asked.
    NotAsked,
    /// Everybody is asked, and those who show none are to be refused.
    Asked,
}

impl ServerIdentity {
    /// Reads a listener's identity.
    ///
    /// # Errors
    ///
    /// As [`server_config`].
    pub fn new(tls: &ServerTls, protocols: Protocols) -> Result<Self, TlsError> {
        Ok(Self {
            config: server_config(tls, protocols)?,
            client_certificates: match tls.client_ca_pem {
                None => ClientCertificates::NotAsked,
                Some(_) => ClientCertificates::Asked,
            },
        })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    ///
    /// Whatever rustls found wrong with the handshake.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        TlsAcceptor::from(Arc::clone(&self.config))
            .accept(tcp)
            .await
    }

    /// Whether clients are asked for certificates.
    pub fn client_certificates(&self) -> ClientCertificates {
        self.client_certificates
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("client_certificates", &self.client_certificates)
            .finish_non_exhaustive()
    }
}

/// Whether the client chose HTTP/2 in its handshake (RFC 9113 §3.2).
pub fn chose_http2(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_H2)
}

/// The certificate the client showed and the handshake verified, DER.
pub fn client_certificate(stream: &Stream) -> Option<&[u8]> {
    let chain = stream.get_ref().1.peer_certificates()?;
    chain.first().map(AsRef::as_ref)
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
