//! Organizations and what each may have, as those who run the gateway arrange it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::administration::{Attempt, fault};
use super::{Actor, Administration, Denied, Scope};
use crate::connector::Organization;
use crate::control::store::{OrganizationRecord, Page, StoreError};

/// The kinds whose number may be limited.
pub const LIMITED_KINDS: [&str; 1] = ["custom"];
/// The highest limit that can be set.
pub const CONNECTORS_MAX: u32 = 1_000_000;

impl Administration {
    /// Makes an organization with limits of its own.
    ///
    /// # Errors
    ///
    /// [`Denied`]; it is in the audit log already.
    pub async fn create_organization(
        &self,
        actor: &Actor,
        name: Organization,
        connectors_max: BTreeMap<String, u32>,
    ) -> Result<OrganizationRecord, Denied> {
        let mut attempt = Attempt::new(actor, "organization.create", name.as_str());
        match self.try_create(&mut attempt, name, connectors_max).await {
            Ok(record) => Ok(record),
            Err(denied) => Err(self.deny(&attempt, denied).await),
        }
    }

    async fn try_create(
        &self,
        attempt: &mut Attempt<'_>,
        name: Organization,
        connectors_max: BTreeMap<String, u32>,
    ) -> Result<OrganizationRecord, Denied> {
        may_arrange(attempt.actor)?;
        check(&connectors_max)?;
        attempt.organization = Some(name.clone());
        attempt.after = Some(shown(&connectors_max));
        let mut change = self.store.begin().await?;
        let record = OrganizationRecord {
            name,
            connectors_max,
            revision: change.revision(),
            created_at: self.clock.wall(),
        };
        if change.organization(&record.name).await?.is_some() {
            return Err(Denied::NameTaken);
        }
        match change.insert_organization(&record).await {
            Err(StoreError::Conflict { .. }) => return Err(Denied::NameTaken),
            inserted => inserted?,
        }
        self.commit(change, attempt).await?;
        Ok(record)
    }

    /// Sets the limits of an organization, if `is_seen` says that its revision is the one last
    /// seen.
    ///
    /// # Errors
    ///
    /// [`Denied`]; it is in the audit log already.
    pub async fn limit_organization(
        &self,
        actor: &Actor,
        name: &Organization,
        is_seen: impl FnOnce(u64) -> bool + Send,
        connectors_max: BTreeMap<String, u32>,
    ) -> Result<OrganizationRecord, Denied> {
        let mut attempt = Attempt::new(actor, "organization.edit", name.as_str());
        let limited = self.try_limit(&mut attempt, name, is_seen, connectors_max);
        match limited.await {
            Ok(record) => Ok(record),
            Err(denied) => Err(self.deny(&attempt, denied).await),
        }
    }

    async fn try_limit(
        &self,
        attempt: &mut Attempt<'_>,
        name: &Organization,
        is_seen: impl FnOnce(u64) -> bool + Send,
        connectors_max: BTreeMap<String, u32>,
    ) -> Result<OrganizationRecord, Denied> {
        Self::may_write(attempt.actor)?;
        if !attempt.actor.scope.includes(name) {
            return Err(Denied::NotFound);
        }
        may_arrange(attempt.actor)?;
        let mut change = self.store.begin().await?;
        let record = change.organization(name).await?;
        let mut record = record.ok_or(Denied::NotFound)?;
        attempt.organization = Some(name.clone());
        attempt.before = Some(shown(&record.connectors_max));
        check(&connectors_max)?;
        attempt.after = Some(shown(&connectors_max));
        if !is_seen(record.revision) {
            return Err(Denied::PreconditionFailed);
        }
        record.connectors_max = connectors_max;
        record.revision = change.revision();
        change.update_organization(&record).await?;
        self.commit(change, attempt).await?;
        Ok(record)
    }

    /// The organizations that exist for `actor`, by name.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub async fn organizations(
        &self,
        actor: &Actor,
        page: Page,
    ) -> Result<Vec<OrganizationRecord>, Denied> {
        Self::may_read(actor)?;
        match &actor.scope {
            Scope::All => Ok(self.store.organizations(page).await?),
            Scope::One(own) => {
                let is_before = page.after.is_none_or(|after| *after < *own.as_str());
                let own = self.store.organization(own).await?;
                Ok(own.filter(|_| is_before).into_iter().collect())
            }
        }
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub async fn organization(
        &self,
        actor: &Actor,
        name: &Organization,
    ) -> Result<OrganizationRecord, Denied> {
        Self::may_read(actor)?;
        if !actor.scope.includes(name) {
            return Err(Denied::NotFound);
        }
        let record = self.store.organization(name).await?;
        record.ok_or(Denied::NotFound)
    }
}

/// Organizations are arranged by who runs the gateway.
fn may_arrange(actor: &Actor) -> Result<(), Denied> {
    Administration::may_write(actor)?;
    match actor.scope {
        Scope::All => Ok(()),
        Scope::One(_) => Err(Denied::Forbidden),
    }
}

fn check(connectors_max: &BTreeMap<String, u32>) -> Result<(), Denied> {
    let mut faults = Vec::new();
    for (kind, max) in connectors_max {
        if !LIMITED_KINDS.contains(&kind.as_str()) {
            faults.push(fault(
                "/connectors_max",
                "names an unknown kind; there is: custom",
            ));
        } else if *max > CONNECTORS_MAX {
            faults.push(fault(
                "/connectors_max",
                "must be 0 to 1000000 of each kind",
            ));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Denied::Invalid(faults)),
    }
}

fn shown(connectors_max: &BTreeMap<String, u32>) -> Value {
    json!({ "connectors_max": connectors_max })
}
