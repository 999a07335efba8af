//! Reading: one connector, or a page of them.

use super::refused::Refused;
use super::view::{ConnectorView, Source};
use super::{Filter, Listing, Registry};
use crate::connector::{Connector, ConnectorId, Organization};
use crate::control::access::{Access, Actor, Scope};
use crate::control::store::{ConnectorFilter, Page};

impl Registry {
    /// The connector `id`, the configuration's included.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub async fn read(&self, actor: &Actor, id: &ConnectorId) -> Result<ConnectorView, Refused> {
        self.allow(actor, Access::Read)?;
        if let Some(connector) = self.in_file(id) {
            return match actor.scope.includes(&connector.organization) {
                true => Ok(ConnectorView::of_file(&connector)),
                false => Err(Refused::NotFound),
            };
        }
        match self.0.store.connector(id).await? {
            // One that was deleted too long ago to be restored is an ID that is never used again.
            Some(record) if record.document.is_null() => Err(Refused::NotFound),
            Some(record) if actor.scope.includes(&record.organization) => Ok(self.view(record)),
            Some(_) | None => Err(Refused::NotFound),
        }
    }

    /// A page of the connectors that `actor` sees, in the order of their IDs.
    ///
    /// # Errors
    ///
    /// [`Refused`]; never a part of what there is without what stands in the store.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &Filter,
        page: Page,
    ) -> Result<Listing, Refused> {
        self.allow(actor, Access::Read)?;
        let Some(organization) = seen(&actor.scope, filter.organization.as_ref()) else {
            return Ok(Listing {
                items: Vec::new(),
                next: None,
            });
        };
        let mut items = self.listed_in_file(organization, filter, &page);
        items.extend(self.listed_in_store(organization, filter, &page).await?);
        // Where both have an ID, it is the configuration's, which stands first.
        items.sort_by(|one, other| one.id.cmp(&other.id));
        items.dedup_by(|later, first| later.id == first.id);
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more);
        let next = next.map(|last| last.id.as_str().to_owned());
        Ok(Listing { items, next })
    }

    /// One more than the page has room for, if there are as many.
    fn listed_in_file(
        &self,
        organization: Option<&Organization>,
        filter: &Filter,
        page: &Page,
    ) -> Vec<ConnectorView> {
        if filter.source == Some(Source::Store) {
            return Vec::new();
        }
        let configured = self.0.feed.yaml();
        let listed = |one: &&std::sync::Arc<Connector>| {
            let after = page.after.as_deref();
            after.is_none_or(|after| one.id.as_str() > after)
                && organization.is_none_or(|own| one.organization == *own)
                && filter.name.as_deref().is_none_or(|name| *one.name == *name)
        };
        let mut found: Vec<_> = configured.iter().filter(listed).collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        let views = found.into_iter().map(|one| ConnectorView::of_file(one));
        let fits = |view: &ConnectorView| {
            filter.state.is_none_or(|state| state == view.state)
                && filter.kind.as_ref().is_none_or(|kind| *kind == view.kind)
        };
        let room = usize::try_from(page.limit).unwrap_or(usize::MAX);
        views.filter(fits).take(room.saturating_add(1)).collect()
    }

    /// The same of the store's.
    async fn listed_in_store(
        &self,
        organization: Option<&Organization>,
        filter: &Filter,
        page: &Page,
    ) -> Result<Vec<ConnectorView>, Refused> {
        if filter.source == Some(Source::File) {
            return Ok(Vec::new());
        }
        let filter = ConnectorFilter {
            organization: organization.cloned(),
            state: filter.state,
            kind: filter.kind.clone(),
            name: filter.name.clone(),
        };
        let page = Page {
            limit: page.limit.saturating_add(1),
            ..page.clone()
        };
        let records = self.0.store.connectors(&filter, page).await?;
        Ok(records
            .into_iter()
            .map(|record| self.view(record))
            .collect())
    }
}

/// Whose connectors are listed, of those in `scope`, for one who asks for `asked`: everybody's if
/// that is none. `None` if there is nothing to see.
fn seen<'a>(scope: &'a Scope, asked: Option<&'a Organization>) -> Option<Option<&'a Organization>> {
    match (scope, asked) {
        (Scope::All, asked) => Some(asked),
        (Scope::One(own), None) => Some(Some(own)),
        (Scope::One(own), Some(asked)) => (own == asked).then_some(Some(own)),
    }
}
