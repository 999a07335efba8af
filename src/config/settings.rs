//! Everything of the configuration but its listeners and connectors.

use std::net::IpAddr;
use std::num::NonZero;

use ipnet::IpNet;

use super::document::Node;
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Count, Part, Size, Span};
use super::{
    AccessLog, Config, Limits, LogFormat, Logs, Timeouts, Tokens, Trust, allow, assertion, auth,
    bulkhead, connectors, files, inbound, listeners, oauth, oidc, recovery, store,
};
use crate::tls::client::check_anchors;

pub(super) const ROOT_KEYS: &[&str] = &[
    "listen",
    "workers",
    "hosts",
    "trust_network",
    "tls",
    "inbound",
    "admin",
    "metrics",
    "logs",
    "trust",
    "limits",
    "timeouts",
    "upstream",
    "tokens",
    "store",
    "connectors",
];
/// Every key there is, wherever it stands.
pub(super) const ALL_KEYS: &[&[&str]] = &[
    ROOT_KEYS,
    LOGS_KEYS,
    TRUST_KEYS,
    LIMITS_KEYS,
    TIMEOUTS_KEYS,
    TOKENS_KEYS,
    listeners::TLS_KEYS,
    inbound::INBOUND_KEYS,
    inbound::KEY_KEYS,
    inbound::CERTIFICATE_KEYS,
    allow::RULE_KEYS,
    listeners::ADMIN_KEYS,
    oidc::OIDC_KEYS,
    listeners::METRICS_KEYS,
    connectors::CONNECTOR_KEYS,
    connectors::UPSTREAM_KEYS,
    recovery::EXPIRED_ON_KEYS,
    recovery::RETRY_KEYS,
    bulkhead::RATE_KEYS,
    bulkhead::BREAKER_KEYS,
    auth::AUTH_KEYS,
    auth::BASIC_KEYS,
    auth::HEADER_KEYS,
    oauth::OAUTH2_KEYS,
    assertion::ASSERTION_KEYS,
    files::SOURCE_KEYS,
    files::PAIR_KEYS,
    store::STORE_KEYS,
    store::KEY_SOURCE_KEYS,
    store::KINDS,
];

pub(super) const LOGS_KEYS: &[&str] = &["format", "level", "access"];
pub(super) const TRUST_KEYS: &[&str] = &[
    "ca_bundles",
    "allow_addresses",
    "token_endpoint_allow_addresses",
];
pub(super) const LIMITS_KEYS: &[&str] = &[
    "connections_max",
    "requests_in_flight_max",
    "head_bytes_max",
    "fields_max",
    "request_body_bytes_max",
    "config_bytes_max",
];
pub(super) const TIMEOUTS_KEYS: &[&str] = &[
    "handshake",
    "head",
    "idle",
    "body",
    "write",
    "drain_delay",
    "drain",
];
pub(super) const TOKENS_KEYS: &[&str] = &[
    "wait",
    "fetch",
    "default_lifetime",
    "renew_at",
    "entries_max",
    "retries_per_minute_max",
];

/// The most entries of the lists here.
const RANGES_MAX: usize = 1_000;
const BUNDLES_MAX: usize = 100;

pub(super) const WORKERS: Bounded<Count> = count("workers", 0, 0, 1_024);
pub(super) const CONNECTIONS_MAX: Bounded<Count> = count("connections_max", 16_384, 1, 1_000_000);
pub(super) const REQUESTS_IN_FLIGHT_MAX: Bounded<Count> =
    count("requests_in_flight_max", 8_192, 1, 1_000_000);
/// hyper holds a head in one buffer, of 8 KiB at least.
pub(super) const HEAD_BYTES_MAX: Bounded<Size> = Bounded {
    key: "head_bytes_max",
    default: Size::kib(64),
    min: Size::kib(8),
    max: Size::mib(1),
};
pub(super) const FIELDS_MAX: Bounded<Count> = count("fields_max", 100, 1, 10_000);
pub(super) const REQUEST_BODY_BYTES_MAX: Bounded<Size> = Bounded {
    key: "request_body_bytes_max",
    default: Size::mib(64),
    min: Size(0),
    max: Size::gib(1_024),
};
/// Its most is also the bound that holds before the text is parsed.
pub(super) const CONFIG_BYTES_MAX: Bounded<Size> = Bounded {
    key: "config_bytes_max",
    default: Size::mib(256),
    min: Size::kib(1),
    max: Size::mib(256),
};

