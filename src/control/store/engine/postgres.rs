//! The server that several replicas share.
//!
//! # Invariants
//!
//! A server on another host is spoken to over TLS, with its certificate and name verified
//! (`sslmode=verify-full`, whatever the URL says). What PostgreSQL cannot hold in a text, the zero
//! byte, is written another way and read back as it was.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode,
    PgTypeInfo,
};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Encode, PgPool, Postgres, Row as _, Type, TypeInfo,
    ValueRef,
};
use tokio::sync::Mutex;

use super::super::error::{Cause, OpenError};
use super::{Engine, Pool, Row, Value, in_time};
use crate::secret::Secret;

/// What the gateway is called in `pg_stat_activity`.
const APPLICATION_NAME: &str = "attache";

impl Engine {
    /// A pool for the server at `url`, to which nothing is connected yet.
    pub(in super::super) fn postgres(
        url: &Secret,
        connections_max: u32,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(timeout)
            .connect_lazy_with(options(url, timeout)?);
        Ok(Self {
            pool: Pool::Postgres(pool),
            writer: Arc::new(Mutex::new(())),
            timeout,
        })
    }
}

fn options(url: &Secret, timeout: Duration) -> Result<PgConnectOptions, OpenError> {
    let options: PgConnectOptions = url.expose().parse().map_err(|_| OpenError::Url)?;
    let timeout_ms = timeout.as_millis().max(1);
    let options = options
        .application_name(APPLICATION_NAME)
        .options([
            ("statement_timeout", timeout_ms),
            // A replica that died within a transaction holds everybody else's up no longer.
            ("idle_in_transaction_session_timeout", timeout_ms * 3),
        ])
        .disable_statement_logging();
    if is_here(&options) {
        return Ok(options);
    }
    let options = options.ssl_mode(PgSslMode::VerifyFull);
    if url.expose().contains("sslrootcert=") {
        return Ok(options);
    }
    Ok(options.ssl_root_cert_from_pem(system_roots()))
}

/// Whether the server is on this machine.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The certificates this system trusts, as PEM (RFC 7468).
fn system_roots() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        pem.push_str(&BASE64_STANDARD.encode(certificate));
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

/// Asks one statement.
pub(super) async fn query(
    connection: &mut PoolConnection<Postgres>,
    sql: AssertSqlSafe<Cow<'static, str>>,
    values: Vec<Value>,
) -> Result<Vec<Row>, Cause> {
    let mut query = sqlx::query::<Postgres>(sql);
    for value in values {
        query = bind(query, value);
    }
    let rows = query.fetch_all(&mut **connection).await?;
    rows.iter().map(read).collect()
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

fn bind(query: Query<'_>, value: Value) -> Query<'_> {
    match value {
        Value::Text(text) => query.bind(without_zeros(text)),
        Value::Integer(number) => query.bind(number),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Null => query.bind(Untyped),
    }
}

/// A null of whatever type its place asks for.
struct Untyped;

impl Type<Postgres> for Untyped {
    /// `unknown` (pg_type.dat): the server works the type out.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(705))
    }
}

impl Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn read(row: &PgRow) -> Result<Row, Cause> {
    // A row with fewer columns than were announced makes sqlx index past its end.
    let values = catch_unwind(AssertUnwindSafe(|| read_columns(row)));
    Ok(Row::new(values.map_err(|_| Cause::ShortRow)??))
}

fn read_columns(row: &PgRow) -> Result<Vec<Value>, Cause> {
    let mut values = Vec::with_capacity(row.len());
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            match raw.type_info().name() {
                "INT8" => Value::Integer(row.try_get(at)?),
                "INT4" => Value::Integer(row.try_get::<i32, _>(at)?.into()),
                "BYTEA" => Value::Bytes(row.try_get(at)?),
                _ => Value::Text(with_zeros(row.try_get(at)?)),
            }
        };
        values.push(value);
    }
    Ok(values)
}

/// Stands before `0` for a zero byte, and before `1` for itself.
const ESCAPE: char = '\u{1a}';

fn without_zeros(text: String) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text;
    }
    text.replace(ESCAPE, "\u{1a}1").replace('\0', "\u{1a}0")
}

fn with_zeros(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    text.replace("\u{1a}0", "\0").replace("\u{1a}1", "\u{1a}")
}

/// A connection of its own on which the server tells of changes.
pub(in super::super) struct Listener(PgListener);

impl Listener {
    /// Connects to the server of `engine` and asks to be told of what is sent to `channel`. `None`
    /// where the database tells nobody anything.
    pub(in super::super) async fn connect(
        engine: &Engine,
        channel: &str,
    ) -> Result<Option<Self>, Cause> {
        let Pool::Postgres(pool) = &engine.pool else {
            return Ok(None);
        };
        in_time(engine.timeout, async {
            let own: PgPool = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .connect_lazy_with(PgConnectOptions::clone(&pool.connect_options()));
            let mut listener = PgListener::connect_with(&own).await?;
            listener.eager_reconnect(false);
            listener.listen(channel).await?;
            Ok(Some(Self(listener)))
        })
        .await
    }

    /// What is told next. When the connection is lost, so is the listener.
    ///
    /// Cancel-safe.
    pub(in super::super) async fn heard(&mut self) -> Result<String, Cause> {
        // It would connect again by itself, and nobody would ask what was told meanwhile.
        match self.0.try_recv().await? {
            Some(notification) => Ok(notification.payload().to_owned()),
            None => Err(Cause::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> String {
        let url = Secret::new(url.to_owned());
        let options = options(&url, Duration::from_secs(2)).unwrap();
        format!("{:?}", options.get_ssl_mode())
    }

    #[test]
    fn a_server_on_another_host_is_verified_whatever_its_url_says() {
        for url in [
            "postgres://db.example.com/x",
            "postgres://db.example.com/x?sslmode=disable",
            "postgres://db.example.com/x?sslmode=require",
            "postgres://db.example.com/x?sslmode=prefer&sslrootcert=/etc/ca.pem",
            "postgres://192.0.2.1/x?sslmode=allow",
            "postgres://[2001:db8::1]/x?sslmode=disable",
            "postgres://localhost.example.com/x?sslmode=disable",
            "postgres://127.0.0.1/x?sslmode=disable&host=192.0.2.1",
        ] {
            assert_eq!(mode(url), "VerifyFull", "{url}");
        }
    }

    #[test]
    fn a_server_on_this_machine_is_spoken_to_as_its_url_says() {
        for host in [
            "localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "%2Frun%2Fpostgresql",
        ] {
            let url = |mode: &str| format!("postgres://{host}/x?sslmode={mode}");

            assert_eq!(mode(&url("disable")), "Disable", "{host}");
            assert_eq!(mode(&url("verify-full")), "VerifyFull", "{host}");
        }
    }

    #[test]
    fn a_text_with_zero_bytes_and_with_what_stands_for_them_is_read_as_it_was_written() {
        for text in [
            "",
            "a",
            "\0",
            "\u{1a}",
            "\u{1a}0",
            "\u{1a}1",
            "\0\u{1a}1\u{1a}0\0\0",
            "\u{1a}\0",
        ] {
            let written = without_zeros(text.to_owned());

            assert!(!written.contains('\0'));
            assert_eq!(with_zeros(written), text);
        }
    }
}
