//! Connectors, as rows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::change::Change;
use super::engine::{Conditions, Row, Value};
use super::{ConnectorRecord, Page, Phase, Secrets, Slot, Staged, Store, StoreError};
use crate::connector::{ConnectorId, Organization};

pub(super) const COLUMNS: &str = "id, organization, name, kind, state, document, revision, \
     served_revision, created_at, updated_at, deleted_at, staged, previous_until";

/// Which connectors to list; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorFilter {
    /// Whose they are.
    pub organization: Option<Organization>,
    /// Where they are in their life; unless it is said, all that are not deleted.
    pub state: Option<Phase>,
    /// Their kind.
    pub kind: Option<String>,
    /// Their whole name.
    pub name: Option<String>,
}

impl Store {
    /// A connector, a deleted one too.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn connector(&self, id: &ConnectorId) -> Result<Option<ConnectorRecord>, StoreError> {
        let values = vec![id.as_str().into()];
        let mut rows = self.engine().await?.query(by_id(), values).await?;
        rows.pop().map(read_connector).transpose()
    }

    /// Connectors by ID. Deleted ones are listed only where they are asked for, and only while they
    /// can be restored.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn connectors(
        &self,
        filter: &ConnectorFilter,
        page: Page,
    ) -> Result<Vec<ConnectorRecord>, StoreError> {
        let mut wanted = Conditions::new("document <> 'null'");
        wanted.add_some(
            "organization =",
            filter.organization.as_ref().map(Organization::as_str),
        );
        match filter.state {
            Some(state) => wanted.add("state =", state.as_str()),
            None => wanted.add("state <>", Phase::Deleted.as_str()),
        }
        wanted.add_some("kind =", filter.kind.as_deref());
        wanted.add_some("name =", filter.name.as_deref());
        wanted.add_some("id >", page.after.as_deref());
        let (conditions, values) = wanted.finish();
        let limit = page.limit;
        let sql = format!(
            "SELECT {COLUMNS} FROM connectors WHERE {conditions} ORDER BY id LIMIT {limit}"
        );
        let rows = self.engine().await?.query(sql, values).await?;
        rows.into_iter().map(read_connector).collect()
    }
}

impl Change {
    /// A connector as of this change, a deleted one too.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn connector(
        &mut self,
        id: &ConnectorId,
    ) -> Result<Option<ConnectorRecord>, StoreError> {
        let values = vec![id.as_str().into()];
        let mut rows = self.session().query(by_id(), values).await?;
        rows.pop().map(read_connector).transpose()
    }

    /// Which connector of `organization` that is not deleted has `name`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn name_taken(
        &mut self,
        organization: &Organization,
        name: &str,
    ) -> Result<Option<ConnectorId>, StoreError> {
        let sql = "SELECT id FROM connectors \
             WHERE organization = $1 AND name = $2 AND deleted_at IS NULL";
        let values = vec![organization.as_str().into(), name.into()];
        let row = self.query(sql, values).await?.pop();
        row.map(|mut row| connector_id(&row.text()?)).transpose()
    }

    /// How many connectors of `kind` that are not deleted `organization` has.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn count(
        &mut self,
        organization: &Organization,
        kind: &str,
    ) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM connectors \
             WHERE organization = $1 AND kind = $2 AND deleted_at IS NULL";
        let values = vec![organization.as_str().into(), kind.into()];
        let count = self.one(sql, values).await?.count()?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Keeps a new connector with its secrets, at this change's revision whatever `record` says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its ID or name is taken, or its organization is not there.
    pub async fn insert_connector(
        &mut self,
        record: &ConnectorRecord,
        secrets: &Secrets,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO connectors (name, state, document, revision, served_revision, \
             updated_at, deleted_at, staged, previous_until, id, organization, kind, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
        let mut values = self.changeable(record);
        values.extend([
            record.id.as_str().into(),
            record.organization.as_str().into(),
            record.kind.as_str().into(),
            record.created_at.into(),
        ]);
        self.query(sql, values).await?;
        self.seal_secrets(record, Slot::Current, secrets).await
    }

    /// Keeps what changed of a connector, at this change's revision whatever `record` says. What
    /// never changes is not looked at; its secrets stay as they are ([`Change::seal_secrets`]).
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its name is taken.
    pub async fn update_connector(&mut self, record: &ConnectorRecord) -> Result<(), StoreError> {
        let sql = "UPDATE connectors SET name = $1, state = $2, document = $3, revision = $4, \
             served_revision = $5, updated_at = $6, deleted_at = $7, staged = $8, \
             previous_until = $9 WHERE id = $10 RETURNING id";
        let mut values = self.changeable(record);
        values.push(record.id.as_str().into());
        self.one(sql, values).await.map(drop)
    }

    fn changeable(&self, record: &ConnectorRecord) -> Vec<Value> {
        vec![
            record.name.as_str().into(),
            record.state.as_str().into(),
            (&record.document).into(),
            self.revision().into(),
            record.served_revision.into(),
            record.updated_at.into(),
            record.deleted_at.into(),
            record.staged.as_ref().map(write_staged).into(),
            record.previous_until.into(),
        ]
    }
}

fn by_id() -> String {
    format!("SELECT {COLUMNS} FROM connectors WHERE id = $1")
}

pub(super) fn read_connector(mut row: Row) -> Result<ConnectorRecord, StoreError> {
    Ok(ConnectorRecord {
        id: connector_id(&row.text()?)?,
        organization: organization(&row.text()?)?,
        name: row.text()?,
        kind: row.text()?,
        state: Phase::read(&row.text()?).ok_or(StoreError::corrupt("a connector's state"))?,
        document: row.json()?,
        revision: row.count()?,
        served_revision: row.count()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        deleted_at: row.time_or_null()?,
        staged: row
            .json_or_null()?
            .map(|json| read_staged(&json))
            .transpose()?,
        previous_until: row.time_or_null()?,
    })
}

pub(super) fn connector_id(text: &str) -> Result<ConnectorId, StoreError> {
    ConnectorId::parse(text).map_err(|_| StoreError::corrupt("a connector ID"))
}

pub(super) fn organization(text: &str) -> Result<Organization, StoreError> {
    Organization::parse(text).map_err(|_| StoreError::corrupt("an organization"))
}

impl Phase {
    /// How it is kept and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }

    /// Reads a state as it is kept and shown; `None` if `text` is none.
    pub fn read(text: &str) -> Option<Self> {
        let all = [Self::Active, Self::Inactive, Self::Deleted];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

fn write_staged(staged: &Staged) -> String {
    json!({
        "fields": staged.fields,
        "at": millis(staged.at),
        "tested_at": staged.tested_at.map(millis),
    })
    .to_string()
}

fn read_staged(json: &Json) -> Result<Staged, StoreError> {
    let wrong = || StoreError::corrupt("what was staged");
    let fields = json["fields"].as_array().ok_or_else(wrong)?;
    let fields = fields.iter().map(|field| field.as_str().map(str::to_owned));
    Ok(Staged {
        fields: fields.collect::<Option<_>>().ok_or_else(wrong)?,
        at: time(&json["at"]).ok_or_else(wrong)?,
        tested_at: time(&json["tested_at"]),
    })
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(json: &Json) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(json.as_u64()?))
}
