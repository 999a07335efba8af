//! A connector as administrators see it.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::connector::{Connector, ConnectorId, Organization};
use crate::control::store::{ConnectorRecord, Phase, Staged};

mod file;

/// Where a connector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Administrators made it.
    Store,
    /// It stands in the configuration file, and is changed there alone.
    File,
}

impl Source {
    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::File => "file",
        }
    }
}

/// A connector, without its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorView {
    /// Unique in the gateway; never changes and is never used again.
    pub id: ConnectorId,
    /// Whose it is; never changes.
    pub organization: Organization,
    /// Unique in its organization.
    pub name: String,
    /// `custom`; never changes.
    pub kind: String,
    /// Where it is in its life.
    pub state: Phase,
    /// Where it comes from.
    pub source: Source,
    /// The store's revision at its last change, which is its `ETag`; of a stored connector.
    pub revision: Option<u64>,
    /// When it was created; of a stored connector.
    pub created_at: Option<SystemTime>,
    /// When it was last changed; of a stored connector.
    pub updated_at: Option<SystemTime>,
    /// When it was deleted.
    pub deleted_at: Option<SystemTime>,
    /// Secrets that wait to be promoted.
    pub staged: Option<Staged>,
    /// Until when the secrets before the last promotion can be returned to.
    pub previous_until: Option<SystemTime>,
    /// Its other keys, as a configuration file has them. A secret is `{"kept": true}`, or null where
    /// it has to be given anew.
    pub document: Value,
}

impl ConnectorView {
    /// One of the configuration's.
    pub fn of_file(connector: &Connector) -> Self {
        Self {
            id: connector.id.clone(),
            organization: connector.organization.clone(),
            name: connector.name.to_string(),
            kind: "custom".to_owned(),
            state: match connector.enabled {
                true => Phase::Active,
                false => Phase::Inactive,
            },
            source: Source::File,
            revision: None,
            created_at: None,
            updated_at: None,
            deleted_at: None,
            staged: None,
            previous_until: None,
            document: file::document(connector),
        }
    }

    /// All of it as one JSON object: what an administrator reads, what a merge patch is applied to,
    /// and what an audit entry keeps.
    pub fn json(&self) -> Value {
        let time = |at: Option<SystemTime>| at.map(|at| rfc3339(at).to_string());
        let staged = self.staged.as_ref().map(|staged| {
            json!({
                "fields": staged.fields,
                "at": time(Some(staged.at)),
                "tested_at": time(staged.tested_at),
            })
        });
        let outer = json!({
            "id": self.id.as_str(),
            "organization": self.organization.as_str(),
            "name": self.name,
            "kind": self.kind,
            "state": phase_name(self.state),
            "source": self.source.name(),
            "revision": self.revision,
            "created_at": time(self.created_at),
            "updated_at": time(self.updated_at),
            "deleted_at": time(self.deleted_at),
            "staged": staged,
            "previous_until": time(self.previous_until),
        });
        let mut whole = Map::new();
        for part in [&outer, &self.document] {
            let entries = part.as_object().into_iter().flatten();
            whole.extend(entries.map(|(key, value)| (key.clone(), value.clone())));
        }
        Value::Object(whole)
    }
}

/// How a phase is written.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "active",
        Phase::Inactive => "inactive",
        Phase::Deleted => "deleted",
    }
}

impl From<ConnectorRecord> for ConnectorView {
    fn from(record: ConnectorRecord) -> Self {
        Self {
            id: record.id,
            organization: record.organization,
            name: record.name,
            kind: record.kind,
            state: record.state,
            source: Source::Store,
            revision: Some(record.revision),
            created_at: Some(record.created_at),
            updated_at: Some(record.updated_at),
            deleted_at: record.deleted_at,
            staged: record.staged,
            previous_until: record.previous_until,
            document: record.document,
        }
    }
}
