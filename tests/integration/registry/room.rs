//! A registry over a store of its own, and an origin that takes what it is told to take.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use attache::clock::{Clock, Turned};
use attache::config::{self, Config, MasterKey, StoreUrl};
use attache::connector::{ConnectorId, Organization};
use attache::control::Health;
use attache::control::access::{Actor, Role, Scope};
use attache::control::feed::{Desk, Feed};
use attache::control::publisher::Publisher;
use attache::control::registry::{ConnectorView, Edit, IfMatch, Refused, Registry, Rules};
use attache::control::store::{
    AuditEntry, AuditFilter, OrganizationRecord, Page, Secrets, Slot, Store,
};
use attache::control::validate::Validator;
use attache::credential::Credentials;
use attache::dial::{Dialer, Lookup, Resolver};
use attache::metrics::Metrics;
use attache::secret::Secret;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::support::answer::Answer;
use crate::support::exchange::Recorded;
use crate::support::origin::{Origin, Setup, whole};
use crate::support::stage::Stage;

/// What the connectors of most tests authenticate with.
pub(crate) const PASSWORD: &str = "canary-password-7f3a";

/// How long a deleted connector is kept here.
pub(crate) const DELETED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the store's files are, in the stage's directory.
const STORE: &str = "store";

/// A registry, its store, and what it walks to.
pub(crate) struct Room {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) time: Turned,
    pub(crate) stage: Stage,
    origin: Origin,
    passwords: Arc<Mutex<Vec<String>>>,
}

impl Room {
    /// With organizations `acme` and `globex` beside `default`, which may have three connectors of
    /// kind `custom` each.
    pub(crate) async fn new() -> Self {
        Self::with("[]").await
    }

    /// The same beside the configuration's `connectors`, where `UP` is the origin.
    pub(crate) async fn with(connectors: &str) -> Self {
        let stage = Stage::new();
        std::fs::create_dir(stage.directory().join(STORE)).unwrap();
        let url = StoreUrl::Sqlite(stage.directory().join(STORE).join("attache.db"));
        Self::over(stage, url, connectors).await
    }

    /// The same over the store at `url`.
    pub(crate) async fn over(stage: Stage, url: StoreUrl, connectors: &str) -> Self {
        let passwords = Arc::new(Mutex::new(vec![PASSWORD.to_owned()]));
        let taken = Arc::clone(&passwords);
        let origin = whole(move |request| Answer::status(answer(request, &taken.lock().unwrap())));
        let origin = Origin::start(Setup::new(&stage.server()), origin).await;
        let connectors = connectors.replace("UP", &origin.url(""));
        let config = stage
            .config(&format!("connectors: {connectors}\n"))
            .unwrap();
        let settings = settings(&stage, url);
        let time = Turned::starting_at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let clock = Clock::turned(&time);
        let store = Store::open(&settings, clock.clone()).await.unwrap();
        let registry = registry(&store, &settings, &config, clock).await;
        let room = Self {
            registry,
            store,
            time,
            stage,
            origin,
            passwords,
        };
        for name in ["acme", "globex"] {
            room.found(name, &[]).await;
        }
        room
    }

    /// Makes an organization with limits of its own.
    pub(crate) async fn found(&self, name: &str, limits: &[(&str, u32)]) {
        let mut change = self.store.begin().await.unwrap();
        let limits = limits.iter().map(|(kind, max)| ((*kind).to_owned(), *max));
        let record = OrganizationRecord {
            name: organization(name),
            connectors_max: limits.collect(),
            revision: change.revision(),
            created_at: UNIX_EPOCH,
        };
        change.insert_organization(&record).await.unwrap();
        change.commit().await.unwrap();
    }

    /// Lets `acme` have as many connectors as a test likes.
    pub(crate) async fn widen(&self) {
        let mut change = self.store.begin().await.unwrap();
        let acme = organization("acme");
        let mut record = change.organization(&acme).await.unwrap().unwrap();
        record.connectors_max.insert("custom".to_owned(), 1_000);
        change.update_organization(&record).await.unwrap();
        change.commit().await.unwrap();
    }

