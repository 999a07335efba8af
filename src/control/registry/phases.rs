//! A connector's life: active, inactive, deleted, restored.

use serde_json::Value;

use super::audit::Attempt;
use super::refused::Refused;
use super::view::ConnectorView;
use super::{IfMatch, Registry};
use crate::config::stored;
use crate::connector::ConnectorId;
use crate::control::access::Actor;
use crate::control::store::{ConnectorRecord, Phase, Slot};

impl Registry {
    /// Lets flows use a connector, once it has been validated.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then it stays as it was.
    pub async fn activate(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.activate", id.as_str());
        let made = self.activate_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn activate_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut record = self.standing(attempt, id, if_match).await?;
        inactive(&record)?;
        let secrets = self.0.store.secrets(&record, Slot::Current).await?;
        let connector = self.form(&record, &secrets).map_err(Refused::Invalid)?;
        self.validate(&connector).await?;

        let change = self.still(&record).await?;
        record.state = Phase::Active;
        self.save(attempt, change, record, []).await
    }

    /// Keeps flows from using a connector, and forgets its tokens.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then it stays as it was.
    pub async fn deactivate(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.deactivate", id.as_str());
        let made = self.deactivate_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn deactivate_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (change, mut record) = self.opened(attempt, id, if_match).await?;
        match record.state {
            Phase::Active => record.state = Phase::Inactive,
            Phase::Inactive => return Err(Refused::Inactive),
            Phase::Deleted => return Err(Refused::Deleted),
        }
        self.save(attempt, change, record, []).await
    }

    /// Deletes an inactive connector; its secrets are gone with it.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then it stays as it was.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.delete", id.as_str());
        let made = self.delete_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn delete_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, mut record) = self.opened(attempt, id, if_match).await?;
        inactive(&record)?;
        record.state = Phase::Deleted;
        record.deleted_at = Some(self.0.clock.wall());
        (record.staged, record.previous_until) = (None, None);
        forget_secrets(&mut record.document);
        for slot in [Slot::Current, Slot::Staged, Slot::Previous] {
            change.drop_secrets(id, slot).await?;
        }
        self.save(attempt, change, record, []).await
    }

    /// Brings a deleted connector back, inactive and without secrets, while it is kept.
    ///
    /// # Errors
    ///
    /// [`Refused`], also if its name was given to another or there is no room for it any more; then
    /// it stays as it was.
    pub async fn restore(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.restore", id.as_str());
        let made = self.restore_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn restore_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, mut record) = self.opened(attempt, id, if_match).await?;
        let deleted_at = match record.state {
            Phase::Deleted => record.deleted_at.unwrap_or(record.updated_at),
            Phase::Active | Phase::Inactive => return Err(Refused::NotDeleted),
        };
        if deleted_at + self.0.rules.deleted_kept <= self.0.clock.wall() {
            return Err(Refused::Gone);
        }
        let organization = &record.organization;
        self.name_free(&mut change, organization, &record.name, id)
            .await?;
        self.room(&mut change, organization, &record.kind).await?;
        record.state = Phase::Inactive;
        record.deleted_at = None;
        self.save(attempt, change, record, []).await
    }

    /// Makes every replica drop the connector's token and obtain another.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was dropped.
    pub async fn purge_token(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.purge-token", id.as_str());
        let made = self.purge_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn purge_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (change, record) = self.opened(attempt, id, if_match).await?;
        undeleted(&record)?;
        // The new revision is what the replicas see: a token of an earlier one is never used.
        self.save(attempt, change, record, []).await
    }
}

fn inactive(record: &ConnectorRecord) -> Result<(), Refused> {
    match record.state {
        Phase::Inactive => Ok(()),
        Phase::Active => Err(Refused::Active),
        Phase::Deleted => Err(Refused::Deleted),
    }
}

/// Refuses what can only be done to a connector that was not deleted.
pub(super) fn undeleted(record: &ConnectorRecord) -> Result<(), Refused> {
    match record.state {
        Phase::Active | Phase::Inactive => Ok(()),
        Phase::Deleted => Err(Refused::Deleted),
    }
}

/// Says of every secret of `document` that there is none.
fn forget_secrets(document: &mut Value) {
    for field in stored::kept_fields(document) {
        if let Some(secret) = document.pointer_mut(&field) {
            *secret = Value::Null;
        }
    }
}
