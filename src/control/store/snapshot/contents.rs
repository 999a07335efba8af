//! A snapshot's contents, unsealed: JSON of everything but secrets, then the secrets in its order.
//!
//! # Invariants
//!
//! Secrets never pass through JSON, whose reader and writer leave copies behind. The bytes are
//! overwritten when they are dropped, and are written into room that is taken once.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Snapshot;
use crate::connector::{ConnectorId, Organization};
use crate::control::store::feed::{Changes, Opened, Previous};
use crate::control::store::records::{ConnectorRecord, Phase, Secrets, Staged};
use crate::control::store::seal::SealError;
use crate::secret::Secret;

/// How long a length is, in bytes.
const LENGTH: usize = 8;

#[derive(Serialize, Deserialize)]
struct Contents {
    taken_at_ms: u64,
    revision: u64,
    connectors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: String,
    organization: String,
    name: String,
    kind: String,
    state: State,
    document: Value,
    revision: u64,
    served_revision: u64,
    created_at_ms: u64,
    updated_at_ms: u64,
    deleted_at_ms: Option<u64>,
    staged: Option<StagedEntry>,
    previous_until_ms: Option<u64>,
    /// The pointers of its secrets; none if they did not open when the snapshot was taken.
    secrets: Option<Vec<String>>,
    previous: Option<PreviousEntry>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Inactive,
    Deleted,
}

#[derive(Serialize, Deserialize)]
struct StagedEntry {
    fields: Vec<String>,
    at_ms: u64,
    tested_at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct PreviousEntry {
    secrets: Option<Vec<String>>,
    until_ms: u64,
}

/// `changes` as bytes.
pub(super) fn write(taken_at: SystemTime, changes: &Changes) -> Zeroizing<Vec<u8>> {
    let contents = Contents {
        taken_at_ms: milliseconds(taken_at),
        revision: changes.revision,
        connectors: changes.connectors.iter().map(entry).collect(),
    };
    // None of its types can fail to be JSON.
    let json = serde_json::to_vec(&contents).unwrap_or_default();
    let secrets = || changes.connectors.iter().flat_map(all_secrets);
    let room = secrets().map(|secret| LENGTH + secret.expose().len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        LENGTH + json.len() + room.sum::<usize>(),
    ));
    push(&mut bytes, &json);
    for secret in secrets() {
        push(&mut bytes, secret.expose().as_bytes());
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
    bytes.extend_from_slice(part);
}

/// The secrets of one connector, in the order in which its entry names them.
fn all_secrets(opened: &Opened) -> impl Iterator<Item = &Secret> {
    let current = opened.secrets.iter().flatten();
    let previous = opened
        .previous
        .iter()
        .flat_map(|one| one.secrets.iter().flatten());
    current.chain(previous).map(|(_, secret)| secret)
}

fn entry(opened: &Opened) -> Entry {
    let record = &opened.record;
    Entry {
        id: record.id.to_string(),
        organization: record.organization.to_string(),
        name: record.name.clone(),
        kind: record.kind.clone(),
        state: match record.state {
            Phase::Active => State::Active,
            Phase::Inactive => State::Inactive,
            Phase::Deleted => State::Deleted,
        },
        document: record.document.clone(),
        revision: record.revision,
        served_revision: record.served_revision,
        created_at_ms: milliseconds(record.created_at),
        updated_at_ms: milliseconds(record.updated_at),
        deleted_at_ms: record.deleted_at.map(milliseconds),
        staged: record.staged.as_ref().map(|staged| StagedEntry {
            fields: staged.fields.clone(),
            at_ms: milliseconds(staged.at),
            tested_at_ms: staged.tested_at.map(milliseconds),
        }),
        previous_until_ms: record.previous_until.map(milliseconds),
        secrets: pointers(&opened.secrets),
        previous: opened.previous.as_ref().map(|previous| PreviousEntry {
            secrets: pointers(&previous.secrets),
            until_ms: milliseconds(previous.until),
        }),
    }
}

fn pointers(secrets: &Result<Secrets, SealError>) -> Option<Vec<String>> {
    let secrets = secrets.as_ref().ok()?;
    Some(secrets.keys().cloned().collect())
}

/// What [`write()`] wrote; `None` if it did not write these bytes.
pub(super) fn read(bytes: &[u8]) -> Option<Snapshot> {
    let mut rest = bytes;
    let contents: Contents = serde_json::from_slice(take(&mut rest)?).ok()?;
    let mut connectors = Vec::with_capacity(contents.connectors.len());
    for entry in contents.connectors {
        connectors.push(opened(entry, &mut rest)?);
    }
    rest.is_empty().then_some(Snapshot {
        taken_at: date(contents.taken_at_ms),
        changes: Changes {
            revision: contents.revision,
            connectors,
        },
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

fn opened(entry: Entry, rest: &mut &[u8]) -> Option<Opened> {
    let secrets = secrets(entry.secrets, rest)?;
    let previous = match entry.previous {
        Some(previous) => Some(Previous {
            secrets: self::secrets(previous.secrets, rest)?,
            until: date(previous.until_ms),
        }),
        None => None,
    };
    let record = ConnectorRecord {
        id: ConnectorId::parse(&entry.id).ok()?,
        organization: Organization::parse(&entry.organization).ok()?,
        name: entry.name,
        kind: entry.kind,
        state: match entry.state {
            State::Active => Phase::Active,
            State::Inactive => Phase::Inactive,
            State::Deleted => Phase::Deleted,
        },
        document: entry.document,
        revision: entry.revision,
        served_revision: entry.served_revision,
        created_at: date(entry.created_at_ms),
        updated_at: date(entry.updated_at_ms),
        deleted_at: entry.deleted_at_ms.map(date),
        staged: entry.staged.map(|staged| Staged {
            fields: staged.fields,
            at: date(staged.at_ms),
            tested_at: staged.tested_at_ms.map(date),
        }),
        previous_until: entry.previous_until_ms.map(date),
    };
    Some(Opened {
        record,
        secrets,
        previous,
    })
}

/// The secrets of these pointers, from the bytes; whether they had opened is kept too.
fn secrets(pointers: Option<Vec<String>>, rest: &mut &[u8]) -> Option<Result<Secrets, SealError>> {
    let Some(pointers) = pointers else {
        return Some(Err(SealError::Unopened));
    };
    let mut secrets = Secrets::new();
    for pointer in pointers {
        let text = std::str::from_utf8(take(rest)?).ok()?;
        secrets.insert(pointer, Secret::new(text.to_owned()));
    }
    Some(Ok(secrets))
}

fn milliseconds(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Dates behind what a system can tell are its last.
fn date(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    let dated = SystemTime::UNIX_EPOCH.checked_add(since);
    dated.unwrap_or(SystemTime::UNIX_EPOCH)
}