    /// A resource domain that answers.
    pub(crate) fn domain(&self) -> String {
        self.origin.url("")
    }

    /// Lets the origin take `password` from now on.
    pub(crate) fn accept(&self, password: &str) {
        self.passwords.lock().unwrap().push(password.to_owned());
    }

    /// Lets the origin take no password any more.
    pub(crate) fn accept_none(&self) {
        self.passwords.lock().unwrap().clear();
    }

    /// How many connectors of [`Room::basic`] were walked.
    pub(crate) fn walks(&self) -> usize {
        self.origin.tally().heads
    }

    /// What the origin was asked for last.
    pub(crate) fn last_target(&self) -> String {
        self.origin.requests().pop().unwrap().target
    }

    /// A connector with Basic authentication.
    pub(crate) fn basic(&self, name: &str) -> Value {
        json!({
            "name": name,
            "resource_domain": self.domain(),
            "auth": { "basic": {
                "username": "svc",
                "password": PASSWORD,
                "validation_url": format!("{}/check", self.domain()),
            }},
        })
    }

    /// One of `acme`, active.
    pub(crate) async fn made(&self, name: &str) -> ConnectorView {
        let made = self.registry.create(&acme(), self.basic(name), None).await;
        made.unwrap()
    }

    /// One of `acme`, inactive.
    pub(crate) async fn inactive(&self, name: &str) -> ConnectorView {
        let made = self.made(name).await;
        let stopped = self
            .registry
            .deactivate(&acme(), &made.id, IfMatch::Any)
            .await;
        stopped.unwrap()
    }

    /// One of `acme`, deleted.
    pub(crate) async fn deleted(&self, name: &str) -> ConnectorView {
        let made = self.inactive(name).await;
        let deleted = self.registry.delete(&acme(), &made.id, IfMatch::Any).await;
        deleted.unwrap()
    }

    /// One of `acme`, active, with the staged password `password`.
    pub(crate) async fn staged(&self, name: &str, password: &str) -> ConnectorView {
        let made = self.made(name).await;
        let staged = basic_password(password);
        let staged = self
            .registry
            .stage(&acme(), &made.id, staged, IfMatch::Any)
            .await;
        staged.unwrap()
    }

    /// One of `acme`, active, whose password before `password` is kept for an hour.
    pub(crate) async fn promoted(&self, name: &str, password: &str) -> ConnectorView {
        self.accept(password);
        let staged = self.staged(name, password).await;
        let hour = Duration::from_secs(3600);
        let promoted = self
            .registry
            .promote(&acme(), &staged.id, hour, IfMatch::Any)
            .await;
        promoted.unwrap()
    }

    /// Merges `patch` into a connector.
    pub(crate) async fn merge(
        &self,
        id: &ConnectorId,
        patch: Value,
    ) -> Result<ConnectorView, Refused> {
        self.registry
            .edit(&acme(), id, Edit::Merge(patch), IfMatch::Any)
            .await
    }

    /// The secrets of a connector in `slot`.
    pub(crate) async fn secrets(&self, id: &ConnectorId, slot: Slot) -> Secrets {
        let record = self.store.connector(id).await.unwrap().unwrap();
        self.store.secrets(&record, slot).await.unwrap()
    }

    /// The current password of a connector with Basic authentication.
    pub(crate) async fn password(&self, id: &ConnectorId) -> Option<String> {
        let secrets = self.secrets(id, Slot::Current).await;
        let password = secrets.get("/auth/basic/password");
        password.map(|password| password.expose().to_owned())
    }

    /// The audit log.
    pub(crate) async fn entries(&self) -> Vec<AuditEntry> {
        let all = Page {
            after: None,
            limit: 1_000,
        };
        self.store
            .audit_entries(&AuditFilter::default(), all)
            .await
            .unwrap()
    }

