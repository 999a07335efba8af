//! What replicas share of their tokens: the wall between this room and whatever keeps them.
//!
//! # Invariants
//!
//! A row belongs to one [`SharedKey`], which holds everything that decides a token. Every token kept
//! under a key has a serial number greater than all before it, so that whoever knows which one it
//! has seen knows what is newer. Who holds the lease of a row, and nobody else, keeps a token there
//! or is given its refresh token; whoever takes a lease over from somebody who did not give it back
//! is not given the refresh token, since it may have been spent.
//!
//! How long a lease holds and how old a token is, the keeper judges, by its one clock: those of
//! replicas may differ.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::connector::ConnectorId;
use crate::secret::Secret;

/// Keeps tokens for all replicas, sealed, and lends each row to one of them at a time.
///
/// An operation may take its time or never return: whoever asks sets the limit, and drops what it
/// does not wait for.
pub trait SharedTokens: Send + Sync {
    /// What fingerprints of secrets are made under: the same on every replica, and of use to nobody
    /// who has only the rows.
    fn fingerprint_key(&self) -> Zeroizing<[u8; 32]>;

    /// How long a lease holds unless it is renewed.
    fn lease_time(&self) -> Duration;

    /// What the row of `key` holds.
    fn look<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Row, Unavailable>>;

    /// Takes the lease of the row of `key`, if nobody has it.
    fn lease<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Leased, Unavailable>>;

    /// Has `lease` hold for another [`SharedTokens::lease_time`].
    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Still, Unavailable>>;

    /// Keeps `token`, and `refresh_token` in place of the one before it, and gives the lease back.
    fn keep<'a>(
        &'a self,
        lease: &'a Lease,
        token: &'a SharedToken,
        refresh_token: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Still, Unavailable>>;

    /// Gives the lease back without a token.
    fn release<'a>(
        &'a self,
        lease: &'a Lease,
        refresh_token: Unused,
    ) -> BoxFuture<'a, Result<Still, Unavailable>>;
}

/// Whose token it is and what decided it. Secrets are in it as a fingerprint only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SharedKey {
    connector: ConnectorId,
    digest: [u8; 32],
}

impl SharedKey {
    /// The key of `connector`'s token; `digest` stands for everything that decides it.
    pub fn new(connector: ConnectorId, digest: [u8; 32]) -> Self {
        Self { connector, digest }
    }

    /// Whose token it is.
    pub fn connector(&self) -> &ConnectorId {
        &self.connector
    }

    /// What names the row.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedKey({})", self.connector)
    }
}

/// A token as replicas hand it to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedToken {
    /// The token itself.
    pub access_token: Secret,
    /// How long it lives in all, from the moment it was asked for.
    pub lifetime: Duration,
    /// How long ago that was: when it is kept by the clock of who asked, from then on by the
    /// keeper's.
    pub age: Duration,
}

/// What is kept under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of the newest token that was kept here; zero if there was none.
    pub serial: u64,
    /// That token; none if there was none, or if what is there does not open.
    pub token: Option<SharedToken>,
    /// Who has the lease.
    pub lease: LeaseState,
}

/// Whether a row's lease can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It was never taken, or was given back.
    Free,
    /// Whoever had it did not give it back in time.
    Lapsed,
    /// Somebody has it, and for at least this long.
    Held(Duration),
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Leased {
    /// It is ours.
    Ours(Lease),
    /// Somebody has it.
    Theirs,
}

/// A lease that was taken.
#[derive(Debug)]
pub struct Lease {
    /// Of which row.
    pub key: SharedKey,
    /// Which lease: no two are called the same.
    pub holder: Uuid,
    /// What the row held when it was taken.
    pub row: Row,
    /// The number that the next token kept here goes by.
    pub next_serial: u64,
    /// The refresh token of the row, for the holder alone.
    pub refresh_token: Option<Secret>,
}

/// Whether a lease was still its holder's when it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// Yes; what was asked for is done.
    Ours,
    /// No; nothing was done.
    Lost,
}

/// What becomes of a row's refresh token when its lease is given back without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// It stays for the next holder.
    Stays,
    /// Its server refused it: it goes.
    Goes,
}

/// The shared tokens could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the shared tokens could not be reached")]
pub struct Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Unavailable {
    /// Because of `source`.
    pub fn new(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(source))
    }
}
