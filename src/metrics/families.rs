//! Every metric the gateway exports, beside the process's own (`process_*`).

/// One metric: its name, what tells its series apart, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, unit last.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, until a restart.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts of durations, in buckets.
    Histogram,
}

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind,
        labels,
        help,
    }
}

pub(super) const REQUESTS: Family = family(
    "attache_requests_total",
    Kind::Counter,
    &["connector", "method", "code"],
    "Requests answered, the gateway's own refusals included.",
);
pub(super) const REQUEST_DURATION: Family = family(
    "attache_request_duration_seconds",
    Kind::Histogram,
    &["connector"],
    "Time from a request's head to the end of its answer.",
);
pub(super) const UPSTREAM_DURATION: Family = family(
    "attache_upstream_duration_seconds",
    Kind::Histogram,
    &["connector"],
    "Time from handing a request to the origin to the head of its answer.",
);
pub(super) const REQUESTS_IN_FLIGHT: Family = family(
    "attache_requests_in_flight",
    Kind::Gauge,
    &[],
    "Requests being carried now.",
);
pub(super) const CONNECTOR_REQUESTS_IN_FLIGHT: Family = family(
    "attache_connector_requests_in_flight",
    Kind::Gauge,
    &["connector"],
    "Requests of a connector being carried now, its own refusals left out.",
);
pub(super) const BREAKER_OPEN: Family = family(
    "attache_breaker_open",
    Kind::Gauge,
    &["connector"],
    "1 from the moment a connector's breaker opens until a probe closes it, else 0.",
);
pub(super) const REFUSED: Family = family(
    "attache_refused_total",
    Kind::Counter,
    &["connector", "reason"],
    "Requests the gateway answered itself, by the reason that ends the problem's type.",
);
pub(super) const SCRUBBED: Family = family(
    "attache_scrubbed_total",
    Kind::Counter,
    &["connector"],
    "Credentials masked in answers of origins that repeat them.",
);
pub(super) const TOKEN_REQUESTS: Family = family(
    "attache_token_requests_total",
    Kind::Counter,
    &["connector", "outcome"],
    "Requests to token endpoints, by outcome: ok, rejected, malformed, timeout, unreachable.",
);
pub(super) const TOKEN_REQUEST_DURATION: Family = family(
    "attache_token_request_duration_seconds",
    Kind::Histogram,
    &[],
    "Time a request to a token endpoint took.",
);
pub(super) const TOKEN_CACHE: Family = family(
    "attache_token_cache_total",
    Kind::Counter,
    &["outcome"],
    "Requests that needed a token, by outcome: hit, miss, joined a fetch under way, refused.",
);
pub(super) const TOKEN_EXPIRY: Family = family(
    "attache_token_expiry_timestamp_seconds",
    Kind::Gauge,
    &["connector"],
    "When the connector's newest token expires, in seconds since 1970.",
);
pub(super) const TOKEN_FAILING: Family = family(
    "attache_token_failing",
    Kind::Gauge,
    &["connector", "class"],
    "1 while the connector's newest token request failed, by class: temporary, permanent.",
);
pub(super) const TOKEN_REVOCATIONS: Family = family(
    "attache_token_revocations_total",
    Kind::Counter,
    &["outcome"],
    "Tokens of deactivated and deleted connectors that were to be revoked, by outcome: ok, rejected, malformed, timeout, unreachable.",
);
pub(super) const TOKEN_FALLBACKS: Family = family(
    "attache_token_fallbacks_total",
    Kind::Counter,
    &["connector"],
    "Tokens obtained with the secrets before a promotion, since the new ones were refused.",
);
pub(super) const SHARED_TOKENS: Family = family(
    "attache_shared_tokens_total",
    Kind::Counter,
    &["outcome"],
    "Tokens needed that replicas share, by outcome: taken, fetched, waited, lapsed, unavailable.",
);
pub(super) const CERTIFICATE_EXPIRY: Family = family(
    "attache_certificate_expiry_timestamp_seconds",
    Kind::Gauge,
    &["connector", "use"],
    "When a certificate or revocation list of the gateway's ends, in seconds since 1970.",
);
pub(super) const UPSTREAM_CONNECTIONS: Family = family(
    "attache_upstream_connections",
    Kind::Gauge,
    &["connector", "state"],
    "Connections to origins open now, by state: idle, busy.",
);
pub(super) const TUNNELS: Family = family(
    "attache_tunnels",
    Kind::Gauge,
    &["connector"],
    "Upgraded connections open now, WebSocket for instance.",
);
pub(super) const UPSTREAM_RETRIES: Family = family(
    "attache_upstream_retries_total",
    Kind::Counter,
    &["connector", "cause"],
    "Requests sent again to origins, by cause: unsent, connection, status, token.",
);
pub(super) const CLIENT_CONNECTIONS: Family = family(
    "attache_client_connections",
    Kind::Gauge,
    &[],
    "Connections from flows open now.",
);
pub(super) const PROXY_PROTOCOL_REFUSED: Family = family(
    "attache_proxy_protocol_refused_total",
    Kind::Counter,
    &["listener", "reason"],
    "Connections closed for the PROXY protocol header that was to begin them, by reason: stranger, missing, malformed.",
);
pub(super) const HANDSHAKES_REFUSED: Family = family(
    "attache_handshakes_refused_total",
    Kind::Counter,
    &["listener", "reason"],
    "TLS handshakes with clients that failed, by reason: certificate, protocol, timeout.",
);
pub(super) const CONFIG_RELOADS: Family = family(
    "attache_config_reloads_total",
    Kind::Counter,
    &["outcome"],
    "Reloads of the configuration, by outcome: ok, failed.",
);
pub(super) const ADMIN_REQUESTS: Family = family(
    "attache_admin_requests_total",
    Kind::Counter,
    &["operation", "code"],
    "Requests of administrators, by operation of the API.",
);
pub(super) const DNS_LOOKUPS: Family = family(
    "attache_dns_lookups_total",
    Kind::Counter,
    &["outcome"],
    "Name look-ups, by outcome: ok, failed; stale: addresses used past their time.",
);
pub(super) const STORE_UP: Family = family(
    "attache_store_up",
    Kind::Gauge,
    &[],
    "1 while the store answers, else 0; absent where none is configured.",
);
pub(super) const STORE_REVISION: Family = family(
    "attache_store_revision",
    Kind::Gauge,
    &[],
    "The store's revision whose connectors are served.",
);
pub(super) const STORE_CONNECTORS: Family = family(
    "attache_store_connectors",
    Kind::Gauge,
    &["state"],
    "The store's connectors, by state: served, broken.",
);
pub(super) const PANICS: Family = family(
    "attache_panics_total",
    Kind::Counter,
    &[],
    "Tasks that died of a defect in the gateway.",
);
pub(super) const ACCESS_LOG_DROPPED: Family = family(
    "attache_access_log_dropped_total",
    Kind::Counter,
    &[],
    "Lines of the access log that were dropped because it was written too slowly.",
);
pub(super) const BUILD_INFO: Family = family(
    "attache_build_info",
    Kind::Gauge,
    &["version"],
    "1, labelled with the gateway's version.",
);

/// Every metric of the gateway's own.
pub const FAMILIES: &[Family] = &[
    REQUESTS,
    REQUEST_DURATION,
    UPSTREAM_DURATION,
    REQUESTS_IN_FLIGHT,
    CONNECTOR_REQUESTS_IN_FLIGHT,
    BREAKER_OPEN,
    REFUSED,
    SCRUBBED,
    TOKEN_REQUESTS,
    TOKEN_REQUEST_DURATION,
    TOKEN_CACHE,
    TOKEN_EXPIRY,
    TOKEN_FAILING,
    TOKEN_FALLBACKS,
    TOKEN_REVOCATIONS,
    SHARED_TOKENS,
    CERTIFICATE_EXPIRY,
    UPSTREAM_CONNECTIONS,
    TUNNELS,
    UPSTREAM_RETRIES,
    CLIENT_CONNECTIONS,
    PROXY_PROTOCOL_REFUSED,
    HANDSHAKES_REFUSED,
    DNS_LOOKUPS,
    CONFIG_RELOADS,
    STORE_UP,
    STORE_REVISION,
    STORE_CONNECTORS,
    ADMIN_REQUESTS,
    PANICS,
    ACCESS_LOG_DROPPED,
    BUILD_INFO,
];