    /// Everything the store has written, as bytes.
    pub(crate) fn files(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.stage.directory().join(STORE)).unwrap();
        let files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.collect::<Vec<_>>().concat()
    }
}

/// What the origin says to one who authenticates as `svc`.
fn answer(request: &Recorded, passwords: &[String]) -> u16 {
    let told = request.field("authorization").unwrap_or_default();
    let mut passwords = passwords.iter();
    let known = passwords.any(|password| {
        let pair = BASE64_STANDARD.encode(format!("svc:{password}"));
        told == format!("Basic {pair}")
    });
    if known { 200 } else { 401 }
}

async fn registry(
    store: &Store,
    settings: &config::Store,
    config: &Config,
    clock: Clock,
) -> Registry {
    let metrics = Metrics::new(1, 1);
    let runtime = Handle::current();
    let lookups = metrics.lookups();
    let resolver = Resolver::new(Lookup::System, Clock::system(), runtime.clone(), lookups);
    let dialer = Dialer::new(resolver);
    let (way, time, tokens) = (dialer.clone(), clock.clone(), metrics.tokens());
    let credentials = Credentials::new(runtime.clone(), way, time, tokens, 100, None);
    let publisher = Publisher::new(config, credentials, Arc::clone(&metrics)).unwrap();
    let desk = Desk {
        publisher: Arc::new(publisher),
        health: Health::new(clock.clone(), 1),
        metrics,
        clock: clock.clone(),
    };
    let read = Feed::open((store.clone(), settings), desk, config).await;
    let (feed, follower) = read.unwrap();
    runtime.spawn(follower.follow(|_| {}));
    let validator = Validator::new(config, dialer, Clock::system(), runtime).unwrap();
    let rules = Rules {
        connectors_max: settings.connectors_max.clone(),
        deleted_kept: settings.deleted_kept,
    };
    Registry::new(store.clone(), feed, validator, (config, rules), clock)
}

fn settings(stage: &Stage, url: StoreUrl) -> config::Store {
    config::Store {
        url,
        master_keys: vec![MasterKey::new(Zeroizing::new([7; 32]))],
        snapshot: stage.directory().join("attache.snapshot"),
        connections_max: 4,
        poll: Duration::from_millis(500),
        timeout: Duration::from_secs(30),
        lease: Duration::from_secs(3),
        connectors_max: [("custom".to_owned(), 3)].into(),
        deleted_kept: DELETED_KEPT,
    }
}

/// An organization's name.
pub(crate) fn organization(name: &str) -> Organization {
    Organization::parse(name).unwrap()
}

/// A connector's ID.
pub(crate) fn id(text: &str) -> ConnectorId {
    ConnectorId::parse(text).unwrap()
}

/// A password to be staged.
pub(crate) fn basic_password(password: &str) -> Secrets {
    let password = Secret::new(password.to_owned());
    Secrets::from([("/auth/basic/password".to_owned(), password)])
}

/// An administrator of `acme` who may do everything.
pub(crate) fn acme() -> Actor {
    administrator(Role::FullAdmin, "acme")
}

/// An administrator of `globex` who may do everything.
pub(crate) fn globex() -> Actor {
    administrator(Role::FullAdmin, "globex")
}

/// Who runs the gateway.
pub(crate) fn everybody() -> Actor {
    Actor {
        scope: Scope::All,
        ..acme()
    }
}

/// An administrator of one organization.
pub(crate) fn administrator(role: Role, own: &str) -> Actor {
    Actor {
        name: format!("token:{own}-{role}"),
        title: "A test".to_owned(),
        role,
        scope: Scope::One(organization(own)),
        address: "192.0.2.1".parse().unwrap(),
        request_id: "request-1".to_owned(),
    }
}

/// The pointers that an administrator was told of.
pub(crate) fn faults(refused: &Refused) -> Vec<&str> {
    let Refused::Invalid(faults) = refused else {
        panic!("refused for another reason: {refused:?}");
    };
    faults.iter().map(|fault| fault.field.as_str()).collect()
}
