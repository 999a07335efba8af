//! `auth.oauth2`: what a token request needs, and which of its keys go together.

use std::collections::BTreeMap;

use super::assertion::private_key_jwt;
use super::auth::{headers, pair};
use super::connectors::https_url;
use super::document::Node;
use super::error::Problem;
use super::files::{Plain, Use};
use super::reader::{Path, Reader, Section};
use crate::connector::{
    ClientAuthentication, ClientCertificate, GrantType, HttpsUrl, OAuth2, RESERVED_PARAMETERS,
};
use crate::secret::Secret;

pub(super) const OAUTH2_KEYS: &[&str] = &[
    "grant",
    "username",
    "password",
    "token_url",
    "revocation_url",
    "client_id",
    "client_secret",
    "client_authentication",
    "client_certificate",
    "certificate_to_resource",
    "assertion",
    "scope",
    "token_parameters",
    "token_headers",
];
/// The most parameters that a token request carries beside the standard ones.
const PARAMETERS_MAX: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grant {
    ClientCredentials,
    Password,
}

/// `client_authentication`, as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
}

const METHODS: &[(&str, Method)] = &[
    ("client_secret_basic", Method::ClientSecretBasic),
    ("client_secret_post", Method::ClientSecretPost),
    ("tls_client_auth", Method::TlsClientAuth),
    (
        "self_signed_tls_client_auth",
        Method::SelfSignedTlsClientAuth,
    ),
    ("private_key_jwt", Method::PrivateKeyJwt),
    ("none", Method::None),
];

/// Reads `auth.oauth2`.
pub(super) fn oauth2<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<OAuth2> {
    let section = &reader.mapping(node, path, OAUTH2_KEYS)?;
    let grant = grant(reader, section, path);
    let token_url = token_url(reader, section, path);
    let revocation_url = revocation_url(reader, section, path);
    let client_id = reader.required_text(section, path, "client_id", CLIENT_ID_FORM);
    let authentication = client_authentication(reader, section, path);
    let certificate_to_resource = certificate_to_resource(reader, section, path);
    let scope = scope(reader, section, path);
    let token_parameters = section.optional("token_parameters").map_or_else(
        || Some(BTreeMap::new()),
        |node| parameters(reader, node, &path.key("token_parameters")),
    );
    let token_headers = token_headers(reader, section, path);
    Some(OAuth2 {
        grant: grant?,
        token_url: token_url?,
        revocation_url: revocation_url?,
        client_id: client_id?.to_owned(),
        client_authentication: authentication?,
        certificate_to_resource,
        scope: scope?,
        token_parameters: token_parameters?,
        token_headers: token_headers?,
    })
}

const CLIENT_ID_FORM: &str = "the client's identifier at the authorization server";
const PASSWORD_GRANT: &str = "the password grant must not be used where anything else is offered (RFC 9700 §2.4); prefer client_credentials";

fn grant<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Option<GrantType> {
    let grants = [
        ("client_credentials", Grant::ClientCredentials),
        ("password", Grant::Password),
    ];
    let written = reader.choice(section, path, "grant", &grants);
    if written.is_none() && section.written("grant").is_some() {
        return None;
    }
    match written.unwrap_or(Grant::ClientCredentials) {
        Grant::ClientCredentials => {
            let rule = (
                "grant: client_credentials",
                "leave it out, or write grant: password",
            );
            forbid(reader, section, path, &["username", "password"], rule);
            Some(GrantType::ClientCredentials)
        }
        Grant::Password => {
            reader.warn(section.place("grant"), &path.key("grant"), PASSWORD_GRANT);
            let username =
                reader.required_text(section, path, "username", "the resource owner's name");
            let password = reader.required_secret(section, path, "password", Use::Parameter);
            Some(GrantType::Password {
                username: username?.to_owned(),
                password: password?,
            })
        }
    }
}

