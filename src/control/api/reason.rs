//! Why the control plane refuses a request.
//!
//! # Invariants
//!
//! [`Reason`] is the one table: a reason's name, status and meaning stand here and nowhere else.

use http::StatusCode;

/// Why a request was refused: the end of a problem's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// `bad-request`
    BadRequest,
    /// `bad-host`
    BadHost,
    /// `caller-unknown`
    CallerUnknown,
    /// `unauthenticated`
    Unauthenticated,
    /// `forbidden`
    Forbidden,
    /// `browser-refused`
    BrowserRefused,
    /// `not-found`
    NotFound,
    /// `no-store`
    NoStore,
    /// `method`
    Method,
    /// `not-acceptable`
    NotAcceptable,
    /// `client-timeout`
    ClientTimeout,
    /// `name-taken`
    NameTaken,
    /// `id-taken`
    IdTaken,
    /// `limit-reached`
    LimitReached,
    /// `connector-active`
    ConnectorActive,
    /// `connector-inactive`
    ConnectorInactive,
    /// `read-only`
    ReadOnly,
    /// `gone`
    Gone,
    /// `not-deleted`
    NotDeleted,
    /// `nothing-staged`
    NothingStaged,
    /// `in-progress`
    InProgress,
    /// `precondition-failed`
    PreconditionFailed,
    /// `body-too-large`
    BodyTooLarge,
    /// `media-type`
    MediaType,
    /// `invalid`
    Invalid,
    /// `validation-failed`
    ValidationFailed,
    /// `idempotency-mismatch`
    IdempotencyMismatch,
    /// `precondition-required`
    PreconditionRequired,
    /// `too-many-failures`
    TooManyFailures,
    /// `internal`
    Internal,
    /// `busy`
    Busy,
    /// `store-unavailable`
    StoreUnavailable,
}

/// Every reason for which the control plane refuses a request.
pub const PROBLEMS: [Reason; 32] = [
    Reason::BadRequest,
    Reason::BadHost,
    Reason::CallerUnknown,
    Reason::Unauthenticated,
    Reason::Forbidden,
    Reason::BrowserRefused,
    Reason::NotFound,
    Reason::NoStore,
    Reason::Method,
    Reason::NotAcceptable,
    Reason::ClientTimeout,
    Reason::NameTaken,
    Reason::IdTaken,
    Reason::LimitReached,
    Reason::ConnectorActive,
    Reason::ConnectorInactive,
    Reason::ReadOnly,
    Reason::Gone,
    Reason::NotDeleted,
    Reason::NothingStaged,
    Reason::InProgress,
    Reason::PreconditionFailed,
    Reason::BodyTooLarge,
    Reason::MediaType,
    Reason::Invalid,
    Reason::ValidationFailed,
    Reason::IdempotencyMismatch,
    Reason::PreconditionRequired,
    Reason::TooManyFailures,
    Reason::Internal,
    Reason::Busy,
    Reason::StoreUnavailable,
];

impl Reason {
    /// Its status, its name and when it is given; also the detail where nothing closer is known.
    #[allow(clippy::too_many_lines, reason = "one table, a row a reason")]
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request, its path, query, a field or its JSON is malformed.",
            ),
            Self::BadHost => (
                StatusCode::BAD_REQUEST,
                "bad-host",
                "The Host field is missing, doubled or not a name of this listener; admin.hosts \
                 lists further names.",
            ),
            Self::CallerUnknown => (
                StatusCode::UNAUTHORIZED,
                "caller-unknown",
                "A client certificate is needed here, and none that holds was shown.",
            ),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "A valid bearer token is needed here.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Your role does not allow this.",
            ),
            Self::BrowserRefused => (
                StatusCode::FORBIDDEN,
                "browser-refused",
                "A page of another site made a browser send this.",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not-found",
                "There is nothing at this path, or nothing of your organization.",
            ),
            Self::NoStore => (
                StatusCode::NOT_FOUND,
                "no-store",
                "This gateway has no store, so that there is nothing to administer; configure one \
                 under `store`, with `url` and `master_keys`, and restart.",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "What is at this path does not know this method; the Allow field says which it \
                 does.",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "There is no answer of a type that the Accept field asks for.",
            ),
            Self::ClientTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "client-timeout",
                "The request's body did not come in time.",
            ),
            Self::NameTaken => (
                StatusCode::CONFLICT,
                "name-taken",
                "Another one of the organization has this name.",
            ),
            Self::IdTaken => (
                StatusCode::CONFLICT,
                "id-taken",
                "This ID is in use, or was once; it is never used again.",
            ),
            Self::LimitReached => (
                StatusCode::CONFLICT,
                "limit-reached",
                "The organization has as many as it may have.",
            ),
            Self::ConnectorActive => (
                StatusCode::CONFLICT,
                "connector-active",
                "The connector is active; deactivate it first.",
            ),
            Self::ConnectorInactive => (
                StatusCode::CONFLICT,
                "connector-inactive",
                "The connector is not active.",
            ),
            Self::ReadOnly => (
                StatusCode::CONFLICT,
                "read-only",
                "The connector stands in the gateway's configuration file and is changed there.",
            ),
            Self::Gone => (
                StatusCode::CONFLICT,
                "gone",
                "It was deleted or ended, and this cannot be done to it any more.",
            ),
            Self::NotDeleted => (
                StatusCode::CONFLICT,
                "not-deleted",
                "The connector is not deleted.",
            ),
            Self::NothingStaged => (
                StatusCode::CONFLICT,
                "nothing-staged",
                "The connector has no secrets that wait, or none to go back to.",
            ),
            Self::InProgress => (
                StatusCode::CONFLICT,
                "in-progress",
                "A request with the same Idempotency-Key is being worked on.",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "It was changed meanwhile: If-Match does not name its present ETag.",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "The request's body is larger than 1 MiB.",
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The request's Content-Type is not the one that is read here.",
            ),
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "Fields are missing, unknown or have a value that they cannot have; `errors` lists \
                 them.",
            ),
            Self::ValidationFailed => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "validation-failed",
                "The connector was tried and does not work; `legs` tells how far it came. Nothing \
                 was saved.",
            ),
            Self::IdempotencyMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-mismatch",
                "This Idempotency-Key was used with another body.",
            ),
            Self::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "A change needs If-Match with the ETag of what is changed (RFC 6585 §3).",
            ),
            Self::TooManyFailures => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-failures",
                "Too many requests from here were not authenticated.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "A defect of the gateway; its log has more under the request_id.",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "As many connectors are being tried as may be at once.",
            ),
            Self::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The store cannot be used now. Look before you repeat a change: one that was not \
                 acknowledged may have been made. Flows are served all the same.",
            ),
        }
    }

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The end of the problem's `type`, behind `urn:attache:problem:`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What a 401 asks for (RFC 9110 §15.5.2).
    pub(in crate::control) fn challenge(self) -> Option<&'static str> {
        let challenges = [
            // RFC 6750 §3.
            (Self::Unauthenticated, "Bearer realm=\"attache\""),
            // Certificates have no registered scheme (RFC 9110 §11.6.1).
            (Self::CallerUnknown, "Client-Certificate"),
        ];
        let mut challenges = challenges.into_iter();
        challenges.find_map(|(reason, challenge)| (reason == self).then_some(challenge))
    }

    /// When it is given.
    pub fn when(self) -> &'static str {
        self.row().2
    }
}
