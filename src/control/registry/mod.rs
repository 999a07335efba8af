//! The rules of a connector's life: who may do what to it, and when.
//!
//! # Invariants
//!
//! What is saved was validated first; a change and its audit entry are one transaction, in which
//! everything that another change could have altered meanwhile is looked at again. Whoever changes
//! a connector changes what they saw, or is told that it has changed. What belongs to another
//! organization does not exist, in no answer and no count. A secret is written and never read, and
//! goes nowhere but where it was given for (`binding`). When a change is answered, this replica's
//! flows meet it already, or will within a moment.
//!
//! # Shape
//!
//! Each operation is a shell around a walk. The shell makes an `Attempt` and settles it: a refusal
//! is noted, a change waited for. The walk is a chain of `?`. What needs time, a validation above
//! all, is done before the transaction, on what was read; `still` then begins one in
//! which that is still so. What needs none is done within it (`opened`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;

use self::audit::Attempt;
use self::walks::Walks;
use crate::clock::Clock;
use crate::config::stored::{self, FieldFault, Secrets};
use crate::config::{Config, ConnectorDefaults};
use crate::connector::{Connector, ConnectorId, Organization};
use crate::control::access::{Access, Actor};
use crate::control::feed::Feed;
use crate::control::store::{Change, ConnectorRecord, Phase, Store};
use crate::control::validate::{Report, Validator};

mod audit;
mod binding;
mod create;
mod draft;
mod edit;
mod limits;
mod phases;
mod read;
mod refused;
mod secrets;
mod trial;
mod view;
mod walks;

pub use create::Once;
pub use refused::Refused;
pub use view::{ConnectorView, Source, phase_name};

/// A connector's document as JSON, its secrets left out: lists hold many of them.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// What administrators do with connectors. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    store: Store,
    feed: Feed,
    validator: Validator,
    /// What connectors have that say nothing else; a reload changes it.
    defaults: ArcSwap<ConnectorDefaults>,
    rules: Rules,
    clock: Clock,
    walks: Walks,
}

/// What an operator decides about connectors, for as long as the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many connectors of each kind an organization may have that says nothing else; a kind that
    /// is not named has no limit.
    pub connectors_max: BTreeMap<String, u32>,
    /// How long a deleted connector can be restored.
    pub deleted_kept: Duration,
}

/// Which state of a connector a change is meant for (RFC 9110 §13.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever it is now (`*`). A change that takes time is still refused if another one comes
    /// between.
    Any,
    /// The one of this revision.
    Revision(u64),
}

/// A change of a connector's keys: of [`ConnectorView::json`].
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// All of them. Those that the gateway sets itself may be left out, or stand as they are.
    Replace(Value),
    /// A merge patch (RFC 7396).
    Merge(Value),
}

/// Which connectors are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this organization.
    pub organization: Option<Organization>,
    /// Those in this phase; without it, all but the deleted ones.
    pub state: Option<Phase>,
    /// Those of this kind.
    pub kind: Option<String>,
    /// The one of this name.
    pub name: Option<String>,
    /// Those that come from there.
    pub source: Option<Source>,
}

/// A page of connectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// In the order of their IDs.
    pub items: Vec<ConnectorView>,
    /// The ID after which the next page begins, if there is one.
    pub next: Option<String>,
}

