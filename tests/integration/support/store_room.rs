//! A store, as whoever writes to it sees it, beside the gateways that read it.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attache::clock::Clock;
use attache::config::MasterKey;
use attache::config::stored::take_secrets;
use attache::connector::{ConnectorId, Organization, Role};
use attache::control::access::{Actor, Administration, Scope, Wanted};
use attache::control::store::{Change, ConnectorRecord, OrganizationRecord, Phase, Slot, Store};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::PATIENCE;
use super::postgres::Postgres;
use super::stage::Stage;

/// The file of the master key, in the stage's directory.
const MASTER_KEY: &str = "master.key";

/// A store with one organization, `default`.
pub(crate) struct StoreRoom {
    /// The store.
    pub(crate) store: Store,
    yaml: String,
}

impl StoreRoom {
    /// An SQLite file in the stage's directory.
    pub(crate) async fn sqlite(stage: &Stage) -> Self {
        Self::at(stage, "sqlite:attache.db", "").await
    }

    /// A database of `server`.
    pub(crate) async fn postgres(stage: &Stage, server: &Postgres) -> Self {
        Self::at(stage, &server.database().await, "").await
    }

    /// The same, with more keys of `store`, in YAML's flow style.
    pub(crate) async fn at(stage: &Stage, url: &str, more: &str) -> Self {
        let key = MasterKey::new(Zeroizing::new([7; 32])).write();
        stage.write(MASTER_KEY, key.expose());
        let yaml = store_yaml(url, more);
        let mut settings = stage.config(&yaml).unwrap().store.unwrap();
        // The test's own way to the store; a busy machine is no failure.
        settings.timeout = PATIENCE;
        let store = Store::open(&settings, Clock::system()).await.unwrap();
        let room = Self { store, yaml };
        room.change(async |change| {
            let record = OrganizationRecord {
                name: Organization::default(),
                connectors_max: Default::default(),
                revision: 0,
                created_at: day(),
            };
            if change.organization(&record.name).await.unwrap().is_none() {
                change.insert_organization(&record).await.unwrap();
            }
        })
        .await;
        room
    }

    /// The configuration's `store`, and `own`, top-level YAML keys.
    pub(crate) fn yaml(&self, own: &str) -> String {
        format!("{}{own}", self.yaml)
    }

    /// A token of an administrator of `default` who may do everything.
    pub(crate) async fn token(&self) -> String {
        let operator = Actor {
            name: "cli".to_owned(),
            title: "A test".to_owned(),
            role: Role::FullAdmin,
            scope: Scope::All,
            address: Ipv4Addr::LOCALHOST.into(),
            request_id: "request-1".to_owned(),
        };
        let wanted = Wanted {
            name: "A test".to_owned(),
            role: Role::FullAdmin,
            scope: Scope::One(Organization::default()),
            lifetime: Duration::from_secs(3600),
        };
        let administration = Administration::new(self.store.clone(), Clock::system());
        let issued = administration.issue(&operator, wanted).await.unwrap();
        issued.token.expose().to_owned()
    }

    /// Makes a change, and says at which revision.
    pub(crate) async fn change(&self, make: impl AsyncFnOnce(&mut Change)) -> u64 {
        let mut change = self.store.begin().await.unwrap();
        make(&mut change).await;
        change.commit().await.unwrap()
    }

    /// Keeps a new connector, active, with the document's secrets sealed.
    pub(crate) async fn create(&self, id: &str, document: Value) -> u64 {
        self.change(async |change| insert(change, id, document).await)
            .await
    }

    /// Keeps many, in one change.
    pub(crate) async fn create_many(&self, all: impl IntoIterator<Item = (String, Value)>) -> u64 {
        self.change(async |change| {
            for (id, document) in all {
                insert(change, &id, document).await;
            }
        })
        .await
    }

    /// Changes the record of a connector.
    pub(crate) async fn edit(&self, id: &str, edit: impl FnOnce(&mut ConnectorRecord)) -> u64 {
        self.change(async |change| {
            let mut record = found(change, id).await;
            record.served_revision = change.revision();
            edit(&mut record);
            change.update_connector(&record).await.unwrap();
        })
        .await
    }

    /// Says where it is in its life.
    pub(crate) async fn set(&self, id: &str, state: Phase) -> u64 {
        let deleted_at = (state == Phase::Deleted).then(day);
        self.edit(id, |record| {
            record.state = state;
            record.deleted_at = deleted_at;
        })
        .await
    }

    /// Gives it another document, secrets included.
    pub(crate) async fn replace(&self, id: &str, mut document: Value) -> u64 {
        self.change(async |change| {
            let mut record = found(change, id).await;
            let secrets = take_secrets(&mut document);
            record.document = document;
            record.served_revision = change.revision();
            change.update_connector(&record).await.unwrap();
            let sealed = change.seal_secrets(&record, Slot::Current, &secrets);
            sealed.await.unwrap();
        })
        .await
    }
}

/// The configuration's `store`.
pub(crate) fn store_yaml(url: &str, more: &str) -> String {
    let more = match more {
        "" => String::new(),
        more => format!(", {more}"),
    };
    format!("store: {{ url: '{url}', master_keys: [{{ file: {MASTER_KEY} }}]{more} }}\n")
}

/// A document without authentication.
pub(crate) fn open(resource_domain: &str) -> Value {
    json!({ "resource_domain": resource_domain, "auth": "none" })
}

/// A document with a password.
pub(crate) fn basic(resource_domain: &str, password: &str) -> Value {
    let basic = json!({ "username": "svc", "password": password });
    json!({ "resource_domain": resource_domain, "auth": { "basic": basic } })
}

/// A document with a token.
pub(crate) fn with_token(resource_domain: &str, token_url: &str, client_secret: &str) -> Value {
    let oauth2 = json!({
        "token_url": token_url,
        "client_id": "client",
        "client_secret": client_secret,
    });
    json!({ "resource_domain": resource_domain, "auth": { "oauth2": oauth2 } })
}

async fn insert(change: &mut Change, id: &str, mut document: Value) {
    let secrets = take_secrets(&mut document);
    let record = ConnectorRecord {
        id: ConnectorId::parse(id).unwrap(),
        organization: Organization::default(),
        name: id.to_owned(),
        kind: "custom".to_owned(),
        state: Phase::Active,
        document,
        revision: 0,
        served_revision: 0,
        created_at: day(),
        updated_at: day(),
        deleted_at: None,
        staged: None,
        previous_until: None,
    };
    change.insert_connector(&record, &secrets).await.unwrap();
}

async fn found(change: &mut Change, id: &str) -> ConnectorRecord {
    let id = ConnectorId::parse(id).unwrap();
    change.connector(&id).await.unwrap().unwrap()
}

/// A day of 2026.
fn day() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}
