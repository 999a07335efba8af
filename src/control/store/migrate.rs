//! Brings the schema to the version this program knows.
//!
//! # Invariants
//!
//! Migrations go forward only, each in one piece with the note that it was made: a schema is at a
//! version or at the one before it. Replicas that start together make each once, since the first
//! locks the others out. A schema newer than known is left alone.

use std::time::Duration;

use super::engine::{Dialect, Engine, Session};
use super::error::{OpenError, StoreError};
use crate::clock::Clock;

/// How long all migrations together may take, including those another replica is making.
const LIMIT: Duration = Duration::from_secs(60);

struct Migration {
    version: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

/// In order, without a gap.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        sqlite: include_str!("migrations/sqlite/0001_store.sql"),
        postgres: include_str!("migrations/postgres/0001_store.sql"),
    },
    Migration {
        version: 2,
        sqlite: include_str!("migrations/sqlite/0002_shared_tokens.sql"),
        postgres: include_str!("migrations/postgres/0002_shared_tokens.sql"),
    },
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions \
     (version BIGINT PRIMARY KEY, migrated_at BIGINT NOT NULL)";

/// The newest version this program knows.
fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Makes every migration that is missing.
pub(super) async fn migrate(engine: &Engine, clock: &Clock) -> Result<(), OpenError> {
    let mut session = engine.write().await?;
    if engine.dialect() == Dialect::Postgres {
        check_encoding(&mut session).await?;
        // Any number, so long as every replica takes the same. Waits for the other replicas'
        // migrations, which may take longer than a statement.
        let lock = "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(6074420151)";
        session.run(lock, LIMIT).await?;
    }
    session.run(VERSIONS, LIMIT).await?;
    let newest = "SELECT COALESCE(MAX(version), 0) FROM schema_versions";
    let found = session.one(newest, Vec::new()).await?.integer()?;
    if found > known() {
        let known = known();
        return Err(OpenError::NewerSchema { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|one| one.version > found) {
        let version = migration.version;
        make(&mut session, engine.dialect(), migration, clock)
            .await
            .map_err(|error| failed(version, error))?;
    }
    Ok(session.commit().await?)
}

async fn make(
    session: &mut Session,
    dialect: Dialect,
    migration: &Migration,
    clock: &Clock,
) -> Result<(), StoreError> {
    let script = match dialect {
        Dialect::Sqlite => migration.sqlite,
        Dialect::Postgres => migration.postgres,
    };
    session.run(script, LIMIT).await?;
    let note = "INSERT INTO schema_versions (version, migrated_at) VALUES ($1, $2)";
    let values = vec![migration.version.into(), clock.wall().into()];
    session.query(note, values).await?;
    Ok(())
}

fn failed(version: i64, error: StoreError) -> OpenError {
    match error {
        StoreError::Conflict { source }
        | StoreError::Corrupt {
            source: Some(source),
            ..
        } => OpenError::Migration { version, source },
        StoreError::Unavailable { .. }
        | StoreError::Refused { .. }
        | StoreError::Corrupt { source: None, .. }
        | StoreError::Sealed { .. } => error.into(),
    }
}

async fn check_encoding(session: &mut Session) -> Result<(), OpenError> {
    let encoding = session
        .one("SELECT current_setting('server_encoding')", Vec::new())
        .await?
        .text()?;
    if encoding == "UTF8" {
        Ok(())
    } else {
        Err(OpenError::Encoding { encoding })
    }
}
