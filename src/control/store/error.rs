//! Why the store did not do what was asked.
//!
//! # Invariants
//!
//! None of these shows a value that was written or read, a key, or the database's URL.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{KeyId, SealError};
use crate::connector::ConnectorId;

/// Why a reading or a change of the store failed. A change that failed left nothing behind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is down, too slow, full or read-only: asking again later may help.
    #[error("the store cannot be used at the moment")]
    Unavailable {
        /// What the database said.
        #[source]
        source: Trouble,
    },
    /// It may not be used by this program as it is configured.
    #[error("the store cannot be used")]
    Refused {
        /// Why.
        #[source]
        source: Arc<OpenError>,
    },
    /// What was to be kept contradicts what is kept already: an ID or a name that is taken.
    #[error("the store holds something that contradicts the change")]
    Conflict {
        /// What the database said.
        #[source]
        source: Trouble,
    },
    /// What it holds is not what this program writes.
    #[error("the store holds something that this program does not understand: {what}")]
    Corrupt {
        /// What is wrong with it.
        what: &'static str,
        /// What the database said, if it was it that complained.
        #[source]
        source: Option<Trouble>,
    },
    /// Secrets cannot be sealed, or what is sealed does not open.
    #[error("the secrets of connector {connector} cannot be sealed or opened")]
    Sealed {
        /// Whose they are.
        connector: ConnectorId,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file cannot be made, or cannot be kept from others.
    #[error("the store's file {} cannot be made or protected", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its URL says nothing that can be connected to.
    // What the parser says of it may quote a password.
    #[error("the store's URL cannot be used: its host, its port or one of its parameters is wrong")]
    Url,
    /// The database cannot be reached; [`super::Store::open_later`] is for that.
    #[error("the store's database cannot be used at the moment")]
    Unavailable {
        /// What it said.
        #[source]
        source: Trouble,
    },
    /// A newer program has changed the schema.
    #[error(
        "the store's schema is version {found}, and this program knows versions up to {known}: it takes the newer program to use it"
    )]
    NewerSchema {
        /// The version there.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The database cannot hold every text.
    #[error("the store's database is in encoding {encoding}, and has to be in UTF8")]
    Encoding {
        /// What it is in.
        encoding: String,
    },
    /// A migration did not work.
    #[error("the store's schema could not be brought to version {version}")]
    Migration {
        /// The version.
        version: i64,
        /// What the database said.
        #[source]
        source: Trouble,
    },
    /// Secrets are sealed under a key that is not among the master keys.
    #[error(
        "the store's secrets are sealed under master key {key_id}, which `store.master_keys` does not hold"
    )]
    KeyMissing {
        /// Which.
        key_id: KeyId,
    },
    /// There is no master key to seal under.
    #[error("the store has no master key")]
    NoKey,
    /// What it holds is not what this program writes.
    #[error(transparent)]
    Corrupt {
        /// What.
        source: Box<StoreError>,
    },
}

/// What a database or the way to it said. Shows no value, and not where the database is.
pub struct Trouble(pub(super) Cause);

/// What is behind a [`Trouble`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("no answer came in time")]
    TimedOut,
    #[error(
        "no connection to the database was to be had in time: it refuses or does not answer, or \
         all of store.connections_max are in use"
    )]
    Unconnected,
    #[error("other changes went first for too long")]
    Queued,
    #[error("a row is shorter than its description")]
    ShortRow,
    #[error("the connection was lost")]
    Lost,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As it is displayed: a database's own `Debug` may show the rows it complains of.
impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trouble({self})")
    }
}

impl std::error::Error for Trouble {}

impl StoreError {
    /// Something that was read cannot be understood.
    pub(super) fn corrupt(what: &'static str) -> Self {
        Self::Corrupt { what, source: None }
    }

    /// Nothing came in time.
    pub(super) fn timed_out() -> Self {
        Cause::TimedOut.into()
    }
}

/// Sorts what a database said by what its caller can do about it.
impl From<Cause> for StoreError {
    fn from(cause: Cause) -> Self {
        let verdict = match &cause {
            Cause::Database(error) => judge(error),
            Cause::TimedOut
            | Cause::Unconnected
            | Cause::Queued
            | Cause::ShortRow
            | Cause::Lost => Verdict::Unavailable,
        };
        let source = Trouble(cause);
        match verdict {
            Verdict::Unavailable => Self::Unavailable { source },
            Verdict::Conflict => Self::Conflict { source },
            Verdict::Corrupt => Self::Corrupt {
                what: "the database refuses a statement, or its answer cannot be read",
                source: Some(source),
            },
        }
    }
}

/// Sorts what a store said while it was being opened.
impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { source } => Self::Unavailable { source },
            StoreError::Refused { .. }
            | StoreError::Conflict { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Sealed { .. } => Self::Corrupt {
                source: Box::new(error),
            },
        }
    }
}

enum Verdict {
    Unavailable,
    Conflict,
    Corrupt,
}

fn judge(error: &sqlx::Error) -> Verdict {
    if let Some(database) = error.as_database_error() {
        let code = database.code().unwrap_or_default();
        let is_postgres = database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some();
        return if is_postgres {
            judge_sqlstate(&code)
        } else {
            judge_sqlite(code.parse().unwrap_or_default())
        };
    }
    let is_about_a_value = matches!(
        error,
        sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
    );
    if is_about_a_value {
        Verdict::Corrupt
    } else {
        Verdict::Unavailable
    }
}

/// By the classes of PostgreSQL's appendix A.
fn judge_sqlstate(code: &str) -> Verdict {
    match code.get(..2).unwrap_or_default() {
        // Unique, foreign-key and other constraints.
        "23" => Verdict::Conflict,
        // Connection, authorisation, a database that is not there, rolled back for another's sake
        // or left waiting too long, read-only, out of resources (53100 is a full disk), not in a
        // state to answer, shut down or cancelled, the system's own errors.
        "08" | "25" | "28" | "3D" | "40" | "42501" | "53" | "55" | "57" | "58" => {
            Verdict::Unavailable
        }
        _ => Verdict::Corrupt,
    }
}

/// By the primary result codes of <https://www.sqlite.org/rescode.html>.
fn judge_sqlite(code: i32) -> Verdict {
    match code & 0xff {
        // CONSTRAINT
        19 => Verdict::Conflict,
        // PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS,
        // AUTH
        3 | 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15 | 22 | 23 => Verdict::Unavailable,
        _ => Verdict::Corrupt,
    }
}
