//! Who sent a request, for those who answer it.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::problem::Problem;
use super::reason::Reason;
use crate::control::access::Actor;

/// The administrator whom the shell authenticated before it looked at anything else.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        // Under /api/v1 the shell always puts it there.
        caller.ok_or_else(|| Problem::of(Reason::Unauthenticated))
    }
}
