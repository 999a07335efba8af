//! Connectors, and the limits towards their resource domains.

use std::sync::Arc;

use super::document::Node;
use super::error::Problem;
use super::identity::{Taken, connector_id, connector_name, legal_id, organization};
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Count, Span};
use super::{allow, auth, bulkhead, recovery};
use crate::connector::{
    Bulkhead, Connector, Cookies, Custom, Forwarded, Http2, HttpsUrl, Kind, Recovery, Requests,
    ResourceDomain, Scheme, Scrub, Upstream,
};
use crate::tls::client::check_anchors;

pub(super) const CONNECTOR_KEYS: &[&str] = &[
    "id",
    "organization",
    "name",
    "kind",
    "enabled",
    "resource_domain",
    "probe",
    "auth",
    "ca_bundle",
    "crl",
    "cookies",
    "forwarded",
    "allow",
    "warm",
    "expired_on",
    "replay_body_bytes_max",
    "retry",
    "requests_in_flight_max",
    "requests_per_second",
    "breaker",
    "request_body_bytes_max",
    "response_body_bytes_max",
    "upgrades",
    "scrub",
    "upstream",
];
pub(super) const UPSTREAM_KEYS: &[&str] = &[
    "connect",
    "response_head",
    "stall",
    "connections_max",
    "idle",
    "age_max",
    "tunnel_idle",
    "http2",
];

/// The most connectors of one gateway.
const CONNECTORS_MAX: usize = 1_000_000;

pub(super) const CONNECT: Bounded<Span> = span("connect", Span::millis(1_500), Span::minutes(1));
pub(super) const RESPONSE_HEAD: Bounded<Span> =
    span("response_head", Span::secs(15), Span::hours(1));
pub(super) const STALL: Bounded<Span> = span("stall", Span::secs(30), Span::hours(1));
pub(super) const IDLE: Bounded<Span> = span("idle", Span::secs(30), Span::hours(1));
pub(super) const AGE_MAX: Bounded<Span> = span("age_max", Span::minutes(10), Span::hours(24));
pub(super) const TUNNEL_IDLE: Bounded<Span> =
    span("tunnel_idle", Span::minutes(10), Span::hours(24));
pub(super) const CONNECTIONS_MAX: Bounded<Count> = Bounded {
    key: "connections_max",
    default: Count(256),
    min: Count(1),
    max: Count(65_536),
};

const fn span(key: &'static str, default: Span, max: Span) -> Bounded<Span> {
    Bounded {
        key,
        default,
        min: Span::millis(10),
        max,
    }
}

/// What connectors have that say nothing else: one for all of them. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorDefaults {
    upstream: Arc<Upstream>,
    recovery: Arc<Recovery>,
    bulkhead: Arc<Bulkhead>,
    requests: Arc<Requests>,
}

/// Reads what connectors start from.
pub(super) fn defaults<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
) -> ConnectorDefaults {
    ConnectorDefaults {
        upstream: Arc::new(default_upstream(reader, root, path)),
        recovery: Arc::default(),
        bulkhead: Arc::default(),
        requests: Arc::default(),
    }
}

/// `own`, or `default` where that says the same.
fn shared<T: PartialEq>(own: T, default: &Arc<T>) -> Arc<T> {
    match own == **default {
        true => Arc::clone(default),
        false => Arc::new(own),
    }
}

/// Reads the gateway's own `upstream`.
fn default_upstream<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Upstream {
    let section = reader.section(root, path, "upstream", UPSTREAM_KEYS);
    let path = path.key("upstream");
    let connections_max = reader.quantity(&section, &path, &CONNECTIONS_MAX);
    let http2 = http2(reader, &section, &path);
    let mut read = |bounded| reader.duration(&section, &path, bounded);
    Upstream {
        connect_timeout: read(&CONNECT),
        response_head_timeout: read(&RESPONSE_HEAD),
        stall_timeout: read(&STALL),
        connections_max: connections_max.as_u32(),
        idle_timeout: read(&IDLE),
        age_max: read(&AGE_MAX),
        tunnel_idle_timeout: read(&TUNNEL_IDLE),
        http2: http2.unwrap_or_default(),
    }
}

/// Reads a connector's `upstream`: what it does not say is as `default`.
fn own_upstream<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
    default: &Upstream,
) -> Upstream {
    let mut upstream = *default;
    if connector.written("upstream").is_none() {
        return upstream;
    }
    let section = reader.section(connector, path, "upstream", UPSTREAM_KEYS);
    let path = path.key("upstream");
    for (bounded, timeout) in [
        (&CONNECT, &mut upstream.connect_timeout),
        (&RESPONSE_HEAD, &mut upstream.response_head_timeout),
        (&STALL, &mut upstream.stall_timeout),
        (&IDLE, &mut upstream.idle_timeout),
        (&AGE_MAX, &mut upstream.age_max),
        (&TUNNEL_IDLE, &mut upstream.tunnel_idle_timeout),
    ] {
        if section.written(bounded.key).is_some() {
            *timeout = reader.duration(&section, &path, bounded);
        }
    }
    let inherited = Count(upstream.connections_max.into());
    upstream.connections_max = reader
        .quantity_or(&section, &path, &CONNECTIONS_MAX, inherited)
        .as_u32();
    upstream.http2 = http2(reader, &section, &path).unwrap_or(upstream.http2);
    upstream
}

fn http2<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Option<Http2> {
    let choices = [("auto", Http2::Auto), ("off", Http2::Off)];
    reader.choice(section, path, "http2", &choices)
}

