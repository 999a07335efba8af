//! `client_authentication: private_key_jwt`: what signs client assertions, and what they say.

use super::error::Problem;
use super::oauth::certificate;
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Span};
use crate::connector::{Assertion, ClientAuthentication, SigningAlgorithm};
use crate::tls::client::can_sign;

pub(super) const ASSERTION_KEYS: &[&str] = &["audience", "algorithm", "typ", "key_id", "lifetime"];

pub(super) const LIFETIME: Bounded<Span> = Bounded {
    key: "lifetime",
    default: Span::secs(60),
    min: Span::secs(5),
    max: Span::minutes(5),
};

/// Reads what signs client assertions, and what they say.
pub(super) fn private_key_jwt<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<ClientAuthentication> {
    let certificate = certificate(reader, section, path);
    let assertion = assertion(reader, section, path);
    let (certificate, assertion) = (certificate?, assertion?);
    let fits = can_sign(certificate.private_key_pem.expose(), assertion.algorithm);
    if !matches!(fits, Ok(true)) {
        let (algorithm, needed) = match assertion.algorithm {
            SigningAlgorithm::Rs256 => ("RS256", "it needs an RSA key"),
            SigningAlgorithm::Ps256 => ("PS256", "it needs an RSA key"),
            SigningAlgorithm::Es256 => ("ES256", "it needs a P-256 key"),
        };
        let problem = Problem::Algorithm { algorithm, needed };
        let path = path.key("assertion");
        reader.fault(section.place("assertion"), &path.key("algorithm"), problem);
        return None;
    }
    Some(ClientAuthentication::PrivateKeyJwt {
        certificate,
        assertion: Box::new(assertion),
    })
}

const AUDIENCE_FORM: &str = "the authorization server's issuer identifier (RFC 10070), or its token URL where it wants that";

fn assertion<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Assertion> {
    let section = &reader.section(section, path, "assertion", ASSERTION_KEYS);
    let path = &path.key("assertion");
    let algorithms = [
        ("RS256", SigningAlgorithm::Rs256),
        ("PS256", SigningAlgorithm::Ps256),
        ("ES256", SigningAlgorithm::Es256),
    ];
    let audience = reader.required_text(section, path, "audience", AUDIENCE_FORM);
    let algorithm = reader.choice(section, path, "algorithm", &algorithms);
    let typ = reader.optional_text(section, path, "typ", "a type such as JWT");
    let key_id = reader.optional_text(section, path, "key_id", "the key's name at the server");
    let lifetime = reader.quantity(section, path, &LIFETIME);
    Some(Assertion {
        audience: audience?.to_owned(),
        algorithm: algorithm.unwrap_or(SigningAlgorithm::Rs256),
        typ: typ.unwrap_or("JWT").to_owned(),
        key_id: key_id.map(str::to_owned),
        lifetime: lifetime.duration(),
    })
}