fn token_url<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<HttpsUrl> {
    let path = path.key("token_url");
    let Some(node) = section.optional("token_url") else {
        let problem = Problem::Required("the https:// URL of the token endpoint");
        reader.fault(section.place("token_url"), &path, problem);
        return None;
    };
    https_url(reader, node, &path)
}

/// The outer `None` stands for a fault.
fn revocation_url<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Option<HttpsUrl>> {
    let Some(node) = section.optional("revocation_url") else {
        return Some(None);
    };
    https_url(reader, node, &path.key("revocation_url")).map(Some)
}

/// Records each of `keys` that is written although it has no place beside `rule.0`.
fn forbid<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    keys: &[&'static str],
    (with, instead): (&'static str, &'static str),
) {
    for key in keys {
        if let Some(node) = section.optional(key) {
            reader.fault(
                node.at,
                &path.key(key),
                Problem::Forbidden { with, instead },
            );
        }
    }
}

const PUBLIC_CLIENT: &str = "the client proves nothing to the token endpoint; client_credentials is for clients that do (RFC 6749 §4.4)";

fn client_authentication<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<ClientAuthentication> {
    let key = "client_authentication";
    let written = reader.choice(section, path, key, METHODS);
    if written.is_none() && section.written(key).is_some() {
        return None;
    }
    let method = written.unwrap_or(Method::ClientSecretBasic);
    forbid_for(reader, section, path, method);
    match method {
        Method::None => {
            let grant = section
                .written("grant")
                .map(|node| reader.document.text(node));
            if grant != Some(Some("password")) {
                reader.warn(section.place(key), &path.key(key), PUBLIC_CLIENT);
            }
            Some(ClientAuthentication::None)
        }
        Method::ClientSecretBasic => {
            client_secret(reader, section, path).map(ClientAuthentication::ClientSecretBasic)
        }
        Method::ClientSecretPost => {
            client_secret(reader, section, path).map(ClientAuthentication::ClientSecretPost)
        }
        Method::TlsClientAuth => {
            certificate(reader, section, path).map(ClientAuthentication::TlsClientAuth)
        }
        Method::SelfSignedTlsClientAuth => {
            certificate(reader, section, path).map(ClientAuthentication::SelfSignedTlsClientAuth)
        }
        Method::PrivateKeyJwt => private_key_jwt(reader, section, path),
    }
}

/// A client authenticates in one way in each request (RFC 6749 §2.3): what belongs to another way
/// was either forgotten or meant.
fn forbid_for<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>, method: Method) {
    const SECRET: &[&str] = &["client_secret"];
    const CERTIFICATE: &[&str] = &["client_certificate", "assertion"];
    const ALL: &[&str] = &["client_secret", "client_certificate", "assertion"];
    const SECRET_OUT: &str = "leave it out, or choose client_secret_basic or client_secret_post";
    const CERTIFICATE_OUT: &str =
        "leave it out, or choose tls_client_auth, self_signed_tls_client_auth or private_key_jwt";
    const ASSERTION_OUT: &str = "leave it out, or choose private_key_jwt";
    let rule = match method {
        Method::None => (ALL, "client_authentication: none", "leave it out"),
        Method::ClientSecretBasic => (
            CERTIFICATE,
            "client_authentication: client_secret_basic",
            CERTIFICATE_OUT,
        ),
        Method::ClientSecretPost => (
            CERTIFICATE,
            "client_authentication: client_secret_post",
            CERTIFICATE_OUT,
        ),
        Method::PrivateKeyJwt => (SECRET, "client_authentication: private_key_jwt", SECRET_OUT),
        Method::TlsClientAuth => (SECRET, "client_authentication: tls_client_auth", SECRET_OUT),
        Method::SelfSignedTlsClientAuth => (
            SECRET,
            "client_authentication: self_signed_tls_client_auth",
            SECRET_OUT,
        ),
    };
    let (keys, with, instead) = rule;
    forbid(reader, section, path, keys, (with, instead));
    if matches!(
        method,
        Method::TlsClientAuth | Method::SelfSignedTlsClientAuth
    ) {
        forbid(reader, section, path, &["assertion"], (with, ASSERTION_OUT));
    }
}

