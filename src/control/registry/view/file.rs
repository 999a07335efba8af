//! A connector of the configuration file, written as a stored one's document is.
//!
//! # Invariants
//!
//! No secret is written, only where one stands. Everything else is, at its default too, so that
//! whoever reads it need not know the defaults.

use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::connector::{
    Allow, Assertion, Bulkhead, ClientAuthentication, ClientCertificate, Connector, Cookies,
    Forwarded, GrantType, Http2, OAuth2, Recovery, Rule, Scheme, Scrub, SigningAlgorithm,
    StaticHeader, Upstream,
};

/// Its keys but for `id`, `organization`, `name`, `kind` and `enabled`.
pub(super) fn document(connector: &Connector) -> Value {
    let domain = connector.kind.resource_domain();
    let domain = domain.map(|domain| format!("{}{}", domain.origin(), domain.base_path()));
    let mut document = json!({
        "resource_domain": domain,
        "auth": auth(connector.kind.scheme()),
        "probe": probe(connector),
        "ca_bundle": connector.ca_bundle.as_deref(),
        "crl": connector.crl.as_deref(),
        "cookies": match connector.cookies {
            Cookies::Drop => "drop",
            Cookies::Pass => "pass",
        },
        "forwarded": connector.forwarded == Forwarded::Add,
        "warm": connector.warm,
        "upgrades": connector.requests.upgrades,
        "scrub": match connector.scrub {
            Scrub::Off => "off",
            Scrub::Fields => "fields",
            Scrub::All => "all",
        },
        "allow": connector.requests.allow.as_ref().map(allow),
        "upstream": upstream(&connector.upstream),
    });
    if let Value::Object(keys) = &mut document {
        keys.extend(recovery(&connector.recovery));
        keys.extend(bulkhead(&connector.bulkhead));
    }
    document
}

fn allow(allow: &Allow) -> Value {
    let rule = |rule: &Rule| {
        let methods = rule.methods.iter().flatten().map(Method::as_str);
        let networks = rule.networks.iter().flatten().map(IpNet::to_string);
        json!({
            "principals": rule.principals,
            "methods": rule.methods.as_ref().map(|_| methods.collect::<Vec<_>>()),
            "paths": rule.paths,
            "networks": rule.networks.as_ref().map(|_| networks.collect::<Vec<_>>()),
        })
    };
    allow.rules().iter().map(rule).collect()
}

/// The path below the resource domain, whose base path the probe's URL begins with.
fn probe(connector: &Connector) -> Option<String> {
    let (domain, probe) = (connector.kind.resource_domain()?, connector.kind.probe()?);
    let base = domain.base_path();
    let base = base.strip_suffix('/').unwrap_or(base);
    let target = probe.path_and_query();
    target.strip_prefix(base).map(str::to_owned)
}

/// What stands where a secret belongs.
fn kept() -> Value {
    json!({ "kept": true })
}

fn auth(scheme: &Scheme) -> Value {
    match scheme {
        Scheme::None => json!("none"),
        Scheme::Basic(basic) => json!({ "basic": {
            "username": basic.username,
            "password": kept(),
            "validation_url": basic.validation_url.as_ref().map(|url| url.as_str()),
        }}),
        Scheme::Header(header) => json!({ "header": {
            "name": header.name.as_str(),
            "value": kept(),
        }}),
        Scheme::ClientCertificate(pair) => json!({ "client_certificate": certificate(pair) }),
        Scheme::OAuth2(oauth) => json!({ "oauth2": oauth2(oauth) }),
    }
}

fn certificate(pair: &ClientCertificate) -> Value {
    json!({ "certificate": pair.certificate_pem, "private_key": kept() })
}

