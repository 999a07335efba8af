//! One change of the store.
//!
//! # Invariants
//!
//! Whatever a change does stands in one transaction, which begins by taking the next revision. The
//! lock on that number is held to the end, so changes are made one after the other, by all
//! replicas, and what one reads is still so when it is committed: numbers are exact and what is
//! found free stays free.

use super::engine::{Engine, Row, Session, Value};
use super::{Store, StoreError};

/// The channel of PostgreSQL on which changes are told; the message is the revision.
pub(super) const CHANNEL: &str = "attache_revision";

/// A change that is being made. Dropped without [`Change::commit`], nothing of it was.
pub struct Change {
    pub(super) store: Store,
    session: Session,
    revision: u64,
}

impl Change {
    pub(super) async fn begin(store: &Store) -> Result<Self, StoreError> {
        let engine = store.engine().await?;
        let mut session = engine.write().await?;
        let next = "UPDATE store_revision SET revision = revision + 1 RETURNING revision";
        let revision = session.one(next, Vec::new()).await?.count()?;
        Ok(Self {
            store: store.clone(),
            session,
            revision,
        })
    }

    /// The store's revision once this is committed, and that of every record it changes.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes it last, and tells every replica.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: it was not acknowledged, and may or may not have been made.
    pub async fn commit(mut self) -> Result<u64, StoreError> {
        tell(&mut self.session, &self.store.0.engine, self.revision).await?;
        self.session.commit().await?;
        self.store.heard(self.revision);
        Ok(self.revision)
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.session.query(sql, values).await
    }

    pub(super) async fn one(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Row, StoreError> {
        self.session.one(sql, values).await
    }

    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

async fn tell(session: &mut Session, engine: &Engine, revision: u64) -> Result<(), StoreError> {
    match engine.dialect() {
        super::engine::Dialect::Sqlite => {}
        super::engine::Dialect::Postgres => {
            let sql = "SELECT CAST(pg_notify($1, $2) AS TEXT)";
            let values = vec![CHANNEL.into(), revision.to_string().into()];
            session.query(sql, values).await?;
        }
    }
    Ok(())
}
