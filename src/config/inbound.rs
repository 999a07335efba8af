//! Whom the gateway lets in: the keys of flow runtimes.
//!
//! # Invariants
//!
//! A key itself is nowhere here: what is configured is its SHA-256 digest (FIPS 180-4), which opens
//! nothing. Keys are long and random, so that no digest can be guessed.

use std::collections::HashMap;
use std::sync::Arc;

use super::document::Node;
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use crate::connector::Organization;

pub(super) const INBOUND_KEYS: &[&str] = &["keys"];
pub(super) const KEY_KEYS: &[&str] = &["name", "organization", "sha256"];

/// The most keys: each is compared with what every request shows.
const KEYS_MAX: usize = 1_000;
/// The longest name of one, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// A key that a flow runtime shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundKey {
    /// Whose it is. Several keys of one name are one principal's: an old one and a new one.
    pub name: Box<str>,
    /// Whose connectors it reaches; no others exist for it.
    pub organization: Organization,
    /// The digest of what is shown.
    pub sha256: [u8; 32],
}

/// Reads `inbound.keys`.
pub(super) fn keys<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
) -> Arc<[InboundKey]> {
    let section = reader.section(root, path, "inbound", INBOUND_KEYS);
    let path = path.key("inbound");
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

const NAME_FORM: &str = "a name of 1 to 200 bytes without control characters";
const ORGANIZATION_FORM: &str = "an organization of 1 to 64 of a-z, 0-9 and '-'";
const DIGEST_FORM: &str =
    "the SHA-256 digest of the key, as 64 hexadecimal digits, and not the key";

fn key<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<InboundKey> {
    let section = reader.mapping(node, path, KEY_KEYS)?;
    let name = reader.required_text(&section, path, "name", NAME_FORM);
    let name = name.filter(|name| {
        let short = name.len() <= NAME_BYTES_MAX;
        if !short {
            let at = section.place("name");
            reader.fault(at, &path.key("name"), Problem::MustBe(NAME_FORM));
        }
        short
    });
    let organization = organization(reader, &section, path);
    let digest = reader.required_text(&section, path, "sha256", DIGEST_FORM);
    let sha256 = digest.and_then(|digest| {
        let read = digest_of(digest);
        if read.is_none() {
            let at = section.place("sha256");
            reader.fault(at, &path.key("sha256"), Problem::MustBe(DIGEST_FORM));
        }
        read
    });
    Some(InboundKey {
        name: name?.into(),
        organization: organization?,
        sha256: sha256?,
    })
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