fn oauth2(oauth: &OAuth2) -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    match &oauth.grant {
        GrantType::ClientCredentials => {
            put("grant", json!("client_credentials"));
        }
        GrantType::Password { username, .. } => {
            put("grant", json!("password"));
            put("username", json!(username));
            put("password", kept());
        }
    }
    put("token_url", json!(oauth.token_url.as_str()));
    let revocation_url = oauth.revocation_url.as_ref();
    put(
        "revocation_url",
        json!(revocation_url.map(|url| url.as_str())),
    );
    put("client_id", json!(oauth.client_id));
    let authentication = &oauth.client_authentication;
    put("client_authentication", json!(authentication.name()));
    match authentication {
        ClientAuthentication::None => {}
        ClientAuthentication::ClientSecretBasic(_) | ClientAuthentication::ClientSecretPost(_) => {
            put("client_secret", kept());
        }
        ClientAuthentication::PrivateKeyJwt {
            certificate: pair,
            assertion: said,
        } => {
            put("client_certificate", certificate(pair));
            put("assertion", assertion(said));
        }
        ClientAuthentication::TlsClientAuth(pair)
        | ClientAuthentication::SelfSignedTlsClientAuth(pair) => {
            put("client_certificate", certificate(pair));
        }
    }
    let shown = oauth.certificate_to_resource;
    put("certificate_to_resource", json!(shown));
    put("scope", json!(oauth.scope));
    let parameters = oauth.token_parameters.keys();
    let parameters = parameters.map(|name| (name.clone(), kept())).collect();
    put("token_parameters", Value::Object(parameters));
    let name = |header: &StaticHeader| (header.name.to_string(), kept());
    let headers = oauth.token_headers.iter().map(name).collect();
    put("token_headers", Value::Object(headers));
    Value::Object(keys)
}

fn assertion(said: &Assertion) -> Value {
    json!({
        "audience": said.audience,
        "algorithm": match said.algorithm {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Ps256 => "PS256",
            SigningAlgorithm::Es256 => "ES256",
        },
        "typ": said.typ,
        "key_id": said.key_id,
        "lifetime": duration(said.lifetime),
    })
}

fn recovery(recovery: &Recovery) -> Map<String, Value> {
    let statuses = |statuses: &[StatusCode]| -> Vec<u16> {
        statuses.iter().map(|status| status.as_u16()).collect()
    };
    let sign = recovery.expired_on.body.as_ref();
    let expired_on = json!({
        "statuses": statuses(&recovery.expired_on.statuses),
        "pointer": sign.map(|sign| &sign.pointer),
        "equals": sign.map(|sign| &sign.equals),
    });
    let retry = recovery.retry.as_ref().map(|retry| {
        json!({
            "statuses": statuses(&retry.statuses),
            "attempts": retry.attempts,
            "wait_max": duration(retry.wait_max),
            "budget_percent": retry.budget_percent,
        })
    });
    let kept_bytes_max = json!(recovery.replay_body_bytes_max);
    Map::from_iter([
        ("expired_on".to_owned(), expired_on),
        ("replay_body_bytes_max".to_owned(), kept_bytes_max),
        ("retry".to_owned(), json!(retry)),
    ])
}

fn bulkhead(bulkhead: &Bulkhead) -> Map<String, Value> {
    let rate = bulkhead.rate.as_ref();
    let rate = rate.map(|rate| json!({ "rate": rate.per_second, "burst": rate.burst }));
    let breaker = bulkhead.breaker.as_ref().map(|breaker| {
        json!({
            "failures": breaker.failures,
            "window": duration(breaker.window),
            "open": duration(breaker.open),
        })
    });
    let in_flight_max = bulkhead.requests_in_flight_max;
    let request_bytes_max = bulkhead.request_body_bytes_max;
    let response_bytes_max = bulkhead.response_body_bytes_max;
    Map::from_iter([
        ("requests_in_flight_max".to_owned(), json!(in_flight_max)),
        ("requests_per_second".to_owned(), json!(rate)),
        ("breaker".to_owned(), json!(breaker)),
        (
            "request_body_bytes_max".to_owned(),
            json!(request_bytes_max),
        ),
        (
            "response_body_bytes_max".to_owned(),
            json!(response_bytes_max),
        ),
    ])
}

fn upstream(upstream: &Upstream) -> Value {
    json!({
        "connect": duration(upstream.connect_timeout),
        "response_head": duration(upstream.response_head_timeout),
        "stall": duration(upstream.stall_timeout),
        "connections_max": upstream.connections_max,
        "idle": duration(upstream.idle_timeout),
        "age_max": duration(upstream.age_max),
        "tunnel_idle": duration(upstream.tunnel_idle_timeout),
        "http2": match upstream.http2 {
            Http2::Auto => "auto",
            Http2::Off => "off",
        },
    })
}

/// As a configuration says it.
fn duration(duration: Duration) -> Value {
    json!(format!("{}ms", duration.as_millis()))
}
