//! Organizations, as rows.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::change::Change;
use super::connectors::organization;
use super::engine::{Conditions, Engine, Row};
use super::{OrganizationRecord, Page, Store, StoreError};
use crate::clock::Clock;
use crate::connector::Organization;

const COLUMNS: &str = "name, connectors_max, revision, created_at";

impl Store {
    /// Organizations by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn organizations(&self, page: Page) -> Result<Vec<OrganizationRecord>, StoreError> {
        let mut wanted = Conditions::new("1 = 1");
        wanted.add_some("name >", page.after);
        let (conditions, values) = wanted.finish();
        let limit = page.limit;
        let sql = format!(
            "SELECT {COLUMNS} FROM organizations WHERE {conditions} ORDER BY name LIMIT {limit}"
        );
        let rows = self.engine().await?.query(sql, values).await?;
        rows.into_iter().map(read_organization).collect()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn organization(
        &self,
        name: &Organization,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        let values = vec![name.as_str().into()];
        let mut rows = self.engine().await?.query(by_name(), values).await?;
        rows.pop().map(read_organization).transpose()
    }
}

impl Change {
    /// An organization as of this change.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn organization(
        &mut self,
        name: &Organization,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        let values = vec![name.as_str().into()];
        let mut rows = self.session().query(by_name(), values).await?;
        rows.pop().map(read_organization).transpose()
    }

    /// Keeps a new organization, at this change's revision whatever `record` says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its name is taken.
    pub async fn insert_organization(
        &mut self,
        record: &OrganizationRecord,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO organizations (name, connectors_max, revision, created_at) \
             VALUES ($1, $2, $3, $4)";
        let values = vec![
            record.name.as_str().into(),
            (&json!(record.connectors_max)).into(),
            self.revision().into(),
            record.created_at.into(),
        ];
        self.query(sql, values).await.map(drop)
    }

    /// Keeps the limits of an organization, at this change's revision whatever `record` says.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn update_organization(
        &mut self,
        record: &OrganizationRecord,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE organizations SET connectors_max = $1, revision = $2 WHERE name = $3 \
             RETURNING name";
        let values = vec![
            (&json!(record.connectors_max)).into(),
            self.revision().into(),
            record.name.as_str().into(),
        ];
        self.one(sql, values).await.map(drop)
    }
}

/// Makes the organization `default`, which is always there.
pub(super) async fn seed(engine: &Engine, clock: &Clock) -> Result<(), StoreError> {
    let sql = "INSERT INTO organizations (name, connectors_max, revision, created_at) \
         VALUES ($1, '{}', 0, $2) ON CONFLICT (name) DO NOTHING";
    let values = vec![Organization::default().as_str().into(), clock.wall().into()];
    engine.query(sql, values).await.map(drop)
}

fn by_name() -> String {
    format!("SELECT {COLUMNS} FROM organizations WHERE name = $1")
}

fn read_organization(mut row: Row) -> Result<OrganizationRecord, StoreError> {
    Ok(OrganizationRecord {
        name: organization(&row.text()?)?,
        connectors_max: read_limits(&row.json()?)
            .ok_or(StoreError::corrupt("an organization's limits"))?,
        revision: row.count()?,
        created_at: row.time()?,
    })
}

fn read_limits(json: &Json) -> Option<BTreeMap<String, u32>> {
    let limits = json.as_object()?.iter();
    limits
        .map(|(kind, limit)| Some((kind.clone(), u32::try_from(limit.as_u64()?).ok()?)))
        .collect()
}
