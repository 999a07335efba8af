//! Endpoints of secrets that wait to take the place of those in use.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::answer::{json, tagged};
use super::super::body::{Fields, Json};
use super::super::caller::Caller;
use super::super::etag::IfMatch;
use super::super::openapi::{
    Change, ChangeWithBody, Connector, ConnectorPath, Precondition, Promotion, StagedSecrets,
    TestReport, Tried, TriedWithBody, test_report,
};
use super::super::problem::Problem;
use super::{Id, meant, shown};
use crate::config::read_duration;
use crate::config::stored::Secrets;
use crate::secret::Secret;

/// Their routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(stage, discard))
        .routes(routes!(test_staged))
        .routes(routes!(promote))
}

/// How long the secrets before a promotion are kept if nobody says.
const KEEP_PREVIOUS: Duration = Duration::from_secs(3600);

/// Stage secrets
///
/// They wait to take the place of those in use; what waited before is dropped. An active connector
/// stays active.
#[utoipa::path(
    put,
    path = "/connectors/{id}/staged-secrets",
    tag = "staged-secrets",
    operation_id = "stage-secrets",
    params(ConnectorPath, Precondition),
    request_body(content = StagedSecrets, content_type = "application/json"),
    responses(
        (status = 200, description = "They wait.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        ChangeWithBody,
    )
)]
async fn stage(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Problem> {
    let secrets = staged(body)?;
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared
        .registry
        .stage(&actor, &id, secrets, if_match)
        .await?;
    Ok(shown(&view))
}

/// The secrets that `body` says, by the places where they belong.
fn staged(body: Value) -> Result<Secrets, Problem> {
    let mut fields = Fields::of(body)?;
    let form = "an object of secrets by the JSON pointers of their places";
    // Taken out, not copied: each is taken over as a secret.
    let given = match fields.value("secrets") {
        Some(Value::Object(given)) => Some(given),
        given @ (None | Some(_)) => {
            let problem = given.map_or("is required: ", |_| "must be ");
            fields.fault("secrets", format!("{problem}{form}"));
            None
        }
    };
    let mut secrets = Secrets::new();
    for (place, value) in given.unwrap_or_default() {
        match value {
            Value::String(text) => drop(secrets.insert(place, Secret::new(text))),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let place = place.replace('~', "~0").replace('/', "~1");
                fields.fault_at(format!("/secrets/{place}"), "must be a string");
            }
        }
    }
    fields.done()?;
    Ok(secrets)
}

/// Discard staged secrets
#[utoipa::path(
    delete,
    path = "/connectors/{id}/staged-secrets",
    tag = "staged-secrets",
    operation_id = "discard-staged-secrets",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "They are gone.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn discard(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared
        .registry
        .discard_staged(&actor, &id, if_match)
        .await?;
    Ok(shown(&view))
}

/// Test staged secrets
///
/// As a connector is tested, with the staged secrets in their places. If it passes, that is noted.
#[utoipa::path(
    post,
    path = "/connectors/{id}/staged-secrets/test",
    tag = "staged-secrets",
    operation_id = "test-staged-secrets",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "They were tested; `passed` says what came of it.", body = TestReport, headers(("ETag" = String, description = "The connector's revision."))),
        Tried,
    )
)]
async fn test_staged(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let (report, view) = shared.registry.test_staged(&actor, &id, if_match).await?;
    let report = test_report(&report);
    Ok(match view.revision {
        Some(revision) => tagged(&report, revision),
        None => json(&report),
    })
}

/// Promote staged secrets
///
/// They take the place of those in use, which are kept for a while. Those that no test has found
/// good are tested first.
#[utoipa::path(
    post,
    path = "/connectors/{id}/staged-secrets/promote",
    tag = "staged-secrets",
    operation_id = "promote-staged-secrets",
    params(ConnectorPath, Precondition),
    request_body(content = Promotion, content_type = "application/json"),
    responses(
        (status = 200, description = "They are in use.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        TriedWithBody,
    )
)]
async fn promote(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let form = "a duration such as 30m or 24h, of 720h at most";
    let duration = |value: &Value| value.as_str().and_then(read_duration);
    let keep = fields.read("keep_previous_for", form, duration);
    fields.done()?;
    let keep = keep.unwrap_or(KEEP_PREVIOUS);
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.promote(&actor, &id, keep, if_match).await?;
    Ok(shown(&view))
}
