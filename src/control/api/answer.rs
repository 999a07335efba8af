//! Answers that are not refusals.

use axum::body::Body;
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::etag::etag;
use super::problem::Problem;
use super::reason::Reason;
use crate::harmless;

/// 200 with `body` as JSON.
pub(super) fn json(body: &impl Serialize) -> Response {
    let Ok(text) = harmless::to_json(body) else {
        // Only a map whose keys are no texts cannot be written, and there is none.
        return Problem::of(Reason::Internal).render("");
    };
    crate::control::problem::answer(StatusCode::OK, "application/json", text).map(Body::new)
}

/// 200 with a record as JSON and its `ETag`.
pub(super) fn tagged(body: &impl Serialize, revision: u64) -> Response {
    let mut answer = json(body);
    let (name, tag) = etag(revision);
    answer.headers_mut().insert(name, tag);
    answer
}

/// 201 with the new record, its `ETag` and where it is.
pub(super) fn created(body: &impl Serialize, revision: u64, location: &str) -> Response {
    let mut answer = tagged(body, revision);
    *answer.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// 204: it is done, and there is nothing to say.
pub(super) fn done() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
