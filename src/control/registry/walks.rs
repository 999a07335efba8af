//! How many connectors are tried at once, by all administrators together and for one organization.
//!
//! # Invariants
//!
//! An organization whose origins are slow takes a part of the places and leaves the others theirs:
//! a walk takes half a minute at most, but may be asked for again and again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::refused::Refused;
use crate::connector::Organization;

/// The most connectors that are tried at once.
const WALKS_MAX: usize = 16;
/// The most of one organization's.
const OWN_MAX: usize = 4;

/// The walks under way, by whose connector it is.
#[derive(Debug, Default)]
pub(super) struct Walks(Mutex<HashMap<Organization, usize>>);

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    walks: &'a Walks,
    organization: &'a Organization,
}

impl Walks {
    /// A place for a connector of `organization`.
    ///
    /// # Errors
    ///
    /// [`Refused::Busy`] if there is none.
    pub(super) fn begin<'a>(
        &'a self,
        organization: &'a Organization,
    ) -> Result<Place<'a>, Refused> {
        let mut all = self.all();
        let own = all.get(organization).copied().unwrap_or_default();
        if own >= OWN_MAX || all.values().sum::<usize>() >= WALKS_MAX {
            return Err(Refused::Busy);
        }
        all.insert(organization.clone(), own + 1);
        Ok(Place {
            walks: self,
            organization,
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Organization, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.walks.all();
        let own = all.remove(self.organization).unwrap_or_default();
        if own > 1 {
            all.insert(self.organization.clone(), own - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organizations() -> Vec<Organization> {
        let names = ["a", "b", "c", "d", "e"].into_iter();
        names
            .map(|name| Organization::parse(name).unwrap())
            .collect()
    }

    #[test]
    fn an_organization_leaves_the_others_their_places() {
        let (walks, all) = (Walks::default(), organizations());

        let own: Vec<_> = (0..OWN_MAX).map(|_| walks.begin(&all[0])).collect();

        assert!(own.iter().all(Result::is_ok));
        assert!(matches!(walks.begin(&all[0]), Err(Refused::Busy)));
        assert!(walks.begin(&all[1]).is_ok());
        drop(own);
        assert!(walks.begin(&all[0]).is_ok());
        assert!(
            walks.all().is_empty(),
            "nothing is remembered of a walk that ended"
        );
    }

    #[test]
    fn all_together_have_a_bound() {
        let (walks, all) = (Walks::default(), organizations());

        let places: Vec<_> = (0..WALKS_MAX)
            .map(|number| walks.begin(&all[number / OWN_MAX]))
            .collect();

        assert!(places.iter().all(Result::is_ok));
        assert!(matches!(walks.begin(&all[4]), Err(Refused::Busy)));
    }
}
