//! How a connector's origin wants authentication: everything under `auth` but `oauth2`.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

use super::connectors::https_url;
use super::document::{Content, Node};
use super::error::Problem;
use super::files::{PAIR_KEYS, Plain, Use};
use super::oauth;
use super::reader::{Path, Reader, Section};
use crate::connector::{
    Basic, ClientCertificate, RESERVED_FIELDS, ResourceDomain, Scheme, StaticHeader,
};

pub(super) const AUTH_KEYS: &[&str] = &["none", "basic", "header", "client_certificate", "oauth2"];
pub(super) const BASIC_KEYS: &[&str] = &["username", "password", "validation_url"];
pub(super) const HEADER_KEYS: &[&str] = &["name", "value"];
const NO_KEYS: &[&str] = &[];

const AUTH_FORM: &str = "none (in words, for an origin that asks for nothing), basic, header, client_certificate or oauth2";

/// The most fields that a token request carries beside its own.
const HEADERS_MAX: usize = 20;

/// Reads `auth`, which must say exactly one scheme.
pub(super) fn scheme<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
    resource_domain: Option<&ResourceDomain>,
) -> Option<Scheme> {
    let path = path.key("auth");
    let Some(node) = connector.optional("auth") else {
        reader.fault(connector.place("auth"), &path, Problem::Required(AUTH_FORM));
        return None;
    };
    if reader.document.text(node) == Some("none") {
        return Some(Scheme::None);
    }
    if !matches!(node.content, Content::Map(_)) {
        reader.refuse(node, &path, Problem::MustBe(AUTH_FORM));
        return None;
    }
    let section = reader.mapping(node, &path, AUTH_KEYS)?;
    let mut written = AUTH_KEYS
        .iter()
        .filter_map(|key| Some((*key, section.written(key)?)));
    let (key, node) = match (written.next(), written.next()) {
        (Some(only), None) => only,
        (None, _) => {
            // An unknown key is a fault of its own already.
            if section.is_empty() {
                reader.fault(node.at, &path, Problem::Required(AUTH_FORM));
            }
            return None;
        }
        (Some(_), Some(_)) => {
            reader.fault(node.at, &path, Problem::MoreThanOne(AUTH_KEYS));
            return None;
        }
    };
    let path = path.key(key);
    match key {
        "basic" => basic(reader, node, &path, resource_domain).map(Scheme::Basic),
        "header" => header(reader, node, &path).map(|it| Scheme::Header(Box::new(it))),
        "client_certificate" => pair(reader, node, &path).map(Scheme::ClientCertificate),
        "oauth2" => oauth::oauth2(reader, node, &path).map(|it| Scheme::OAuth2(Arc::new(it))),
        _ => reader.mapping(node, &path, NO_KEYS).map(|_| Scheme::None),
    }
}

const VALIDATION_FORM: &str =
    "a URL on the resource domain's own origin; the credential goes nowhere else";

fn basic<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
    resource_domain: Option<&ResourceDomain>,
) -> Option<Basic> {
    let section = &reader.mapping(node, path, BASIC_KEYS)?;
    let username = basic_username(reader, section, path);
    let password = reader.required_secret(section, path, "password", Use::Password);
    let validation = section.optional("validation_url");
    let validation_url = validation.map(|node| {
        let path = path.key("validation_url");
        let url = https_url(reader, node, &path)?;
        if resource_domain.is_some_and(|domain| domain.origin() != url.origin()) {
            reader.fault(node.at, &path, Problem::MustBe(VALIDATION_FORM));
        }
        Some(url)
    });
    Some(Basic {
        username: username?,
        password: password?,
        validation_url: match validation_url {
            Some(url) => Some(Box::new(url?)),
            None => None,
        },
    })
}

const USERNAME_FORM: &str =
    "a username without colons and control characters (RFC 7617 §2); \"\" if it is empty";

/// May be empty: some origins want their token as the password of nobody.
fn basic_username<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<String> {
    let path = path.key("username");
    let Some(node) = section.optional("username") else {
        let at = section.place("username");
        reader.fault(at, &path, Problem::Required(USERNAME_FORM));
        return None;
    };
    let text = reader.text(node, &path, USERNAME_FORM)?;
    if text.contains(|c: char| c == ':' || c.is_control()) || text.len() > super::TEXT_BYTES_MAX {
        reader.fault(node.at, &path, Problem::MustBe(USERNAME_FORM));
        return None;
    }
    Some(text.to_owned())
}

/// Reads a certificate and its private key.
pub(super) fn pair<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<ClientCertificate> {
    let section = reader.mapping(node, path, PAIR_KEYS)?;
    reader.shown_pair(&section, path)
}

const FIELD_FORM: &str = "the name of a field, such as X-Api-Key (RFC 9110 §5.1)";

fn header<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<StaticHeader> {
    let section = &reader.mapping(node, path, HEADER_KEYS)?;
    let text = reader.required_text(section, path, "name", FIELD_FORM);
    let name = text.and_then(|text| {
        field_name(text)
            .map_err(|problem| reader.fault(section.place("name"), &path.key("name"), problem))
            .ok()
    });
    let value = reader.required_secret(section, path, "value", Use::Field);
    Some(StaticHeader {
        name: name?,
        value: value?,
    })
}

fn field_name(text: &str) -> Result<HeaderName, Problem> {
    let name: HeaderName = text.parse().map_err(|_| Problem::MustBe(FIELD_FORM))?;
    // Some servers read `_` as `-`, so both are the same name here.
    let folded = name.as_str().replace('_', "-");
    match RESERVED_FIELDS.contains(&folded.as_str()) || folded.starts_with("x-forwarded-") {
        true => Err(Problem::FieldRefused),
        false => Ok(name),
    }
}

/// Reads a mapping from names of fields to secrets.
pub(super) fn headers<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<Vec<StaticHeader>> {
    let mut names = HashSet::new();
    let mut headers = Vec::new();
    let entries = reader.entries(node, path, HEADERS_MAX);
    for entry in entries {
        let path = &path.entry(&entry.key);
        let name = match field_name(&entry.key) {
            Ok(name) if names.insert(name.clone()) => Some(name),
            Ok(_) => {
                reader.fault(entry.at, path, Problem::RepeatedKey);
                None
            }
            Err(problem) => {
                reader.fault(entry.at, path, problem);
                None
            }
        };
        let value = reader.secret(&entry.value, path, Use::Field, Plain::Warn);
        if let (Some(name), Some(value)) = (name, value) {
            headers.push(StaticHeader { name, value });
        }
    }
    (headers.len() == entries.len()).then_some(headers)
}
