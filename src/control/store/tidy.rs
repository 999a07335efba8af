//! Erases what is kept no longer.

use super::change::Change;
use super::connectors::connector_id;
use super::engine::Value;
use super::{ANSWERS_KEPT, Slot, Store, StoreError};
use crate::connector::ConnectorId;

/// How many records one change erases, so that others wait for it only briefly.
pub(super) const AT_ONCE: u32 = 200;

/// What is kept for a while only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passing {
    /// A deleted connector's document.
    Deleted,
    /// Secrets before a promotion.
    Previous,
    /// Answers to requests that may be repeated.
    Answers,
}

impl Passing {
    const ALL: [Self; 3] = [Self::Deleted, Self::Previous, Self::Answers];

    /// Selects what is due at `$1`.
    fn due(self) -> &'static str {
        match self {
            Self::Deleted => {
                "SELECT id FROM connectors \
                 WHERE deleted_at IS NOT NULL AND deleted_at <= $1 AND document <> 'null'"
            }
            Self::Previous => {
                "SELECT id FROM connectors \
                 WHERE previous_until IS NOT NULL AND previous_until <= $1"
            }
            Self::Answers => "SELECT key FROM idempotency WHERE at <= $1",
        }
    }
}

impl Store {
    /// Erases deleted connectors that can no longer be restored, but for their IDs, secrets that
    /// were kept as a fall-back until now, old answers, and shared tokens that are spent. Cheap when
    /// there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn tidy(&self) -> Result<(), StoreError> {
        let now = self.0.clock.wall();
        for passing in Passing::ALL {
            let before = match passing {
                Passing::Deleted => now.checked_sub(self.0.deleted_kept),
                Passing::Previous => Some(now),
                Passing::Answers => now.checked_sub(ANSWERS_KEPT),
            };
            let Some(before) = before.map(Value::from) else {
                continue;
            };
            while self.is_any_due(passing, &before).await? {
                let mut change = self.begin().await?;
                change.erase(passing, &before).await?;
                change.commit().await?;
            }
        }
        self.tidy_shared_tokens().await
    }

    async fn is_any_due(&self, passing: Passing, before: &Value) -> Result<bool, StoreError> {
        let sql = format!("{} LIMIT 1", passing.due());
        let rows = self
            .engine()
            .await?
            .query(sql, vec![before.clone()])
            .await?;
        Ok(!rows.is_empty())
    }
}

impl Change {
    async fn erase(&mut self, passing: Passing, before: &Value) -> Result<(), StoreError> {
        match passing {
            Passing::Deleted => {
                for id in self.due(passing, before).await? {
                    self.erase_deleted(&id).await?;
                }
            }
            Passing::Previous => {
                for id in self.due(passing, before).await? {
                    self.erase_previous(&id).await?;
                }
            }
            Passing::Answers => {
                let sql = "DELETE FROM idempotency WHERE (actor, key) IN \
                     (SELECT actor, key FROM idempotency WHERE at <= $1 LIMIT $2)";
                let values = vec![before.clone(), i64::from(AT_ONCE).into()];
                self.query(sql, values).await?;
            }
        }
        Ok(())
    }

    async fn due(
        &mut self,
        passing: Passing,
        before: &Value,
    ) -> Result<Vec<ConnectorId>, StoreError> {
        let sql = format!("{} ORDER BY id LIMIT {AT_ONCE}", passing.due());
        let rows = self.session().query(sql, vec![before.clone()]).await?;
        let ids = rows.into_iter().map(|mut row| connector_id(&row.text()?));
        ids.collect()
    }

    async fn erase_deleted(&mut self, id: &ConnectorId) -> Result<(), StoreError> {
        for slot in Slot::ALL {
            self.drop_secrets(id, slot).await?;
        }
        let sql = "UPDATE connectors SET document = 'null', staged = NULL, \
             previous_until = NULL, revision = $1 WHERE id = $2";
        let values = vec![self.revision().into(), id.as_str().into()];
        self.query(sql, values).await.map(drop)
    }

    async fn erase_previous(&mut self, id: &ConnectorId) -> Result<(), StoreError> {
        self.drop_secrets(id, Slot::Previous).await?;
        let sql = "UPDATE connectors SET previous_until = NULL, revision = $1 WHERE id = $2";
        let values = vec![self.revision().into(), id.as_str().into()];
        self.query(sql, values).await.map(drop)
    }
}
