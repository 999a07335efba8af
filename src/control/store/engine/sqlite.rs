//! The file that one gateway keeps for itself.
//!
//! # Invariants
//!
//! A commit is on disk before it is acknowledged (`synchronous=FULL`). Only the user the gateway
//! runs as may read the file; SQLite makes the two beside it (`-wal`, `-shm`) alike.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Row as _, Sqlite, TypeInfo, ValueRef};
use tokio::sync::Mutex;

use super::super::error::{Cause, OpenError};
use super::{Engine, Pool, Row, Value};

/// Each connection is a thread, and one file gains nothing from more.
const CONNECTIONS_MAX: u32 = 8;

impl Engine {
    /// Opens the file at `path`, made if it is not there. Nothing of it is read yet.
    pub(in super::super) fn sqlite(
        path: &Path,
        connections_max: u32,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        keep_private(path).map_err(|source| OpenError::File {
            path: path.to_owned(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(timeout)
            // What is deleted is overwritten, and not only forgotten.
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(connections_max.min(CONNECTIONS_MAX))
            .acquire_timeout(timeout)
            .connect_lazy_with(options);
        Ok(Self {
            pool: Pool::Sqlite(pool),
            writer: Arc::new(Mutex::new(())),
            timeout,
        })
    }
}

/// Makes the file at `path` if it is not there, and takes others' rights to it away if it is.
#[cfg(unix)]
fn keep_private(path: &Path) -> io::Result<()> {
    use std::fs::{OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(drop)
}

/// Asks one statement.
pub(super) async fn query(
    connection: &mut PoolConnection<Sqlite>,
    sql: AssertSqlSafe<Cow<'static, str>>,
    values: Vec<Value>,
) -> Result<Vec<Row>, Cause> {
    let mut query = sqlx::query::<Sqlite>(sql);
    for value in values {
        query = bind(query, value);
    }
    let rows = query.fetch_all(&mut **connection).await?;
    rows.iter().map(read).collect()
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind(query: Query<'_>, value: Value) -> Query<'_> {
    match value {
        Value::Text(text) => query.bind(text),
        Value::Integer(number) => query.bind(number),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Null => query.bind(None::<String>),
    }
}

fn read(row: &SqliteRow) -> Result<Row, Cause> {
    let mut values = Vec::with_capacity(row.len());
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            match raw.type_info().name() {
                "INTEGER" => Value::Integer(row.try_get(at)?),
                "BLOB" => Value::Bytes(row.try_get(at)?),
                _ => Value::Text(row.try_get(at)?),
            }
        };
        values.push(value);
    }
    Ok(Row::new(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_syncs_what_it_commits_and_overwrites_what_it_deletes() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("attache.db");
        let engine = Engine::sqlite(&path, 2, Duration::from_secs(10)).unwrap();
        let connections = [engine.read().await.unwrap(), engine.read().await.unwrap()];

        for mut connection in connections {
            for (pragma, set) in [
                // 2 is FULL, 1 would be NORMAL, under which a power cut takes commits away.
                ("synchronous", 2),
                ("secure_delete", 1),
                ("foreign_keys", 1),
                ("trusted_schema", 0),
            ] {
                let sql = format!("PRAGMA {pragma}");
                let mut row = connection.one(sql, Vec::new()).await.unwrap();
                assert_eq!(row.integer().unwrap(), set, "{pragma}");
            }
            let sql = "PRAGMA journal_mode";
            let mut row = connection.one(sql, Vec::new()).await.unwrap();
            assert_eq!(row.text().unwrap(), "wal");
        }
    }
}
