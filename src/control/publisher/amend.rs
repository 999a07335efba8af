//! The store's part of what is published.

use std::sync::{Arc, PoisonError};

use super::build::{Builder, Next, Wanted};
use super::{PublishError, Publisher, expiry, tell_expiries};
use crate::connector::{Connector, ConnectorId};
use crate::directory::{PoolId, Snapshot};

/// A connector that the store keeps.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The connector.
    pub connector: Arc<Connector>,
    /// The store's revision at its last change. Another one is another token, even where nothing
    /// else changed: that is how a token is purged.
    pub revision: u64,
}

/// What came of an amendment.
#[derive(Debug, Default)]
pub struct Amended {
    /// The pools that nothing leads to any more.
    pub retired: Vec<PoolId>,
    /// The connectors that cannot be served, and why; nothing of the store is served under their
    /// IDs now.
    pub refused: Vec<(ConnectorId, PublishError)>,
}

impl Publisher {
    /// Publishes connectors of the store, new or edited, and withdraws others, all at once. One that
    /// cannot be used costs the others nothing: it is refused, and what was served of it is
    /// withdrawn.
    ///
    /// What this costs goes by what it changes, unless a certificate is involved, whose expiries are
    /// told together, or a connector is withdrawn, whose series is looked for among all.
    pub fn amend(&self, changed: &[Stored], withdrawn: &[ConnectorId]) -> Amended {
        let published = self.published.lock();
        let mut published = published.unwrap_or_else(PoisonError::into_inner);
        let snapshot = Snapshot::clone(&self.directory.current());
        let mut amended = Amended::default();
        let (mut made, mut removed) = (Vec::with_capacity(changed.len()), Vec::new());
        let builder = Builder {
            credentials: &self.credentials,
            metrics: &self.metrics,
            previous: &snapshot.entries,
        };
        for one in changed {
            let id = &one.connector.id;
            let ours = published.stored.contains(id);
            let built = match ours || !snapshot.entries.contains_key(id) {
                true => builder.entry(&Wanted::stored(one), &mut published.ground),
                false => Err(PublishError::Clash {
                    connector: id.to_string(),
                }),
            };
            match built {
                Ok(entry) => made.push(entry),
                Err(error) => {
                    removed.extend(ours.then(|| id.clone()));
                    amended.refused.push((id.clone(), error));
                }
            }
        }
        let ours = withdrawn.iter().filter(|id| published.stored.contains(*id));
        removed.extend(ours.cloned());
        if made.is_empty() && removed.is_empty() {
            return amended;
        }
        let next = Next::new(&snapshot.entries, made, &removed);
        amended.retired = self.show(&mut published.ground, snapshot.settings, &next);
        let own = next.made.iter().map(|one| one.connector.id.clone());
        published.stored.extend(own);
        for id in &removed {
            published.stored.remove(id);
        }
        if !removed.is_empty() || !amended.refused.is_empty() {
            self.metrics.retain(|id| next.entries.contains_key(id));
        }
        let mut touched = next.made.iter().chain(&next.gone);
        if touched.any(|one| expiry(&one.connector).is_some()) {
            let connectors = next.entries.values().map(|one| &one.connector);
            tell_expiries(&self.metrics, &published.expiries, connectors);
        }
        amended
    }

    /// Publishes one connector of the store.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then nothing of the store is served under its ID.
    pub fn publish_one(&self, stored: &Stored) -> Result<Vec<PoolId>, PublishError> {
        let Amended { retired, refused } = self.amend(std::slice::from_ref(stored), &[]);
        match refused.into_iter().next() {
            None => Ok(retired),
            Some((_, error)) => Err(error),
        }
    }

    /// Withdraws one connector of the store; flows find it no more. Returns the pools that nothing
    /// leads to any more.
    pub fn withdraw(&self, id: &ConnectorId) -> Vec<PoolId> {
        self.amend(&[], std::slice::from_ref(id)).retired
    }
}