/// Reads every connector; those with a fault are left out.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
    defaults: &ConnectorDefaults,
) -> Vec<Arc<Connector>> {
    let Some(node) = root.optional("connectors") else {
        return Vec::new();
    };
    let path = path.key("connectors");
    let nodes = reader.list(node, &path, CONNECTORS_MAX);
    let mut taken = Taken::default();
    let mut connectors = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        // People know connectors by their IDs; the index is for those that have none.
        let path = path.index(index);
        let path = path.renamed(legal_id(reader, node));
        let read = connector(reader, node, &path, defaults, &mut taken);
        connectors.extend(read.map(Arc::new));
    }
    connectors
}

/// Reads one connector.
pub(super) fn connector<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
    defaults: &ConnectorDefaults,
    taken: &mut Taken<'d>,
) -> Option<Connector> {
    let section = &reader.mapping(node, path, CONNECTOR_KEYS)?;
    let id = connector_id(reader, section, path, taken);
    let organization = organization(reader, section, path, taken);
    let name = connector_name(reader, section, path, (taken, &organization));
    reader.choice(section, path, "kind", &[("custom", ())]);
    let enabled = reader.flag(section, path, "enabled").unwrap_or(true);
    let resource_domain = resource_domain(reader, section, path);
    let scheme = auth::scheme(reader, section, path, resource_domain.as_ref());
    let probe = probe(reader, section, path, resource_domain.as_ref());
    let bundle = section.optional("ca_bundle");
    let ca_bundle =
        bundle.and_then(|node| reader.bundle(node, &path.key("ca_bundle"), check_anchors));
    let crl = section.optional("crl");
    let crl = crl.and_then(|node| reader.revocations(node, &path.key("crl")));
    let cookies = [("drop", Cookies::Drop), ("pass", Cookies::Pass)];
    let cookies = reader.choice(section, path, "cookies", &cookies);
    let forwarded = match reader.flag(section, path, "forwarded") {
        Some(true) => Forwarded::Add,
        Some(false) | None => Forwarded::Omit,
    };
    let warm = warm(reader, section, path, scheme.as_ref());
    let recovery = recovery::recovery(reader, section, path, scheme.as_ref());
    let bulkhead = bulkhead::bulkhead(reader, section, path);
    let requests = Requests {
        allow: allow::allow(reader, section, path, &organization),
        upgrades: bulkhead::upgrades(reader, section, path).into(),
    };
    let scrub = [
        ("off", Scrub::Off),
        ("fields", Scrub::Fields),
        ("all", Scrub::All),
    ];
    let scrub = reader.choice(section, path, "scrub", &scrub);
    let upstream = own_upstream(reader, section, path, &defaults.upstream);
    Some(Connector {
        id: id?,
        organization,
        name: name?.into(),
        enabled,
        kind: Kind::Custom(Custom {
            resource_domain: resource_domain?,
            probe: probe?,
            scheme: scheme?,
        }),
        ca_bundle,
        crl,
        cookies: cookies.unwrap_or_default(),
        forwarded,
        warm,
        recovery: shared(recovery, &defaults.recovery),
        bulkhead: shared(bulkhead, &defaults.bulkhead),
        requests: shared(requests, &defaults.requests),
        scrub: scrub.unwrap_or_default(),
        upstream: shared(upstream, &defaults.upstream),
        stored: None,
    })
}

const WARM_FORM: &str = "false where there is no token to obtain (auth.oauth2)";

fn warm<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    scheme: Option<&Scheme>,
) -> bool {
    let warm = reader.flag(section, path, "warm").unwrap_or(false);
    let has_token = scheme.is_none_or(|scheme| matches!(scheme, Scheme::OAuth2(_)));
    if warm && !has_token {
        let at = section.place("warm");
        reader.fault(at, &path.key("warm"), Problem::MustBe(WARM_FORM));
    }
    warm
}

fn resource_domain<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<ResourceDomain> {
    let key = "resource_domain";
    let text = reader.required_text(
        section,
        path,
        key,
        "an https:// URL, with a base path if need be",
    )?;
    ResourceDomain::parse(text)
        .map_err(|error| reader.fault(section.place(key), &path.key(key), Problem::Url(error)))
        .ok()
}

const PROBE_FORM: &str =
    "a request path as flows send it, which begins with / or ?, and a query if need be";
const PROBE_STRAIGHT: &str = "a path without encoded dots, slashes, backslashes and percent signs, which a server may read as a way out";

/// Whether a server that decodes `path`, as often as it likes, may find another one in it.
fn is_winding(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path).to_ascii_lowercase();
    let mut encoded = ["%2e", "%2f", "%5c", "%25"].into_iter();
    path.contains('\\') || encoded.any(|byte| path.contains(byte))
}

/// The outer `None` stands for a fault.
fn probe<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    domain: Option<&ResourceDomain>,
) -> Option<Option<Box<HttpsUrl>>> {
    if section.optional("probe").is_none() {
        return Some(None);
    }
    let at = section.place("probe");
    let text = reader.optional_text(section, path, "probe", PROBE_FORM)?;
    let path = path.key("probe");
    if !text.starts_with(['/', '?']) {
        reader.fault(at, &path, Problem::MustBe(PROBE_FORM));
        return None;
    }
    if is_winding(text) {
        reader.fault(at, &path, Problem::MustBe(PROBE_STRAIGHT));
        return None;
    }
    let read = domain?.below(text);
    let url = read.map_err(|error| reader.fault(at, &path, Problem::Url(error)));
    url.ok().map(|url| Some(Box::new(url)))
}

/// Reads the text of a URL that the gateway itself calls.
pub(super) fn https_url<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<HttpsUrl> {
    let text = reader.text(node, path, "an https:// URL")?;
    HttpsUrl::parse(text)
        .map_err(|error| reader.fault(node.at, path, Problem::Url(error)))
        .ok()
}
