//! The OpenAPI document (3.1) that is served at `/openapi.json`.

use std::collections::{BTreeMap, HashMap};

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Response,
    ResponseBuilder,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::problem::Problem;

use super::reason::{PROBLEMS, Reason};

/// The document without its paths.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("Attaché admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license))
        .build();
    OpenApiBuilder::new().info(info).build()
}

/// The document as text.
pub(super) fn write(document: OpenApi) -> Bytes {
    // Texts and numbers; there is nothing in it that could fail to be written.
    serde_json::to_vec_pretty(&document)
        .unwrap_or_default()
        .into()
}

/// The names of the operations of `document`, by the method and template of their paths.
pub(super) fn operations(document: &OpenApi) -> HashMap<(Method, String), String> {
    let mut operations = HashMap::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in methods(item) {
            if let Some(id) = operation.operation_id.clone() {
                operations.insert((method, path.clone()), id);
            }
        }
    }
    operations
}

type Operation = utoipa::openapi::path::Operation;

fn methods(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Shows `document` to whoever asks.
pub(super) fn serve(document: &Bytes, method: &Method) -> axum::response::Response {
    match *method {
        Method::GET | Method::HEAD => {
            let body = document.clone();
            crate::control::problem::answer(StatusCode::OK, "application/json", body).map(Body::new)
        }
        _ => {
            let methods = HeaderValue::from_static("GET, HEAD");
            Problem::of(Reason::Method).allow(methods).into_response()
        }
    }
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(
    dead_code,
    reason = "it is what problem::Document is written as; only its shape is read"
)]
pub(super) struct ProblemShape {
    /// `urn:attache:problem:` and the reason.
    #[schema(example = "urn:attache:problem:not-found")]
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, for people.
    detail: String,
    /// What the request is called in the gateway's log.
    request_id: String,
}

/// The answer with `status`, which may be any of `reasons`.
pub(super) fn refusal(reasons: &[Reason]) -> RefOr<Response> {
    let described: Vec<String> = reasons
        .iter()
        .map(|reason| format!("`{}`: {}", reason.name(), reason.when()))
        .collect();
    let content = ContentBuilder::new()
        .schema(Some(ProblemShape::schema()))
        .build();
    let response = ResponseBuilder::new()
        .description(described.join("\n"))
        .content("application/problem+json", content)
        .build();
    RefOr::T(response)
}

/// Those of `PROBLEMS` that `include`, by status.
pub(super) fn refusals(include: &[Reason]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    for reason in PROBLEMS
        .into_iter()
        .filter(|reason| include.contains(reason))
    {
        let reasons = by_status
            .entry(reason.status().as_str().to_owned())
            .or_default();
        reasons.push(reason);
    }
    let described = by_status.into_iter();
    described
        .map(|(status, reasons)| (status, refusal(&reasons)))
        .collect()
}

/// Refusals that any operation may answer with.
pub(super) struct Everywhere;

impl IntoResponses for Everywhere {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[
            Reason::BadRequest,
            Reason::BadHost,
            Reason::CallerUnknown,
            Reason::Unauthenticated,
            Reason::Forbidden,
            Reason::BrowserRefused,
            Reason::NotFound,
            Reason::NoStore,
            Reason::Invalid,
            Reason::TooManyFailures,
            Reason::Internal,
            Reason::StoreUnavailable,
        ])
    }
}
