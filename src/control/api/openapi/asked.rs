//! What operations ask for: parameters and the smaller bodies.
#![allow(
    dead_code,
    reason = "these are shapes: what their derive says of them is used, their values are not"
)]

use std::collections::BTreeMap;

use utoipa::{IntoParams, ToSchema};

/// The connector that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::control::api) struct ConnectorPath {
    /// The connector's ID.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,63}$", example = "orders")]
    id: String,
}

/// The state that a change is meant for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::control::api) struct Precondition {
    /// The `ETag` of what is changed, several, or `*` (RFC 9110 §13.1.1).
    #[param(
        rename = "If-Match",
        example = "\"17\"",
        pattern = "^(\\*|\"[0-9]+\")$"
    )]
    if_match: String,
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct Listed {
    /// How many items a page has at most.
    #[param(minimum = 1, maximum = 200, default = json!(50), nullable = false)]
    limit: Option<u32>,
    /// The `next` of the page before.
    #[param(max_length = 200, nullable = false)]
    after: Option<String>,
}

/// Secrets that are to wait.
#[derive(ToSchema)]
#[schema(example = json!({"secrets": {"/auth/basic/password": "…"}}))]
pub(in crate::control::api) struct StagedSecrets {
    /// By the JSON pointers (RFC 6901) of their places in the connector; at least one.
    secrets: BTreeMap<String, String>,
}

/// How staged secrets are promoted.
#[derive(ToSchema)]
#[schema(example = json!({"keep_previous_for": "1h"}))]
pub(in crate::control::api) struct Promotion {
    /// How long the secrets in use until now can be gone back to: 0s to 720h.
    #[schema(nullable = false, default = json!("1h"))]
    keep_previous_for: Option<super::limits::Span>,
}
