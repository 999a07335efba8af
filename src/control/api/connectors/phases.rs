//! Endpoints of a connector's life.

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Shared;
use super::super::answer::json;
use super::super::caller::Caller;
use super::super::etag::IfMatch;
use super::super::openapi::{
    Change, Connector, ConnectorPath, Precondition, TestReport, Tested, Tried, test_report,
};
use super::super::problem::Problem;
use super::{Id, meant, shown};

/// Their routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(activate))
        .routes(routes!(deactivate))
        .routes(routes!(restore))
        .routes(routes!(test))
        .routes(routes!(purge_token))
        .routes(routes!(roll_back))
}

/// Activate a connector
///
/// It is validated leg by leg first; then flows may use it.
#[utoipa::path(
    post,
    path = "/connectors/{id}/activate",
    tag = "connectors",
    operation_id = "activate-connector",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "It is active.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Tried,
    )
)]
async fn activate(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.activate(&actor, &id, if_match).await?;
    Ok(shown(&view))
}

/// Deactivate a connector
///
/// Flows get 403 within a second, on every replica; its tokens are forgotten.
#[utoipa::path(
    post,
    path = "/connectors/{id}/deactivate",
    tag = "connectors",
    operation_id = "deactivate-connector",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "It is inactive.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn deactivate(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.deactivate(&actor, &id, if_match).await?;
    Ok(shown(&view))
}

/// Restore a deleted connector
///
/// While it is kept. It is inactive then, and its secrets have to be given anew.
#[utoipa::path(
    post,
    path = "/connectors/{id}/restore",
    tag = "connectors",
    operation_id = "restore-connector",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "It is inactive.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn restore(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.restore(&actor, &id, if_match).await?;
    Ok(shown(&view))
}

/// Purge a connector's token
///
/// Every replica drops the token that it holds, and obtains another when it is needed.
#[utoipa::path(
    post,
    path = "/connectors/{id}/purge-token",
    tag = "connectors",
    operation_id = "purge-connector-token",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "They are dropped.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn purge_token(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.purge_token(&actor, &id, if_match).await?;
    Ok(shown(&view))
}

/// Go back to the secrets before the last promotion
///
/// While they are kept. The promoted ones are dropped.
#[utoipa::path(
    post,
    path = "/connectors/{id}/roll-back",
    tag = "connectors",
    operation_id = "roll-back-connector-secrets",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "The earlier ones are in use.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn roll_back(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.roll_back(&actor, &id, if_match).await?;
    Ok(shown(&view))
}

/// Test a connector
///
/// Walks its way leg by leg (resolve, connect, TLS, token or validation URL, probe) with the secrets
/// in use, and changes nothing. That a leg failed is no error of the request.
#[utoipa::path(
    post,
    path = "/connectors/{id}/test",
    tag = "connectors",
    operation_id = "test-connector",
    params(ConnectorPath),
    responses(
        (status = 200, description = "It was tested; `passed` says what came of it.", body = TestReport),
        Tested,
    )
)]
async fn test(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
) -> Result<Response, Problem> {
    let report = shared.registry.test(&actor, &id).await?;
    Ok(json(&test_report(&report)))
}
