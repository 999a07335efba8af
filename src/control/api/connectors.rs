//! Endpoints of connectors: the registry's operations, over HTTP.
//!
//! # Invariants
//!
//! What may be done, and when, is the registry's to say. Every change names the state that it is
//! meant for (`If-Match`) and answers with the state that it made (`ETag`).

use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::{created, json, tagged};
use super::body::{Json, MergePatch};
use super::caller::Caller;
use super::etag::{IfMatch, IfNoneMatch, not_modified};
use super::idempotency::{self, Key};
use super::openapi::{
    Change, ChangeWithBody, Connector, ConnectorEdit, ConnectorPatch, ConnectorPath, Create,
    Everywhere, Kind as KindShape, Listed, NewConnector, Precondition, Source as SourceShape,
    State as StateShape,
};
use super::page::Query;
use super::problem::Problem;
use super::reason::Reason;
use crate::connector::{ConnectorId, Organization};
use crate::control::access::{Access, Actor};
use crate::control::registry::{self, ConnectorView, Edit, Filter, Once, Source};
use crate::control::store::{Page, Phase};

mod phases;
mod secrets;

/// Their routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, replace, patch, delete))
        .merge(phases::routes())
        .merge(secrets::routes())
}

/// The connector that a path names.
struct Id(ConnectorId);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        super::path::segment(parts, state, "id")
            .await
            .and_then(|text| {
                // What cannot be an ID is nobody's.
                let id = ConnectorId::parse(&text);
                id.map(Self).map_err(|_| Problem::of(Reason::NotFound))
            })
    }
}

/// A connector and its tag.
fn shown(view: &ConnectorView) -> Response {
    match view.revision {
        Some(revision) => tagged(&view.json(), revision),
        None => json(&view.json()),
    }
}

/// The state that a change is meant for, of the connector `id`.
async fn meant(
    shared: &Shared,
    actor: &Actor,
    (id, if_match): (&ConnectorId, &IfMatch),
) -> Result<registry::IfMatch, Problem> {
    match if_match.revisions() {
        None => Ok(registry::IfMatch::Any),
        Some([]) => Ok(registry::IfMatch::Revision(NEVER)),
        Some([only]) => Ok(registry::IfMatch::Revision(*only)),
        // Whoever names several means any of them, if it is the present one.
        Some(several) => {
            let now = shared.registry.read(actor, id).await?.revision;
            let present = now.filter(|now| several.contains(now));
            Ok(registry::IfMatch::Revision(present.unwrap_or(NEVER)))
        }
    }
}

/// No connector has this revision: the store's begins at one.
const NEVER: u64 = 0;

/// List connectors
///
/// In the order of their IDs, those of the configuration file too. Deleted ones are listed with
/// `state=deleted` alone.
#[utoipa::path(
    get,
    path = "/connectors",
    tag = "connectors",
    operation_id = "list-connectors",
    params(
        ("organization" = Option<String>, Query, description = "Those of this organization.", max_length = 64),
        ("state" = Option<StateShape>, Query, description = "Those in this state; without it, all but the deleted ones."),
        ("kind" = Option<KindShape>, Query, description = "Those of this kind."),
        ("name" = Option<String>, Query, description = "The one of this name.", max_length = 200),
        ("source" = Option<SourceShape>, Query, description = "Those that come from there."),
        Listed,
    ),
    responses(
        (status = 200, description = "A page of them.", body = super::page::Page<Connector>),
        Everywhere,
    )
)]
async fn list(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    mut query: Query,
) -> Result<Response, Problem> {
    let organization = |text: &str| Organization::parse(text).ok();
    let phase = |text: &str| match text {
        "active" => Some(Phase::Active),
        "inactive" => Some(Phase::Inactive),
        "deleted" => Some(Phase::Deleted),
        _ => None,
    };
    let source = |text: &str| match text {
        "store" => Some(Source::Store),
        "file" => Some(Source::File),
        _ => None,
    };
    let kind = |text: &str| (text == "custom").then(|| text.to_owned());
    let filter = Filter {
        organization: query.read("organization", ORGANIZATION_FORM, organization),
        state: query.read("state", "active, inactive or deleted", phase),
        kind: query.read("kind", "custom", kind),
        name: query.text("name", 200),
        source: query.read("source", "store or file", source),
    };
    let limit = query.limit();
    let after = query.after();
    query.done()?;
    let page = Page { after, limit };
    let listing = shared.registry.list(&actor, &filter, page).await?;
    Ok(json(&super::page::Page {
        items: listing.items.iter().map(ConnectorView::json).collect(),
        next: listing.next,
    }))
}

const ORGANIZATION_FORM: &str = "an organization's name";

