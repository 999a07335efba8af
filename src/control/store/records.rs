//! What the store keeps, as the rest of the control plane sees it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use crate::connector::{ConnectorId, Organization};
use crate::control::access::{Role, Scope};
use crate::secret::Secret;

/// One page of a list: what stands after `after` in its order, if that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<After = String> {
    /// The last of the page before.
    pub after: Option<After>,
    /// The most it holds.
    pub limit: u32,
}

/// The secrets of one connector by the JSON pointer (RFC 6901) of their place in its document:
/// `/auth/basic/password`.
pub type Secrets = BTreeMap<String, Secret>;

/// A connector as administrators see it: everything but its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorRecord {
    /// Unique in the gateway; never changes and is never used again.
    pub id: ConnectorId,
    /// Whose it is; never changes.
    pub organization: Organization,
    /// Unique among its organization's connectors that are not deleted.
    pub name: String,
    /// `custom`; others come later.
    pub kind: String,
    /// Where it is in its life.
    pub state: Phase,
    /// Its keys as a configuration file has them, but for `id`, `organization`, `name`, `kind` and
    /// `enabled`, which stand beside it. Where a secret belongs stands `{"kept": true}`.
    pub document: Value,
    /// The store's revision at its last change: its `ETag`.
    pub revision: u64,
    /// The store's revision at its last change that flows may notice: one that only stages secrets
    /// or tries them costs no replica its token.
    pub served_revision: u64,
    /// When it was created.
    pub created_at: SystemTime,
    /// When it was last changed.
    pub updated_at: SystemTime,
    /// When it was deleted.
    pub deleted_at: Option<SystemTime>,
    /// Secrets that wait to be promoted.
    pub staged: Option<Staged>,
    /// Until when the secrets before the last promotion are kept, if they are.
    pub previous_until: Option<SystemTime>,
}

/// Secrets that wait to take the place of a connector's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Which of the connector's secrets they replace, by JSON pointer.
    pub fields: Vec<String>,
    /// When they were staged.
    pub at: SystemTime,
    /// When they were last tested and found good.
    pub tested_at: Option<SystemTime>,
}

/// Where a connector is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Flows may use it.
    Active,
    /// Flows get 403; its credentials may be edited.
    Inactive,
    /// Gone for flows; can be restored for a while, without its secrets.
    Deleted,
}

/// An organization and what it may have.
#[derive(Clone, Debug, PartialEq)]
pub struct OrganizationRecord {
    /// Its name; never changes.
    pub name: Organization,
    /// How many connectors of each kind it may have, where that differs from the gateway's own
    /// limits.
    pub connectors_max: BTreeMap<String, u32>,
    /// The store's revision at its last change: its `ETag`.
    pub revision: u64,
    /// When it was created.
    pub created_at: SystemTime,
}

/// An administrator's token; what proves it is kept as an argon2id hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Names it; stands in the token itself.
    pub id: String,
    /// What it is called by people.
    pub name: String,
    /// What its holder is.
    pub role: Role,
    /// Whose connectors its holder sees.
    pub scope: Scope,
    /// A PHC string (argon2id).
    pub hash: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
    /// When it was revoked.
    pub revoked_at: Option<SystemTime>,
}

/// One change, or one that was refused. Never holds a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Grows with every entry; zero until it is kept.
    pub id: u64,
    /// When.
    pub at: SystemTime,
    /// Who, as [`crate::control::access::Actor::name`].
    pub actor: String,
    /// What they were, if that is known.
    pub role: Option<Role>,
    /// Whose thing it was done to; none where it is the gateway's.
    pub organization: Option<Organization>,
    /// What: `connector.create`, `connector.edit`, `admin-token.revoke` …
    pub action: String,
    /// To what: an ID or name.
    pub target: String,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Where the request came from.
    pub address: String,
    /// What the request is called in logs.
    pub request_id: String,
    /// What it was before.
    pub before: Option<Value>,
    /// What it is now.
    pub after: Option<Value>,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was made.
    Done,
    /// It was refused, for this reason (a problem's, as in its `type`).
    Refused(String),
}
