//! Giving an active connector new secrets: staged, tested, promoted, and returned from.
//!
//! # Invariants
//!
//! Staged secrets reach no flow's request before they were tried and promoted. Those in use until
//! then are kept sealed as long as the promotion says, and not a moment longer in use. Only what is
//! a secret can be staged: where it goes is edited, which drops what was staged.

use std::time::Duration;

use super::audit::Attempt;
use super::phases::undeleted;
use super::refused::Refused;
use super::view::ConnectorView;
use super::{IfMatch, Registry};
use crate::config::stored::{self, FieldFault, Secrets};
use crate::connector::ConnectorId;
use crate::control::access::Actor;
use crate::control::store::{ConnectorRecord, Slot, Staged};
use crate::control::validate::Report;

/// The longest that secrets are kept after a promotion.
const PREVIOUS_KEPT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

impl Registry {
    /// Keeps `secrets`, by the JSON pointers of their places, until they are promoted. What was
    /// staged before is dropped.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was staged.
    pub async fn stage(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        secrets: Secrets,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.stage-secrets", id.as_str());
        let made = self.stage_noted(&mut attempt, id, secrets, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn stage_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        secrets: Secrets,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, mut record) = self.opened(attempt, id, if_match).await?;
        undeleted(&record)?;
        let faults = misplaced(&record, &secrets);
        if !faults.is_empty() {
            return Err(Refused::Invalid(faults));
        }
        let mut whole = change.secrets(&record, Slot::Current).await?;
        whole.extend(secrets.clone());
        self.form(&record, &whole).map_err(Refused::Invalid)?;
        record.staged = Some(Staged {
            fields: secrets.keys().cloned().collect(),
            at: self.0.clock.wall(),
            tested_at: None,
        });
        change.seal_secrets(&record, Slot::Staged, &secrets).await?;
        self.save_aside(attempt, change, record, secrets.keys())
            .await
    }

    /// Walks the connector's way with the staged secrets. Notes a good walk, which makes them ready
    /// to be promoted, and takes that back after a bad one.
    ///
    /// # Errors
    ///
    /// [`Refused`]; a walk that failed is a [`Report`] that says where.
    pub async fn test_staged(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<(Report, ConnectorView), Refused> {
        let mut attempt = Attempt::new(actor, "connector.test-staged-secrets", id.as_str());
        match self.test_staged_noted(&mut attempt, id, if_match).await {
            Ok((report, view)) => {
                let view = self.settle(&attempt, Ok(view)).await?;
                Ok((report, view))
            }
            Err(refused) => Err(self.refuse(&attempt, refused).await),
        }
    }

    async fn test_staged_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<(Report, ConnectorView), Refused> {
        let mut record = self.standing(attempt, id, if_match).await?;
        let mut staged = record.staged.clone().ok_or(Refused::NothingStaged)?;
        let (_, next) = self.with_staged(&record).await?;
        let connector = self.form(&record, &next).map_err(Refused::Invalid)?;
        let report = self.walk(&connector).await?;
        let passed = report.failed().is_none();
        if !passed && staged.tested_at.is_none() {
            return Ok((report, self.view(record)));
        }
        let change = self.still(&record).await?;
        staged.tested_at = passed.then(|| self.0.clock.wall());
        record.staged = Some(staged);
        let view = self.save_aside(attempt, change, record, []).await?;
        Ok((report, view))
    }

    /// Forgets the staged secrets.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then they stay.
    pub async fn discard_staged(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.discard-staged-secrets", id.as_str());
        let made = self.discard_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn discard_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, mut record) = self.opened(attempt, id, if_match).await?;
        undeleted(&record)?;
        record.staged.take().ok_or(Refused::NothingStaged)?;
        change.drop_secrets(id, Slot::Staged).await?;
        self.save_aside(attempt, change, record, []).await
    }

    /// Puts the staged secrets in the place of the current ones, which are kept for `keep`, to be
    /// returned to. Staged secrets that no test has found good are tested first.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then the current ones stay in use, and the staged ones staged.
    pub async fn promote(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        keep: Duration,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.promote-secrets", id.as_str());
        let made = self.promote_noted(&mut attempt, id, keep, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn promote_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        keep: Duration,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut record = self.standing(attempt, id, if_match).await?;
        let staged = record.staged.clone().ok_or(Refused::NothingStaged)?;
        if keep > PREVIOUS_KEPT_MAX {
            return Err(Refused::Invalid(vec![kept_too_long()]));
        }
        let (current, next) = self.with_staged(&record).await?;
        if staged.tested_at.is_none() {
            let connector = self.form(&record, &next).map_err(Refused::Invalid)?;
            self.validate(&connector).await?;
        }

        let mut change = self.still(&record).await?;
        record.staged = None;
        record.previous_until = None;
        if keep.is_zero() {
            change.drop_secrets(id, Slot::Previous).await?;
        } else {
            record.previous_until = Some(self.0.clock.wall() + keep);
            change
                .seal_secrets(&record, Slot::Previous, &current)
                .await?;
        }
        change.seal_secrets(&record, Slot::Current, &next).await?;
        change.drop_secrets(id, Slot::Staged).await?;
        self.save(attempt, change, record, &staged.fields).await
    }

    /// Returns to the secrets before the last promotion at once; the promoted ones are dropped.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then the promoted ones stay in use.
    pub async fn roll_back(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.roll-back-secrets", id.as_str());
        let made = self.roll_back_noted(&mut attempt, id, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn roll_back_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, mut record) = self.opened(attempt, id, if_match).await?;
        undeleted(&record)?;
        let now = self.0.clock.wall();
        if record.previous_until.is_none_or(|until| until <= now) {
            return Err(Refused::NothingPrevious);
        }
        let previous = change.secrets(&record, Slot::Previous).await?;
        record.previous_until = None;
        untried(&mut record);
        change
            .seal_secrets(&record, Slot::Current, &previous)
            .await?;
        change.drop_secrets(id, Slot::Previous).await?;
        self.save(attempt, change, record, previous.keys()).await
    }

    /// The secrets in use, and those with the staged ones in their places.
    async fn with_staged(&self, record: &ConnectorRecord) -> Result<(Secrets, Secrets), Refused> {
        let current = self.0.store.secrets(record, Slot::Current).await?;
        let mut next = current.clone();
        next.extend(self.0.store.secrets(record, Slot::Staged).await?);
        Ok((current, next))
    }
}

/// What is staged was tried beside secrets that are others now, if it was tried at all.
pub(super) fn untried(record: &mut ConnectorRecord) {
    if let Some(staged) = &mut record.staged {
        staged.tested_at = None;
    }
}

/// A fault for each of `secrets` that the connector has no place for, and one if there are none.
fn misplaced(record: &ConnectorRecord, secrets: &Secrets) -> Vec<FieldFault> {
    let places = stored::kept_fields(&record.document);
    let fault = |field: String, detail: &str| FieldFault {
        field,
        detail: detail.to_owned(),
    };
    if secrets.is_empty() {
        let detail = "must hold at least one of the connector's secrets, by its JSON pointer";
        return vec![fault("/secrets".to_owned(), detail)];
    }
    let misplaced = secrets.keys().filter(|field| !places.contains(field));
    let detail = "is none of the connector's secrets";
    misplaced
        .map(|field| fault(field.clone(), detail))
        .collect()
}

fn kept_too_long() -> FieldFault {
    FieldFault {
        field: "/keep_previous_for".to_owned(),
        detail: "must be 30 days (720h) at most".to_owned(),
    }
}
