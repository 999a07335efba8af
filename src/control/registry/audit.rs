//! What an administrator tries, written down whether it is made or refused.
//!
//! # Invariants
//!
//! A change's entry is part of its own transaction. A refusal's is written afterwards, as well as may
//! be: that it could not be written changes no answer. No entry holds a secret, nor what an
//! administrator sent before its form was found good, since a secret may stand in a wrong place
//! there. An attempt on what does not exist for an administrator is noted under their own
//! organization, whatever the thing's is.

use std::time::SystemTime;

use serde_json::{Value, json};
use tracing::warn;

use super::refused::Refused;
use super::view::ConnectorView;
use crate::connector::Organization;
use crate::control::access::{Actor, Scope};
use crate::control::store::{AuditEntry, AuditOutcome, Store};
use crate::logging::with_sources;

/// One thing that an administrator tries.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) actor: &'a Actor,
    action: &'static str,
    target: String,
    organization: Option<Organization>,
    before: Option<Value>,
    after: Option<Value>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(actor: &'a Actor, action: &'static str, target: &str) -> Self {
        Self {
            actor,
            action,
            target: target.to_owned(),
            organization: match &actor.scope {
                Scope::One(own) => Some(own.clone()),
                Scope::All => None,
            },
            before: None,
            after: None,
        }
    }

    /// What it is done to, which exists for the actor.
    pub(super) fn on(&mut self, now: &ConnectorView) {
        self.organization = Some(now.organization.clone());
        self.before = Some(now.json());
    }

    /// What is to be made of it, whose form is good; `secrets` are given anew.
    pub(super) fn towards<'s>(
        &mut self,
        next: &ConnectorView,
        secrets: impl IntoIterator<Item = &'s String>,
    ) {
        self.target = next.id.as_str().to_owned();
        self.organization = Some(next.organization.clone());
        let mut after = next.json();
        let secrets: Vec<&String> = secrets.into_iter().collect();
        if let Value::Object(keys) = &mut after
            && !secrets.is_empty()
        {
            keys.insert("secrets_changed".to_owned(), json!(secrets));
        }
        self.after = Some(after);
    }

    /// The entry of a change that is made.
    pub(super) fn done(&self, at: SystemTime) -> AuditEntry {
        self.entry(at, AuditOutcome::Done)
    }

    /// Notes that it was refused.
    pub(super) async fn note(&self, store: &Store, at: SystemTime, refused: &Refused) {
        let outcome = AuditOutcome::Refused(refused.reason().to_owned());
        if let Err(error) = store.note(&self.entry(at, outcome)).await {
            warn!(
                action = self.action,
                actor = self.actor.name,
                reason = refused.reason(),
                error = %with_sources(&error),
                "a refused change could not be written to the audit log"
            );
        }
    }

    fn entry(&self, at: SystemTime, outcome: AuditOutcome) -> AuditEntry {
        let actor = self.actor;
        AuditEntry {
            id: 0,
            at,
            actor: actor.name.clone(),
            role: Some(actor.role),
            organization: self.organization.clone(),
            action: self.action.to_owned(),
            target: self.target.clone(),
            outcome,
            address: actor.address.to_string(),
            request_id: actor.request_id.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        }
    }
}
