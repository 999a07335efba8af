//! Endpoints of administrators' tokens.

use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::{done, json};
use super::body::{Fields, Json};
use super::caller::Caller;
use super::openapi::Everywhere;
use super::page::{Page, Query};
use super::problem::{FieldError, Problem};
use super::reason::Reason;
use super::sending::Creating;
use crate::clock::rfc3339;
use crate::connector::{Organization, Role};
use crate::control::access::{Denied, Scope, TOKEN_LIFETIME, Wanted};
use crate::control::store::{self, AdminToken};

/// Its routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, revoke))
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// An administrator's token, without the token itself.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AdminToken)]
pub(super) struct View {
    /// Names it; stands in the token.
    #[schema(example = "k3x9a7b2c4d5")]
    id: String,
    /// What it is called by people.
    name: String,
    /// What its holder is.
    #[schema(example = "full-admin")]
    role: &'static str,
    /// Whose connectors its holder sees; `*` is everybody's.
    #[schema(example = "default")]
    organization: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it ends by itself.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// When it was revoked.
    #[schema(required, format = DateTime)]
    revoked_at: Option<String>,
}

/// A token that was made. It is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IssuedToken)]
struct Issued<'a> {
    #[serde(flatten)]
    view: View,
    /// The token itself.
    token: &'a str,
}

/// A token that is asked for.
#[derive(utoipa::ToSchema)]
#[schema(as = NewAdminToken)]
#[allow(dead_code, reason = "bodies are read by hand; only its shape is read")]
pub(super) struct New {
    /// What it is called by people.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What its holder is to be; no more than you are.
    #[schema(example = "full-admin")]
    role: String,
    /// Whose connectors its holder is to see: your own organization, or any and `*` for those who
    /// run the gateway, who have to say it.
    organization: Option<String>,
    /// How long it holds, in days.
    #[schema(minimum = 1, maximum = 366, default = 90)]
    expires_in_days: Option<u32>,
}

impl From<AdminToken> for View {
    fn from(token: AdminToken) -> Self {
        let date = |at: Option<SystemTime>| at.map(|at| rfc3339(at).to_string());
        Self {
            id: token.id,
            name: token.name,
            role: token.role.name(),
            organization: token.scope.to_string(),
            created_at: rfc3339(token.created_at).to_string(),
            expires_at: date(token.expires_at),
            revoked_at: date(token.revoked_at),
        }
    }
}

/// A closed door says the same, whoever asks.
impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forbidden => Self::of(Reason::Forbidden),
            Denied::NotFound => Self::of(Reason::NotFound),
            Denied::NameTaken => Self::of(Reason::NameTaken),
            Denied::PreconditionFailed => Self::of(Reason::PreconditionFailed),
            Denied::Invalid(faults) => {
                let errors = faults.into_iter().map(|fault| FieldError {
                    field: fault.field,
                    detail: fault.detail,
                });
                Self::invalid(errors.collect())
            }
            Denied::Unhashed(error) => {
                let error = crate::logging::with_sources(&error);
                tracing::error!(error, "a token could not be made");
                Self::of(Reason::Internal)
            }
            Denied::Unavailable(error) => error.into(),
        }
    }
}

/// List administrators' tokens
///
/// Those of your organization, or all for those who run the gateway; those that have ended too.
#[utoipa::path(
    get,
    path = "/admin-tokens",
    tag = "admin-tokens",
    operation_id = "list-admin-tokens",
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
    let tokens = shared.administration.tokens(&actor, page).await?;
    let items = tokens.into_iter().map(View::from).collect();
    Ok(json(&Page::of(items, limit, |item: &View| item.id.clone())))
}

/// Create an administrator's token
///
/// The answer shows the token; nothing shows it again.
#[utoipa::path(
    post,
    path = "/admin-tokens",
    tag = "admin-tokens",
    operation_id = "create-admin-token",
    request_body = New,
    responses((status = 201, description = "The new token.", body = Issued, headers(
        ("Location" = String, description = "Where it is."),
    )), Everywhere, Creating)
)]
async fn create(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Json(body): Json,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let name = fields.required("name", "a text", |value| value.as_str().map(str::to_owned));
    let role = fields.required("role", "a role, such as full-admin", |value| {
        value.as_str()?.parse::<Role>().ok()
    });
    let scope = match &actor.scope {
        Scope::One(_) => fields.read("organization", ORGANIZATION_FORM, scope),
        Scope::All => fields.required("organization", ORGANIZATION_FORM, scope),
    };
    let days = fields.read("expires_in_days", "a whole number from 1 to 366", |value| {
        u32::try_from(value.as_u64()?).ok()
    });
    fields.done()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Problem::of(Reason::Internal));
    };
    let wanted = Wanted {
        name,
        role,
        scope: scope.unwrap_or_else(|| actor.scope.clone()),
        lifetime: days.map_or(TOKEN_LIFETIME, |days| DAY.saturating_mul(days)),
    };
    let issued = shared.administration.issue(&actor, wanted).await?;
    let location = format!("/api/v1/admin-tokens/{}", issued.record.id);
    let mut answer = json(&Issued {
        view: issued.record.into(),
        token: issued.token.expose(),
    });
    *answer.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// Show an administrator's token
#[utoipa::path(
    get,
    path = "/admin-tokens/{id}",
    tag = "admin-tokens",
    operation_id = "read-admin-token",
    params(("id" = String, Path, description = "The token's ID.")),
    responses((status = 200, description = "The token.", body = View), Everywhere)
)]
async fn read(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let token = shared.administration.token(&actor, &id).await?;
    Ok(json(&View::from(token)))
}

/// Revoke an administrator's token
///
/// It ends at once, on every replica; nothing else of it changes, so that no If-Match is asked for.
#[utoipa::path(
    delete,
    path = "/admin-tokens/{id}",
    tag = "admin-tokens",
    operation_id = "revoke-admin-token",
    params(("id" = String, Path, description = "The token's ID.")),
    responses((status = 204, description = "It has ended."), Everywhere)
)]
async fn revoke(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    shared.administration.revoke(&actor, &id).await?;
    Ok(done())
}

const ORGANIZATION_FORM: &str = "an organization, or * for those who run the gateway";

fn scope(value: &serde_json::Value) -> Option<Scope> {
    match value.as_str()? {
        "*" => Some(Scope::All),
        name => Organization::parse(name).ok().map(Scope::One),
    }
}
