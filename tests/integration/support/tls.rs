//! rustls configurations for the stand-ins' side of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, HandshakeKind, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki::{Ca, Identity};
use super::within;

/// The protocols a stand-in offers by ALPN, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocols {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
    /// HTTP/2, else HTTP/1.1.
    Both,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
            Self::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// Which client certificates a stand-in asks for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// None.
    Nothing,
    /// Any, self-signed ones too; a client without one is let in.
    Any,
    /// One signed by this CA; a client without one fails the handshake.
    SignedBy(CertificateDer<'static>),
}

/// A server's configuration.
pub(crate) fn server(identity: &Identity, ask: &Ask, protocols: Protocols) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match ask {
        Ask::Nothing => builder.with_no_client_auth(),
        Ask::Any => builder.with_client_cert_verifier(Arc::new(AnyClient::new())),
        Ask::SignedBy(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(identity.chain(), identity.key())
        .unwrap();
    config.alpn_protocols = protocols.alpn();
    Arc::new(config)
}

/// A version of TLS that a client insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A client's configuration: trusts `ca` alone.
pub(crate) fn client(
    ca: &Ca,
    identity: Option<&Identity>,
    protocols: Protocols,
) -> Arc<ClientConfig> {
    speaking(ca, (identity, protocols), rustls::DEFAULT_VERSIONS)
}

/// The same, speaking `version` alone.
pub(crate) fn client_of(
    ca: &Ca,
    shown: (Option<&Identity>, Protocols),
    version: Version,
) -> Arc<ClientConfig> {
    let version = match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    speaking(ca, shown, &[version])
}

fn speaking(
    ca: &Ca,
    (identity, protocols): (Option<&Identity>, Protocols),
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain(), identity.key())
            .unwrap(),
    };
    config.alpn_protocols = protocols.alpn();
    Arc::new(config)
}

/// Shakes hands with `localhost` at `address` and has one request answered, so that a session can be
/// kept (RFC 8446 §4.6.1); says how it was done.
///
/// # Errors
///
/// Whoever breaks off.
pub(crate) async fn try_handshake(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<HandshakeKind> {
    let mut stream = connected(address, config).await?;
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await?;
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

/// The same, where nobody breaks off.
pub(crate) async fn handshake(address: SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    try_handshake(address, config).await.unwrap()
}

/// The certificate that `address` shows in a handshake.
pub(crate) async fn leaf(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> CertificateDer<'static> {
    let stream = connected(address, config).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

async fn connected(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::clone(config));
    let name = "localhost".try_into().unwrap();
    within("a handshake", connector.connect(name, tcp)).await
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes every client certificate whose key signed the handshake, so that a test can see what was
/// shown (RFC 8705 §2.2 has servers match self-signed certificates, not chains).
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    fn new() -> Self {
        Self(aws_lc_rs::default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
