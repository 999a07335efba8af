//! The audit log, as rows that are only ever added.
//!
//! # Invariants
//!
//! Entries are numbered in the order in which they are kept, without a gap: whoever has read up to
//! one misses nothing by asking for those after it. None takes more than a bounded place, since
//! pages hold many of them: of what is long its SHA-256 (FIPS 180-4) is kept.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value as Json, json};

use super::change::Change;
use super::connectors::organization;
use super::engine::{Conditions, Row, Session};
use super::{AuditEntry, AuditOutcome, Page, Store, StoreError};
use crate::connector::Organization;
use crate::control::access::Role;

/// The longest text of a state before or after that is kept as it is: trust anchors are longer.
const TEXT_BYTES_MAX: usize = 2 * 1024;
/// The most that is kept of such a state.
const STATE_BYTES_MAX: usize = 32 * 1024;

const COLUMNS: &str = "id, at, actor, role, organization, action, target, refused, address, \
     request_id, before, after";

/// Which entries to list; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose things they are about.
    pub organization: Option<Organization>,
    /// To what it was done.
    pub target: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// The earliest moment.
    pub since: Option<SystemTime>,
}

impl Store {
    /// Entries from the oldest on; those after [`Page::after`] by their number.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn audit_entries(
        &self,
        filter: &AuditFilter,
        page: Page<u64>,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut wanted = Conditions::new("1 = 1");
        let organization = filter.organization.as_ref().map(Organization::as_str);
        wanted.add_some("organization =", organization);
        wanted.add_some("target =", filter.target.as_deref());
        wanted.add_some("actor =", filter.actor.as_deref());
        wanted.add_some("action =", filter.action.as_deref());
        wanted.add_some("at >=", filter.since);
        wanted.add_some("id >", page.after);
        let (conditions, values) = wanted.finish();
        let limit = page.limit;
        let sql =
            format!("SELECT {COLUMNS} FROM audit WHERE {conditions} ORDER BY id LIMIT {limit}");
        let rows = self.engine().await?.query(sql, values).await?;
        rows.into_iter().map(read_entry).collect()
    }

    /// Keeps an entry about what was not done. The store's revision stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn note(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut session = self.engine().await?.write().await?;
        append(&mut session, entry).await?;
        session.commit().await
    }
}

impl Change {
    /// Keeps an entry about this change.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        append(self.session(), entry).await
    }
}

async fn append(session: &mut Session, entry: &AuditEntry) -> Result<(), StoreError> {
    let next = "UPDATE store_revision SET audit = audit + 1 RETURNING audit";
    let id = session.one(next, Vec::new()).await?.count()?;
    let refused = match &entry.outcome {
        AuditOutcome::Done => None,
        AuditOutcome::Refused(reason) => Some(reason.as_str()),
    };
    let sql = "INSERT INTO audit (id, at, actor, role, organization, action, target, refused, \
         address, request_id, before, after) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let values = vec![
        id.into(),
        entry.at.into(),
        entry.actor.as_str().into(),
        entry.role.map(Role::name).into(),
        entry.organization.as_ref().map(Organization::as_str).into(),
        entry.action.as_str().into(),
        entry.target.as_str().into(),
        refused.into(),
        entry.address.as_str().into(),
        entry.request_id.as_str().into(),
        entry.before.as_ref().map(bounded).into(),
        entry.after.as_ref().map(bounded).into(),
    ];
    session.query(sql, values).await.map(drop)
}

/// `value` as it is kept, in [`STATE_BYTES_MAX`].
fn bounded(value: &Json) -> String {
    let mut value = value.clone();
    shorten(&mut value);
    let text = value.to_string();
    match text.len() <= STATE_BYTES_MAX {
        true => text,
        false => digested(&text).to_string(),
    }
}

fn shorten(value: &mut Json) {
    match value {
        Json::String(text) if text.len() > TEXT_BYTES_MAX => *value = digested(text),
        Json::Array(items) => items.iter_mut().for_each(shorten),
        Json::Object(entries) => entries.values_mut().for_each(shorten),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// What tells whether a long text is the same as another.
fn digested(text: &str) -> Json {
    let sha256 = digest(&SHA256, text.as_bytes());
    let hex = |byte: &u8| format!("{byte:02x}");
    let sha256: String = sha256.as_ref().iter().map(hex).collect();
    json!({ "bytes": text.len(), "sha256": sha256 })
}

fn read_entry(mut row: Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.count()?,
        at: row.time()?,
        actor: row.text()?,
        role: row
            .text_or_null()?
            .map(|role| role.parse())
            .transpose()
            .map_err(|_| StoreError::corrupt("a role"))?,
        organization: row
            .text_or_null()?
            .map(|name| organization(&name))
            .transpose()?,
        action: row.text()?,
        target: row.text()?,
        outcome: row
            .text_or_null()?
            .map_or(AuditOutcome::Done, AuditOutcome::Refused),
        address: row.text()?,
        request_id: row.text()?,
        before: row.json_or_null()?,
        after: row.json_or_null()?,
    })
}
