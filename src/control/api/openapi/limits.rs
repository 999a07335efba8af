//! The shape of what bounds a connector's requests; see `connector`.
#![allow(
    dead_code,
    reason = "these are shapes: what their derive says of them is used, their values are not"
)]

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A duration: a whole number with a unit.
#[derive(ToSchema)]
#[schema(pattern = "^[0-9]+(ms|s|m|h)$", examples("1500ms", "30s", "10m", "2h"))]
pub(in crate::control::api) struct Span(String);

/// A size: a number of bytes, or of KiB, MiB or GiB.
pub(in crate::control::api) struct Size;

impl PartialSchema for Size {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .description(Some("A number of bytes, or of KiB, MiB or GiB."))
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some("^[0-9]+(KiB|MiB|GiB)?$")),
            )
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .minimum(Some(0)),
            )
            .into()
    }
}

impl ToSchema for Size {}

/// A status that says that something failed.
#[derive(ToSchema)]
#[schema(minimum = 400, maximum = 599)]
struct Status(u16);

/// A string, number, true or false.
struct Scalar;

impl PartialSchema for Scalar {
    fn schema() -> RefOr<Schema> {
        let of = |kind| ObjectBuilder::new().schema_type(kind);
        OneOfBuilder::new()
            .description(Some("A string, number, true or false."))
            .item(of(Type::String).min_length(Some(1)))
            .item(of(Type::Number))
            .item(of(Type::Boolean))
            .item(of(Type::Null))
            .into()
    }
}

impl ToSchema for Scalar {}

/// What says that the token is not accepted any more: it is dropped, another one obtained, and the
/// request sent once more (`auth.oauth2` alone).
#[derive(ToSchema)]
pub(in crate::control::api) struct ExpiredOn {
    #[schema(nullable = false, default = json!([401]), max_items = 32)]
    statuses: Option<Vec<Status>>,
    /// A JSON pointer (RFC 6901) into 200 answers; goes with `equals`.
    #[schema(pattern = "^/", example = "/error/code")]
    pointer: Option<String>,
    /// What stands there then.
    #[schema(nullable = false)]
    equals: Option<Scalar>,
}

/// Idempotent requests (RFC 9110 §9.2.2) are sent again when the connection broke before an answer,
/// or one of these came. null: only where a connection that was open already turned out to be dead.
#[derive(ToSchema)]
pub(in crate::control::api) struct Retry {
    #[schema(nullable = false, default = json!([]), max_items = 32)]
    statuses: Option<Vec<Status>>,
    /// The first included.
    #[schema(nullable = false, default = json!(2), minimum = 2, maximum = 5)]
    attempts: Option<u32>,
    /// 0s to 30s; an answer that asks for more (`Retry-After`) passes on.
    #[schema(nullable = false, default = json!("1s"))]
    wait_max: Option<Span>,
    /// Of a hundred requests so many may be sent again.
    #[schema(nullable = false, default = json!(20), minimum = 1, maximum = 100)]
    budget_percent: Option<u32>,
}

/// The most requests a second; null: any number.
#[derive(ToSchema)]
pub(in crate::control::api) struct Rate {
    /// In the long run.
    #[schema(minimum = 1, maximum = 1_000_000)]
    rate: u32,
    /// At once; as `rate` where it is not said.
    #[schema(nullable = false, minimum = 1, maximum = 1_000_000)]
    burst: Option<u32>,
}

/// A resource domain that fails is left alone for a while: no connection, no or a malformed answer
/// in time, 502, 503, 504. null: never.
#[derive(ToSchema)]
pub(in crate::control::api) struct Breaker {
    #[schema(nullable = false, default = json!(20), minimum = 1, maximum = 1_000_000)]
    failures: Option<u32>,
    /// 100ms to 10m, in which they are counted.
    #[schema(nullable = false, default = json!("10s"))]
    window: Option<Span>,
    /// 100ms to 10m, until a request tries.
    #[schema(nullable = false, default = json!("5s"))]
    open: Option<Span>,
}

/// Limits towards the resource domain; what is not said is as the gateway's own `upstream`.
#[derive(ToSchema)]
pub(in crate::control::api) struct Upstream {
    /// 10ms to 1m, for name, TCP and TLS together.
    #[schema(nullable = false, default = json!("1500ms"))]
    connect: Option<Span>,
    /// 10ms to 1h, for the head of an answer.
    #[schema(nullable = false, default = json!("15s"))]
    response_head: Option<Span>,
    /// 10ms to 1h, of a pause within a body, either way.
    #[schema(nullable = false, default = json!("30s"))]
    stall: Option<Span>,
    /// Connections, of all workers together.
    #[schema(nullable = false, default = json!(256), minimum = 1, maximum = 65_536)]
    connections_max: Option<u32>,
    /// 10ms to 1h, of a connection without a request.
    #[schema(nullable = false, default = json!("30s"))]
    idle: Option<Span>,
    /// 10ms to 24h, after which a connection takes no further request.
    #[schema(nullable = false, default = json!("10m"))]
    age_max: Option<Span>,
    /// 10ms to 24h, of a pause on an upgraded connection, both ways together.
    #[schema(nullable = false, default = json!("10m"))]
    tunnel_idle: Option<Span>,
    /// `auto`: the origin chooses by ALPN.
    #[schema(nullable = false, default = json!("auto"))]
    http2: Option<Http2>,
}

/// Whether HTTP/2 is offered to the resource domain.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Http2 {
    Auto,
    Off,
}
