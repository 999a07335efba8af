//! The sealed secrets of connectors, as rows.

use std::collections::BTreeMap;

use super::change::Change;
use super::connectors::connector_id;
use super::engine::{Engine, Row, Session, Value};
use super::feed::SealedByConnector;
use super::{
    ConnectorRecord, KeyId, Keyring, OpenError, Place, SealError, SealedSecrets, Secrets, Slot,
    Store, StoreError, WrappedKey,
};
use crate::config::stored;
use crate::connector::ConnectorId;

/// A connector's sealed secrets.
pub(super) type SealedBySlot = BTreeMap<Slot, SealedSecrets>;

const COLUMNS: &str = "data_keys.connector, data_keys.slot, data_keys.key_id, data_keys.wrapped, \
     data_keys.revision, secrets.field, secrets.sealed";
/// A record without secrets has a data key all the same: no key may be forgotten that is in use.
const TABLES: &str = "data_keys LEFT JOIN secrets ON secrets.connector = data_keys.connector \
     AND secrets.slot = data_keys.slot";

impl Store {
    /// The secrets of `record` in `slot`; none if nothing stands there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::Sealed`] if they do not open.
    pub async fn secrets(
        &self,
        record: &ConnectorRecord,
        slot: Slot,
    ) -> Result<Secrets, StoreError> {
        let (sql, values) = of_slot(&record.id, slot);
        let rows = self.engine().await?.query(sql, values).await?;
        open_rows(&self.0.keyring, record, slot, rows)
    }
}

impl Change {
    /// As [`Store::secrets`], as of this change.
    ///
    /// # Errors
    ///
    /// As [`Store::secrets`].
    pub async fn secrets(
        &mut self,
        record: &ConnectorRecord,
        slot: Slot,
    ) -> Result<Secrets, StoreError> {
        let (sql, values) = of_slot(&record.id, slot);
        let rows = self.session().query(sql, values).await?;
        open_rows(self.store.keyring(), record, slot, rows)
    }

    /// Seals `secrets` for the place `record` sends them to, in the place of what is in `slot`.
    /// They open beside that very destination only: whoever changes a record's document so that it
    /// sends them elsewhere seals them again.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn seal_secrets(
        &mut self,
        record: &ConnectorRecord,
        slot: Slot,
        secrets: &Secrets,
    ) -> Result<(), StoreError> {
        self.drop_secrets(&record.id, slot).await?;
        if secrets.is_empty() {
            return Ok(());
        }
        let destination = stored::destination(&record.document);
        let sealed = self
            .store
            .keyring()
            .seal_secrets(place(record, slot), self.revision(), &destination, secrets)
            .map_err(|source| StoreError::Sealed {
                connector: record.id.clone(),
                source,
            })?;
        self.insert_sealed(&record.id, slot, sealed).await
    }

    async fn insert_sealed(
        &mut self,
        id: &ConnectorId,
        slot: Slot,
        sealed: SealedSecrets,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO data_keys (connector, slot, key_id, wrapped, revision) \
             VALUES ($1, $2, $3, $4, $5)",
            vec![
                id.as_str().into(),
                slot.as_str().into(),
                sealed.key.key_id.as_str().into(),
                sealed.key.bytes.into(),
                sealed.revision.into(),
            ],
        )
        .await?;
        for (field, bytes) in sealed.fields {
            let values = vec![
                id.as_str().into(),
                slot.as_str().into(),
                field.into(),
                bytes.into(),
            ];
            let sql = "INSERT INTO secrets (connector, slot, field, sealed) \
                 VALUES ($1, $2, $3, $4)";
            self.query(sql, values).await?;
        }
        Ok(())
    }

    /// Erases the secrets of a connector in `slot`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn drop_secrets(&mut self, id: &ConnectorId, slot: Slot) -> Result<(), StoreError> {
        // Their secrets go with them.
        let sql = "DELETE FROM data_keys WHERE connector = $1 AND slot = $2";
        let values = vec![id.as_str().into(), slot.as_str().into()];
        self.query(sql, values).await.map(drop)
    }
}

/// Opens what was sealed for `record`.
pub(super) fn open(
    keyring: &Keyring,
    record: &ConnectorRecord,
    slot: Slot,
    sealed: &SealedSecrets,
) -> Result<Secrets, SealError> {
    let destination = stored::destination(&record.document);
    keyring.open_secrets(place(record, slot), &destination, sealed)
}

/// The sealed secrets of the connectors from one place in the order of changes to another.
pub(super) async fn read_between(
    session: &mut Session,
    [first, last]: [(u64, &ConnectorId); 2],
) -> Result<SealedByConnector, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} JOIN connectors ON connectors.id = data_keys.connector \
         WHERE (connectors.revision, connectors.id) >= ($1, $2) \
         AND (connectors.revision, connectors.id) <= ($3, $4)"
    );
    let values = vec![
        first.0.into(),
        first.1.as_str().into(),
        last.0.into(),
        last.1.as_str().into(),
    ];
    gather(session.query(sql, values).await?)
}

/// Sees that every master key is held under which secrets are sealed.
pub(super) async fn check_keys(engine: &Engine, keyring: &Keyring) -> Result<(), OpenError> {
    let sql = "SELECT DISTINCT key_id FROM data_keys ORDER BY key_id";
    for mut row in engine.query(sql, Vec::new()).await? {
        let key_id = key_id(row.text()?)?;
        if !keyring.holds(&key_id) {
            return Err(OpenError::KeyMissing { key_id });
        }
    }
    Ok(())
}

fn place(record: &ConnectorRecord, slot: Slot) -> Place<'_> {
    Place {
        organization: &record.organization,
        connector: &record.id,
        slot,
    }
}

fn of_slot(id: &ConnectorId, slot: Slot) -> (String, Vec<Value>) {
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE data_keys.connector = $1 AND data_keys.slot = $2"
    );
    (sql, vec![id.as_str().into(), slot.as_str().into()])
}

fn open_rows(
    keyring: &Keyring,
    record: &ConnectorRecord,
    slot: Slot,
    rows: Vec<Row>,
) -> Result<Secrets, StoreError> {
    let mut slots = gather(rows)?.remove(&record.id).unwrap_or_default();
    let Some(sealed) = slots.remove(&slot) else {
        return Ok(Secrets::new());
    };
    open(keyring, record, slot, &sealed).map_err(|source| StoreError::Sealed {
        connector: record.id.clone(),
        source,
    })
}

fn gather(rows: Vec<Row>) -> Result<SealedByConnector, StoreError> {
    let mut found = SealedByConnector::new();
    for mut row in rows {
        let id = connector_id(&row.text()?)?;
        let slot = Slot::read(&row.text()?).ok_or(StoreError::corrupt("a slot"))?;
        let key = WrappedKey {
            key_id: key_id(row.text()?)?,
            bytes: row.bytes()?,
        };
        let revision = row.count()?;
        let sealed = found.entry(id).or_default().entry(slot);
        let sealed = sealed.or_insert_with(|| SealedSecrets {
            key,
            revision,
            fields: BTreeMap::new(),
        });
        if let Some(field) = row.text_or_null()? {
            sealed.fields.insert(field, row.bytes()?);
        }
    }
    Ok(found)
}

pub(super) fn key_id(text: String) -> Result<KeyId, StoreError> {
    KeyId::read(&text).ok_or(StoreError::corrupt("a key ID"))
}
