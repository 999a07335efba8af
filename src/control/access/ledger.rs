//! The audit log, as administrators read it.

use super::{Actor, Administration, Denied, Scope};
use crate::control::store::{AuditEntry, AuditFilter, Page};

impl Administration {
    /// What `actor` may see of the entries that `filter` asks for, from the oldest on. Of another
    /// organization there is nothing, and of the gateway itself only for who runs it.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub async fn entries(
        &self,
        actor: &Actor,
        mut filter: AuditFilter,
        page: Page<u64>,
    ) -> Result<Vec<AuditEntry>, Denied> {
        Self::may_read(actor)?;
        if let Scope::One(own) = &actor.scope {
            if filter
                .organization
                .as_ref()
                .is_some_and(|other| other != own)
            {
                return Ok(Vec::new());
            }
            filter.organization = Some(own.clone());
        }
        Ok(self.store.audit_entries(&filter, page).await?)
    }
}
