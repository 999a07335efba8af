//! What there may be: one connector of an ID, one of a name, so many of a kind.
//!
//! # Invariants
//!
//! It is looked at within the transaction that makes the connector, where no other change can come
//! between; two that compete for the last place get one between them. IDs are unique in the whole
//! gateway, those of deleted connectors and of the configuration included: that a chosen ID is taken
//! is the one thing an administrator learns of other organizations, and not whose it is. Connectors
//! of the configuration take names, but no places: their number is the operator's affair.

use super::Registry;
use super::refused::Refused;
use crate::config::stored::FieldFault;
use crate::connector::{ConnectorId, Organization};
use crate::control::access::{Access, Role};
use crate::control::store::Change;

/// Whether `role` may make connectors of `kind`: any that writes, but for the contact centre's own,
/// which takes one of three.
pub(super) fn may_create(role: Role, kind: &str) -> bool {
    let may_write = role.access() == Access::Write;
    match kind {
        "webex-cc" => role.connects_the_contact_centre(),
        _ => may_write,
    }
}

/// What is said of an organization that does not exist, be it for this administrator alone.
pub(super) fn no_such_organization() -> FieldFault {
    FieldFault {
        field: "/organization".to_owned(),
        detail: "there is no such organization".to_owned(),
    }
}

impl Registry {
    /// Refuses an ID that is or was a connector's.
    pub(super) async fn id_free(
        &self,
        change: &mut Change,
        id: &ConnectorId,
    ) -> Result<(), Refused> {
        let taken = self.in_file(id).is_some() || change.connector(id).await?.is_some();
        match taken {
            true => Err(Refused::IdTaken),
            false => Ok(()),
        }
    }

    /// Refuses a name that another connector than `id` has in `organization`.
    pub(super) async fn name_free(
        &self,
        change: &mut Change,
        organization: &Organization,
        name: &str,
        id: &ConnectorId,
    ) -> Result<(), Refused> {
        let configured = self.0.feed.yaml();
        let mut own = configured
            .iter()
            .filter(|one| one.organization == *organization);
        if own.any(|one| *one.name == *name) {
            return Err(Refused::NameTaken);
        }
        match change.name_taken(organization, name).await? {
            Some(other) if other != *id => Err(Refused::NameTaken),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses one more of `kind` than `organization` may have.
    pub(super) async fn room(
        &self,
        change: &mut Change,
        organization: &Organization,
        kind: &str,
    ) -> Result<(), Refused> {
        let Some(record) = change.organization(organization).await? else {
            return Err(Refused::Invalid(vec![no_such_organization()]));
        };
        let own = record.connectors_max.get(kind);
        let Some(max) = own.or(self.0.rules.connectors_max.get(kind)).copied() else {
            return Ok(());
        };
        match change.count(organization, kind).await? < max {
            true => Ok(()),
            false => Err(Refused::LimitReached {
                kind: kind.to_owned(),
                max,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_to_the_contact_centre_are_made_by_three_roles_alone() {
        let may: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|role| may_create(*role, "webex-cc"))
            .collect();

        assert_eq!(
            may,
            [
                Role::FullAdmin,
                Role::ContactCenterServiceAdmin,
                Role::ExternalFullAdmin
            ]
        );
    }

    #[test]
    fn every_role_that_writes_makes_connectors_of_other_kinds_and_no_other_role_does() {
        for role in Role::ALL {
            for kind in ["custom", "salesforce", "google"] {
                let may_write = role.access() == Access::Write;
                assert_eq!(may_create(role, kind), may_write, "{role} {kind}");
            }
        }
    }
}
