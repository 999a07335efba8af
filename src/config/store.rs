//! The store of connectors that administrators manage, and the keys under which it keeps secrets.
//!
//! # Invariants
//!
//! A [`MasterKey`] never stands in the configuration itself: it comes from a file, an environment
//! variable or a command. A store on another host is spoken to over verified TLS. Neither a key nor
//! a URL with its password is in any error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

use super::document::{Content, Node};
use super::error::Problem;
use super::files::{Plain, Use};
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Count, Span};
use crate::secret::Secret;

mod command;
mod url;

pub(super) const STORE_KEYS: &[&str] = &[
    "url",
    "master_keys",
    "snapshot",
    "connections_max",
    "poll",
    "timeout",
    "lease",
    "connectors_max",
    "deleted_kept",
];
pub(super) const KEY_SOURCE_KEYS: &[&str] = &["command", "env", "file"];
/// The kinds of connector whose number is limited.
pub(super) const KINDS: &[&str] = &["custom"];

/// The most master keys: one is current, the others wait to be removed.
const MASTER_KEYS_MAX: usize = 16;

pub(super) const CONNECTIONS_MAX: Bounded<Count> = Bounded {
    key: "connections_max",
    default: Count(10),
    min: Count(2),
    max: Count(1_000),
};
pub(super) const POLL: Bounded<Span> = span(
    "poll",
    Span::millis(500),
    Span::millis(50),
    Span::minutes(1),
);
pub(super) const TIMEOUT: Bounded<Span> =
    span("timeout", Span::secs(2), Span::millis(10), Span::minutes(1));
pub(super) const LEASE: Bounded<Span> =
    span("lease", Span::secs(3), Span::millis(100), Span::minutes(5));
pub(super) const DELETED_KEPT: Bounded<Span> = span(
    "deleted_kept",
    Span::hours(30 * 24),
    Span::hours(0),
    Span::hours(3_650 * 24),
);
pub(super) const CUSTOM_MAX: Bounded<Count> = Bounded {
    key: "custom",
    default: Count(10),
    min: Count(0),
    max: Count(1_000_000),
};

const fn span(key: &'static str, default: Span, min: Span, max: Span) -> Bounded<Span> {
    Bounded {
        key,
        default,
        min,
        max,
    }
}

/// Where connectors that administrators manage are kept. Not reloadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The database.
    pub url: StoreUrl,
    /// The keys under which secrets are sealed; the first is current. Never empty, all different.
    pub master_keys: Vec<MasterKey>,
    /// Where the sealed copy is kept that serves while the database is away.
    pub snapshot: PathBuf,
    /// The most connections to the database.
    pub connections_max: u32,
    /// How often the store is asked for changes when it does not tell of them itself.
    pub poll: Duration,
    /// The longest one statement may take.
    pub timeout: Duration,
    /// How long one replica's claim to fetch a token lasts.
    pub lease: Duration,
    /// How many connectors of each kind an organization may have that says nothing else.
    pub connectors_max: BTreeMap<String, u32>,
    /// How long a deleted connector can be restored.
    pub deleted_kept: Duration,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server: a `postgres://` URL, which may hold a password. Its host is loopback or
    /// a socket, or its `sslmode` is not weaker than `verify-full` (absent counts as that).
    Postgres(Secret),
}

/// A 256-bit key under which the keys of records are sealed; overwritten when it is dropped.
#[derive(Clone)]
pub struct MasterKey(Arc<Zeroizing<[u8; 32]>>);

/// A text is no master key. Says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a master key: `attache-key-1:` and 32 bytes in base64")]
pub struct InvalidMasterKey;

impl MasterKey {
    /// What a written key begins with; the number is its format's.
    pub(super) const PREFIX: &'static str = "attache-key-1:";

    /// Takes `bytes` as a key.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// Reads `text` as [`MasterKey::write`] wrote it.
    ///
    /// # Errors
    ///
    /// [`InvalidMasterKey`] if it is anything else.
    pub fn read(text: &str) -> Result<Self, InvalidMasterKey> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(InvalidMasterKey)?;
        // Decoding wants room for what base64 of this length could hold at most: 33 bytes.
        let mut decoded = Zeroizing::new([0; 33]);
        let length = BASE64_STANDARD
            .decode_slice(encoded, decoded.as_mut_slice())
            .map_err(|_| InvalidMasterKey)?;
        if length != 32 {
            return Err(InvalidMasterKey);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&decoded[..32]);
        Ok(Self::new(bytes))
    }

    /// The key as it is written to its file.
    pub fn write(&self) -> Secret {
        // 32 bytes are 44 characters; with room for them no copy is left behind by growing.
        let mut text = String::with_capacity(Self::PREFIX.len() + 44);
        text.push_str(Self::PREFIX);
        BASE64_STANDARD.encode_string(self.0.as_slice(), &mut text);
        Secret::new(text)
    }

    /// The key itself. Callers keep it out of everything but ciphers.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Both sides are ours, so this comparison needs no constant time.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Reads `store`; `None` where it is null or a fault was recorded.
