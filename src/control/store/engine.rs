//! The two databases behind one way to ask them: SQL with `$n`, values in, rows out.
//!
//! # Invariants
//!
//! Every statement, every wait for a connection and every wait for one's turn to write ends within
//! the configured time. A connection whose answer was not awaited to its end, or in a transaction
//! that cannot be rolled back, is closed and never used again. One process writes one transaction
//! at a time, so that writers never take the connections that readers need.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{Cause, StoreError};

mod postgres;
mod sqlite;
mod value;

pub(super) use postgres::Listener;
pub(super) use value::{Conditions, Row, Value};

/// The text of a statement; written in this program, never by anybody else.
type Sql = Cow<'static, str>;

/// A database.
#[derive(Debug)]
pub(super) struct Engine {
    pool: Pool,
    writer: Arc<Mutex<()>>,
    timeout: Duration,
}

#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Which SQL a database speaks, where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// One connection, and the transaction it is in, if it is in one. Dropped within a transaction, it
/// rolls back.
pub(super) struct Session {
    connection: Connection,
    phase: SessionPhase,
    timeout: Duration,
    turn: Option<OwnedMutexGuard<()>>,
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    /// Taken away to be rolled back.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionPhase {
    /// Outside a transaction.
    Idle,
    /// Inside one.
    Transaction,
    /// An answer is awaited, or was given up.
    Asking,
}

impl Engine {
    /// Which SQL it speaks.
    pub(super) fn dialect(&self) -> Dialect {
        match &self.pool {
            Pool::Sqlite(_) => Dialect::Sqlite,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// How long a statement may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks one statement, on its own.
    pub(super) async fn query(
        &self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.session().await?.query(sql, values).await
    }

    /// A transaction that reads one state of the database, whatever others write meanwhile.
    pub(super) async fn read(&self) -> Result<Session, StoreError> {
        let mut session = self.session().await?;
        session
            .begin(match self.dialect() {
                Dialect::Sqlite => "BEGIN",
                Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            })
            .await?;
        Ok(session)
    }

    /// A transaction that writes, after those of this process that came before it.
    pub(super) async fn write(&self) -> Result<Session, StoreError> {
        let turn = Arc::clone(&self.writer).lock_owned();
        let Ok(turn) = tokio::time::timeout(self.timeout, turn).await else {
            return Err(Cause::Queued.into());
        };
        let mut session = self.session().await?;
        session.turn = Some(turn);
        session
            .begin(match self.dialect() {
                // Waits for another process's write here, and not in the middle.
                Dialect::Sqlite => "BEGIN IMMEDIATE",
                Dialect::Postgres => "BEGIN",
            })
            .await?;
        Ok(session)
    }

    /// A connection outside a transaction.
    async fn session(&self) -> Result<Session, StoreError> {
        let connection = async {
            Ok(match &self.pool {
                Pool::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
                Pool::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
            })
        };
        let connected = in_time(self.timeout, connection).await;
        Ok(Session {
            connection: connected.map_err(unconnected)?,
            phase: SessionPhase::Idle,
            timeout: self.timeout,
            turn: None,
        })
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

impl Session {
    /// Asks one statement.
    pub(super) async fn query(
        &mut self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(sql.into());
        let before = std::mem::replace(&mut self.phase, SessionPhase::Asking);
        let connection = &mut self.connection;
        let rows = in_time(self.timeout, async {
            match connection {
                Connection::Sqlite(connection) => sqlite::query(connection, sql, values).await,
                Connection::Postgres(connection) => postgres::query(connection, sql, values).await,
                Connection::Gone => Err(Cause::Database(sqlx::Error::PoolClosed)),
            }
        })
        .await;
        self.phase = after(&rows, before);
        Ok(rows?)
    }

    /// Asks one statement that answers one row.
    pub(super) async fn one(
        &mut self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Row, StoreError> {
        let row = self.query(sql, values).await?.pop();
        row.ok_or(StoreError::corrupt("a row is missing"))
    }

    /// Runs a script of several statements, in whatever time it takes up to `limit`.
    pub(super) async fn run(
        &mut self,
        script: impl Into<Sql>,
        limit: Duration,
    ) -> Result<(), StoreError> {
        let script = sqlx::raw_sql(AssertSqlSafe(script.into()));
        let before = std::mem::replace(&mut self.phase, SessionPhase::Asking);
        let connection = &mut self.connection;
        let done = in_time(limit, async {
            match connection {
                Connection::Sqlite(connection) => {
                    script.execute(&mut **connection).await?;
                }
                Connection::Postgres(connection) => {
                    script.execute(&mut **connection).await?;
                }
                Connection::Gone => return Err(Cause::Database(sqlx::Error::PoolClosed)),
            }
            Ok(())
        })
        .await;
        self.phase = after(&done, before);
        Ok(done?)
    }

    async fn begin(&mut self, statement: &'static str) -> Result<(), StoreError> {
        self.run(statement, self.timeout).await?;
        self.phase = SessionPhase::Transaction;
        Ok(())
    }

    /// Makes what was written last. When this fails, nobody knows whether it was made.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.run("COMMIT", self.timeout).await?;
        self.settle();
        Ok(())
    }

    /// The transaction is over.
    fn settle(&mut self) {
        self.phase = SessionPhase::Idle;
    }
}

/// Where a session is after an answer: where it was, unless the answer never came to its end.
fn after<T>(answer: &Result<T, Cause>, before: SessionPhase) -> SessionPhase {
    let complete = match answer {
        Ok(_) => true,
        // The database has answered, if only with an error.
        Err(Cause::Database(error)) => error.as_database_error().is_some(),
        Err(
            Cause::TimedOut | Cause::Unconnected | Cause::Queued | Cause::ShortRow | Cause::Lost,
        ) => false,
    };
    if complete {
        before
    } else {
        SessionPhase::Asking
    }
}

/// The pool goes on trying a server that refuses until the time is up, and then tells of the time
/// alone.
fn unconnected(cause: Cause) -> Cause {
    let is_late = matches!(
        cause,
        Cause::TimedOut | Cause::Database(sqlx::Error::PoolTimedOut)
    );
    if is_late { Cause::Unconnected } else { cause }
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Cause::TimedOut),
    }
}

/// Rolls back what was not committed, before the next writer's turn; a connection whose state is
/// unknown is closed instead, which rolls back too.
impl Drop for Session {
    fn drop(&mut self) {
        match self.phase {
            SessionPhase::Idle => {}
            SessionPhase::Asking => self.connection.close_on_drop(),
            SessionPhase::Transaction => self.roll_back(),
        }
    }
}

impl Session {
    fn roll_back(&mut self) {
        let mut rest = Self {
            connection: std::mem::replace(&mut self.connection, Connection::Gone),
            phase: SessionPhase::Asking,
            timeout: self.timeout,
            turn: self.turn.take(),
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if rest.run("ROLLBACK", rest.timeout).await.is_ok() {
                rest.settle();
            }
        });
    }
}

impl Connection {
    fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::Gone => {}
        }
    }
}
