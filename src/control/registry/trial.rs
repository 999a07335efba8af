//! Trying a connector without changing it.

use super::Registry;
use super::audit::Attempt;
use super::phases::undeleted;
use super::refused::Refused;
use crate::connector::{Connector, ConnectorId};
use crate::control::access::{Access, Actor};
use crate::control::store::Slot;
use crate::control::validate::Report;

impl Registry {
    /// Walks a connector's way with its current secrets and says how each leg went. Saves nothing;
    /// takes a role that writes, since its credentials are used. The configuration's connectors can
    /// be tested too.
    ///
    /// # Errors
    ///
    /// [`Refused`]; a walk that failed is a [`Report`] that says where.
    pub async fn test(&self, actor: &Actor, id: &ConnectorId) -> Result<Report, Refused> {
        let mut attempt = Attempt::new(actor, "connector.test", id.as_str());
        match self.test_noted(&mut attempt, id).await {
            Ok(report) => Ok(report),
            Err(refused) => Err(self.refuse(&attempt, refused).await),
        }
    }

    async fn test_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
    ) -> Result<Report, Refused> {
        self.allow(attempt.actor, Access::Write)?;
        let connector = self.tried(attempt, id).await?;
        self.walk(&connector).await
    }

    async fn tried(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
    ) -> Result<Connector, Refused> {
        let scope = &attempt.actor.scope;
        if let Some(connector) = self.in_file(id) {
            return match scope.includes(&connector.organization) {
                true => Ok((*connector).clone()),
                false => Err(Refused::NotFound),
            };
        }
        let record = self.0.store.connector(id).await?;
        let record = self.meant(attempt, record, super::IfMatch::Any)?;
        undeleted(&record)?;
        let secrets = self.0.store.secrets(&record, Slot::Current).await?;
        self.form(&record, &secrets).map_err(Refused::Invalid)
    }
}
