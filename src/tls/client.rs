//! TLS towards resource domains and token endpoints.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{ALPN_H2, ALPN_HTTP11, TlsError, provider};
use crate::connector::{ClientCertificate, Http2, SigningAlgorithm};

/// The anchors a connection is verified against.
#[derive(Clone)]
pub struct TrustAnchors(Arc<RootCertStore>);

impl TrustAnchors {
    /// The system's anchors and those of `bundles` (PEM).
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle holds no certificate or one that cannot be an anchor. Unreadable
    /// certificates of the system's own store are skipped.
    pub fn system_and<'a>(bundles: impl IntoIterator<Item = &'a str>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(Arc::new(roots)).and(bundles)
    }

    /// These anchors and those of `bundles` (PEM).
    ///
    /// # Errors
    ///
    /// As [`TrustAnchors::system_and`].
    pub fn and<'a>(&self, bundles: impl IntoIterator<Item = &'a str>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::clone(&self.0);
        for bundle in bundles {
            for certificate in certificates(bundle)? {
                roots.add(certificate).map_err(TlsError::Anchor)?;
            }
        }
        Ok(Self(Arc::new(roots)))
    }

    /// Whether both are one set, not merely equal ones: what was made for one serves the other.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchors({})", self.0.len())
    }
}

/// One TLS identity: anchors, client certificate and offered protocols, with the sessions that
/// can be resumed under it.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    generation: Generation,
}

/// Distinguishes every [`ClientTls`] that was ever made in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl ClientTls {
    /// An identity that shows `certificate`, if any, and offers HTTP/2 as `http2` says.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if certificate and key cannot be read or do not match.
    pub fn new(
        anchors: &TrustAnchors,
        certificate: Option<&ClientCertificate>,
        http2: Http2,
    ) -> Result<Self, TlsError> {
        static GENERATION: AtomicU64 = AtomicU64::new(0);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .with_root_certificates(Arc::clone(&anchors.0));
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = certificates(&pair.certificate_pem)?;
                let key = private_key(pair.private_key_pem.expose())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(TlsError::KeyPair)?
            }
        };
        config.alpn_protocols = match http2 {
            Http2::Auto => vec![ALPN_H2.to_vec(), ALPN_HTTP11.to_vec()],
            Http2::Off => vec![ALPN_HTTP11.to_vec()],
        };
        Ok(Self {
            config: Arc::new(config),
            generation: Generation(GENERATION.fetch_add(1, Ordering::Relaxed)),
        })
    }

    /// What tells this identity from every other of this process.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The same identity, offering HTTP/1.1 alone: HTTP/2 has no upgrades (RFC 9113 §8.6).
    pub(crate) fn without_http2(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
        Self {
            config: Arc::new(config),
            generation: self.generation,
        }
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Checks that `pair` can be read and belongs together.
///
/// # Errors
///
/// [`TlsError`] saying which half is wrong.
pub fn check_pair(pair: &ClientCertificate) -> Result<(), TlsError> {
    let chain = certificates(&pair.certificate_pem)?;
    let key = private_key(pair.private_key_pem.expose())?;
    rustls::sign::CertifiedKey::from_der(chain, key, &provider())
        .map(drop)
        .map_err(TlsError::KeyPair)
}

/// Checks that every certificate of `bundle` (PEM) can be a trust anchor.
///
/// # Errors
///
/// As [`TrustAnchors::system_and`].
pub fn check_anchors(bundle: &str) -> Result<(), TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle)? {
        roots.add(certificate).map_err(TlsError::Anchor)?;
    }
    Ok(())
}

/// Whether the private key `pem` can make signatures of `algorithm`.
///
/// # Errors
///
/// [`TlsError`] if the key cannot be read or is of an unsupported kind.
pub fn can_sign(pem: &str, algorithm: SigningAlgorithm) -> Result<bool, TlsError> {
    let key = provider()
        .key_provider
        .load_private_key(private_key(pem)?)
        .map_err(TlsError::KeyPair)?;
    let scheme = match algorithm {
        SigningAlgorithm::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
        SigningAlgorithm::Ps256 => SignatureScheme::RSA_PSS_SHA256,
        SigningAlgorithm::Es256 => SignatureScheme::ECDSA_NISTP256_SHA256,
    };
    Ok(key.choose_scheme(&[scheme]).is_some())
}

/// Reads every certificate of a PEM text, in order.
///
/// # Errors
///
/// [`TlsError::NoCertificate`] if there is none, [`TlsError::Pem`] if one cannot be read.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(TlsError::Pem)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(found)
}

/// Reads the first private key of a PEM text.
///
/// # Errors
///
/// [`TlsError::NoPrivateKey`] if there is none, [`TlsError::Pem`] if it cannot be read.
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| {
        if matches!(error, rustls_pki_types::pem::Error::NoItemsFound) {
            TlsError::NoPrivateKey
        } else {
            TlsError::Pem(error)
        }
    })
}
