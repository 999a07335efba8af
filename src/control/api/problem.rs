//! How the control plane says what it refuses (RFC 9457).
//!
//! # Invariants
//!
//! A detail is written for administrators; it never repeats a value that was sent, which could be a
//! secret.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::openapi::legs;
use super::reason::Reason;
use crate::control::access::Unauthenticated;
use crate::control::registry::Refused;
use crate::control::store::StoreError;
use crate::harmless;
use crate::logging::with_sources;

/// What is wrong with one field of a request's body, query or head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    /// A JSON pointer (RFC 6901) into the body; `?name` names a parameter of the query.
    pub(super) field: String,
    /// What it must be; never what it is.
    pub(super) detail: String,
}

/// A refusal, on its way to the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem(Box<Told>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    reason: Reason,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    legs: Option<serde_json::Value>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    challenge: Option<&'static str>,
    /// What the log is told, and nobody else.
    cause: Option<String>,
}

/// How long a client waits if nothing closer is known.
const RETRY_WAIT: Duration = Duration::from_secs(1);

impl Problem {
    /// A refusal for `reason`, with the detail that it always has.
    pub(super) fn of(reason: Reason) -> Self {
        let unavailable = reason == Reason::StoreUnavailable;
        Self(Box::new(Told {
            reason,
            detail: Cow::Borrowed(reason.when()),
            errors: Vec::new(),
            legs: None,
            retry_after: unavailable.then_some(RETRY_WAIT),
            allow: None,
            challenge: reason.challenge(),
            cause: None,
        }))
    }

    /// Why.
    #[cfg(test)]
    pub(super) fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What the log is told of it.
    pub(super) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The same with a closer detail; never a value that was sent.
    pub(super) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same with a time after which to try again.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The same with how far a validation came.
    pub(super) fn legs(mut self, legs: serde_json::Value) -> Self {
        self.0.legs = Some(legs);
        self
    }

    /// The same with the methods that are known here.
    pub(super) fn allow(mut self, methods: HeaderValue) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// The same with another challenge (RFC 9110 §11.6.1).
    fn challenge(mut self, challenge: &'static str) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// `invalid`, with what is wrong.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::of(Reason::Invalid);
        problem.0.errors = errors;
        problem
    }

    /// The answer, its body included.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let status = self.0.reason.status();
        let document = Document {
            kind: format!("urn:attache:problem:{}", self.0.reason.name()),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.0.detail,
            request_id,
            errors: &self.0.errors,
            legs: self.0.legs.as_ref(),
        };
        // Texts and numbers; there is nothing in them that could fail to be written.
        let body = harmless::to_json(&document).unwrap_or_default();
        let mut answer = crate::control::problem::answer(status, "application/problem+json", body)
            .map(Body::new);
        let fields = answer.headers_mut();
        if let Some(wait) = self.0.retry_after {
            // RFC 9110 §10.2.3: whole seconds, rounded up.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            fields.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = &self.0.allow {
            // RFC 9110 §15.5.6.
            fields.insert(ALLOW, allow.clone());
        }
        if let Some(challenge) = self.0.challenge {
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        answer
    }
}

/// A problem travels as itself until the shell, which knows the request's ID, writes it down.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = self.0.reason.status();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<Unauthenticated> for Problem {
    fn from(error: Unauthenticated) -> Self {
        match error {
            Unauthenticated::Missing => Self::of(Reason::Unauthenticated),
            Unauthenticated::Invalid => Self::of(Reason::Unauthenticated)
                .detail("The token is unknown, malformed, expired or revoked.")
                .challenge("Bearer realm=\"attache\", error=\"invalid_token\""),
            Unauthenticated::NoRole => {
                Self::of(Reason::Forbidden).detail("The token gives no role here.")
            }
            Unauthenticated::Throttled { retry_after } => {
                Self::of(Reason::TooManyFailures).retry_after(retry_after)
            }
            Unauthenticated::Unavailable => Self::of(Reason::StoreUnavailable)
                .detail("Who you are cannot be found out now; nothing was changed."),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let reason = match &refused {
            Refused::Forbidden => Reason::Forbidden,
            Refused::NotFound => Reason::NotFound,
            Refused::Invalid(_) => Reason::Invalid,
            Refused::ValidationFailed(_) => Reason::ValidationFailed,
            Refused::NameTaken => Reason::NameTaken,
            Refused::IdTaken => Reason::IdTaken,
            Refused::LimitReached { .. } => Reason::LimitReached,
            Refused::Active => Reason::ConnectorActive,
            Refused::Inactive => Reason::ConnectorInactive,
            Refused::NotDeleted => Reason::NotDeleted,
            Refused::Deleted | Refused::Gone => Reason::Gone,
            Refused::ReadOnly => Reason::ReadOnly,
            Refused::NothingStaged | Refused::NothingPrevious => Reason::NothingStaged,
            Refused::PreconditionFailed { .. } => Reason::PreconditionFailed,
            Refused::InProgress => Reason::InProgress,
            Refused::Busy => Reason::Busy,
            Refused::Unavailable(_) => Reason::StoreUnavailable,
        };
        let problem = Self::of(reason).detail(sentence(&refused));
        match refused {
            Refused::Invalid(faults) => {
                let told = faults.into_iter().map(|fault| FieldError {
                    field: fault.field,
                    detail: fault.detail,
                });
                Self::invalid(told.collect())
            }
            Refused::ValidationFailed(report) => {
                // Texts; there is nothing in them that could fail to be written.
                problem.legs(serde_json::to_value(legs(&report)).unwrap_or_default())
            }
            Refused::InProgress | Refused::Busy => problem.retry_after(RETRY_WAIT),
            Refused::Unavailable(error) => error.into(),
            Refused::Forbidden
            | Refused::NotFound
            | Refused::NameTaken
            | Refused::IdTaken
            | Refused::LimitReached { .. }
            | Refused::Active
            | Refused::Inactive
            | Refused::NotDeleted
            | Refused::Deleted
            | Refused::Gone
            | Refused::ReadOnly
            | Refused::NothingStaged
            | Refused::NothingPrevious
            | Refused::PreconditionFailed { .. } => problem,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let reason = match &error {
            StoreError::Unavailable { .. } | StoreError::Refused { .. } => Reason::StoreUnavailable,
            // Asking again changes nothing.
            StoreError::Conflict { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Sealed { .. } => Reason::Internal,
        };
        let mut problem = Self::of(reason);
        if let StoreError::Sealed { connector, .. } = &error {
            problem = problem.detail(format!(
                "The secrets of connector {connector} cannot be sealed or opened here; the \
                 gateway's log says why, under the request_id."
            ));
        }
        problem.0.cause = Some(with_sources(&error));
        problem
    }
}

/// A text of the registry's for administrators, with a capital letter and a full stop.
fn sentence(refused: &Refused) -> String {
    let text = refused.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    legs: Option<&'a serde_json::Value>,
}