const SHORTEST: Span = Span::millis(10);
pub(super) const HANDSHAKE: Bounded<Span> = span("handshake", 5, SHORTEST, Span::minutes(5));
pub(super) const HEAD: Bounded<Span> = span("head", 10, SHORTEST, Span::minutes(5));
pub(super) const IDLE: Bounded<Span> = span("idle", 75, SHORTEST, Span::hours(1));
pub(super) const BODY: Bounded<Span> = span("body", 30, SHORTEST, Span::hours(1));
pub(super) const WRITE: Bounded<Span> = span("write", 30, SHORTEST, Span::hours(1));
pub(super) const DRAIN_DELAY: Bounded<Span> =
    span("drain_delay", 2, Span::secs(0), Span::minutes(5));
pub(super) const DRAIN: Bounded<Span> = span("drain", 30, Span::secs(0), Span::hours(1));

pub(super) const WAIT: Bounded<Span> = span("wait", 2, SHORTEST, Span::minutes(1));
pub(super) const FETCH: Bounded<Span> = span("fetch", 10, SHORTEST, Span::minutes(5));
pub(super) const DEFAULT_LIFETIME: Bounded<Span> =
    span("default_lifetime", 300, Span::secs(1), Span::hours(24));
pub(super) const RENEW_AT: Bounded<Part> = Bounded {
    key: "renew_at",
    default: Part::percent(80),
    min: Part::percent(10),
    max: Part::percent(95),
};
pub(super) const RETRIES_PER_MINUTE_MAX: Bounded<Count> =
    count("retries_per_minute_max", 30, 1, 600);
pub(super) const ENTRIES_MAX: Bounded<Count> = count("entries_max", 200_000, 1, 10_000_000);

const fn count(key: &'static str, default: u64, min: u64, max: u64) -> Bounded<Count> {
    Bounded {
        key,
        default: Count(default),
        min: Count(min),
        max: Count(max),
    }
}

const fn span(key: &'static str, default_secs: u64, min: Span, max: Span) -> Bounded<Span> {
    Bounded {
        key,
        default: Span::secs(default_secs),
        min,
        max,
    }
}

/// Reads the whole document; `None` only where a fault was recorded.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Config> {
    let path = &Path::ROOT;
    let document = reader.document;
    let root = reader.mapping(document.root(), path, ROOT_KEYS)?;
    let defaults = connectors::defaults(reader, &root, path);
    let inbound = inbound::inbound(reader, &root, path);
    reader.principals = Some(inbound.principals());
    let config = Config {
        listen: listeners::flows(reader, &root, path),
        workers: workers(reader, &root, path),
        hosts: listeners::hosts(reader, &root, path),
        tls: listeners::tls(reader, &root, path),
        inbound,
        admin: listeners::admin(reader, &root, path),
        metrics: listeners::metrics(reader, &root, path),
        logs: logs(reader, &root, path),
        trust: trust(reader, &root, path),
        limits: limits(reader, &root, path),
        timeouts: timeouts(reader, &root, path),
        tokens: tokens(reader, &root, path),
        store: store::store(reader, &root, path),
        connectors: connectors::read(reader, &root, path, &defaults),
        connector_defaults: defaults,
        warnings: Vec::new(),
        files: Vec::new(),
    };
    listeners::check_exposure(reader, &root, path, &config);
    listeners::check_collisions(reader, &root, path, &config);
    Some(config)
}

fn workers<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> usize {
    match reader.quantity(root, path, &WORKERS).as_usize() {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers => workers,
    }
}

fn logs<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Logs {
    let section = reader.section(root, path, "logs", LOGS_KEYS);
    let path = path.key("logs");
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    let access = [
        ("off", AccessLog::Off),
        ("errors", AccessLog::Errors),
        ("all", AccessLog::All),
    ];
    Logs {
        format: reader
            .choice(&section, &path, "format", &formats)
            .unwrap_or(LogFormat::Text),
        level: reader
            .choice(&section, &path, "level", &levels)
            .unwrap_or(tracing::Level::INFO),
        access: reader
            .choice(&section, &path, "access", &access)
            .unwrap_or(AccessLog::Errors),
    }
}

