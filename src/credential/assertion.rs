//! Client assertions: `private_key_jwt` (RFC 7523 §2.2, §3).

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::PrivateKeyDer;
use serde::Serialize;
use uuid::Uuid;
use x509_parser::der_parser::parse_der;
use zeroize::Zeroizing;

use super::error::TokenError;
use super::token::Moment;
use crate::connector::{Assertion, ClientCertificate, SigningAlgorithm};
use crate::tls::TlsError;
use crate::tls::client::{certificates, private_key};

/// The longest life of an assertion (RFC 7523 §3 asks for a limited one).
const LIFETIME_MAX: Duration = Duration::from_secs(300);

/// Signs the assertions of one client.
pub(super) struct Signer {
    key: EncodingKey,
    header: Header,
    audience: String,
    lifetime: Duration,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

impl Signer {
    /// A signer with `certificate`'s key.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if certificate or key cannot be read, or the key is not of the kind that the
    /// algorithm needs.
    pub(super) fn new(
        certificate: &ClientCertificate,
        assertion: &Assertion,
    ) -> Result<Self, TlsError> {
        let chain = certificates(&certificate.certificate_pem)?;
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let key = private_key(certificate.private_key_pem.expose())?;
        let (algorithm, name, key) = match assertion.algorithm {
            SigningAlgorithm::Rs256 => (Algorithm::RS256, "RS256", rsa_key(&key)),
            SigningAlgorithm::Ps256 => (Algorithm::PS256, "PS256", rsa_key(&key)),
            SigningAlgorithm::Es256 => (Algorithm::ES256, "ES256", p256_key(&key)),
        };
        let key = key.ok_or(TlsError::UnfitKey { algorithm: name })?;
        let mut header = Header::new(algorithm);
        header.typ = Some(assertion.typ.clone());
        header.kid.clone_from(&assertion.key_id);
        // RFC 7515 §4.1.8.
        let thumbprint = digest::digest(&digest::SHA256, leaf);
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(thumbprint));
        Ok(Self {
            key,
            header,
            audience: assertion.audience.clone(),
            lifetime: assertion.lifetime.min(LIFETIME_MAX),
        })
    }

    /// A new assertion for `client_id`, to be used once.
    ///
    /// # Errors
    ///
    /// [`TokenError::Assertion`] if the key does not sign.
    pub(super) fn sign(
        &self,
        client_id: &str,
        now: Moment,
    ) -> Result<Zeroizing<String>, TokenError> {
        let issued = now.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            // RFC 7523 §3, 1 and 2B: both are the client.
            iss: client_id,
            sub: client_id,
            // RFC 10070: one audience, as the sole value.
            aud: &self.audience,
            iat: issued.as_secs(),
            exp: (issued + self.lifetime).as_secs(),
            jti: Uuid::new_v4().to_string(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
            .map(Zeroizing::new)
            .map_err(TokenError::Assertion)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// The key in the form the signer takes: PKCS #1 (RFC 8017 §A.1.2).
fn rsa_key(key: &PrivateKeyDer<'_>) -> Option<EncodingKey> {
    let pkcs1 = if let PrivateKeyDer::Pkcs8(key) = key {
        inner_key(key.secret_pkcs8_der())?
    } else {
        key.secret_der().to_vec()
    };
    let pkcs1 = Zeroizing::new(pkcs1);
    RsaKeyPair::from_der(&pkcs1).ok()?;
    Some(EncodingKey::from_rsa_der(&pkcs1))
}

/// The key in the form the signer takes: PKCS #8, made of SEC 1 where need be.
fn p256_key(key: &PrivateKeyDer<'_>) -> Option<EncodingKey> {
    let pair =
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
            .ok()?;
    let pkcs8 = pair.to_pkcs8v1().ok()?;
    Some(EncodingKey::from_ec_der(pkcs8.as_ref()))
}

/// `privateKey` of a PKCS #8 `PrivateKeyInfo`: version, algorithm, key (RFC 5208 §5).
fn inner_key(pkcs8: &[u8]) -> Option<Vec<u8>> {
    let (_, info) = parse_der(pkcs8).ok()?;
    let key = info.as_sequence().ok()?.get(2)?;
    Some(key.as_slice().ok()?.to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use jsonwebtoken::{DecodingKey, Validation};
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::Value;

    use super::*;
    use crate::clock::{Clock, Turned};
    use crate::secret::Secret;

    fn pair(key: &KeyPair) -> ClientCertificate {
        let params = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
        ClientCertificate {
            certificate_pem: params.self_signed(key).expect("signed").pem(),
            private_key_pem: Secret::new(key.serialize_pem()),
        }
    }

    fn rsa() -> KeyPair {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
    }

    fn p256() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
    }

    fn assertion(algorithm: SigningAlgorithm) -> Assertion {
        Assertion {
            audience: "https://login.example".to_owned(),
            algorithm,
            typ: "client-authentication+jwt".to_owned(),
            key_id: Some("k1".to_owned()),
            lifetime: Duration::from_secs(60),
        }
    }

    fn now() -> Moment {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        Moment::of(&Clock::turned(&Turned::starting_at(start)))
    }

    /// Verifies with the key of the certificate alone, as a server does.
    fn verified(jwt: &str, key: &KeyPair, algorithm: Algorithm) -> Value {
        let public = key.public_key_raw();
        let decoding = if algorithm == Algorithm::ES256 {
            DecodingKey::from_ec_der(public)
        } else {
            DecodingKey::from_rsa_der(public)
        };
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&["https://login.example"]);
        jsonwebtoken::decode::<Value>(jwt, &decoding, &validation)
            .expect("a good signature")
            .claims
    }

    #[test]
    fn the_claims_are_those_of_rfc_7523_section_3() {
        let key = p256();
        let signer = Signer::new(&pair(&key), &assertion(SigningAlgorithm::Es256)).expect("fits");

        let jwt = signer.sign("client-1", now()).expect("signed");

        let claims = verified(&jwt, &key, Algorithm::ES256);
        assert_eq!(claims["iss"], "client-1");
        assert_eq!(claims["sub"], "client-1");
        assert_eq!(claims["aud"], "https://login.example");
        assert_eq!(claims["iat"], 1_900_000_000_u64);
        assert_eq!(claims["exp"], 1_900_000_060_u64);
    }

    #[test]
    fn the_head_names_the_certificate_by_its_thumbprint() {
        // RFC 7515 §4.1.8.
        let pair = pair(&p256());
        let signer = Signer::new(&pair, &assertion(SigningAlgorithm::Es256)).expect("fits");

        let jwt = signer.sign("client-1", now()).expect("signed");

        let header = jsonwebtoken::decode_header(jwt.as_bytes()).expect("a head");
        let leaf = &certificates(&pair.certificate_pem).expect("a chain")[0];
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, leaf));
        assert_eq!(header.x5t_s256, Some(thumbprint));
        assert_eq!(header.typ.as_deref(), Some("client-authentication+jwt"));
        assert_eq!(header.kid.as_deref(), Some("k1"));
    }

