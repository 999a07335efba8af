//! Why an administrator was refused.
//!
//! # Invariants
//!
//! Every text here was chosen for administrators: none holds a value that they entered, a secret, or
//! another error's text. What belongs to another organization is [`Refused::NotFound`], in the same
//! words as what was never there.

use crate::config::stored::FieldFault;
use crate::control::store::StoreError;
use crate::control::validate::Report;

/// Why nothing was done. Its `Display` is the text for administrators.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Their role may not do this, whatever it is done to.
    #[error("the role of this administrator does not allow it")]
    Forbidden,
    /// There is no such connector, for this administrator.
    #[error("there is no such connector")]
    NotFound,
    /// What they sent is not well-formed.
    #[error("some fields are not as they must be")]
    Invalid(Vec<FieldFault>),
    /// A leg of its way failed.
    #[error("the connector was tried and a leg of its way failed; nothing was saved")]
    ValidationFailed(Box<Report>),
    /// Another connector of the organization has the name.
    #[error("another connector of this organization has that name")]
    NameTaken,
    /// The ID is or was a connector's.
    #[error("that ID is taken; an ID is never used again, not even after its connector is deleted")]
    IdTaken,
    /// The organization has as many connectors of the kind as it may.
    #[error("this organization may have {max} connectors of kind {kind} at most")]
    LimitReached {
        /// The kind.
        kind: String,
        /// How many there may be.
        max: u32,
    },
    /// It has to be deactivated first.
    #[error("the connector is active: deactivate it first")]
    Active,
    /// It is inactive already.
    #[error("the connector is inactive")]
    Inactive,
    /// It was deleted.
    #[error("the connector was deleted; it can be restored for a while")]
    Deleted,
    /// It was not deleted, so it cannot be restored.
    #[error("the connector is not deleted")]
    NotDeleted,
    /// It was deleted too long ago to be restored.
    #[error("the connector was deleted too long ago to be restored")]
    Gone,
    /// It stands in the configuration file.
    #[error("the connector stands in the gateway's configuration file and is changed there")]
    ReadOnly,
    /// No secrets are staged.
    #[error("no secrets are staged for this connector")]
    NothingStaged,
    /// No earlier secrets are kept.
    #[error("no earlier secrets are kept for this connector")]
    NothingPrevious,
    /// It is not what they last saw (RFC 9110 §13.1.1).
    #[error("the connector was changed meanwhile; read it again")]
    PreconditionFailed {
        /// Its revision now.
        current: u64,
    },
    /// The same request was answered while this one was worked on.
    #[error("a request with the same Idempotency-Key was answered meanwhile; send it again")]
    InProgress,
    /// As many connectors are being validated as may be at once.
    #[error("too many connectors are being validated; try again shortly")]
    Busy,
    /// The store cannot be used.
    #[error("the store cannot be used at the moment")]
    Unavailable(#[from] StoreError),
}

impl Refused {
    /// What it is called in a problem's `type` and in the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Invalid(_) => "invalid",
            Self::ValidationFailed(_) => "validation-failed",
            Self::NameTaken => "name-taken",
            Self::IdTaken => "id-taken",
            Self::LimitReached { .. } => "limit-reached",
            Self::Active => "connector-active",
            Self::Inactive => "connector-inactive",
            Self::NotDeleted => "not-deleted",
            Self::Deleted | Self::Gone => "gone",
            Self::ReadOnly => "read-only",
            Self::NothingStaged | Self::NothingPrevious => "nothing-staged",
            Self::PreconditionFailed { .. } => "precondition-failed",
            Self::InProgress => "in-progress",
            Self::Busy => "busy",
            Self::Unavailable(_) => "store-unavailable",
        }
    }
}
