//! Changing a connector's keys.

use super::audit::Attempt;
use super::binding::{credentials_differ, unbound};
use super::draft::Edited;
use super::phases::undeleted;
use super::refused::Refused;
use super::secrets::untried;
use super::view::ConnectorView;
use super::{Edit, IfMatch, Registry};
use crate::config::stored::{self, Secrets};
use crate::connector::ConnectorId;
use crate::control::access::Actor;
use crate::control::store::{Change, ConnectorRecord, Phase, Slot};

/// What becomes of a connector's secrets.
enum Sealing {
    /// They stay as they lie.
    Untouched,
    /// These are sealed in the place of the current ones, and bound to the same destination.
    Renewed(Secrets),
    /// These are sealed, and what was staged or kept from before is dropped.
    Rebound(Secrets),
}

impl Registry {
    /// Changes the keys of a connector. Where a secret stands as `{"kept": true}` it stays as it is,
    /// as long as it goes where it went.
    ///
    /// `resource_domain`, `auth` and `ca_bundle` are changed while the connector is inactive, and tried
    /// when it is activated.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was changed.
    pub async fn edit(
        &self,
        actor: &Actor,
        id: &ConnectorId,
        edit: Edit,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let mut attempt = Attempt::new(actor, "connector.edit", id.as_str());
        let made = self.edit_noted(&mut attempt, id, edit, if_match).await;
        self.settle(&attempt, made).await
    }

    async fn edit_noted(
        &self,
        attempt: &mut Attempt<'_>,
        id: &ConnectorId,
        edit: Edit,
        if_match: IfMatch,
    ) -> Result<ConnectorView, Refused> {
        let (mut change, now) = self.opened(attempt, id, if_match).await?;
        undeleted(&now)?;
        let (edited, faults) = Edited::read(&self.view(now.clone()), edit);
        let mut next = ConnectorRecord {
            name: edited.name,
            document: edited.document,
            ..now.clone()
        };
        let (given, sealing) = self.checked(&mut change, &now, &mut next, faults).await?;
        attempt.towards(&self.view(next.clone()), &given);
        self.name_free(&mut change, &next.organization, &next.name, id)
            .await?;
        if matches!(sealing, Sealing::Rebound(_)) {
            (next.staged, next.previous_until) = (None, None);
        }
        match &sealing {
            Sealing::Untouched => {}
            Sealing::Renewed(secrets) => {
                untried(&mut next);
                change.seal_secrets(&next, Slot::Current, secrets).await?;
            }
            Sealing::Rebound(secrets) => {
                change.seal_secrets(&next, Slot::Current, secrets).await?;
                change.drop_secrets(id, Slot::Staged).await?;
                change.drop_secrets(id, Slot::Previous).await?;
            }
        }
        self.save(attempt, change, next, &given).await
    }

    /// Takes the secrets out of `next` and looks at its form. Returns which of them were given, and
    /// what is to be sealed.
    async fn checked(
        &self,
        change: &mut Change,
        now: &ConnectorRecord,
        next: &mut ConnectorRecord,
        mut faults: Vec<stored::FieldFault>,
    ) -> Result<(Vec<String>, Sealing), Refused> {
        let unbound = unbound(&now.document, &next.document);
        let kept = stored::kept_fields(&next.document);
        let mut secrets = stored::take_secrets(&mut next.document);
        let given: Vec<String> = secrets.keys().cloned().collect();
        let differ = credentials_differ(&now.document, &next.document);
        if faults.is_empty() && now.state == Phase::Active && (differ || !given.is_empty()) {
            return Err(Refused::Active);
        }
        // What is given anew in full needs nothing that lies sealed, even if that does not open.
        if unbound.is_empty() && !kept.is_empty() {
            let stored = change.secrets(now, Slot::Current).await?;
            let stays = |field: &String| Some((field.clone(), stored.get(field)?.clone()));
            secrets.extend(kept.iter().filter_map(stays));
        }
        let form = self.form(next, &secrets);
        // One fault is told of a secret that must be given anew, and not a second one that it is
        // missing.
        let more = form.err().unwrap_or_default().into_iter();
        faults.extend(more.filter(|fault| !unbound.iter().any(|own| own.field == fault.field)));
        faults.extend(unbound);
        if !faults.is_empty() {
            return Err(Refused::Invalid(faults));
        }
        let rebound = stored::destination(&now.document) != stored::destination(&next.document);
        let sealing = match (rebound, given.is_empty()) {
            (true, _) => Sealing::Rebound(secrets),
            (false, false) => Sealing::Renewed(secrets),
            (false, true) => Sealing::Untouched,
        };
        Ok((given, sealing))
    }
}