fn client_secret<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Secret> {
    reader.required_secret(section, path, "client_secret", Use::Parameter)
}

/// Reads `client_certificate`, which must be there.
pub(super) fn certificate<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<ClientCertificate> {
    let key = "client_certificate";
    let path = path.key(key);
    let Some(node) = section.optional(key) else {
        let problem = Problem::Required(
            "a mapping (certificate, private_key), which this client_authentication shows or signs with",
        );
        reader.fault(section.place(key), &path, problem);
        return None;
    };
    pair(reader, node, &path)
}

fn certificate_to_resource<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> bool {
    let key = "certificate_to_resource";
    let shown = reader.flag(section, path, key).unwrap_or(false);
    // Where a certificate is required and missing, that is a fault of its own.
    let method = section.written("client_authentication");
    let method = method.and_then(|node| reader.document.text(node));
    let has_certificate = matches!(
        method,
        Some("tls_client_auth" | "self_signed_tls_client_auth" | "private_key_jwt")
    );
    if shown && !has_certificate {
        let problem = Problem::Forbidden {
            with: "a client_authentication without a certificate",
            instead: "write false, or choose tls_client_auth, self_signed_tls_client_auth or private_key_jwt",
        };
        reader.fault(section.place(key), &path.key(key), problem);
    }
    shown
}

const SCOPE_FORM: &str =
    "scopes separated by single spaces, of printable ASCII without \" and \\ (RFC 6749 §3.3)";

/// The outer `None` stands for a fault.
fn scope<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Option<String>> {
    let Some(node) = section.optional("scope") else {
        return Some(None);
    };
    let path = path.key("scope");
    let text = reader.text(node, &path, SCOPE_FORM)?;
    let is_token = |token: &str| {
        let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        !token.is_empty() && token.bytes().all(legal)
    };
    if text.len() > super::TEXT_BYTES_MAX || !text.split(' ').all(is_token) {
        reader.fault(node.at, &path, Problem::MustBe(SCOPE_FORM));
        return None;
    }
    Some(Some(text.to_owned()))
}

const PARAMETER_FORM: &str = "named with A-Z, a-z, 0-9, '-', '.' and '_' only (RFC 6749 §8.2)";

fn parameters<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<BTreeMap<String, Secret>> {
    let mut parameters = BTreeMap::new();
    let entries = reader.entries(node, path, PARAMETERS_MAX);
    for entry in entries {
        let path = &path.entry(&entry.key);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if entry.key.is_empty() || !entry.key.bytes().all(legal) {
            reader.fault(entry.at, path, Problem::MustBe(PARAMETER_FORM));
        }
        let standard = RESERVED_PARAMETERS.iter().find(|name| **name == entry.key);
        if let Some(name) = standard {
            reader.fault(entry.at, path, Problem::StandardParameter(name));
        }
        // `audience` and `resource` are no secrets, so a plain value is nothing to warn of.
        if let Some(value) = reader.secret(&entry.value, path, Use::Parameter, Plain::Accept) {
            parameters.insert(entry.key.clone(), value);
        }
    }
    (parameters.len() == entries.len()).then_some(parameters)
}

/// Fields of the token request that are the gateway's own to write.
fn token_headers<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Vec<crate::connector::StaticHeader>> {
    let Some(node) = section.optional("token_headers") else {
        return Some(Vec::new());
    };
    let path = path.key("token_headers");
    let headers = headers(reader, node, &path)?;
    let method = section.written("client_authentication");
    let basic = method.is_none_or(|node| reader.document.text(node) == Some("client_secret_basic"));
    if basic
        && headers
            .iter()
            .any(|header| header.name == http::header::AUTHORIZATION)
    {
        let problem = Problem::Forbidden {
            with: "an authorization field of its own",
            instead: "client_secret_basic writes that one (RFC 6749 §2.3)",
        };
        reader.fault(node.at, &path, problem);
        return None;
    }
    Some(headers)
}
