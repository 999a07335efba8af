//! The shape of a connector, as `/openapi.json` describes it.
//!
//! # Invariants
//!
//! Nothing is read or written by these types: what is sent is read by `config::stored`, and a test
//! holds every key here against the reference configuration, both ways. `S` is what stands where a
//! secret belongs: [`Secret`] in what is sent, [`Kept`] in what is answered.
#![allow(
    dead_code,
    reason = "these are shapes: what their derive says of them is used, their values are not"
)]

use utoipa::ToSchema;

use super::auth::{Auth, Kept, Secret};
use super::limits::{Breaker, ExpiredOn, Rate, Retry, Size, Upstream};

/// What is neither a connector's own identity nor set by the gateway: the keys that a configuration
/// file has too.
#[derive(ToSchema)]
pub(in crate::control::api) struct Document<S> {
    /// Where requests go: `https` only; request paths are appended.
    #[schema(
        format = "uri",
        pattern = "^https://",
        example = "https://orders.example.com/api"
    )]
    resource_domain: String,
    /// A request path below the resource domain, `/health` for instance: called with GET when the
    /// connector is validated, and not otherwise.
    #[schema(example = "/health")]
    probe: Option<String>,
    #[schema(inline = false)]
    auth: Auth<S>,
    /// PEM certificates that this connector trusts beside the gateway's own trust anchors.
    ca_bundle: Option<String>,
    /// PEM revocation lists (RFC 5280 §5): certificates of the resource domain and the token endpoint
    /// that stand in their issuer's list are refused, and so are all of an issuer whose list should
    /// have been replaced by now.
    crl: Option<String>,
    /// `pass`: `Cookie` and `Set-Cookie` travel, both ways.
    #[schema(nullable = false, default = json!("drop"))]
    cookies: Option<Cookies>,
    /// `true` adds `Forwarded` (RFC 7239).
    #[schema(nullable = false, default = json!(false))]
    forwarded: Option<bool>,
    /// Which requests it takes: those that one rule lists in all its parts; any other is refused with
    /// 403 `caller-denied`. null: those of whoever reaches it; []: none.
    #[schema(max_items = 100)]
    allow: Option<Vec<Rule>>,
    /// `true` obtains the token before a flow asks (`auth.oauth2` alone).
    #[schema(nullable = false, default = json!(false))]
    warm: Option<bool>,
    #[schema(nullable = false)]
    expired_on: Option<ExpiredOn>,
    /// How much of a request's body is kept to be sent once more: 0 to 1MiB.
    #[schema(nullable = false, default = json!("64KiB"))]
    replay_body_bytes_max: Option<Size>,
    retry: Option<Retry>,
    /// Requests in flight.
    #[schema(nullable = false, default = json!(512), minimum = 1, maximum = 1_000_000)]
    requests_in_flight_max: Option<u32>,
    requests_per_second: Option<Rate>,
    breaker: Option<Breaker>,
    /// 0 to 1024GiB; null: as the gateway's `limits.request_body_bytes_max`.
    request_body_bytes_max: Option<Size>,
    /// 0 to 1024GiB; null: any.
    response_body_bytes_max: Option<Size>,
    /// Protocols that HTTP/1.1 requests may upgrade to, in lower case.
    #[schema(
        nullable = false,
        default = json!([]),
        max_items = 8,
        value_type = Option<Vec<Protocol>>,
        example = json!(["websocket"])
    )]
    upgrades: Option<Vec<String>>,
    /// Where the credential is masked in answers that echo it; `all`: fields and textual bodies.
    #[schema(nullable = false, default = json!("fields"))]
    scrub: Option<Scrub>,
    #[schema(nullable = false)]
    upstream: Option<Upstream>,
}

/// What is allowed together; a part that is null or absent allows any.
#[derive(ToSchema)]
#[schema(example = json!({"principals": ["ivr-north"], "methods": ["GET"], "paths": ["/orders"]}))]
struct Rule {
    /// Names of principals of the connector's own organization, as the gateway's configuration says
    /// them.
    #[schema(min_items = 1, max_items = 100, value_type = Option<Vec<PrincipalName>>)]
    principals: Option<Vec<String>>,
    /// In capitals; GET does not include HEAD, and CONNECT, TRACE and TRACK are never carried.
    #[schema(min_items = 1, max_items = 100, value_type = Option<Vec<Method>>)]
    methods: Option<Vec<String>>,
    /// Request paths behind the connector's ID: these and all below them, byte for byte.
    #[schema(min_items = 1, max_items = 100, value_type = Option<Vec<RequestPath>>)]
    paths: Option<Vec<String>>,
    /// Addresses and ranges that callers have.
    #[schema(min_items = 1, max_items = 100, value_type = Option<Vec<Network>>)]
    networks: Option<Vec<String>>,
}

