//! Refusals of operations that take a body.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use super::openapi::refused_for;
use super::reason::Reason;

/// Those of what makes a new thing.
pub(super) struct Creating;

impl IntoResponses for Creating {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refused_for(&[
            Reason::ClientTimeout,
            Reason::NameTaken,
            Reason::BodyTooLarge,
            Reason::MediaType,
        ])
    }
}

/// Those of what changes a thing that is there.
pub(super) struct Changing;

impl IntoResponses for Changing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refused_for(&[
            Reason::ClientTimeout,
            Reason::PreconditionFailed,
            Reason::BodyTooLarge,
            Reason::MediaType,
            Reason::PreconditionRequired,
        ])
    }
}
