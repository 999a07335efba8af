//! TLS towards flows and administrators.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client::{certificates, private_key};
use super::revocation::revocation_lists;
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
    /// Whom clients' certificates have to be signed by, where they are asked for any.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    generation: Generation,
}

/// Distinguishes every [`ServerIdentity`] that was ever made in this process; counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
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
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let clients = client_verifier(tls)?;
        Ok(Self {
            config: config_with(tls, protocols, clients.clone())?,
            clients,
            generation: Generation(GENERATIONS.fetch_add(1, Ordering::Relaxed)),
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
        match self.clients {
            None => ClientCertificates::NotAsked,
            Some(_) => ClientCertificates::Asked,
        }
    }

    /// What tells this identity from every other of this process.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Verifies a `chain`, leaf first, that a client showed on a connection that is open, as the
    /// handshake would at the time `at`.
    pub fn still_trusts(&self, chain: &[CertificateDer<'_>], at: SystemTime) -> bool {
        let (Some(clients), [leaf, others @ ..]) = (&self.clients, chain) else {
            return false;
        };
        // Before 1970 nothing is valid that we could be shown.
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        since.is_ok_and(|since| {
            let at = UnixTime::since_unix_epoch(since);
            clients.verify_client_cert(leaf, others, at).is_ok()
        })
    }
}

/// An identity that may be renewed while its listener is served. Cheap to clone; all clones are
/// renewed together.
#[derive(Clone, Debug)]
pub struct Renewable(Arc<watch::Sender<ServerIdentity>>);

impl Renewable {
    /// Begins with `identity`.
    pub fn new(identity: ServerIdentity) -> Self {
        Self(Arc::new(watch::Sender::new(identity)))
    }

    /// Shakes hands under `identity` from now on, and tells everybody who follows.
    pub fn renew(&self, identity: ServerIdentity) {
        self.0.send_replace(identity);
    }

    /// What it is, and what it will be. It never closes while this is there.
    pub fn follow(&self) -> watch::Receiver<ServerIdentity> {
        self.0.subscribe()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("client_certificates", &self.client_certificates())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Whether the client chose HTTP/2 in its handshake (RFC 9113 §3.2).
pub fn chose_http2(stream: &Stream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_H2)
}

/// What a client showed in a handshake that accepted it.
#[derive(Debug)]
pub struct Shown {
    /// Its certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether they were verified then; a resumed session's were when it began (RFC 8446 §2.2).
    pub verified: Verified,
}

/// When certificates were verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// In the handshake.
    Now,
    /// In an earlier one.
    Before,
}

/// The certificates the client showed, if it did.
pub fn shown(stream: &Stream) -> Option<Shown> {
    let connection = stream.get_ref().1;
    let chain = connection.peer_certificates()?.to_vec();
    let verified = match connection.handshake_kind() {
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => Verified::Now,
        Some(HandshakeKind::Resumed) | None => Verified::Before,
    };
    Some(Shown { chain, verified })
}

/// How long the certificate `der` is valid yet at the time `at` (RFC 5280 §4.1.2.5); `None` if it is
/// not, or cannot be read.
pub fn valid_for(der: &[u8], at: SystemTime) -> Option<Duration> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))?;
    end.duration_since(at).ok()
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
    config_with(tls, protocols, client_verifier(tls)?)
}

fn config_with(
    tls: &ServerTls,
    protocols: Protocols,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate_pem)?;
    let key = private_key(tls.private_key_pem.expose())?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(TlsError::KeyPair)?;
    if tls.client_crl_pem.is_some() {
        // Whoever resumes a session is not looked up in the lists.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = match protocols {
        Protocols::Http2AndHttp11 => vec![ALPN_H2.to_vec(), ALPN_HTTP11.to_vec()],
        Protocols::Http11 => vec![ALPN_HTTP11.to_vec()],
    };
    Ok(Arc::new(config))
}

/// Who judges the certificates of clients, if anybody asks for them.
fn client_verifier(tls: &ServerTls) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(pem) = &tls.client_ca_pem else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(TlsError::Anchor)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated();
    if let Some(lists) = &tls.client_crl_pem {
        builder = builder
            .with_crls(revocation_lists(lists)?)
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration();
    }
    builder.build().map(Some).map_err(|error| {
        match matches!(error, VerifierBuilderError::InvalidCrl(_)) {
            true => TlsError::RevocationList(error),
            false => TlsError::ClientCa(error),
        }
    })
}