/// The name of a principal.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 200)]
struct PrincipalName(String);

/// A method (RFC 9110 §9.1).
#[derive(ToSchema)]
#[schema(pattern = "^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$")]
struct Method(String);

/// A request path without dot segments.
#[derive(ToSchema)]
#[schema(pattern = "^/[!\"$->@-\\[\\]-~]*$", max_length = 1024)]
struct RequestPath(String);

/// An address, or a range without bits behind its prefix.
#[derive(ToSchema)]
#[schema(examples("10.1.0.0/16", "2001:db8::/32", "192.0.2.7"))]
struct Network(String);

/// A protocol's name (RFC 9110 §7.8); HTTP and TLS themselves are none.
#[derive(ToSchema)]
#[schema(pattern = "^[a-z0-9._-]{1,32}$")]
struct Protocol(String);

/// Whether session cookies travel.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Cookies {
    Drop,
    Pass,
}

/// Where the credential is masked in answers.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Scrub {
    Off,
    Fields,
    All,
}

/// What sort of API a connector leads to; the others come later.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum Kind {
    Custom,
}

/// Where a connector is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum State {
    /// Flows may use it.
    Active,
    /// Flows get 403; its credentials may be edited.
    Inactive,
    /// Gone for flows; can be restored for a while, without its secrets.
    Deleted,
}

/// Where a connector comes from.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum Source {
    /// Administrators made it.
    Store,
    /// It stands in the gateway's configuration file, and is changed there alone.
    File,
}

/// A connector to be made. It is validated leg by leg before anything is saved.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "Orders",
    "resource_domain": "https://orders.example.com/api",
    "auth": {"basic": {"username": "svc", "password": "…"}}
}))]
pub(in crate::control::api) struct NewConnector {
    /// What flows address it by; unique in the gateway, never changes, never used again. Without it
    /// the gateway makes one.
    #[schema(nullable = false, pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    id: Option<String>,
    /// Whose it is; without it your own, or `default`.
    #[schema(nullable = false, pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    organization: Option<String>,
    /// What administrators call it; unique in its organization; no control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(nullable = false, default = json!("custom"))]
    kind: Option<Kind>,
    /// `false` makes it inactive.
    #[schema(nullable = false, default = json!(true))]
    enabled: Option<bool>,
    #[serde(flatten)]
    document: Document<Secret>,
}

/// All keys of a connector anew. Keys that the gateway sets may stand as they were read; a secret
/// that stands as `{"kept": true}` stays, as long as it is sent where it was.
#[derive(ToSchema)]
pub(in crate::control::api) struct ConnectorEdit {
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    organization: Option<String>,
    /// Unique in its organization; no control characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(nullable = false)]
    kind: Option<Kind>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(nullable = false)]
    state: Option<State>,
    #[schema(nullable = false)]
    source: Option<Source>,
    revision: Option<u64>,
    created_at: Option<String>,
    updated_at: Option<String>,
    deleted_at: Option<String>,
    staged: Option<Staged>,
    previous_until: Option<String>,
    #[serde(flatten)]
    document: Document<Secret>,
}

/// A merge patch (RFC 7396) of what is read: what it does not name stays, null removes a key.
#[derive(ToSchema)]
#[schema(example = json!({"name": "Orders, new", "retry": {"statuses": [502], "attempts": 3}}))]
pub(in crate::control::api) struct ConnectorPatch {
    #[serde(flatten)]
    patched: ConnectorEdit,
}

/// A connector as it is. Where a secret is kept stands `{"kept": true}`, and null where it has to
/// be given anew.
#[derive(ToSchema)]
pub(in crate::control::api) struct Connector {
    /// What flows address it by.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    id: String,
    /// Whose it is.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    organization: String,
    /// What administrators call it.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    kind: Kind,
    state: State,
    source: Source,
    /// Counts the store's changes; the number in the ETag. Null for one of the configuration file.
    #[schema(required)]
    revision: Option<u64>,
    #[schema(required, format = DateTime)]
    created_at: Option<String>,
    #[schema(required, format = DateTime)]
    updated_at: Option<String>,
    #[schema(required, format = DateTime)]
    deleted_at: Option<String>,
    #[schema(required)]
    staged: Option<Staged>,
    /// Until when the secrets before the last promotion can be gone back to.
    #[schema(required, format = DateTime)]
    previous_until: Option<String>,
    #[serde(flatten)]
    document: Document<Kept>,
}

/// Secrets that wait to take the place of those in use.
#[derive(ToSchema)]
struct Staged {
    /// Which, by JSON pointers (RFC 6901) into the connector.
    #[schema(example = json!(["/auth/basic/password"]))]
    fields: Vec<String>,
    #[schema(format = DateTime)]
    at: String,
    /// When they were last tested and found good.
    #[schema(required, format = DateTime)]
    tested_at: Option<String>,
}