fn trust<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Trust {
    let section = reader.section(root, path, "trust", TRUST_KEYS);
    let path = path.key("trust");
    let mut ca_bundles = Vec::new();
    if let Some(node) = section.written("ca_bundles") {
        let path = path.key("ca_bundles");
        for (index, node) in reader.list(node, &path, BUNDLES_MAX).iter().enumerate() {
            ca_bundles.extend(reader.bundle(node, &path.index(index), check_anchors));
        }
    }
    let origins = section.written("allow_addresses");
    let endpoints = section.optional("token_endpoint_allow_addresses");
    let allow_addresses = origins
        .map(|node| ranges(reader, node, &path.key("allow_addresses")))
        .unwrap_or_default();
    let token_endpoint_allow_addresses = match endpoints {
        Some(node) => ranges(reader, node, &path.key("token_endpoint_allow_addresses")),
        None => allow_addresses.clone(),
    };
    Trust {
        ca_bundles,
        allow_addresses,
        token_endpoint_allow_addresses,
    }
}

const RANGE_FORM: &str =
    "an IP address or a range such as 10.1.0.0/16 or fd00::/8, without bits behind its prefix";

pub(super) fn ranges<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Vec<IpNet> {
    let nodes = reader.list(node, path, RANGES_MAX);
    let mut ranges = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(text) = reader.text(node, &path, RANGE_FORM) else {
            continue;
        };
        let single = text.parse::<IpAddr>().map(IpNet::from).ok();
        // A range with host bits is two different wishes; which one is meant is not guessed.
        let range = text
            .parse::<IpNet>()
            .ok()
            .filter(|range| range.addr() == range.network());
        match single.or(range) {
            Some(range) => ranges.push(range),
            None => reader.fault(node.at, &path, Problem::MustBe(RANGE_FORM)),
        }
    }
    ranges
}

fn limits<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Limits {
    let section = &reader.section(root, path, "limits", LIMITS_KEYS);
    let path = &path.key("limits");
    Limits {
        connections_max: reader.quantity(section, path, &CONNECTIONS_MAX).as_usize(),
        requests_in_flight_max: reader
            .quantity(section, path, &REQUESTS_IN_FLIGHT_MAX)
            .as_usize(),
        head_bytes_max: reader.quantity(section, path, &HEAD_BYTES_MAX).as_usize(),
        fields_max: reader.quantity(section, path, &FIELDS_MAX).as_usize(),
        request_body_bytes_max: reader.quantity(section, path, &REQUEST_BODY_BYTES_MAX).0,
        config_bytes_max: reader.quantity(section, path, &CONFIG_BYTES_MAX).0,
    }
}

fn timeouts<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Timeouts {
    let section = reader.section(root, path, "timeouts", TIMEOUTS_KEYS);
    let path = path.key("timeouts");
    let mut read = |bounded| reader.duration(&section, &path, bounded);
    Timeouts {
        handshake: read(&HANDSHAKE),
        head: read(&HEAD),
        idle: read(&IDLE),
        body: read(&BODY),
        write: read(&WRITE),
        drain_delay: read(&DRAIN_DELAY),
        drain: read(&DRAIN),
    }
}

fn tokens<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Tokens {
    let section = reader.section(root, path, "tokens", TOKENS_KEYS);
    let path = path.key("tokens");
    let entries_max = reader.quantity(&section, &path, &ENTRIES_MAX).0;
    let renew_at = reader.quantity(&section, &path, &RENEW_AT);
    let retries_per_minute_max = reader.quantity(&section, &path, &RETRIES_PER_MINUTE_MAX);
    let mut read = |bounded| reader.duration(&section, &path, bounded);
    Tokens {
        wait: read(&WAIT),
        fetch: read(&FETCH),
        default_lifetime: read(&DEFAULT_LIFETIME),
        renew_at_percent: renew_at.as_percent(),
        retries_per_minute_max: retries_per_minute_max.as_u32(),
        entries_max,
    }
}
