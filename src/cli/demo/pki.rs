//! The demonstration's throw-away certificates and secrets.
//!
//! # Invariants
//!
//! Everything is made anew in memory on each run and never written to disk. The CA's private key
//! is dropped as soon as it has signed.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use uuid::Uuid;

use crate::secret::Secret;

/// The subject of the client certificate, by which the authorization server knows its client
/// (`tls_client_auth_subject_dn`, RFC 8705 §2.1.2).
pub(super) const CLIENT_COMMON_NAME: &str = "demo-certificate";

/// How long the certificates hold: longer than anyone leaves a demonstration running, and so long
/// that nobody is told of their end.
const LIFETIME: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// How far back they begin. Covers clocks that are set back while the demonstration runs.
const HEAD_START: Duration = Duration::from_secs(60 * 60);

/// A CA with one server and one client certificate under it.
#[derive(Debug)]
pub(super) struct Pki {
    /// The CA's certificate, PEM.
    pub(super) ca_pem: String,
    /// For the demonstration's two servers.
    pub(super) server: Pair,
    /// For the connector that authenticates by certificate.
    pub(super) client: Pair,
}

/// A certificate and its private key, both PEM.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate_pem: String,
    pub(super) private_key_pem: Secret,
}

impl Pki {
    /// Makes all of it, with a server certificate for `address`, valid around `now`.
    pub(super) fn throw_away(address: IpAddr, now: SystemTime) -> anyhow::Result<Self> {
        let mut params = params_named("Attaché demonstration CA, not to be trusted", now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .context("the demonstration's CA could not be made")?;

        let mut server = CertificateParams::new([address.to_string()])?;
        identify(&mut server, "Attaché demonstration server", now);
        let mut client = params_named(CLIENT_COMMON_NAME, now);
        client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(Self {
            ca_pem: ca.pem(),
            server: issue(server, ExtendedKeyUsagePurpose::ServerAuth, &ca)?,
            client: issue(client, ExtendedKeyUsagePurpose::ClientAuth, &ca)?,
        })
    }
}

fn params_named(common_name: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    identify(&mut params, common_name, now);
    params
}

fn identify(params: &mut CertificateParams, common_name: &str, now: SystemTime) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = (now - HEAD_START).into();
    params.not_after = (now + LIFETIME).into();
}

fn issue(
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<Pair> {
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params
        .signed_by(&key, ca)
        .context("a certificate of the demonstration could not be made")?;
    Ok(Pair {
        certificate_pem: certificate.pem(),
        private_key_pem: Secret::new(key.serialize_pem()),
    })
}

/// The thumbprint that binds a token to a certificate: `x5t#S256` (RFC 8705 §3.1).
pub(super) fn thumbprint(certificate_der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate_der))
}

/// 64 hexadecimal digits with 244 random bits: no token or secret of another run.
pub(super) fn random_secret() -> Secret {
    let halves = (Uuid::new_v4(), Uuid::new_v4());
    Secret::new(format!("{}{}", halves.0.simple(), halves.1.simple()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::connector::ClientCertificate;
    use crate::tls::client::{certificates, check_pair};

    fn made() -> Pki {
        Pki::throw_away(
            Ipv4Addr::LOCALHOST.into(),
            SystemTime::UNIX_EPOCH + LIFETIME,
        )
        .unwrap()
    }

    #[test]
    fn two_runs_share_neither_key_nor_secret() {
        let (one, other) = (made(), made());

        assert_ne!(one.ca_pem, other.ca_pem);
        assert_ne!(one.client.private_key_pem, other.client.private_key_pem);
        assert_ne!(one.server.private_key_pem, other.server.private_key_pem);
        assert_ne!(random_secret(), random_secret());
    }

    #[test]
    fn every_certificate_fits_its_key() {
        let pki = made();

        for Pair {
            certificate_pem,
            private_key_pem,
        } in [pki.server, pki.client]
        {
            let pair = ClientCertificate {
                certificate_pem,
                private_key_pem,
            };
            check_pair(&pair).unwrap();
        }
    }

    #[test]
    fn a_certificate_outlives_the_demonstration_but_not_by_centuries() {
        let der = certificates(&made().client.certificate_pem).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der[0]).unwrap();

        let days = parsed.validity().not_after.timestamp() / 86_400;

        assert_eq!(days, 120);
        assert_eq!(parsed.subject().to_string(), "CN=demo-certificate");
    }

    #[test]
    fn a_thumbprint_is_the_unpadded_base64url_of_sha_256() {
        // RFC 8705 §3.1; the digest of nothing is FIPS 180-4's well-known one.
        assert_eq!(
            thumbprint(b""),
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
    }
}
