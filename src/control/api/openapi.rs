//! The OpenAPI document (3.1) that is served at `/openapi.json`.

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::reason::{PROBLEMS, Reason};

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
