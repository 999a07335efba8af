//! A store on either database, its master keys in files, and a configuration that names them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use attache::clock::Clock;
use attache::config::{self, Config, MasterKey};
use attache::connector::{ConnectorId, Organization};
use attache::control::store::{
    ConnectorFilter, ConnectorRecord, KeyId, Page, Phase, Secrets, Slot, Store,
};
use attache::secret::Secret;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::child::{Child, Ended};
use super::postgres::Postgres;
use super::stage::Stage;
use super::within;

/// A database with nothing in it yet.
pub(crate) struct Vault {
    pub(crate) stage: Stage,
    pub(crate) server: Option<Postgres>,
    url: String,
}

/// Runs `test` on SQLite, then on PostgreSQL.
pub(crate) async fn on_both<T: Future<Output = ()>>(test: impl Fn(Vault) -> T) {
    println!("on SQLite");
    test(Vault::sqlite()).await;
    println!("on PostgreSQL");
    test(Vault::postgres(Postgres::shared()).await).await;
}

impl Vault {
    /// A file of its own.
    pub(crate) fn sqlite() -> Self {
        Self {
            stage: Stage::new(),
            server: None,
            url: "sqlite:attache.db".to_owned(),
        }
    }

    /// A database of its own on `server`.
    pub(crate) async fn postgres(server: Postgres) -> Self {
        Self {
            url: server.database().await,
            stage: Stage::new(),
            server: Some(server),
        }
    }

    /// Wherever `url` says, which is not this value's to end.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            stage: Stage::new(),
            server: None,
        }
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The `store:` of a configuration with these keys, the first being current, as a line of YAML.
    pub(crate) fn section(&self, keys: &[u8]) -> String {
        self.stage.write("url", &self.url);
        let url = match self.url.starts_with("sqlite:") {
            true => format!("'{}'", self.url),
            false => "{ file: url }".to_owned(),
        };
        let key = |byte: &u8| {
            let name = format!("key-{byte}");
            let text = master_key(*byte).write();
            self.stage.write(&name, text.expose());
            format!("{{ file: {name} }}")
        };
        let keys: Vec<String> = keys.iter().map(key).collect();
        let keys = keys.join(", ");
        format!("store: {{ url: {url}, master_keys: [{keys}], timeout: 10s }}\n")
    }

    /// A file that says nothing else.
    pub(crate) fn config(&self, keys: &[u8]) -> PathBuf {
        let section = self.section(keys);
        self.stage.config_file(&section)
    }

    /// What the configuration says of the store.
    pub(crate) fn settings(&self, keys: &[u8]) -> config::Store {
        Config::load(&self.config(keys)).unwrap().store.unwrap()
    }

    /// The store, opened in this process.
    pub(crate) async fn open(&self, keys: &[u8]) -> Store {
        let store = Store::open(&self.settings(keys), Clock::system()).await;
        store.unwrap()
    }

    /// Runs `attache key` with `command` on a configuration with these keys.
    pub(crate) async fn key(&self, command: &str, keys: &[u8]) -> Ended {
        let config = self.config(keys);
        attache(&["key", command, "--config", path(&config)]).await
    }
}

/// Runs the program to its end.
pub(crate) async fn attache(arguments: &[&str]) -> Ended {
    within("attache", Child::attache(arguments).exited()).await
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A master key that is `byte` throughout.
pub(crate) fn master_key(byte: u8) -> MasterKey {
    let encoded = BASE64_STANDARD.encode([byte; 32]);
    MasterKey::read(&format!("attache-key-1:{encoded}")).unwrap()
}

/// Its ID.
pub(crate) fn key_id(byte: u8) -> String {
    KeyId::of(&master_key(byte)).to_string()
}

/// An active connector of `default` with one secret, whose name is its ID.
pub(crate) fn record(id: &str) -> ConnectorRecord {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    ConnectorRecord {
        id: ConnectorId::parse(id).unwrap(),
        organization: Organization::default(),
        name: id.to_owned(),
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

/// The secret that stands in [`record`].
pub(crate) fn password(text: &str) -> Secrets {
    let place = "/auth/basic/password".to_owned();
    BTreeMap::from([(place, Secret::new(text.to_owned()))])
}

/// Keeps a connector of this ID with the secret `secret`.
pub(crate) async fn keep(store: &Store, id: &str, secret: &str) {
    let mut change = store.begin().await.unwrap();
    let record = record(id);
    let secrets = password(secret);
    change.insert_connector(&record, &secrets).await.unwrap();
    change.commit().await.unwrap();
}

/// Every connector's secret in use, by ID.
pub(crate) async fn passwords(store: &Store) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let page = Page { after, limit: 200 };
        let filter = ConnectorFilter::default();
        let records = store.connectors(&filter, page).await.unwrap();
        for record in &records {
            let secrets = store.secrets(record, Slot::Current).await.unwrap();
            let secret = secrets["/auth/basic/password"].expose().to_owned();
            found.insert(record.id.to_string(), secret);
        }
        match records.last() {
            Some(last) => after = Some(last.id.to_string()),
            None => return found,
        }
    }
}
