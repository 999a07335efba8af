//! Who is asking.

use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::json;
use super::caller::Caller;
use super::openapi::Everywhere;

/// Its routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// The administrator who asks.
#[derive(Serialize, utoipa::ToSchema)]
struct WhoAmI {
    /// `token:` and the token's ID, or `oidc:` and the subject.
    #[schema(example = "token:k3x9")]
    name: String,
    /// What they are called by people.
    title: String,
    /// Their role.
    #[schema(example = "full-admin")]
    role: &'static str,
    /// Whose connectors they see; `*` is everybody's.
    #[schema(example = "default")]
    organization: String,
}

/// Who am I
///
/// Tells who the bearer token stands for.
#[utoipa::path(
    get,
    path = "/whoami",
    tag = "whoami",
    operation_id = "whoami",
    responses((status = 200, description = "You.", body = WhoAmI), Everywhere)
)]
async fn whoami(Caller(actor): Caller) -> axum::response::Response {
    json(&WhoAmI {
        role: actor.role.name(),
        organization: actor.scope.to_string(),
        name: actor.name,
        title: actor.title,
    })
}
