//! Answers that are given again when a request is repeated with its `Idempotency-Key`, so that a
//! client that lost an answer does not create twice.

use std::time::{Duration, SystemTime};

use serde_json::Value as Json;

use super::change::Change;
use super::engine::Row;
use super::{Store, StoreError};

/// How long an answer is given again to a repeated request.
pub const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What was answered to a request that named a key. Never holds a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Who asked, as [`crate::control::access::Actor::name`]: keys of others are others.
    pub actor: String,
    /// The key, at most 255 bytes.
    pub key: String,
    /// A digest of what was asked: the same key with another request is a mistake.
    pub request: Vec<u8>,
    /// What was answered.
    pub answer: Json,
    /// When.
    pub at: SystemTime,
}

impl Change {
    /// What was answered to `actor` under `key`, if that is still kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn answer(&mut self, actor: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let rows = self.query(BY_KEY, vec![actor.into(), key.into()]).await?;
        rows.into_iter().next().map(read_answer).transpose()
    }

    /// Keeps what will be answered, in the place of what was kept under its key.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn insert_answer(&mut self, answer: &Answer) -> Result<(), StoreError> {
        let sql = "INSERT INTO idempotency (actor, key, request, answer, at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (actor, key) DO UPDATE \
             SET request = excluded.request, answer = excluded.answer, at = excluded.at";
        let values = vec![
            answer.actor.as_str().into(),
            answer.key.as_str().into(),
            answer.request.clone().into(),
            (&answer.answer).into(),
            answer.at.into(),
        ];
        self.query(sql, values).await.map(drop)
    }
}

impl Store {
    /// As [`Change::answer`], outside a change.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn answer(&self, actor: &str, key: &str) -> Result<Option<Answer>, StoreError> {
        let values = vec![actor.into(), key.into()];
        let rows = self.engine().await?.query(BY_KEY, values).await?;
        rows.into_iter().next().map(read_answer).transpose()
    }
}

const BY_KEY: &str = "SELECT actor, key, request, answer, at FROM idempotency \
     WHERE actor = $1 AND key = $2";

fn read_answer(mut row: Row) -> Result<Answer, StoreError> {
    Ok(Answer {
        actor: row.text()?,
        key: row.text()?,
        request: row.bytes()?,
        answer: row.json()?,
        at: row.time()?,
    })
}
