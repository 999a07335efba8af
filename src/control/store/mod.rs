//! What administrators manage, kept: connectors with their sealed secrets, organizations,
//! administrators' tokens, the audit log, and the tokens that replicas share.
//!
//! # Invariants
//!
//! What was acknowledged is on disk. Every change is one transaction: the connector, its secrets,
//! its audit entry and the store's revision, or nothing of it. The revision grows with every change
//! and in the order of commits, so that whoever has seen revision *n* asks for what came after it
//! and misses nothing. No secret is at rest here but sealed. No statement takes longer than
//! `store.timeout`; a database that is away costs its callers that long and nothing more.
//!
//! # Shape
//!
//! `engine` is the only place that knows the two databases; queries are written once, beside the
//! records they read: `connectors`, `secrets`, `organizations`, `audit`, `tokens`, `answers`. A
//! [`Store`] reads; a [`Change`] reads and writes; `feed` is what changed, for who publishes it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, watch};

use self::engine::Engine;
use crate::clock::Clock;
use crate::config;

mod answers;
mod audit;
mod change;
mod connectors;
mod engine;
mod error;
mod feed;
mod keyring;
mod migrate;
mod organizations;
mod records;
mod rotation;
mod seal;
mod secrets;
mod shared_tokens;
mod snapshot;
mod tidy;
mod tokens;

pub use answers::{ANSWERS_KEPT, Answer};
pub use audit::AuditFilter;
pub use change::Change;
pub use connectors::ConnectorFilter;
pub use error::{OpenError, StoreError, Trouble};
pub use feed::{Changes, Opened, Previous};
pub use keyring::{KeyId, Keyring, NoMasterKey, NoRandomness, new_master_key};
pub use records::{
    AdminToken, AuditEntry, AuditOutcome, ConnectorRecord, OrganizationRecord, Page, Phase,
    Secrets, Staged,
};
pub use rotation::{Rotation, Unopened, keys_in_use};
pub use seal::{Place, SealError, SealedSecrets, SealedValue, Slot, WrappedKey};
pub use snapshot::{Rewrapped, Snapshot, SnapshotError, SnapshotFile};
pub use tokens::Revoked;

/// A store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Engine,
    keyring: Keyring,
    clock: Clock,
    deleted_kept: Duration,
    /// How long a replica's claim to fetch a token lasts.
    lease: Duration,
    /// Set once the schema is ours and every key in use is held.
    ready: OnceCell<()>,
    /// The highest revision this process has heard of.
    heard: watch::Sender<u64>,
}

impl Store {
    /// Opens the store that `settings` name: brings its schema up to date, and sees that every
    /// master key in use is held. To be called within the runtime it is used in.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; with [`OpenError::Unavailable`] the database is away, and
    /// [`Store::open_later`] is what helps.
    pub async fn open(settings: &config::Store, clock: Clock) -> Result<Self, OpenError> {
        let store = Self::open_later(settings, clock)?;
        store.make_ready().await?;
        Ok(store)
    }

    /// As [`Store::open`], but what takes a database is done by whoever first finds it there. Until
    /// then everything is [`StoreError::Unavailable`], or [`StoreError::Refused`] if the database
    /// is there and not to be used.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the settings are bad, whether the database is there or not.
    pub fn open_later(settings: &config::Store, clock: Clock) -> Result<Self, OpenError> {
        let (connections_max, timeout) = (settings.connections_max, settings.timeout);
        let engine = match &settings.url {
            config::StoreUrl::Sqlite(path) => Engine::sqlite(path, connections_max, timeout)?,
            config::StoreUrl::Postgres(url) => Engine::postgres(url, connections_max, timeout)?,
        };
        let keyring = Keyring::new(&settings.master_keys).map_err(|_| OpenError::NoKey)?;
        let store = Self(Arc::new(Inner {
            engine,
            keyring,
            clock,
            deleted_kept: settings.deleted_kept,
            lease: settings.lease,
            ready: OnceCell::new(),
            heard: watch::Sender::new(0),
        }));
        feed::listen(&store);
        Ok(store)
    }

    /// The keys its secrets are sealed under.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// The revision of the last change. Falls where the database was put back to an older copy.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let told = *self.0.heard.borrow();
        let sql = "SELECT revision FROM store_revision";
        let row = self.engine().await?.query(sql, Vec::new()).await?.pop();
        let mut row = row.ok_or(StoreError::corrupt("the revision is missing"))?;
        let revision = row.count()?;
        self.unhear(told, revision);
        Ok(revision)
    }

    /// Begins a change: everything in it is made when it is committed, or nothing. Waits for the
    /// changes before it, other replicas' too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], also if the changes before it take too long.
    pub async fn begin(&self) -> Result<Change, StoreError> {
        Change::begin(self).await
    }

    /// Closes every connection, once its answers are there.
    pub async fn close(&self) {
        self.0.engine.close().await;
    }

    /// The database, once it is known to be ours.
    async fn engine(&self) -> Result<&Engine, StoreError> {
        if !self.0.ready.initialized() {
            // Whoever listens for changes goes on trying, without a limit.
            let ready = tokio::time::timeout(self.0.engine.timeout(), self.make_ready());
            let ready = ready.await.map_err(|_| StoreError::timed_out())?;
            ready.map_err(refused)?;
        }
        Ok(&self.0.engine)
    }

    async fn make_ready(&self) -> Result<(), OpenError> {
        let (engine, clock) = (&self.0.engine, &self.0.clock);
        let ready = async || {
            migrate::migrate(engine, clock).await?;
            organizations::seed(engine, clock).await?;
            secrets::check_keys(engine, &self.0.keyring).await
        };
        self.0.ready.get_or_try_init(ready).await.map(|_| ())
    }
}

/// What a store that was opened later says of its opening.
fn refused(error: OpenError) -> StoreError {
    if let OpenError::Unavailable { source } = error {
        return StoreError::Unavailable { source };
    }
    StoreError::Refused {
        source: Arc::new(error),
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
