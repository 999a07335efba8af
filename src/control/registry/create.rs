//! Making a connector.

use std::time::SystemTime;

use serde_json::Value;

use super::Registry;
use super::audit::Attempt;
use super::draft::Draft;
use super::limits::{may_create, no_such_organization};
use super::refused::Refused;
use super::view::ConnectorView;
use crate::config::stored::{self, Secrets};
use crate::connector::{Connector, ConnectorId};
use crate::control::access::{Access, Actor};
use crate::control::store::{ANSWERS_KEPT, Answer, Change, ConnectorRecord};

/// A new connector whose form is good.
struct Checked {
    record: ConnectorRecord,
    secrets: Secrets,
    connector: Connector,
}

/// What makes a request that is sent again the same one: its `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key.
    pub key: String,
    /// A digest of what was asked.
    pub request: Vec<u8>,
}

impl Registry {
    /// Makes the connector that `body` says: `name`, the keys of its kind and, where its sender
    /// likes, `id`, `organization`, `kind` and `enabled`. It is validated leg by leg first, an
    /// inactive one too. With `once`, what it then looks like is kept in the same transaction, as
    /// [`Answer::answer`], for whoever asks again.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was saved.
    pub async fn create(
        &self,
        actor: &Actor,
        body: Value,
        once: Option<Once>,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.create", "");
        let made = self.create_noted(&mut attempt, body, once).await;
        self.settle(&attempt, made).await
    }

    async fn create_noted(
        &self,
        attempt: &mut Attempt<'_>,
        body: Value,
        once: Option<Once>,
    ) -> Result<ConnectorView, Refused> {
        let actor = attempt.actor;
        self.allow(actor, Access::Write)?;
        let fresh = ConnectorId::from(uuid::Uuid::new_v4());
        let (draft, faults) = Draft::read(body, &actor.scope, fresh);
        if !may_create(actor.role, &draft.kind) {
            return Err(Refused::Forbidden);
        }
        let Checked {
            mut record,
            secrets,
            connector,
        } = self.check(actor, draft, faults).await?;
        attempt.towards(&record.clone().into(), secrets.keys());

        // Nobody is made to wait for a walk whose end is known; the transaction looks again.
        let mut look = self.0.store.begin().await?;
        self.place_free(&mut look, &record).await?;
        drop(look);
        self.validate(&connector).await?;

        let mut change = self.0.store.begin().await?;
        let now = self.0.clock.wall();
        if let Some(once) = &once {
            unanswered(&mut change, actor, once, now).await?;
        }
        self.place_free(&mut change, &record).await?;
        record.revision = change.revision();
        record.served_revision = record.revision;
        (record.created_at, record.updated_at) = (now, now);
        change.insert_connector(&record, &secrets).await?;
        let view = self.view(record);
        if let Some(once) = once {
            change
                .insert_answer(&answer(actor, once, &view, now))
                .await?;
        }
        attempt.towards(&view, secrets.keys());
        change.audit(&attempt.done(now)).await?;
        change.commit().await?;
        Ok(view)
    }

    /// Reads `draft`, with every fault that it and what stands beside it have.
    async fn check(
        &self,
        actor: &Actor,
        draft: Draft,
        mut faults: Vec<stored::FieldFault>,
    ) -> Result<Checked, Refused> {
        let organization = &draft.organization;
        let exists = actor.scope.includes(organization)
            && self.0.store.organization(organization).await?.is_some();
        if !exists {
            faults.push(no_such_organization());
        }
        let now = self.0.clock.wall();
        let mut record = ConnectorRecord {
            id: draft.id,
            organization: draft.organization,
            name: draft.name,
            kind: draft.kind,
            state: draft.state,
            document: draft.document,
            revision: 0,
            served_revision: 0,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            staged: None,
            previous_until: None,
        };
        let secrets = stored::take_secrets(&mut record.document);
        match self.form(&record, &secrets) {
            Ok(connector) if faults.is_empty() => Ok(Checked {
                record,
                secrets,
                connector,
            }),
            Ok(_) => Err(Refused::Invalid(faults)),
            Err(more) => {
                faults.extend(more);
                Err(Refused::Invalid(faults))
            }
        }
    }

    /// Refuses a connector whose ID or name is taken, or that is one too many.
    async fn place_free(
        &self,
        change: &mut Change,
        record: &ConnectorRecord,
    ) -> Result<(), Refused> {
        let organization = &record.organization;
        self.id_free(change, &record.id).await?;
        self.name_free(change, organization, &record.name, &record.id)
            .await?;
        self.room(change, organization, &record.kind).await
    }
}

/// Refuses to answer a request twice: the other was quicker.
async fn unanswered(
    change: &mut Change,
    actor: &Actor,
    once: &Once,
    now: SystemTime,
) -> Result<(), Refused> {
    match change.answer(&actor.name, &once.key).await? {
        Some(kept) if now < kept.at + ANSWERS_KEPT => Err(Refused::InProgress),
        Some(_) | None => Ok(()),
    }
}

fn answer(actor: &Actor, once: Once, view: &ConnectorView, at: SystemTime) -> Answer {
    Answer {
        actor: actor.name.clone(),
        key: once.key,
        request: once.request,
        answer: view.json(),
        at,
    }
}
