//! TLS towards resource domains and token endpoints.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::revocation::{revocation_lists, unusable};
use super::{ALPN_H2, ALPN_HTTP11, TlsError, provider};
use crate::connector::{ClientCertificate, Connector, Http2, SigningAlgorithm};

/// How much of the end of a text its hash is made of.
const TOLD_BY_BYTES: usize = 256;

/// Whom a connection believes: trust anchors, and what their issuers have taken back. Cheap to
/// clone.
#[derive(Clone)]
pub struct TrustAnchors(Arc<Trust>);

struct Trust {
    id: TrustId,
    roots: Arc<RootCertStore>,
    /// Where there are revocation lists.
    revoking: Option<Arc<WebPkiServerVerifier>>,
    /// What was made of these, as long as anybody has it.
    derived: Mutex<Derived>,
}

/// Distinguishes every [`TrustAnchors`] that was ever made in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrustId(u64);

/// Connectors' own trust, by what they say: each text is parsed once, however many have it.
#[derive(Default)]
struct Derived {
    made: HashMap<Own, Weak<Trust>>,
    /// How many of them there may be before those that nobody has are looked for.
    room: usize,
}

/// What a connector says about trust: `ca_bundle`, `crl`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Own(Option<Text>, Option<Text>);

/// A long text as a key. Most of its equals are the very same.
#[derive(Clone)]
struct Text(Arc<str>);

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
        Self::of_roots(roots).and(bundles)
    }

    /// These anchors and those of `bundles` (PEM).
    ///
    /// # Errors
    ///
    /// As [`TrustAnchors::system_and`].
    pub fn and<'a>(&self, bundles: impl IntoIterator<Item = &'a str>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::clone(&self.0.roots);
        for bundle in bundles {
            for certificate in certificates(bundle)? {
                roots.add(certificate).map_err(TlsError::Anchor)?;
            }
        }
        Ok(Self::of_roots(roots))
    }

    /// Whether these are the very anchors of `other`, in the same order.
    pub fn are_those_of(&self, other: &Self) -> bool {
        self.0.roots.roots == other.0.roots.roots
    }

    /// These anchors and those of `connector`, which are not believed what its lists have revoked.
    /// The same for all connectors that say the same.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if its bundle or lists cannot be used.
    pub fn of(&self, connector: &Connector) -> Result<Self, TlsError> {
        let Connector { ca_bundle, crl, .. } = connector;
        if ca_bundle.is_none() && crl.is_none() {
            return Ok(self.clone());
        }
        let own = Own(ca_bundle.clone().map(Text), crl.clone().map(Text));
        let held = self.derived().made.get(&own).and_then(Weak::upgrade);
        if let Some(held) = held {
            return Ok(Self(held));
        }
        let own_anchors = match ca_bundle {
            None => Self::made_of(Arc::clone(&self.0.roots), None),
            Some(bundle) => self.and([&**bundle])?,
        };
        let made = match crl {
            None => own_anchors,
            Some(crl) => own_anchors.without_revoked(crl)?,
        };
        self.derived().hold(own, &made);
        Ok(made)
    }

    /// The same anchors, where what the lists of `crl` (PEM) revoke is refused at any depth
    /// (RFC 5280 §6.3). Certificates whose issuer has no list are as before; where a list should have
    /// been replaced by now, its issuer's are all refused.
    fn without_revoked(&self, crl: &str) -> Result<Self, TlsError> {
        let roots = Arc::clone(&self.0.roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .with_crls(revocation_lists(crl)?)
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration()
            .build()
            .map_err(unusable)?;
        Ok(Self::made_of(roots, Some(verifier)))
    }

    fn of_roots(roots: RootCertStore) -> Self {
        Self::made_of(Arc::new(roots), None)
    }

    fn made_of(roots: Arc<RootCertStore>, revoking: Option<Arc<WebPkiServerVerifier>>) -> Self {
        static ID: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Trust {
            id: TrustId(ID.fetch_add(1, Ordering::Relaxed)),
            roots,
            revoking,
            derived: Mutex::default(),
        }))
    }

    /// What tells this set from every other of this process.
    pub(crate) fn id(&self) -> TrustId {
        self.0.id
    }

    fn derived(&self) -> MutexGuard<'_, Derived> {
        let derived = self.0.derived.lock();
        derived.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both are one set, not merely equal ones: what was made for one serves the other.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Derived {
    fn hold(&mut self, own: Own, made: &TrustAnchors) {
        if self.made.len() >= self.room {
            self.made.retain(|_, trust| trust.strong_count() > 0);
            self.room = 2 * self.made.len() + 4;
        }
        self.made.insert(own, Arc::downgrade(&made.0));
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Text {}

/// PEM ends in a signature, so that its end tells texts apart.
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let end = self.0.len().saturating_sub(TOLD_BY_BYTES);
        (self.0.len(), &self.0.as_bytes()[end..]).hash(state);
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchors({})", self.0.roots.len())
    }
}

/// One TLS identity: anchors, client certificate and offered protocols, with the sessions that
/// can be resumed under it.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    generation: Generation,
    /// Held, so that others who want the same find it.
    trust: TrustAnchors,
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
            .map_err(TlsError::Protocol)?;
        let builder = match &anchors.0.revoking {
            None => builder.with_root_certificates(Arc::clone(&anchors.0.roots)),
            Some(verifier) => builder.with_webpki_verifier(Arc::clone(verifier)),
        };
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
        if anchors.0.revoking.is_some() {
            // A resumed session would not be looked up in the lists.
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            config: Arc::new(config),
            generation: Generation(GENERATION.fetch_add(1, Ordering::Relaxed)),
            trust: anchors.clone(),
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
            trust: self.trust.clone(),
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
        .map_err(TlsError::from)?;
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
            error.into()
        }
    })
}
