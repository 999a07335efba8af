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
use rustls_pki_types::pem;

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

/// What is wrong with PEM text. The parser's own words repeat a line of it, and a key whose line ends
/// were lost is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// It begins and does not end.
    #[error("what begins with -----BEGIN …----- has no -----END …----- in a line of its own")]
    NoEnd,
    /// Its first line is not as it has to be.
    #[error("a line that begins with -----BEGIN does not end as it has to; were line ends lost?")]
    Start,
    /// What stands between them.
    #[error("what stands between -----BEGIN …----- and -----END …----- is no base64")]
    Content,
}

impl From<pem::Error> for TlsError {
    fn from(error: pem::Error) -> Self {
        use pem::Error::{IllegalSectionStart, MissingSectionEnd};
        Self::Pem(if matches!(error, MissingSectionEnd { .. }) {
            BadPem::NoEnd
        } else if matches!(error, IllegalSectionStart { .. }) {
            BadPem::Start
        } else {
            BadPem::Content
        })
    }
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
    Pem(#[source] BadPem),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::with_sources;

    #[test]
    fn what_is_said_of_bad_pem_repeats_nothing_of_it() {
        let content = "bm90IHRvIGJlIHNob3duIHRvIGFueWJvZHk";
        for text in [
            format!("-----BEGIN CERTIFICATE-----{content}-----END CERTIFICATE-----"),
            format!("-----BEGIN CERTIFICATE-----{content}"),
            format!("-----BEGIN CERTIFICATE-----\n{content}"),
            format!("-----BEGIN CERTIFICATE-----\n{content}!\n-----END CERTIFICATE-----\n"),
        ] {
            let said = with_sources(&client::certificates(&text).unwrap_err());

            let listed = format!("{:?}", content.as_bytes());
            assert!(!said.contains(content), "{said}");
            assert!(!said.contains(listed.trim_matches(['[', ']'])), "{said}");
            assert!(
                said.starts_with("holds PEM that cannot be read: "),
                "{said}"
            );
        }
    }
}
