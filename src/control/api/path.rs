//! What a path's segments say.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::problem::Problem;
use super::reason::Reason;

/// The segment that stands for `name` in the path's template, percent-decoded once.
///
/// # Errors
///
/// `bad-request` if it is not UTF-8 when decoded.
pub(super) async fn segment<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Problem> {
    let malformed =
        || Problem::of(Reason::BadRequest).detail("The path is not UTF-8 when it is decoded.");
    let segments = RawPathParams::from_request_parts(parts, state).await;
    let segments = segments.map_err(|_| malformed())?;
    let mut named = segments.iter().filter(|(key, _)| *key == name);
    let segment = named.next().map(|(_, text)| text.to_owned());
    segment.ok_or_else(malformed)
}