/// Create a connector
///
/// It is validated leg by leg first; nothing is saved if a leg fails. With an `Idempotency-Key`, a
/// request that is sent again within 24 hours gets the answer of the first, and creates nothing.
#[utoipa::path(
    post,
    path = "/connectors",
    tag = "connectors",
    operation_id = "create-connector",
    params(("Idempotency-Key" = Option<String>, Header, description = "A text of your own making, such as a UUID.", min_length = 1, max_length = 255)),
    request_body(content = NewConnector, content_type = "application/json"),
    responses(
        (status = 201, description = "It was made.", body = Connector, headers(
            ("ETag" = String, description = "Its revision."),
            ("Location" = String, description = "Where it is."),
        )),
        Create,
    )
)]
async fn create(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    key: Option<Key>,
    Json(body): Json,
) -> Result<Response, Problem> {
    // Who may not create is refused by the registry, and noted.
    let Some(key) = key.filter(|_| actor.role.access() == Access::Write) else {
        let view = shared.registry.create(&actor, body, None).await?;
        return Ok(made(view.json()));
    };
    let _flight = shared.flights.begin(&actor, &key)?;
    let asked = idempotency::Asked::new(&shared.store, &actor, &body);
    if let Some(before) = asked.answered(&shared, &actor, &key).await? {
        return Ok(made(before));
    }
    let once = Once {
        key: key.into_text(),
        request: asked.digest(),
    };
    let view = shared.registry.create(&actor, body, Some(once)).await?;
    Ok(made(view.json()))
}

fn made(connector: serde_json::Value) -> Response {
    let id = connector["id"].as_str().unwrap_or_default();
    let location = format!("/api/v1/connectors/{id}");
    let revision = connector["revision"].as_u64().unwrap_or_default();
    created(&connector, revision, &location)
}

/// Read a connector
#[utoipa::path(
    get,
    path = "/connectors/{id}",
    tag = "connectors",
    operation_id = "read-connector",
    params(
        ConnectorPath,
        ("If-None-Match" = Option<String>, Header, description = "Tags of what you have (RFC 9110 §13.1.2).", example = "\"17\""),
    ),
    responses(
        (status = 200, description = "It, without its secrets.", body = Connector, headers(
            ("ETag" = Option<String>, description = "Its revision; one of the configuration file has none."),
        )),
        (status = 304, description = "You have it already.", headers(("ETag" = String, description = "Its revision."))),
        Everywhere,
    )
)]
async fn read(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_none_match: IfNoneMatch,
) -> Result<Response, Problem> {
    let view = shared.registry.read(&actor, &id).await?;
    Ok(match view.revision {
        Some(revision) if if_none_match.holds(revision) => not_modified(revision),
        Some(_) | None => shown(&view),
    })
}

/// Replace a connector's keys
///
/// `resource_domain`, `auth` and `ca_bundle` can be changed while it is inactive.
#[utoipa::path(
    put,
    path = "/connectors/{id}",
    tag = "connectors",
    operation_id = "replace-connector",
    params(ConnectorPath, Precondition),
    request_body(content = ConnectorEdit, content_type = "application/json"),
    responses(
        (status = 200, description = "It was changed.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        ChangeWithBody,
    )
)]
async fn replace(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let edit = Edit::Replace(body);
    let view = shared.registry.edit(&actor, &id, edit, if_match).await?;
    Ok(shown(&view))
}

/// Change some of a connector's keys
///
/// A merge patch (RFC 7396). `resource_domain`, `auth` and `ca_bundle` can be changed while it is
/// inactive.
#[utoipa::path(
    patch,
    path = "/connectors/{id}",
    tag = "connectors",
    operation_id = "patch-connector",
    params(ConnectorPath, Precondition),
    request_body(content = ConnectorPatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "It was changed.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        ChangeWithBody,
    )
)]
async fn patch(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
    MergePatch(body): MergePatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let edit = Edit::Merge(body);
    let view = shared.registry.edit(&actor, &id, edit, if_match).await?;
    Ok(shown(&view))
}

/// Delete a connector
///
/// An inactive one. Its secrets are gone at once; the rest can be restored for a while.
#[utoipa::path(
    delete,
    path = "/connectors/{id}",
    tag = "connectors",
    operation_id = "delete-connector",
    params(ConnectorPath, Precondition),
    responses(
        (status = 200, description = "It was deleted.", body = Connector, headers(("ETag" = String, description = "Its new revision."))),
        Change,
    )
)]
async fn delete(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Id(id): Id,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let if_match = meant(&shared, &actor, (&id, &if_match)).await?;
    let view = shared.registry.delete(&actor, &id, if_match).await?;
    Ok(shown(&view))
}
