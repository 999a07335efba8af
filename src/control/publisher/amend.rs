//! The store's part of what is published.

use std::collections::HashSet;
use std::sync::Arc;

use super::build::{Builder, Next, Wanted};
use super::{PublishError, Publisher};
use crate::connector::{Connector, ConnectorId};
use crate::directory::{PoolId, Snapshot};

/// Why a connector of the store is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// It was deleted: its token is ended too.
    Deleted,
    /// It cannot be read here. Its token may be in use elsewhere, and is left alone.
    Unread,
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
    /// withdrawn. One that is as it was stays as it is; another revision of the store's is a change,
    /// even where nothing else is one: that is how a token is purged.
    ///
    /// What this costs goes by what it changes, unless a certificate's end changes, since ends are
    /// told together, or a connector is withdrawn, whose series is looked for among all.
    pub fn amend(
        &self,
        changed: &[Arc<Connector>],
        withdrawn: &[(ConnectorId, Withdrawal)],
    ) -> Amended {
        let mut published = self.published();
        let snapshot = Snapshot::clone(&self.directory.current());
        let mut amended = Amended::default();
        let (mut made, mut removed) = (Vec::with_capacity(changed.len()), Vec::new());
        let builder = Builder {
            credentials: &self.credentials,
            metrics: &self.metrics,
            previous: &snapshot.entries,
        };
        for one in changed {
            let id = &one.id;
            let ours = published.stored.contains(id);
            let before = snapshot.entries.get(id);
            if ours && before.is_some_and(|entry| entry.connector == *one) {
                continue;
            }
            let built = match ours || before.is_none() {
                true => builder.entry(&Wanted::stored(one), &mut published.ground),
                false => Err(PublishError::clash(id)),
            };
            match built {
                Ok(entry) => made.push(entry),
                Err(error) => {
                    removed.extend(ours.then(|| (id.clone(), Withdrawal::Unread)));
                    amended.refused.push((id.clone(), error));
                }
            }
        }
        let ours = withdrawn.iter();
        let ours = ours.filter(|(id, _)| published.stored.contains(id));
        removed.extend(ours.cloned());
        if made.is_empty() && removed.is_empty() {
            return amended;
        }
        let next = Next::new(&snapshot.entries, made, &removed);
        amended.retired = self.show(&mut published.ground, snapshot.settings, &next);
        let own = next.made.iter().map(|one| one.connector.id.clone());
        published.stored.extend(own);
        for (id, _) in &removed {
            published.stored.remove(id);
        }
        if !removed.is_empty() || !amended.refused.is_empty() {
            self.metrics.retain(|id| next.entries.contains_key(id));
        }
        let (made, gone) = (next.published(), next.withdrawn());
        if published.expiries.change(made, gone) {
            self.tell(&published.expiries);
        }
        amended
    }

    /// Publishes one connector of the store.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; then nothing of the store is served under its ID.
    pub fn publish_one(&self, connector: &Arc<Connector>) -> Result<Vec<PoolId>, PublishError> {
        let Amended { retired, refused } = self.amend(std::slice::from_ref(connector), &[]);
        match refused.into_iter().next() {
            None => Ok(retired),
            Some((_, error)) => Err(error),
        }
    }

    /// The connectors of the store that are published.
    pub fn stored(&self) -> HashSet<ConnectorId> {
        self.published().stored.clone()
    }

    /// How many those are.
    pub fn stored_count(&self) -> usize {
        self.published().stored.len()
    }

    /// Withdraws one connector of the store, which was deleted; flows find it no more. Returns the
    /// pools that nothing leads to any more.
    pub fn withdraw(&self, id: &ConnectorId) -> Vec<PoolId> {
        self.amend(&[], &[(id.clone(), Withdrawal::Deleted)])
            .retired
    }
}
