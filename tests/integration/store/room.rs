//! A store on either database, and what stands in it.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use attache::clock::{Clock, Turned};
use attache::config::{self, MasterKey, StoreUrl};
use attache::connector::{ConnectorId, Organization};
use attache::control::access::Role;
use attache::control::store::{
    AuditEntry, AuditOutcome, Change, ConnectorRecord, Page, Phase, Secrets, Store,
};
use attache::secret::Secret;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::support::postgres::Postgres;
use crate::support::within;

/// A database with nothing in it yet, and the clock of whoever opens it.
pub(super) struct Room {
    pub(super) settings: config::Store,
    pub(super) turned: Turned,
    directory: TempDir,
    server: Option<Postgres>,
}

/// Runs `test` on SQLite, then on PostgreSQL.
pub(super) async fn on_both<T: Future<Output = ()>>(test: impl Fn(Room) -> T) {
    println!("on SQLite");
    within("SQLite", test(Room::sqlite())).await;
    println!("on PostgreSQL");
    within("PostgreSQL", test(Room::postgres().await)).await;
}

impl Room {
    /// A file of its own.
    pub(super) fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let url = StoreUrl::Sqlite(directory.path().join("attache.db"));
        Self::at(url, directory, None)
    }

    /// A database of its own on a server that others use too.
    pub(super) async fn postgres() -> Self {
        Self::on(Postgres::shared()).await
    }

    /// A database of its own on `server`.
    pub(super) async fn on(server: Postgres) -> Self {
        let url = StoreUrl::Postgres(Secret::new(server.database().await));
        Self::at(url, TempDir::new().unwrap(), Some(server))
    }

    fn at(url: StoreUrl, directory: TempDir, server: Option<Postgres>) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self {
            settings: config::Store {
                url,
                master_keys: vec![master_key(1)],
                snapshot: directory.path().join("snapshot"),
                connections_max: 8,
                poll: Duration::from_millis(500),
                timeout: Duration::from_secs(10),
                lease: Duration::from_secs(3),
                connectors_max: [("custom".to_owned(), 10)].into(),
                deleted_kept: Duration::from_secs(30 * 24 * 3600),
            },
            turned: Turned::starting_at(start),
            directory,
            server,
        }
    }

    /// Opens it.
    pub(super) async fn open(&self) -> Store {
        Store::open(&self.settings, self.clock()).await.unwrap()
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::turned(&self.turned)
    }

    /// The server it is on.
    pub(super) fn server(&self) -> &Postgres {
        self.server.as_ref().unwrap()
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    /// Where files of the test may stand.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `sql` past the gateway, as whoever has the database would.
    pub(super) async fn tamper(&self, sql: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &self.settings.url {
            StoreUrl::Sqlite(path) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = SqliteConnection::connect(&url).await?;
                script.execute(&mut connection).await?;
                connection.close().await
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await?;
                script.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }

    /// The number that `sql` selects.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.settings.url {
            StoreUrl::Sqlite(path) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        }
        .unwrap()
    }
}

/// A master key that is `byte` throughout.
pub(super) fn master_key(byte: u8) -> MasterKey {
    let encoded = BASE64_STANDARD.encode([byte; 32]);
    MasterKey::read(&format!("attache-key-1:{encoded}")).unwrap()
}

pub(super) fn id(text: &str) -> ConnectorId {
    ConnectorId::parse(text).unwrap()
}

/// All of a list.
pub(super) fn all<After>() -> Page<After> {
    Page {
        after: None,
        limit: 200,
    }
}

/// An active connector of `default` with one secret, whose name is its ID.
pub(super) fn connector(name: &str) -> ConnectorRecord {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
    ConnectorRecord {
        id: id(name),
        organization: Organization::default(),
        name: name.to_owned(),
        kind: "custom".to_owned(),
        state: Phase::Active,
        document: json!({
            "resource_domain": "https://api.example.com",
            "auth": { "basic": { "username": "svc", "password": { "kept": true } } },
        }),
        revision: 0,
        served_revision: 0,
        created_at: at,
        updated_at: at,
        deleted_at: None,
        staged: None,
        previous_until: None,
    }
}

/// The secret that stands in [`connector`].
pub(super) fn password(text: &str) -> Secrets {
    let place = "/auth/basic/password".to_owned();
    Secrets::from([(place, Secret::new(text.to_owned()))])
}

/// Keeps `record` with the secret `secret`; gives its revision.
pub(super) async fn keep(store: &Store, record: &ConnectorRecord, secret: &str) -> u64 {
    let mut change = store.begin().await.unwrap();
    change
        .insert_connector(record, &password(secret))
        .await
        .unwrap();
    change.commit().await.unwrap()
}

/// Changes `record` in one change of its own; gives its revision.
pub(super) async fn update(store: &Store, record: &ConnectorRecord) -> u64 {
    let mut change = store.begin().await.unwrap();
    change.update_connector(record).await.unwrap();
    change.commit().await.unwrap()
}

/// Makes `record` a deleted one, with what follows for its secrets.
pub(super) async fn delete(change: &mut Change, record: &ConnectorRecord, at: SystemTime) {
    let deleted = ConnectorRecord {
        state: Phase::Deleted,
        deleted_at: Some(at),
        ..record.clone()
    };
    change.update_connector(&deleted).await.unwrap();
    for slot in attache::control::store::Slot::ALL {
        change.drop_secrets(&record.id, slot).await.unwrap();
    }
}

/// An entry of the audit log about `target`.
pub(super) fn entry(target: &str) -> AuditEntry {
    AuditEntry {
        id: 0,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_456),
        actor: "token:1".to_owned(),
        role: Some(Role::FullAdmin),
        organization: Some(Organization::default()),
        action: "connector.edit".to_owned(),
        target: target.to_owned(),
        outcome: AuditOutcome::Done,
        address: "127.0.0.1".to_owned(),
        request_id: "r-1".to_owned(),
        before: Some(json!({ "name": "a" })),
        after: Some(Value::Null),
    }
}
