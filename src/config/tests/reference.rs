//! `config/reference.yaml` is complete, right, and says what is allowed.

use std::path::Path;

use super::{read, read_in, write_pair};
use crate::config::document::{Content, Document, Node};
use crate::config::units::{Bounded, Quantity};
use crate::config::{
    allow, assertion, auth, bulkhead, connectors, files, inbound, listeners, oauth, oidc, recovery,
    settings,
};

const REFERENCE: &str = include_str!("../../../config/reference.yaml");
const LEAST: &str = include_str!("../../../config/attache.yaml");

/// Every file that the reference names.
fn stage() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    for secret in ["orders", "maps", "crm", "archive", "archive-client"] {
        std::fs::write(dir.path().join("secrets").join(secret), "secret\n").unwrap();
    }
    write_pair(dir.path(), "ledger", &rcgen::PKCS_ECDSA_P256_SHA256);
    write_pair(dir.path(), "claims", &rcgen::PKCS_RSA_SHA256);
    dir
}

#[test]
fn every_default_in_it_is_the_default() {
    let dir = stage();
    let mut reference = read_in(REFERENCE, dir.path()).unwrap();

    assert_eq!(reference.warnings.len(), 1, "{:?}", reference.warnings);
    assert!(reference.warnings[0].contains("RFC 9700 §2.4"));
    reference.connectors.clear();
    reference.warnings.clear();
    reference.files.clear();
    let default = read("").unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{default:#?}"));
}

#[test]
fn every_connector_in_it_has_the_defaults() {
    let dir = stage();
    let reference = read_in(REFERENCE, dir.path()).unwrap();
    let terse = "connectors:
  - { id: orders, name: Orders, resource_domain: https://orders.example.com/api, auth: { basic: { username: svc, password: { file: secrets/orders } } } }
  - { id: prices, name: Prices, resource_domain: https://prices.example.com, auth: none, allow: [{ methods: [GET, HEAD], paths: [/v2/prices] }], retry: {}, requests_per_second: { rate: 50 } }
  - { id: maps, name: Maps, resource_domain: https://maps.example.com, auth: { header: { name: X-Api-Key, value: { file: secrets/maps } } } }
  - { id: ledger, name: Ledger, resource_domain: https://ledger.example.com, auth: { client_certificate: { certificate: { file: ledger.crt }, private_key: { file: ledger.key } } } }
  - { id: crm, name: CRM, resource_domain: https://crm.example.com, auth: { oauth2: { token_url: https://login.example.com/oauth/token, client_id: attache, client_secret: { file: secrets/crm } } } }
  - { id: claims, name: Claims, resource_domain: https://claims.example.com, auth: { oauth2: { token_url: https://login.example.com/oauth/token, client_id: attache, client_authentication: private_key_jwt, client_certificate: { certificate: { file: claims.crt }, private_key: { file: claims.key } }, assertion: { audience: https://login.example.com } } } }
  - { id: archive, name: Archive, resource_domain: https://archive.example.com, auth: { oauth2: { grant: password, username: svc@example.com, password: { file: secrets/archive }, token_url: https://login.example.com/oauth/token, client_id: attache, client_authentication: client_secret_post, client_secret: { file: secrets/archive-client } } } }
";

    let terse = read_in(terse, dir.path()).unwrap();

    assert_eq!(reference.connectors, terse.connectors);
    let upstream = *reference.connectors[0].upstream;
    assert_eq!(upstream, crate::connector::Upstream::default());
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.content {
        Content::Map(entries) => entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value),
        Content::List(nodes) => nodes.iter().find_map(|node| child(node, key)),
        Content::Null | Content::Text(_) | Content::Bare => None,
    }
}

/// The first value at the end of `path`, whichever list entry has it.
fn value<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    let [key, rest @ ..] = path else {
        return Some(node);
    };
    match &node.content {
        Content::List(nodes) => nodes.iter().find_map(|node| value(node, path)),
        Content::Map(_) | Content::Null | Content::Text(_) | Content::Bare => {
            value(child(node, key)?, rest)
        }
    }
}

#[test]
fn every_known_key_is_in_it() {
    let document = Document::parse(REFERENCE).unwrap();
    let oauth2: &[&str] = &["connectors", "auth", "oauth2"];
    let sections: &[(&[&str], &[&str])] = &[
        (&[], settings::ROOT_KEYS),
        (&["inbound"], inbound::INBOUND_KEYS),
        (&["admin"], listeners::ADMIN_KEYS),
        (&["metrics"], listeners::METRICS_KEYS),
        (&["logs"], settings::LOGS_KEYS),
        (&["trust"], settings::TRUST_KEYS),
        (&["limits"], settings::LIMITS_KEYS),
        (&["timeouts"], settings::TIMEOUTS_KEYS),
        (&["tokens"], settings::TOKENS_KEYS),
        (&["upstream"], connectors::UPSTREAM_KEYS),
        (&["connectors"], connectors::CONNECTOR_KEYS),
        (&["connectors", "allow"], allow::RULE_KEYS),
        (&["connectors", "expired_on"], recovery::EXPIRED_ON_KEYS),
        (&["connectors", "retry"], recovery::RETRY_KEYS),
        (&["connectors", "requests_per_second"], bulkhead::RATE_KEYS),
        (&["connectors", "breaker"], bulkhead::BREAKER_KEYS),
        (&["connectors", "auth", "basic"], auth::BASIC_KEYS),
        (&["connectors", "auth", "header"], auth::HEADER_KEYS),
        (
            &["connectors", "auth", "client_certificate"],
            files::PAIR_KEYS,
        ),
        (oauth2, oauth::OAUTH2_KEYS),
        (
            &["connectors", "auth", "oauth2", "assertion"],
            assertion::ASSERTION_KEYS,
        ),
    ];
    for (path, keys) in sections {
        for key in *keys {
            let whole = [path, &[*key][..]].concat();
            assert!(
                value(document.root(), &whole).is_some(),
                "{whole:?} is missing"
            );
        }
    }
    for scheme in auth::AUTH_KEYS {
        let shown = value(document.root(), &["connectors", "auth", scheme]).is_some();
        assert!(shown || *scheme == "none", "{scheme} is missing");
    }
}

#[test]
fn every_key_of_what_there_is_none_of_by_default_stands_in_a_comment() {
    // `tls` is null by default.
    for key in listeners::TLS_KEYS {
        assert!(
            REFERENCE.contains(&format!("#     {key}: {{ file: ")),
            "tls.{key}"
        );
    }
    // `admin.oidc` is null by default too.
    for key in oidc::OIDC_KEYS {
        assert!(
            REFERENCE.contains(&format!("  #   {key}: ")),
            "admin.oidc.{key}"
        );
    }
    // There is nobody by default.
    for (list, keys) in [
        ("keys", inbound::KEY_KEYS),
        ("certificates", inbound::CERTIFICATE_KEYS),
    ] {
        let (_, comment) = REFERENCE.split_once(&format!("\n#   {list}:\n")).unwrap();
        let (comment, _) = comment.split_once("\n#\n").unwrap();
        for key in keys {
            let said = ["#     - ", "#       "].map(|before| format!("{before}{key}: "));
            let said = said.iter().any(|line| comment.contains(line));
            assert!(said, "inbound.{list}.{key}");
        }
    }
}

fn assert_bounds<Q: Quantity>(document: &Document<'_>, path: &[&str], bounded: &Bounded<Q>) {
    let whole = [path, &[bounded.key]].concat();
    let node = value(document.root(), &whole).unwrap_or_else(|| panic!("{whole:?}"));
    let line = usize::try_from(node.at.line).unwrap();
    let before = REFERENCE.lines().nth(line - 2).unwrap();
    let here = REFERENCE.lines().nth(line - 1).unwrap();
    let allowed = bounded.allowed();
    let said = here.contains(&allowed) || before.starts_with('#') && before.contains(&allowed);
    assert!(said, "{whole:?} does not say {allowed}: {here}");
}

#[test]
fn every_bound_is_in_it() {
    let document = &Document::parse(REFERENCE).unwrap();
    assert_bounds(document, &[], &settings::WORKERS);
    assert_bounds(
        document,
        &["metrics"],
        &listeners::CONNECTORS_WITH_SERIES_MAX,
    );
    for count in [
        &settings::CONNECTIONS_MAX,
        &settings::REQUESTS_IN_FLIGHT_MAX,
        &settings::FIELDS_MAX,
    ] {
        assert_bounds(document, &["limits"], count);
    }
    for size in [
        &settings::HEAD_BYTES_MAX,
        &settings::REQUEST_BODY_BYTES_MAX,
        &settings::CONFIG_BYTES_MAX,
    ] {
        assert_bounds(document, &["limits"], size);
    }
    for span in [
        &settings::HANDSHAKE,
        &settings::HEAD,
        &settings::IDLE,
        &settings::BODY,
        &settings::WRITE,
        &settings::DRAIN_DELAY,
        &settings::DRAIN,
    ] {
        assert_bounds(document, &["timeouts"], span);
    }
    for span in [
        &settings::WAIT,
        &settings::FETCH,
        &settings::DEFAULT_LIFETIME,
    ] {
        assert_bounds(document, &["tokens"], span);
    }
    assert_bounds(document, &["tokens"], &settings::ENTRIES_MAX);
    assert_bounds(document, &["tokens"], &settings::RENEW_AT);
    assert_bounds(document, &["tokens"], &settings::RETRIES_PER_MINUTE_MAX);
    for span in [
        &connectors::CONNECT,
        &connectors::RESPONSE_HEAD,
        &connectors::STALL,
        &connectors::IDLE,
        &connectors::AGE_MAX,
        &connectors::TUNNEL_IDLE,
    ] {
        assert_bounds(document, &["upstream"], span);
    }
    assert_bounds(document, &["upstream"], &connectors::CONNECTIONS_MAX);
    let section: &[&str] = &["connectors", "auth", "oauth2", "assertion"];
    assert_bounds(document, section, &assertion::LIFETIME);
}

#[test]
fn every_bound_of_a_connector_is_in_it() {
    let document = &Document::parse(REFERENCE).unwrap();
    let connector: &[&str] = &["connectors"];
    assert_bounds(document, connector, &bulkhead::REQUESTS_IN_FLIGHT_MAX);
    assert_bounds(document, connector, &recovery::REPLAY_BODY_BYTES_MAX);
    assert_bounds(document, connector, &settings::REQUEST_BODY_BYTES_MAX);
    assert_bounds(document, connector, &bulkhead::RESPONSE_BODY_BYTES_MAX);
    let retry: &[&str] = &["connectors", "retry"];
    assert_bounds(document, retry, &recovery::ATTEMPTS);
    assert_bounds(document, retry, &recovery::WAIT_MAX);
    assert_bounds(document, retry, &recovery::BUDGET_PERCENT);
    let rate: &[&str] = &["connectors", "requests_per_second"];
    assert_bounds(document, rate, &bulkhead::RATE);
    assert_bounds(document, rate, &bulkhead::BURST);
    let breaker: &[&str] = &["connectors", "breaker"];
    assert_bounds(document, breaker, &bulkhead::FAILURES);
    assert_bounds(document, breaker, &bulkhead::WINDOW);
    assert_bounds(document, breaker, &bulkhead::OPEN);
}

/// What stands in the comment is what would be read.
#[test]
fn the_provider_in_it_is_one_that_can_be_written() {
    let (_, comment) = REFERENCE.split_once("\n  #   issuer: ").unwrap();
    let (comment, _) = comment.split_once("\n  oidc: null").unwrap();
    let keys = format!("issuer: {comment}").replace("\n  #   ", "\n    ");

    let config = read(&format!("admin:\n  oidc:\n    {keys}\n")).unwrap();

    let written = config.admin.oidc.unwrap();
    let least = "admin: { oidc: { issuer: https://login.example.com, audience: attache, \
                 roles: { connector-admins: full-admin, auditors: external-read-only-admin } } }";
    assert_eq!(Some(written), read(least).unwrap().admin.oidc);
}

#[test]
fn the_least_that_runs_needs_nothing_and_its_example_is_right() {
    let config = read_in(LEAST, Path::new("nowhere")).unwrap();
    assert!(config.connectors.is_empty() && config.warnings.is_empty());

    let (_, example) = LEAST.split_once("connectors: []\n").unwrap();
    let example = example
        .replace("\n#", "\n")
        .replace("ORDERS_PASSWORD", "SET");
    let text = format!("connectors:\n{}", example.trim_start_matches('#'));
    assert_eq!(read(&text).unwrap().connectors.len(), 1);
}
