//! A connector as administrators write it: a JSON document with the keys of a configuration file.
//!
//! `id`, `organization`, `name`, `kind` and `enabled` stand beside the document ([`Identity`]). Its
//! secrets are plain strings on the way in; [`take_secrets`] leaves `{"kept": true}` where each of
//! them stood, and [`read_with`] puts them back.
//!
//! # Invariants
//!
//! Every [`Secret`] that the reader can make of a document stands at one of `SECRET_PLACES`; so a
//! document that [`take_secrets`] went through holds none. A document names no file, variable or
//! command of the gateway's. What is said of a bad one repeats none of its values.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::connectors::{ConnectorDefaults, connector};
use super::document::Document;
use super::error::Fault;
use super::files::Files;
use super::identity::Taken;
use super::json;
use super::path::push_pointer;
use super::reader::{self, Reader};
use crate::connector::{Connector, ConnectorId, Organization};
use crate::secret::Secret;

/// The secrets of one connector by the JSON pointer (RFC 6901) of their place in its document:
/// `/auth/basic/password`.
pub type Secrets = BTreeMap<String, Secret>;

/// Where secrets stand in a document; `*` is every key of a mapping.
const SECRET_PLACES: &[&[&str]] = &[
    &["auth", "basic", "password"],
    &["auth", "header", "value"],
    &["auth", "client_certificate", "private_key"],
    &["auth", "oauth2", "client_secret"],
    &["auth", "oauth2", "password"],
    &["auth", "oauth2", "client_certificate", "private_key"],
    &["auth", "oauth2", "token_parameters", "*"],
    &["auth", "oauth2", "token_headers", "*"],
];

/// The keys that decide where secrets are sent and how.
const DESTINATION_KEYS: &[&str] = &["resource_domain", "auth", "ca_bundle"];

/// The keys that stand beside a document.
const IDENTITY_KEYS: [&str; 5] = ["id", "organization", "name", "kind", "enabled"];

/// What stands in a document where a secret is kept.
const KEPT: &str = "kept";

/// What a connector is besides its document.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// What flows address it by.
    pub id: &'a ConnectorId,
    /// Whose it is.
    pub organization: &'a Organization,
    /// What administrators call it.
    pub name: &'a str,
    /// What sort of API it leads to: `custom`.
    pub kind: &'a str,
    /// Whether flows may use it.
    pub enabled: bool,
}

/// One thing that is wrong, or unwise, in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// Where: a JSON pointer (RFC 6901), `/auth/basic/password`.
    pub field: String,
    /// What, in a sentence without its subject; never a value of the document.
    pub detail: String,
}

/// Takes every secret out of `document` and leaves `{"kept": true}` in its place.
///
/// What stands at a secret's place and is no string stays: [`read`] refuses it.
pub fn take_secrets(document: &mut Value) -> Secrets {
    let mut secrets = Secrets::new();
    for place in secret_places(document) {
        let Some(value) = document.pointer_mut(&place) else {
            continue;
        };
        if let Value::String(text) = value {
            secrets.insert(place, Secret::new(std::mem::take(text)));
            *value = kept();
        }
    }
    secrets
}

/// The places where `{"kept": true}` stands for a secret, as JSON pointers.
pub fn kept_fields(document: &Value) -> Vec<String> {
    let mut places = secret_places(document);
    places.retain(|place| document.pointer(place).is_some_and(is_kept));
    places
}

/// A copy of `document` with `secrets` where they are kept.
///
/// The copy is plain text: whoever only wants the connector reads it with [`read_with`].
pub fn put_secrets(document: &Value, secrets: &Secrets) -> Value {
    let mut whole = document.clone();
    for place in kept_fields(document) {
        if let (Some(value), Some(secret)) = (whole.pointer_mut(&place), secrets.get(&place)) {
            *value = Value::from(secret.expose());
        }
    }
    whole
}

