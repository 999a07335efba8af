//! From one master key to the next, while replicas go on.
//!
//! # Invariants
//!
//! Only data keys are wrapped anew; what is sealed under them stays as it is. Each batch is one
//! change, as short as any other, so that whoever writes meanwhile waits for one batch at most, and
//! whatever ends the rotation leaves every record under one key or the other. What does not open
//! stays as it is and is told: a key is not free as long as something lies under it.
//!
//! Shared tokens are named by fingerprints that are made under the current master key. Who has the
//! new one first finds none of those before; they are erased, at the cost of a token request each.

use std::collections::BTreeMap;
use std::fmt;

use super::connectors::connector_id;
use super::engine::Value;
use super::secrets::key_id;
use super::{
    AuditEntry, Change, KeyId, OpenError, Place, SealError, Slot, Store, StoreError, WrappedKey,
    migrate,
};
use crate::clock::Clock;
use crate::config;
use crate::connector::{ConnectorId, Organization};

/// How many data keys one change wraps.
const BATCH: u32 = 100;

/// How far a rotation is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Data keys that were wrapped under the current key.
    pub rewrapped: u64,
    /// Those that do not open, and stay as they are.
    pub unopened: Vec<Unopened>,
}

/// A record that does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// Whose.
    pub connector: ConnectorId,
    /// Which of its secrets.
    pub slot: Slot,
    /// Why.
    pub error: SealError,
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connector,
            slot,
            error,
        } = self;
        write!(f, "connector {connector}, {}: {error}", slot.as_str())
    }
}

/// How many data keys lie under each master key.
///
/// Works without the keys themselves: it is what tells which one is missing.
///
/// # Errors
///
/// [`OpenError`].
pub async fn keys_in_use(
    settings: &config::Store,
    clock: Clock,
) -> Result<BTreeMap<KeyId, u64>, OpenError> {
    let store = Store::open_later(settings, clock)?;
    migrate::migrate(&store.0.engine, &store.0.clock).await?;
    let counted = store.count_keys().await;
    store.close().await;
    Ok(counted?)
}

impl Store {
    async fn count_keys(&self) -> Result<BTreeMap<KeyId, u64>, StoreError> {
        let sql = "SELECT key_id, COUNT(*) FROM data_keys GROUP BY key_id \
             UNION ALL SELECT key_id, COUNT(*) FROM shared_tokens \
             WHERE key_id <> '' GROUP BY key_id \
             UNION ALL SELECT refresh_key_id, COUNT(*) FROM shared_tokens \
             WHERE refresh_key_id <> '' GROUP BY refresh_key_id";
        let mut counts = BTreeMap::new();
        for mut row in self.0.engine.query(sql, Vec::new()).await? {
            let id = key_id(row.text()?)?;
            let count = row.count()?;
            *counts.entry(id).or_default() += count;
        }
        Ok(counts)
    }

    /// How many data keys do not lie under the current master key.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn keys_to_rewrap(&self) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM data_keys WHERE key_id <> $1";
        let values = vec![self.keyring().current().as_str().into()];
        let row = self.engine().await?.query(sql, values).await?.pop();
        row.ok_or(StoreError::corrupt("a count is missing"))?
            .count()
    }

    /// Wraps every data key under the current master key, batch by batch; `tell` hears of each.
    /// `entry` is kept beside the first batch, if there is anything to do. Done again after it was
    /// ended, it does what is left.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the batches before are done.
    pub async fn rewrap(
        &self,
        entry: &AuditEntry,
        mut tell: impl FnMut(&Rotation),
    ) -> Result<Rotation, StoreError> {
        let mut rotation = Rotation::default();
        let mut after = Some((String::new(), String::new()));
        let mut entry = Some(entry);
        while let Some(place) = after {
            if self.keys_to_rewrap().await? == rotation.unopened.len() as u64 {
                break;
            }
            let mut change = self.begin().await?;
            if let Some(entry) = entry.take() {
                change.audit(entry).await?;
            }
            after = change.rewrap_some(&place, &mut rotation).await?;
            change.commit().await?;
            tell(&rotation);
        }
        self.forget_tokens_of_other_keys().await?;
        Ok(rotation)
    }

    async fn forget_tokens_of_other_keys(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM shared_tokens \
             WHERE key_id NOT IN ('', $1) OR refresh_key_id NOT IN ('', $1)";
        let values = vec![self.keyring().current().as_str().into()];
        self.engine().await?.query(sql, values).await.map(drop)
    }
}

impl Change {
    /// Wraps the data keys behind a place; the last of them, if there may be more.
    async fn rewrap_some(
        &mut self,
        (connector, slot): &(String, String),
        rotation: &mut Rotation,
    ) -> Result<Option<(String, String)>, StoreError> {
        let current = self.store.keyring().current().clone();
        let sql = format!(
            "SELECT data_keys.connector, data_keys.slot, connectors.organization, \
             data_keys.key_id, data_keys.wrapped, data_keys.revision \
             FROM data_keys JOIN connectors ON connectors.id = data_keys.connector \
             WHERE data_keys.key_id <> $1 AND (data_keys.connector, data_keys.slot) > ($2, $3) \
             ORDER BY data_keys.connector, data_keys.slot LIMIT {BATCH}"
        );
        let values: [Value; 3] = [
            current.as_str().into(),
            connector.as_str().into(),
            slot.as_str().into(),
        ];
        let rows = self.session().query(sql, values.into()).await?;
        let mut last = None;
        for mut row in rows {
            let connector = connector_id(&row.text()?)?;
            let slot = Slot::read(&row.text()?).ok_or(StoreError::corrupt("a slot"))?;
            let organization = Organization::parse(&row.text()?)
                .map_err(|_| StoreError::corrupt("an organization"))?;
            let key = WrappedKey {
                key_id: key_id(row.text()?)?,
                bytes: row.bytes()?,
            };
            let place = Place {
                organization: &organization,
                connector: &connector,
                slot,
            };
            let rewrapped = self
                .store
                .keyring()
                .rewrap_secrets(place, row.count()?, &key);
            last = Some((connector.to_string(), slot.as_str().to_owned()));
            match rewrapped {
                Ok(key) => {
                    self.put_key(&connector, slot, key).await?;
                    rotation.rewrapped += 1;
                }
                Err(error) => rotation.unopened.push(Unopened {
                    connector,
                    slot,
                    error,
                }),
            }
        }
        Ok(last)
    }

    async fn put_key(
        &mut self,
        connector: &ConnectorId,
        slot: Slot,
        key: WrappedKey,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE data_keys SET key_id = $1, wrapped = $2 \
             WHERE connector = $3 AND slot = $4";
        let values: [Value; 4] = [
            key.key_id.as_str().into(),
            key.bytes.into(),
            connector.as_str().into(),
            slot.as_str().into(),
        ];
        self.query(sql, values.into()).await.map(drop)
    }
}
