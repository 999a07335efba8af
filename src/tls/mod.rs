//! TLS in both directions. This is the only room that names a crypto provider.
//!
//! # Invariants
//!
//! Certificates and names are always verified; no setting turns that off. One
//! [`client::ClientTls`] lives as long as the identity and trust it was made from, because session
//! resumption works only within one.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;

pub mod client;
pub mod fault;
pub mod revocation;
pub mod names;
pub mod server;

/// ALPN's name for HTTP/2 (RFC 9113 §3.2).
pub const ALPN_H2: &[u8] = b"h2";
/// ALPN's name for HTTP/1.1 (RFC 7301 §6).
pub const ALPN_HTTP11: &[u8] = b"http/1.1";

/// The process's only crypto provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// When the first certificate of a PEM text ends to be valid (RFC 5280 §4.1.2.5).
///
/// `None` if there is no certificate or its date cannot be told.
pub fn not_after(pem: &str) -> Option<SystemTime> {
    let chain = client::certificates(pem).ok()?;
    end(chain.first()?)
}

/// When the first of the certificates of a PEM text ends, whichever that is.
///
/// `None` if there is none whose date can be told.
pub fn first_not_after(pem: &str) -> Option<SystemTime> {
    let certificates = client::certificates(pem).ok()?;
    let ends = certificates.iter().filter_map(|one| end(one));
    ends.min()
}

/// When the certificate `der` ends.
fn end(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Why PEM text gives no usable certificates or keys. Texts never repeat the PEM.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in the text.
    #[error("holds no PEM certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// No private key in the text.
    #[error("holds no PEM private key (-----BEGIN … PRIVATE KEY-----)")]
    NoPrivateKey,
    /// PEM that cannot be read.
    #[error("holds PEM that cannot be read")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// A certificate that cannot be used as a trust anchor.
    #[error("holds a certificate that cannot be a trust anchor")]
    Anchor(#[source] rustls::Error),
    /// No revocation list in the text.
    #[error("holds no PEM revocation list (-----BEGIN X509 CRL-----)")]
    NoRevocationList,
    /// A revocation list that cannot be used.
    #[error("holds a revocation list that cannot be used")]
    RevocationList(#[source] rustls::server::VerifierBuilderError),
    /// Nobody's certificates could be accepted.
    #[error("no certificate authority is trusted at all")]
    NoAnchors(#[source] rustls::server::VerifierBuilderError),
    /// Key and certificate are not a pair, or of a kind that is not supported.
    #[error("certificate and private key do not belong together, or are of an unsupported kind")]
    KeyPair(#[source] rustls::Error),
    /// The private key is not of the kind that an algorithm signs with.
    #[error("the private key cannot make {algorithm} signatures")]
    UnfitKey {
        /// The algorithm (RFC 7518 §3.1).
        algorithm: &'static str,
    },
    /// The verifier for client certificates could not be built.
    #[error("client_ca holds no usable certificate authority")]
    ClientCa(#[source] rustls::server::VerifierBuilderError),
    /// The protocol versions do not fit the provider.
    #[error("the TLS configuration was refused")]
    Protocol(#[source] rustls::Error),
}