impl Registry {
    /// The rules over `store`, for connectors that `feed` publishes beside those of `config`.
    pub fn new(
        store: Store,
        feed: Feed,
        validator: Validator,
        (config, rules): (&Config, Rules),
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            feed,
            validator,
            defaults: ArcSwap::from_pointee(config.connector_defaults.clone()),
            rules,
            clock,
            walks: Walks::default(),
        }))
    }

    /// Judges by another configuration from now on.
    pub fn configured(&self, config: &Config) {
        let defaults = config.connector_defaults.clone();
        self.0.defaults.store(Arc::new(defaults));
    }

    /// Refuses an administrator whose role does not allow `needed`.
    fn allow(&self, actor: &Actor, needed: Access) -> Result<(), Refused> {
        match actor.role.access() >= needed {
            true => Ok(()),
            false => Err(Refused::Forbidden),
        }
    }

    /// The connector of the configuration that has `id`.
    fn in_file(&self, id: &ConnectorId) -> Option<Arc<Connector>> {
        let configured = self.0.feed.yaml();
        configured.iter().find(|one| one.id == *id).cloned()
    }

    /// The connector `id` as it stands, to be changed: not deleted, and the one that was meant.
    async fn standing(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorRecord, Refused> {
        self.writable(attempt.actor, id)?;
        let record = self.0.store.connector(id).await?;
        let record = self.meant(attempt, record, if_match)?;
        phases::undeleted(&record)?;
        Ok(record)
    }

    /// A transaction, and the connector `id` as it stands in it.
    async fn opened(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<(Change, ConnectorRecord), Refused> {
        self.writable(attempt.actor, id)?;
        let mut change = self.0.store.begin().await?;
        let record = change.connector(id).await?;
        let record = self.meant(attempt, record, if_match)?;
        Ok((change, record))
    }

    /// A transaction in which `record` is still as it was read.
    async fn still(&self, record: &ConnectorRecord) -> Result<Change, Refused> {
        let mut change = self.0.store.begin().await?;
        let now = change.connector(&record.id).await?;
        let current = now.ok_or(Refused::NotFound)?.revision;
        match current == record.revision {
            true => Ok(change),
            false => Err(Refused::PreconditionFailed { current }),
        }
    }

    /// Refuses administrators that only read, and connectors that are only read.
    fn writable(&self, actor: &Actor, id: &ConnectorId) -> Result<(), Refused> {
        self.allow(actor, Access::Write)?;
        match self.in_file(id) {
            Some(one) if actor.scope.includes(&one.organization) => Err(Refused::ReadOnly),
            Some(_) => Err(Refused::NotFound),
            None => Ok(()),
        }
    }

    /// What was found, if it exists for the actor and is what they last saw.
    fn meant(
        &self,
        attempt: &mut Attempt<'_>,
        found: Option<ConnectorRecord>,
        if_match: IfMatch,
    ) -> Result<ConnectorRecord, Refused> {
        let scope = &attempt.actor.scope;
        let found = found.filter(|record| scope.includes(&record.organization));
        let record = found.ok_or(Refused::NotFound)?;
        attempt.on(&self.view(record.clone()));
        match if_match {
            IfMatch::Revision(seen) if seen != record.revision => {
                let current = record.revision;
                Err(Refused::PreconditionFailed { current })
            }
            IfMatch::Revision(_) | IfMatch::Any => Ok(record),
        }
    }

    /// The connector that `record` says, if it is well-formed.
    fn form(
        &self,
        record: &ConnectorRecord,
        secrets: &Secrets,
    ) -> Result<Connector, Vec<FieldFault>> {
        let identity = stored::Identity {
            id: &record.id,
            organization: &record.organization,
            name: &record.name,
            kind: &record.kind,
            enabled: record.state == Phase::Active,
        };
        if record.document.to_string().len() > DOCUMENT_BYTES_MAX {
            return Err(vec![too_large()]);
        }
        let defaults = self.0.defaults.load();
        stored::read_with(&identity, &record.document, secrets, &defaults)
    }

    /// Walks a connector's way.
    async fn walk(&self, connector: &Connector) -> Result<Report, Refused> {
        let _place = self.0.walks.begin(&connector.organization)?;
        Ok(self.0.validator.walk(connector).await)
    }

    /// Refuses a connector whose way cannot be walked to its end.
    async fn validate(&self, connector: &Connector) -> Result<(), Refused> {
        let report = self.walk(connector).await?;
        match report.failed() {
            None => Ok(()),
            Some(_) => Err(Refused::ValidationFailed(Box::new(report))),
        }
    }

    /// Ends `change`: keeps `record` as it is now, with its audit entry. `secrets` are those that
    /// were changed.
    async fn save<'s>(
        &self,
        attempt: &mut Attempt<'_>,
        mut change: Change,
        mut record: ConnectorRecord,
        secrets: impl IntoIterator<Item = &'s String>,
    ) -> Result<ConnectorView, Refused> {
        record.served_revision = change.revision();
        // Tokens of an earlier revision are never used again.
        change.forget_shared_tokens(&record.id).await?;
        self.save_aside(attempt, change, record, secrets).await
    }

    /// Keeps `record` as [`Registry::save`] does, where flows are not to notice: its tokens stay.
    async fn save_aside<'s>(
        &self,
        attempt: &mut Attempt<'_>,
        mut change: Change,
        mut record: ConnectorRecord,
        secrets: impl IntoIterator<Item = &'s String>,
    ) -> Result<ConnectorView, Refused> {
        let now = self.0.clock.wall();
        record.revision = change.revision();
        record.updated_at = now;
        change.update_connector(&record).await?;
        let view = self.view(record);
        attempt.towards(&view, secrets);
        change.audit(&attempt.done(now)).await?;
        change.commit().await?;
        Ok(view)
    }

    /// `record` as administrators see it.
    fn view(&self, record: ConnectorRecord) -> ConnectorView {
        let mut view = ConnectorView::from(record);
        let now = self.0.clock.wall();
        view.previous_until = view.previous_until.filter(|until| *until > now);
        view
    }

    /// Waits until this replica's flows meet what was made, or notes that it was refused.
    async fn settle(
        &self,
        attempt: &Attempt<'_>,
        made: Result<ConnectorView, Refused>,
    ) -> Result<ConnectorView, Refused> {
        match made {
            Ok(view) => {
                if let Some(revision) = view.revision {
                    // Late or not, it was made: a feed that lags behind says so in `/readyz`.
                    self.0.feed.reached(revision).await;
                }
                Ok(view)
            }
            Err(refused) => Err(self.refuse(attempt, refused).await),
        }
    }

    /// Notes that `attempt` was `refused`.
    async fn refuse(&self, attempt: &Attempt<'_>, refused: Refused) -> Refused {
        // A store that cannot be used takes no note either.
        if !matches!(refused, Refused::Unavailable(_)) {
            let now = self.0.clock.wall();
            attempt.note(&self.0.store, now, &refused).await;
        }
        refused
    }
}

fn too_large() -> FieldFault {
    FieldFault {
        field: String::new(),
        detail: "must be of 256 KiB at most, as JSON without its secrets".to_owned(),
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("rules", &self.0.rules)
            .finish_non_exhaustive()
    }
}