pub(super) fn store<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
) -> Option<Store> {
    let node = root.optional("store")?;
    let path = &path.key("store");
    let section = &reader.mapping(node, path, STORE_KEYS)?;
    let url = url::read(reader, section, path);
    let master_keys = master_keys(reader, section, path);
    let snapshot = snapshot(reader, section, path, url.as_ref());
    let connections_max = reader.quantity(section, path, &CONNECTIONS_MAX).as_u32();
    let connectors_max = connectors_max(reader, section, path);
    let mut duration = |bounded| reader.duration(section, path, bounded);
    let (poll, timeout) = (duration(&POLL), duration(&TIMEOUT));
    let (lease, deleted_kept) = (duration(&LEASE), duration(&DELETED_KEPT));
    Some(Store {
        url: url?,
        master_keys,
        snapshot: snapshot?,
        connections_max,
        poll,
        timeout,
        lease,
        connectors_max,
        deleted_kept,
    })
}

const SNAPSHOT_FORM: &str = "the path of a file";

/// Reads `snapshot`, or takes the place beside the SQLite file or the configuration.
fn snapshot<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    url: Option<&StoreUrl>,
) -> Option<PathBuf> {
    if section.optional("snapshot").is_none() {
        return Some(match url {
            Some(StoreUrl::Sqlite(file)) => file.with_extension("snapshot"),
            Some(StoreUrl::Postgres(_)) | None => reader.files.resolve("attache.snapshot"),
        });
    }
    let written = reader.optional_text(section, path, "snapshot", SNAPSHOT_FORM)?;
    let snapshot = reader.files.resolve(written);
    let database = match url {
        Some(StoreUrl::Sqlite(file)) => Some(file),
        Some(StoreUrl::Postgres(_)) | None => None,
    };
    if database == Some(&snapshot) {
        let at = section.place("snapshot");
        reader.fault(at, &path.key("snapshot"), Problem::SnapshotIsDatabase);
    }
    Some(snapshot)
}

fn connectors_max<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> BTreeMap<String, u32> {
    let kinds = reader.section(section, path, "connectors_max", KINDS);
    let path = path.key("connectors_max");
    let custom = reader.quantity(&kinds, &path, &CUSTOM_MAX).as_u32();
    BTreeMap::from([(CUSTOM_MAX.key.to_owned(), custom)])
}

const MASTER_KEYS_FORM: &str =
    "a list of master keys, the current one first; `attache key generate` makes one";
const MASTER_KEY_FORM: &str =
    "{ file: PATH }, { env: NAME } or { command: [PROGRAM, ARGUMENT, …] }, never the key itself";

fn master_keys<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Vec<MasterKey> {
    let path = path.key("master_keys");
    let Some(node) = section.optional("master_keys") else {
        let at = section.place("master_keys");
        reader.fault(at, &path, Problem::Required(MASTER_KEYS_FORM));
        return Vec::new();
    };
    let nodes = match &node.content {
        Content::List(nodes) if nodes.is_empty() => {
            reader.fault(node.at, &path, Problem::MustBe(MASTER_KEYS_FORM));
            return Vec::new();
        }
        Content::List(_) => reader.list(node, &path, MASTER_KEYS_MAX),
        Content::Null | Content::Text(_) | Content::Bare | Content::Map(_) => {
            reader.fault(node.at, &path, Problem::MustBe(MASTER_KEYS_FORM));
            return Vec::new();
        }
    };
    let mut keys: Vec<MasterKey> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(key) = master_key(reader, node, &path) else {
            continue;
        };
        if keys.contains(&key) {
            reader.fault(node.at, &path, Problem::SameMasterKey);
            continue;
        }
        keys.push(key);
    }
    keys
}

fn master_key<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<MasterKey> {
    if !matches!(node.content, Content::Map(_)) {
        reader.fault(node.at, path, Problem::MustBe(MASTER_KEY_FORM));
        return None;
    }
    let section = reader.mapping(node, path, KEY_SOURCE_KEYS)?;
    let from_command = section.optional("command");
    let others = section.optional("env").or(section.optional("file"));
    let written = match (from_command, others) {
        (Some(_), Some(_)) => {
            reader.fault(node.at, path, Problem::MoreThanOne(KEY_SOURCE_KEYS));
            return None;
        }
        (Some(command), None) => command::output(reader, command, &path.key("command"))?,
        (None, Some(_)) => reader.secret(node, path, Use::Parameter, Plain::Warn)?,
        (None, None) => {
            reader.fault(node.at, path, Problem::MustBe(MASTER_KEY_FORM));
            return None;
        }
    };
    let key = MasterKey::read(written.expose());
    key.map_err(|error| reader.fault(node.at, path, Problem::MasterKey(error)))
        .ok()
}
