//! A throw-away PKI: keys are made when a test starts and die with it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RevokedCertParams, RsaKeySize,
    SanType, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The leaf, PEM.
    pub(crate) certificate_pem: String,
    /// Its key, PKCS #8 PEM.
    pub(crate) key_pem: String,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    common_name: String,
    names: Vec<String>,
    others: Vec<SanType>,
    key: Key,
    validity: Validity,
    purpose: ExtendedKeyUsagePurpose,
    number: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    EcP256,
    Rsa2048,
}

#[derive(Clone, Copy, Debug)]
enum Validity {
    Now,
    Past,
    Future,
    Until(SystemTime),
}

impl Ca {
    /// A root with an EC key.
    pub(crate) fn new(common_name: &str) -> Self {
        let key = Key::EcP256.generate();
        Self(CertifiedIssuer::self_signed(ca_params(common_name), key).unwrap())
    }

    /// The root, PEM, as a trust bundle or a `client_ca`.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The root, DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A CA below this one. Where `within` says so, it may speak for names there alone.
    pub(crate) fn below(&self, common_name: &str, number: u64, within: Option<&str>) -> Self {
        let mut params = ca_params(common_name);
        params.serial_number = Some(number.into());
        params.name_constraints = within.map(|name| NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let key = Key::EcP256.generate();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    /// A list, PEM, of the certificates by their numbers that this CA has revoked: one that holds
    /// today.
    pub(crate) fn revokes(&self, numbers: &[u64]) -> String {
        self.list(numbers, (2020, 2049))
    }

    /// The same, overdue for years.
    pub(crate) fn revoked_once(&self, numbers: &[u64]) -> String {
        self.list(numbers, (2001, 2002))
    }

    fn list(&self, numbers: &[u64], (since, until): (i32, i32)) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: (*number).into(),
            revocation_time: date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(since, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// A server's identity for `localhost`, both loopback addresses and `names`.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        let mut all = vec!["localhost", "127.0.0.1", "::1"];
        all.extend(names);
        self.issue(&Leaf::server(&all))
    }

    /// A client's identity.
    pub(crate) fn client(&self, common_name: &str) -> Identity {
        self.issue(&Leaf::client(common_name))
    }

    /// A server whose certificate no root has signed, behind a chain of `count` CAs that are all
    /// called `name` and have keys of their own: any of them may have signed any other, as far as
    /// names tell.
    pub(crate) fn entangled(name: &str, count: u64) -> Identity {
        let mut signer = Self::new(name);
        let mut chain = String::new();
        for number in 1..=count {
            signer = signer.below(name, number, None);
            chain += &signer.pem();
        }
        let mut server = signer.issue(&Leaf::server(&["localhost", "127.0.0.1"]));
        server.certificate_pem += &chain;
        server
    }

    /// Servers that nobody may believe to be `localhost`, by what is wrong with them.
    pub(crate) fn bad_servers(&self) -> Vec<(&'static str, Identity)> {
        let localhost = Leaf::server(&["localhost", "127.0.0.1"]);
        let named = |name: &str| self.issue(&Leaf::server(&[name]));
        let common_name = localhost.clone().common_name_only("localhost");
        let elsewhere = self.below("elsewhere", 2, Some("elsewhere.example"));
        vec![
            ("expired", self.issue(&localhost.clone().expired())),
            (
                "not yet valid",
                self.issue(&localhost.clone().not_yet_valid()),
            ),
            ("another name", named("other.example")),
            ("a name below", named("sub.localhost")),
            ("a wildcard", named("*.localhost")),
            ("NUL in the name", named("localhost\0.evil.example")),
            ("the common name alone", self.issue(&common_name)),
            ("a client's certificate", self.client("localhost")),
            ("signed by itself", localhost.self_signed()),
            (
                "signed by another CA of the stage's name",
                Self::new("stage").issue(&localhost),
            ),
            (
                "outside what its CA may speak for",
                elsewhere
                    .issue(&Leaf::server(&["localhost"]))
                    .behind(&elsewhere),
            ),
            ("signed by a server", self.forged(&localhost)),
        ]
    }

    /// Says `leaf`, signed by a server whose own certificate is good.
    fn forged(&self, leaf: &Leaf) -> Identity {
        let (key, params) = (leaf.key.generate(), leaf.params());
        let server = params.signed_by(&key, &self.0).unwrap();
        let forger = Issuer::new(params, key);
        let key = leaf.key.generate();
        let forged = leaf.params().signed_by(&key, &forger).unwrap();
        Identity {
            certificate_pem: forged.pem() + &server.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// Signs `leaf`.
    pub(crate) fn issue(&self, leaf: &Leaf) -> Identity {
        let key = leaf.key.generate();
        let certificate = leaf.params().signed_by(&key, &self.0).unwrap();
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Leaf {
    /// A server that is called `names`, addresses included.
    pub(crate) fn server(names: &[&str]) -> Self {
        Self {
            common_name: "stand-in server".to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            others: Vec::new(),
            key: Key::EcP256,
            validity: Validity::Now,
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
            number: None,
        }
    }

    /// A client that is called `common_name`, and `{common_name}.clients.example` as a DNS name.
    pub(crate) fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            names: vec![format!("{common_name}.clients.example")],
            others: Vec::new(),
            key: Key::EcP256,
            validity: Validity::Now,
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
            number: None,
        }
    }

    /// The same with an RSA key of 2048 bits.
    pub(crate) fn rsa(self) -> Self {
        Self {
            key: Key::Rsa2048,
            ..self
        }
    }

    /// The same, with this serial number.
    pub(crate) fn numbered(self, number: u64) -> Self {
        Self {
            number: Some(number),
            ..self
        }
    }

    /// The same, called `name` in its subject's common name and nowhere else.
    pub(crate) fn common_name_only(self, name: &str) -> Self {
        Self {
            common_name: name.to_owned(),
            names: Vec::new(),
            ..self
        }
    }

    /// The same, ended years ago.
    pub(crate) fn expired(self) -> Self {
        Self {
            validity: Validity::Past,
            ..self
        }
    }

    /// The same, called `name` too.
    pub(crate) fn also(mut self, name: SanType) -> Self {
        self.others.push(name);
        self
    }

    /// The same, valid until `end`.
    pub(crate) fn until(self, end: SystemTime) -> Self {
        Self {
            validity: Validity::Until(end),
            ..self
        }
    }

    /// The same, beginning centuries ahead.
    pub(crate) fn not_yet_valid(self) -> Self {
        Self {
            validity: Validity::Future,
            ..self
        }
    }

    /// Signs itself.
    pub(crate) fn self_signed(&self) -> Identity {
        let key = self.key.generate();
        let certificate = self.params().self_signed(&key).unwrap();
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        params.subject_alt_names.extend(self.others.clone());
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = self.number.map(Into::into);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.purpose.clone()];
        (params.not_before, params.not_after) = match self.validity {
            Validity::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 1, 1)),
            Validity::Past => (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)),
            Validity::Until(end) => (date_time_ymd(2020, 1, 1), end.into()),
            Validity::Future => (date_time_ymd(2900, 1, 1), date_time_ymd(2901, 1, 1)),
        };
        params
    }
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Key {
    fn generate(self) -> KeyPair {
        match self {
            Self::EcP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            Self::Rsa2048 => {
                KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
            }
        }
    }
}

impl Identity {
    /// The leaf, DER.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).unwrap()
    }

    /// The same, with the certificate of `ca` beside its own.
    pub(crate) fn behind(mut self, ca: &Ca) -> Self {
        self.certificate_pem += &ca.pem();
        self
    }

    /// The leaf and what stands beside it, DER.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes());
        chain.collect::<Result<_, _>>().unwrap()
    }

    /// The key, DER.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }

    /// What `x5t#S256` says of the leaf (RFC 7515 §4.1.8, RFC 8705 §3.1).
    pub(crate) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.certificate()))
    }

    /// Writes `{stem}.pem` and `{stem}.key` into `directory`, and says where they are.
    pub(crate) fn write(&self, directory: &Path, stem: &str) -> (PathBuf, PathBuf) {
        let certificate = directory.join(format!("{stem}.pem"));
        let key = directory.join(format!("{stem}.key"));
        std::fs::write(&certificate, &self.certificate_pem).unwrap();
        std::fs::write(&key, &self.key_pem).unwrap();
        (certificate, key)
    }
}
