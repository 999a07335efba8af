//! Which operations may be refused for which reasons.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::super::reason::{PROBLEMS, Reason};

/// Any operation.
const ANY: &[Reason] = &[
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
];
/// One that reads a body.
const BODY: &[Reason] = &[
    Reason::ClientTimeout,
    Reason::BodyTooLarge,
    Reason::MediaType,
];
/// One that changes what exists.
const CHANGE: &[Reason] = &[
    Reason::PreconditionFailed,
    Reason::PreconditionRequired,
    Reason::NameTaken,
    Reason::LimitReached,
    Reason::ConnectorActive,
    Reason::ConnectorInactive,
    Reason::NotDeleted,
    Reason::ReadOnly,
    Reason::Gone,
    Reason::NothingStaged,
];
/// One that tries a connector.
const TRY: &[Reason] = &[Reason::ValidationFailed, Reason::Busy];
/// One that makes something.
const MAKE: &[Reason] = &[
    Reason::NameTaken,
    Reason::IdTaken,
    Reason::LimitReached,
    Reason::InProgress,
    Reason::IdempotencyMismatch,
];

/// Those of any operation.
pub(in crate::control::api) struct Everywhere;
/// Those of a change of what exists.
pub(in crate::control::api) struct Change;
/// Those of such a change that reads a body.
pub(in crate::control::api) struct ChangeWithBody;
/// Those of such a change that tries a connector.
pub(in crate::control::api) struct Tried;
/// The same, reading a body.
pub(in crate::control::api) struct TriedWithBody;
/// Those of a test.
pub(in crate::control::api) struct Tested;
/// Those of making a connector.
pub(in crate::control::api) struct Create;

type Answers = BTreeMap<String, RefOr<Response>>;

impl IntoResponses for Everywhere {
    fn responses() -> Answers {
        refusals(&[ANY])
    }
}

impl IntoResponses for Change {
    fn responses() -> Answers {
        refusals(&[ANY, CHANGE])
    }
}

impl IntoResponses for ChangeWithBody {
    fn responses() -> Answers {
        refusals(&[ANY, CHANGE, BODY])
    }
}

impl IntoResponses for Tried {
    fn responses() -> Answers {
        refusals(&[ANY, CHANGE, TRY])
    }
}

impl IntoResponses for TriedWithBody {
    fn responses() -> Answers {
        refusals(&[ANY, CHANGE, BODY, TRY])
    }
}

impl IntoResponses for Tested {
    fn responses() -> Answers {
        refusals(&[ANY, TRY, &[Reason::Gone]])
    }
}

impl IntoResponses for Create {
    fn responses() -> Answers {
        refusals(&[ANY, BODY, TRY, MAKE])
    }
}

/// The answers for `reasons`, by status.
pub(in crate::control::api) fn refused_for(reasons: &[Reason]) -> Answers {
    refusals(&[reasons])
}

/// The answers for the reasons in `sets`, by status.
fn refusals(sets: &[&[Reason]]) -> Answers {
    let mut by_status: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    let is_given = |reason: &Reason| sets.iter().any(|set| set.contains(reason));
    for reason in PROBLEMS.into_iter().filter(is_given) {
        let status = reason.status().as_str().to_owned();
        by_status.entry(status).or_default().push(reason);
    }
    let described = by_status.into_iter();
    described
        .map(|(status, reasons)| (status, refusal(&reasons)))
        .collect()
}

/// The answer that may be any of `reasons`, which have one status.
fn refusal(reasons: &[Reason]) -> RefOr<Response> {
    let described = reasons.iter();
    let described = described.map(|reason| format!("`{}`: {}", reason.name(), reason.when()));
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(described.collect::<Vec<_>>().join("\n\n"))
        .content("application/problem+json", content);
    let has = |wanted: &[Reason]| reasons.iter().any(|reason| wanted.contains(reason));
    if has(&[
        Reason::InProgress,
        Reason::TooManyFailures,
        Reason::Busy,
        Reason::StoreUnavailable,
    ]) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer);
        let header = HeaderBuilder::new().schema(Some(seconds)).description(Some(
            "After how many seconds to try again (RFC 9110 §10.2.3), where that is known.",
        ));
        response = response.header("Retry-After", header.build());
    }
    if has(&[Reason::Unauthenticated]) {
        let challenge = ObjectBuilder::new().schema_type(Type::String);
        let header = HeaderBuilder::new()
            .schema(Some(challenge))
            .description(Some("What is asked for (RFC 6750 §3)."));
        response = response.header("WWW-Authenticate", header.build());
    }
    RefOr::T(response.build())
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(
    dead_code,
    reason = "this is a shape: problem::Document is what is written"
)]
pub(super) struct Problem {
    /// `urn:attache:problem:` and the reason.
    #[schema(schema_with = types)]
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
    /// What is wrong with which field; of `invalid`.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldError>>,
    /// How far a validation came; of `validation-failed`.
    #[schema(nullable = false)]
    legs: Option<Vec<super::report::Leg>>,
}

fn types() -> Schema {
    let urns = PROBLEMS.map(|reason| format!("urn:attache:problem:{}", reason.name()));
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("`urn:attache:problem:` and the reason."))
        .enum_values(Some(urns.map(|urn| json!(urn))));
    Schema::Object(schema.build())
}

/// What is wrong with one field.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "this is a shape: problem::FieldError is what is written"
)]
struct FieldError {
    /// A JSON pointer (RFC 6901) into the body; `?name` is a parameter of the query.
    #[schema(example = "/auth/basic/username")]
    field: String,
    /// What is wrong; never its value.
    detail: String,
}

/// The shapes that refusals are made of.
pub(super) fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![("Problem".to_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    schemas
}
