//! What administrators do with tokens and organizations: the rules, without HTTP.
//!
//! # Invariants
//!
//! A token never does more than whoever made it: its role has no more access, it sees no other
//! organization, and only `*` makes `*`. Every change and every refused one is in the audit log, a
//! change in the same transaction.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Access, Actor, HashError, Scope};
use crate::clock::Clock;
use crate::config::stored::FieldFault;
use crate::connector::Organization;
use crate::control::store::{AuditEntry, AuditOutcome, Change, Store, StoreError};
use crate::logging::with_sources;

/// Tokens that are made at once, each hashed in 19 MiB and tens of milliseconds of a core.
const MINTS_MAX: usize = 2;

/// Does what administrators ask for with tokens and organizations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Administration {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) mints: Arc<Semaphore>,
}

/// Why nothing was done. Its `Display` is the text for administrators.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Their role may not do this, whatever it is done to.
    #[error("the role of this administrator does not allow it")]
    Forbidden,
    /// There is no such thing, for this administrator.
    #[error("there is no such thing, or it is not of your organization")]
    NotFound,
    /// What they sent is not well formed.
    #[error("some fields are not as they must be")]
    Invalid(Vec<FieldFault>),
    /// There is one of that name.
    #[error("the name is taken")]
    NameTaken,
    /// It is not what they last saw (RFC 9110 §13.1.1).
    #[error("it was changed meanwhile; read it again")]
    PreconditionFailed,
    /// No token could be made.
    #[error("no token could be made")]
    Unhashed(#[from] HashError),
    /// The store cannot be used.
    #[error("the store cannot be used at the moment")]
    Unavailable(#[from] StoreError),
}

impl Denied {
    /// What it is called in a problem's `type` and in the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Invalid(_) => "invalid",
            Self::NameTaken => "name-taken",
            Self::PreconditionFailed => "precondition-failed",
            Self::Unhashed(_) => "internal",
            Self::Unavailable(_) => "store-unavailable",
        }
    }
}

/// One thing that an administrator tries, as the audit log has it.
pub(super) struct Attempt<'a> {
    pub(super) actor: &'a Actor,
    pub(super) action: &'static str,
    pub(super) target: String,
    pub(super) organization: Option<Organization>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(actor: &'a Actor, action: &'static str, target: &str) -> Self {
        Self {
            actor,
            action,
            target: target.to_owned(),
            organization: of(&actor.scope),
            before: None,
            after: None,
        }
    }

    fn entry(&self, at: SystemTime, outcome: AuditOutcome) -> AuditEntry {
        AuditEntry {
            id: 0,
            at,
            actor: self.actor.name.clone(),
            role: Some(self.actor.role),
            organization: self.organization.clone(),
            action: self.action.to_owned(),
            target: self.target.clone(),
            outcome,
            address: self.actor.address.to_string(),
            request_id: self.actor.request_id.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        }
    }
}

impl Administration {
    /// Over `store`.
    pub fn new(store: Store, clock: Clock) -> Self {
        let mints = Arc::new(Semaphore::new(MINTS_MAX));
        Self {
            store,
            clock,
            mints,
        }
    }

    /// Whether `actor` may see what is administered at all.
    pub(super) fn may_read(actor: &Actor) -> Result<(), Denied> {
        match actor.role.access() {
            Access::Read | Access::Write => Ok(()),
            Access::None => Err(Denied::Forbidden),
        }
    }

    /// Whether `actor` may change it.
    pub(super) fn may_write(actor: &Actor) -> Result<(), Denied> {
        match actor.role.access() {
            Access::Write => Ok(()),
            Access::None | Access::Read => Err(Denied::Forbidden),
        }
    }

    /// Makes `change` last together with the entry of `attempt`.
    pub(super) async fn commit(
        &self,
        mut change: Change,
        attempt: &Attempt<'_>,
    ) -> Result<u64, StoreError> {
        let entry = attempt.entry(self.clock.wall(), AuditOutcome::Done);
        change.audit(&entry).await?;
        change.commit().await
    }

    /// Writes down what `denied` says of `attempt`. That it could not be written changes no answer.
    pub(super) async fn deny(&self, attempt: &Attempt<'_>, denied: Denied) -> Denied {
        // Whether it was made is not known, nor would this be written.
        if matches!(denied, Denied::Unavailable(_)) {
            return denied;
        }
        let outcome = AuditOutcome::Refused(denied.reason().to_owned());
        let entry = attempt.entry(self.clock.wall(), outcome);
        if let Err(error) = self.store.note(&entry).await {
            let (action, error) = (attempt.action, with_sources(&error));
            tracing::warn!(
                action,
                error,
                "a refused change was not written into the audit log"
            );
        }
        denied
    }
}

/// Whose things these are, where they are one organization's.
pub(super) fn of(scope: &Scope) -> Option<Organization> {
    match scope {
        Scope::One(organization) => Some(organization.clone()),
        Scope::All => None,
    }
}

/// What is wrong with one field.
pub(super) fn fault(field: &str, detail: &str) -> FieldFault {
    FieldFault {
        field: field.to_owned(),
        detail: detail.to_owned(),
    }
}
