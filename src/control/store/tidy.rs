//! Erases what is kept no longer.

use std::time::Duration;

use super::change::Change;
use super::connectors::connector_id;
use super::engine::Value;
use super::{Slot, Store, StoreError};
use crate::connector::ConnectorId;

/// How long an answer is given again to a repeated request.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many records one change erases, so that others wait for it only briefly.
const AT_ONCE: u32 = 200;

const LOST: &str = "SELECT id FROM connectors \
     WHERE deleted_at IS NOT NULL AND deleted_at <= $1 AND document <> 'null'";
const ENDED: &str = "SELECT id FROM connectors \
     WHERE previous_until IS NOT NULL AND previous_until <= $1";
const OLD_ANSWERS: &str = "SELECT key FROM idempotency WHERE at <= $1";

impl Store {
    /// Erases deleted connectors that can no longer be restored, but for their IDs, secrets that
    /// were kept as a fall-back until now, and old answers. Cheap when there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn tidy(&self) -> Result<(), StoreError> {
        let now = self.0.clock.wall();
        let long_ago = |kept| now.checked_sub(kept).map(Value::from);
        let due = [
            (LOST, long_ago(self.0.deleted_kept)),
            (ENDED, Some(now.into())),
            (OLD_ANSWERS, long_ago(ANSWERS_KEPT)),
        ];
        for (sql, before) in due {
            let Some(before) = before else { continue };
            while self.is_any(sql, &before).await? {
                let mut change = self.begin().await?;
                change.erase(sql, &before).await?;
                change.commit().await?;
            }
        }
        Ok(())
    }

    async fn is_any(&self, sql: &str, before: &Value) -> Result<bool, StoreError> {
        let sql = format!("{sql} LIMIT 1");
        let rows = self
            .engine()
            .await?
            .query(sql, vec![before.clone()])
            .await?;
        Ok(!rows.is_empty())
    }
}

impl Change {
    async fn erase(&mut self, sql: &'static str, before: &Value) -> Result<(), StoreError> {
        if sql == OLD_ANSWERS {
            let sql = "DELETE FROM idempotency WHERE at <= $1";
            return self.query(sql, vec![before.clone()]).await.map(drop);
        }
        for id in self.due(sql, before).await? {
            if sql == LOST {
                self.erase_deleted(&id).await?;
            } else {
                self.erase_previous(&id).await?;
            }
        }
        Ok(())
    }

    async fn due(
        &mut self,
        sql: &'static str,
        before: &Value,
    ) -> Result<Vec<ConnectorId>, StoreError> {
        let sql = format!("{sql} ORDER BY id LIMIT {AT_ONCE}");
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