/// What tells where the secrets of `document` go: SHA-256 (FIPS 180-4) of its resource domain,
/// authentication, trust anchors and revocation lists, the secrets themselves left out.
pub fn destination(document: &Value) -> [u8; 32] {
    let mut told = Map::new();
    for key in DESTINATION_KEYS {
        // One that is null says the same as one that is absent.
        if let Some(value) = document.get(*key).filter(|value| !value.is_null()) {
            told.insert((*key).to_owned(), value.clone());
        }
    }
    let mut told = Value::Object(told);
    take_secrets(&mut told);
    let mut text = String::new();
    write_canonical(&mut text, &told);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// Reads the connector that `document` and `identity` say, secrets included.
///
/// # Errors
///
/// Everything that is wrong, by the place it stands at.
pub fn read(
    identity: &Identity<'_>,
    document: &Value,
    defaults: &ConnectorDefaults,
) -> Result<Connector, Vec<FieldFault>> {
    read_with(identity, document, &Secrets::new(), defaults)
}

/// As [`read`], with `secrets` where `{"kept": true}` stands.
///
/// # Errors
///
/// As [`read`]; a secret that is kept nowhere is a fault.
pub fn read_with(
    identity: &Identity<'_>,
    document: &Value,
    secrets: &Secrets,
    defaults: &ConnectorDefaults,
) -> Result<Connector, Vec<FieldFault>> {
    walk(identity, document, secrets, defaults).map(|(connector, _)| connector)
}

/// What is allowed in `document` but unwise; nothing if [`read_with`] refuses it.
pub fn advice(
    identity: &Identity<'_>,
    document: &Value,
    secrets: &Secrets,
    defaults: &ConnectorDefaults,
) -> Vec<FieldFault> {
    let read = walk(identity, document, secrets, defaults);
    read.map_or_else(|_| Vec::new(), |(_, advice)| advice)
}

fn walk(
    identity: &Identity<'_>,
    document: &Value,
    secrets: &Secrets,
    defaults: &ConnectorDefaults,
) -> Result<(Connector, Vec<FieldFault>), Vec<FieldFault>> {
    let map = own_keys(document)?;
    let beside = beside(identity);
    let own = map.iter().map(|(key, value)| (key.as_str(), value));
    let whole = beside.iter().map(|(key, value)| (*key, value)).chain(own);
    let document = json::document(whole, secrets).map_err(|fault| vec![fault.into()])?;
    let files = Files::none(&|_| None);
    let mut reader = Reader::new(&document, files);
    let read = read_in(&mut reader, &document, defaults);
    let warned = reader.warnings.drain(..).map(|warning| FieldFault {
        field: warning.key,
        detail: warning.advice.to_owned(),
    });
    let advice = warned.collect();
    match read {
        Some(connector) if reader.faults.is_empty() => Ok((connector, advice)),
        Some(_) | None => {
            reader.faults.sort_by_key(Fault::position);
            Err(reader.faults.into_iter().map(FieldFault::from).collect())
        }
    }
}

fn read_in<'d>(
    reader: &mut Reader<'d>,
    document: &'d Document<'_>,
    defaults: &ConnectorDefaults,
) -> Option<Connector> {
    let path = &reader::Path::ROOT;
    connector(
        reader,
        document.root(),
        path,
        defaults,
        &mut Taken::default(),
    )
}

/// The mapping that `document` is, which says nothing of what stands beside it.
fn own_keys(document: &Value) -> Result<&Map<String, Value>, Vec<FieldFault>> {
    let fault = |field: String, detail: &str| FieldFault {
        field,
        detail: detail.to_owned(),
    };
    let Value::Object(map) = document else {
        let detail = "must be an object with a connector's keys";
        return Err(vec![fault(String::new(), detail)]);
    };
    let beside = IDENTITY_KEYS
        .into_iter()
        .filter(|key| map.contains_key(*key));
    let detail = "stands beside the document, not in it";
    let faults: Vec<_> = beside.map(|key| fault(format!("/{key}"), detail)).collect();
    match faults.is_empty() {
        true => Ok(map),
        false => Err(faults),
    }
}

fn beside(identity: &Identity<'_>) -> [(&'static str, Value); 5] {
    let [id, organization, name, kind, enabled] = IDENTITY_KEYS;
    [
        (id, identity.id.as_str().into()),
        (organization, identity.organization.as_str().into()),
        (name, identity.name.into()),
        (kind, identity.kind.into()),
        (enabled, identity.enabled.into()),
    ]
}

impl From<Fault> for FieldFault {
    fn from(fault: Fault) -> Self {
        Self {
            field: fault.key().to_owned(),
            detail: fault.detail(),
        }
    }
}

fn kept() -> Value {
    Value::Object(Map::from_iter([(KEPT.to_owned(), Value::Bool(true))]))
}

/// Whether `value` is `{"kept": true}`.
pub(super) fn is_kept(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.len() == 1)
        && value.get(KEPT) == Some(&Value::Bool(true))
}

/// The pointers to what stands at any of [`SECRET_PLACES`].
fn secret_places(document: &Value) -> Vec<String> {
    let mut places = Vec::new();
    for place in SECRET_PLACES {
        gather(document, place, String::new(), &mut places);
    }
    places
}

fn gather(value: &Value, place: &[&str], pointer: String, places: &mut Vec<String>) {
    let Some((step, rest)) = place.split_first() else {
        places.push(pointer);
        return;
    };
    let Value::Object(map) = value else {
        return;
    };
    for (key, value) in map.iter().filter(|(key, _)| *step == "*" || key == step) {
        let mut pointer = pointer.clone();
        push_pointer(&mut pointer, key);
        gather(value, rest, pointer, places);
    }
}

/// Writes `value` so that equal values are equal texts: keys sorted, nothing between the tokens.
fn write_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_canonical(text, value);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            text.push('{');
            for (key, value) in sorted {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(text, value);
                text.push(',');
            }
            text.push('}');
        }
    }
}
