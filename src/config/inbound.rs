//! Whom the gateway lets in: flow runtimes by their keys and certificates, and no browser.
//!
//! # Invariants
//!
//! A key itself is nowhere here: what is configured is its SHA-256 digest (FIPS 180-4), which opens
//! nothing. Keys are long and random, so that no digest can be guessed.

use std::collections::HashMap;
use std::sync::Arc;

use super::document::Node;
use super::error::Problem;
use super::proxy_protocol::balancers;
use super::reader::{Path, Reader, Section};
use crate::connector::{Organization, Principal};
use crate::proxy_protocol::Balancers;
use crate::tls::names::NamePattern;

pub(super) const INBOUND_KEYS: &[&str] = &[
    "keys",
    "certificates",
    "browsers",
    "proxy_protocol",
    "balancers",
];
pub(super) const KEY_KEYS: &[&str] = &["name", "organization", "sha256"];
pub(super) const CERTIFICATE_KEYS: &[&str] = &["name", "organization", "san"];

/// The most keys: each is compared with what every request shows.
const KEYS_MAX: usize = 1_000;
/// The most certificates' patterns: each is compared with the names of every connection's.
pub(super) const CERTIFICATES_MAX: usize = 1_000;
/// The longest name of a principal, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Whom the gateway lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// Keys that flow runtimes show; none means that nobody is asked for one.
    pub keys: Arc<[InboundKey]>,
    /// Whose certificates of `tls.client_ca` are whose; none means that all of them are alike.
    pub certificates: Arc<[InboundCertificate]>,
    /// What becomes of requests that a browser sends.
    pub browsers: Browsers,
    /// Who stands in front of `listen`, where connections begin with a PROXY protocol header.
    pub balancers: Option<Balancers>,
}

/// A key that a flow runtime shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundKey {
    /// Whose it is. Several keys of one name are one principal's: an old one and a new one.
    pub principal: Arc<Principal>,
    /// The digest of what is shown.
    pub sha256: [u8; 32],
}

/// Client certificates of one flow runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundCertificate {
    /// Whose they are.
    pub principal: Arc<Principal>,
    /// What one of their subject alternative names is.
    pub san: NamePattern,
}

/// What becomes of requests that a browser sends for some page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Browsers {
    /// They are refused: no page uses the gateway through a visitor.
    #[default]
    Refuse,
    /// They are carried as any other.
    Allow,
}

impl Inbound {
    /// Everybody it names.
    pub(super) fn principals(&self) -> Arc<[Arc<Principal>]> {
        let keys = self.keys.iter().map(|key| &key.principal);
        let certificates = self.certificates.iter().map(|one| &one.principal);
        keys.chain(certificates).cloned().collect()
    }
}

/// Reads `inbound`.
pub(super) fn inbound<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Inbound {
    let section = reader.section(root, path, "inbound", INBOUND_KEYS);
    let path = path.key("inbound");
    let browsers = [("refuse", Browsers::Refuse), ("allow", Browsers::Allow)];
    let browsers = reader.choice(&section, &path, "browsers", &browsers);
    if browsers == Some(Browsers::Allow) {
        let at = section.place("browsers");
        reader.warn(at, &path.key("browsers"), BROWSERS_ALLOWED);
    }
    Inbound {
        keys: keys(reader, &section, &path),
        certificates: certificates(reader, &section, &path),
        browsers: browsers.unwrap_or_default(),
        balancers: balancers(reader, &section, &path),
    }
}

const BROWSERS_ALLOWED: &str =
    "any web page can have its visitor's browser send requests through the gateway";

fn keys<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Arc<[InboundKey]> {
    let Some(node) = section.optional("keys") else {
        return Arc::default();
    };
    let path = path.key("keys");
    let nodes = reader.list(node, &path, KEYS_MAX);
    let mut seen = HashMap::new();
    let mut keys = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(key) = key(reader, node, &path) else {
            continue;
        };
        if let Some(first) = seen.insert(key.sha256, node.at.line) {
            let problem = Problem::DuplicateKey { first };
            reader.fault(node.at, &path.key("sha256"), problem);
        }
        keys.push(key);
    }
    keys.into()
}

fn certificates<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Arc<[InboundCertificate]> {
    let Some(node) = section.optional("certificates") else {
        return Arc::default();
    };
    let path = path.key("certificates");
    let nodes = reader.list(node, &path, CERTIFICATES_MAX);
    let mut seen = HashMap::new();
    let mut certificates = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(certificate) = certificate(reader, node, &path) else {
            continue;
        };
        if let Some(first) = seen.insert(certificate.san.clone(), node.at.line) {
            let problem = Problem::DuplicatePattern { first };
            reader.fault(node.at, &path.key("san"), problem);
        }
        certificates.push(certificate);
    }
    certificates.into()
}

const NAME_FORM: &str = "a name of 1 to 200 bytes without control characters";
const ORGANIZATION_FORM: &str = "an organization of 1 to 64 of a-z, 0-9 and '-'";
const DIGEST_FORM: &str =
    "the SHA-256 digest of the key, as 64 hexadecimal digits, and not the key";

const SAN_FORM: &str = "a subject alternative name as dns:ivr.example, dns:*.flows.example (one label), uri:spiffe://acme/flow/* (what lies below), email:ops@flows.example or ip:192.0.2.7";

fn key<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<InboundKey> {
    let section = reader.mapping(node, path, KEY_KEYS)?;
    let principal = principal(reader, &section, path);
    let sha256 = formed(reader, &section, path, ("sha256", DIGEST_FORM), digest_of);
    Some(InboundKey {
        principal: principal?,
        sha256: sha256?,
    })
}

fn certificate<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<InboundCertificate> {
    let section = reader.mapping(node, path, CERTIFICATE_KEYS)?;
    let principal = principal(reader, &section, path);
    let san = formed(
        reader,
        &section,
        path,
        ("san", SAN_FORM),
        NamePattern::parse,
    );
    Some(InboundCertificate {
        principal: principal?,
        san: san?,
    })
}

/// Who is called `name`, in `organization`.
fn principal<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Arc<Principal>> {
    let name = formed(reader, section, path, ("name", NAME_FORM), |name| {
        (name.len() <= NAME_BYTES_MAX).then(|| name.into())
    });
    let organization = organization(reader, section, path);
    Some(Arc::new(Principal {
        name: name?,
        organization: organization?,
    }))
}

/// Reads the text under `key`, which has to be there.
fn formed<'d, T>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    (key, form): (&'static str, &'static str),
    read: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = reader.required_text(section, path, key, form)?;
    let read = read(text);
    if read.is_none() {
        let at = section.place(key);
        reader.fault(at, &path.key(key), Problem::MustBe(form));
    }
    read
}

/// `default` where none is named.
fn organization<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Organization> {
    if section.optional("organization").is_none() {
        return Some(Organization::default());
    }
    let key = "organization";
    let text = reader.optional_text(section, path, key, ORGANIZATION_FORM)?;
    let read = Organization::parse(text).ok();
    if read.is_none() {
        let at = section.place(key);
        reader.fault(at, &path.key(key), Problem::MustBe(ORGANIZATION_FORM));
    }
    read
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        let whole = nibble(pair[0])? << 4 | nibble(pair[1])?;
        *byte = u8::try_from(whole).ok()?;
    }
    Some(digest)
}
