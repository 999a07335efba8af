//! Endpoints of organizations and what each may have.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::{created, json, tagged};
use super::body::{Fields, Json};
use super::caller::Caller;
use super::etag::IfMatch;
use super::openapi::Everywhere;
use super::page::{Page, Query};
use super::problem::Problem;
use super::reason::Reason;
use super::sending::{Changing, Creating};
use crate::clock::rfc3339;
use crate::connector::Organization;
use crate::control::store::{self, OrganizationRecord};

/// Its routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, limit))
}

/// An organization and what it may have.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Organization)]
pub(super) struct View {
    /// Its name; never changes.
    #[schema(example = "acme", pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    name: String,
    /// How many connectors of each kind it may have, where that differs from the gateway's own
    /// limits.
    connectors_max: BTreeMap<String, u32>,
    /// The store's revision at its last change: its ETag.
    revision: u64,
    /// When it was created.
    #[schema(format = DateTime)]
    created_at: String,
}

/// An organization that is asked for.
#[derive(utoipa::ToSchema)]
#[schema(as = NewOrganization)]
#[allow(dead_code, reason = "bodies are read by hand; only its shape is read")]
pub(super) struct New {
    /// Its name; never changes.
    #[schema(example = "acme", pattern = "^[a-z0-9][a-z0-9-]{0,63}$")]
    name: String,
    /// How many connectors of each kind it may have, where that differs from the gateway's own
    /// limits. The one kind so far is `custom`.
    connectors_max: Option<BTreeMap<String, u32>>,
}

/// What an organization may have.
#[derive(utoipa::ToSchema)]
#[schema(as = OrganizationLimits)]
#[allow(dead_code, reason = "bodies are read by hand; only its shape is read")]
pub(super) struct Limits {
    /// How many connectors of each kind it may have, where that differs from the gateway's own
    /// limits. The one kind so far is `custom`.
    connectors_max: BTreeMap<String, u32>,
}

impl From<OrganizationRecord> for View {
    fn from(record: OrganizationRecord) -> Self {
        Self {
            name: record.name.as_str().to_owned(),
            connectors_max: record.connectors_max,
            revision: record.revision,
            created_at: rfc3339(record.created_at).to_string(),
        }
    }
}

/// List organizations
///
/// Those that exist for you: your own, or all for those who run the gateway.
#[utoipa::path(
    get,
    path = "/organizations",
    tag = "organizations",
    operation_id = "list-organizations",
    params(
        ("limit" = Option<u32>, Query, description = "How many a page has at most.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses((status = 200, description = "A page.", body = Page<View>), Everywhere)
)]
async fn list(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    mut query: Query,
) -> Result<Response, Problem> {
    let limit = query.limit();
    let after = query.after();
    query.done()?;
    let page = store::Page {
        after,
        limit: limit + 1,
    };
    let records = shared.administration.organizations(&actor, page).await?;
    let items = records.into_iter().map(View::from).collect();
    Ok(json(&Page::of(items, limit, |item: &View| {
        item.name.clone()
    })))
}

/// Create an organization
///
/// For those who run the gateway.
#[utoipa::path(
    post,
    path = "/organizations",
    tag = "organizations",
    operation_id = "create-organization",
    request_body = New,
    responses((status = 201, description = "The new organization.", body = View, headers(
        ("ETag" = String, description = "Its revision."),
        ("Location" = String, description = "Where it is."),
    )), Everywhere, Creating)
)]
async fn create(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Json(body): Json,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let form = "1 to 64 of a-z, 0-9 and '-', not beginning with '-'";
    let name = fields.required("name", form, |value| {
        Organization::parse(value.as_str()?).ok()
    });
    let connectors_max = fields.read("connectors_max", LIMITS_FORM, limits);
    fields.done()?;
    let name = name.ok_or_else(|| Problem::of(Reason::Internal))?;
    let record = shared
        .administration
        .create_organization(&actor, name, connectors_max.unwrap_or_default())
        .await?;
    let location = format!("/api/v1/organizations/{}", record.name);
    let revision = record.revision;
    Ok(created(&View::from(record), revision, &location))
}

/// Show an organization
#[utoipa::path(
    get,
    path = "/organizations/{name}",
    tag = "organizations",
    operation_id = "read-organization",
    params(("name" = String, Path, description = "The organization.")),
    responses((status = 200, description = "The organization.", body = View, headers(
        ("ETag" = String, description = "Its revision."),
    )), Everywhere)
)]
async fn read(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name = named(&name)?;
    let record = shared.administration.organization(&actor, &name).await?;
    let revision = record.revision;
    Ok(tagged(&View::from(record), revision))
}

/// Set an organization's limits
///
/// For those who run the gateway. Kinds that are not named have the gateway's own limit.
#[utoipa::path(
    put,
    path = "/organizations/{name}",
    tag = "organizations",
    operation_id = "limit-organization",
    params(
        ("name" = String, Path, description = "The organization."),
        ("If-Match" = String, Header, description = "Its ETag, or `*`."),
    ),
    request_body = Limits,
    responses((status = 200, description = "The organization.", body = View, headers(
        ("ETag" = String, description = "Its revision."),
    )), Everywhere, Changing)
)]
async fn limit(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Path(name): Path<String>,
    if_match: IfMatch,
    Json(body): Json,
) -> Result<Response, Problem> {
    let name = named(&name)?;
    let mut fields = Fields::of(body)?;
    let connectors_max = fields.required("connectors_max", LIMITS_FORM, limits);
    fields.done()?;
    let is_seen = move |revision| if_match.check(revision).is_ok();
    let record = shared
        .administration
        .limit_organization(&actor, &name, is_seen, connectors_max.unwrap_or_default())
        .await?;
    let revision = record.revision;
    Ok(tagged(&View::from(record), revision))
}

const LIMITS_FORM: &str = "an object of kinds and whole numbers, such as {\"custom\": 10}";

fn limits(value: &Value) -> Option<BTreeMap<String, u32>> {
    let limit = |(kind, max): (&String, &Value)| {
        let max = u32::try_from(max.as_u64()?).ok()?;
        Some((kind.clone(), max))
    };
    value.as_object()?.iter().map(limit).collect()
}

/// What cannot be a name is nobody's.
fn named(name: &str) -> Result<Organization, Problem> {
    Organization::parse(name).map_err(|_| Problem::of(Reason::NotFound))
}