    #[test]
    fn rsa_keys_sign_both_ways() {
        let key = rsa();
        for (algorithm, name) in [
            (SigningAlgorithm::Rs256, Algorithm::RS256),
            (SigningAlgorithm::Ps256, Algorithm::PS256),
        ] {
            let signer = Signer::new(&pair(&key), &assertion(algorithm)).expect("fits");

            let jwt = signer.sign("client-1", now()).expect("signed");

            assert_eq!(verified(&jwt, &key, name)["sub"], "client-1");
        }
    }

    #[test]
    fn keys_in_their_older_forms_sign_too() {
        let rsa = inner_key(&rsa().serialize_der()).expect("PKCS #8 holds PKCS #1");
        let p256 = inner_key(&p256().serialize_der()).expect("PKCS #8 holds SEC 1");

        assert!(rsa_key(&PrivateKeyDer::Pkcs1(rsa.into())).is_some());
        assert!(p256_key(&PrivateKeyDer::Sec1(p256.into())).is_some());
    }

    #[test]
    fn no_two_assertions_share_an_identifier() {
        let key = p256();
        let signer = Signer::new(&pair(&key), &assertion(SigningAlgorithm::Es256)).expect("fits");

        let jti = |()| {
            let jwt = signer.sign("client-1", now()).expect("signed");
            verified(&jwt, &key, Algorithm::ES256)["jti"].clone()
        };

        assert_ne!(jti(()), jti(()));
    }

    #[test]
    fn a_key_of_the_wrong_kind_is_refused_before_anything_is_sent() {
        for (key, algorithm) in [
            (p256(), SigningAlgorithm::Rs256),
            (p256(), SigningAlgorithm::Ps256),
            (rsa(), SigningAlgorithm::Es256),
            (
                KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key"),
                SigningAlgorithm::Es256,
            ),
            (
                KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"),
                SigningAlgorithm::Es256,
            ),
        ] {
            let refused = Signer::new(&pair(&key), &assertion(algorithm));

            assert!(
                matches!(refused, Err(TlsError::UnfitKey { .. })),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn an_assertion_lives_five_minutes_at_most() {
        let key = p256();
        let mut long = assertion(SigningAlgorithm::Es256);
        long.lifetime = Duration::from_secs(86_400);
        let signer = Signer::new(&pair(&key), &long).expect("fits");

        let jwt = signer.sign("client-1", now()).expect("signed");

        let claims = verified(&jwt, &key, Algorithm::ES256);
        assert_eq!(claims["exp"], 1_900_000_300_u64);
    }
}
