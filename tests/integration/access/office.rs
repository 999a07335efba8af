//! Where administrators prove who they are: a store, and a clock that the test turns.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use attache::clock::{Clock, Turned};
use attache::config::Config;
use attache::connector::Organization;
use attache::control::access::{
    Actor, Administration, Authentication, Issued, Provider, Role, Scope, Unauthenticated, Wanted,
};
use attache::control::store::{AuditEntry, AuditFilter, Page, Store};
use attache::dial::{Dialer, Lookup, Resolver};
use attache::metrics::Metrics;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::support::stage::Stage;

/// A key for a store of no consequence.
pub(super) const MASTER_KEY: &str = "attache-key-1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// When the turned clock starts.
pub(super) const START_SECONDS: u64 = 1_800_000_000;
/// Where administrators sit unless a test says otherwise.
pub(super) const HERE: &str = "192.0.2.10";

/// The configuration of a store of the test's own.
pub(super) fn store_yaml(stage: &Stage) -> String {
    stage.write("master.key", MASTER_KEY);
    "store: { url: 'sqlite:attache.db', master_keys: [{ file: master.key }] }\n".to_owned()
}

/// A store with whoever minds it.
pub(super) struct Office {
    pub(super) store: Store,
    pub(super) turned: Turned,
    pub(super) authentication: Authentication,
    pub(super) administration: Administration,
}

impl Office {
    /// One on `stage`, without a provider.
    pub(super) async fn open(stage: &Stage) -> Self {
        Self::with(stage, "").await
    }

    /// One whose `admin.oidc` is `oidc`, where that is not empty.
    pub(super) async fn with(stage: &Stage, oidc: &str) -> Self {
        let start = UNIX_EPOCH + Duration::from_secs(START_SECONDS);
        let turned = Turned::starting_at(start);
        let clock = Clock::turned(&turned);
        let (store, authentication) = minded(stage, oidc, &clock).await;
        let administration = Administration::new(store.clone(), clock);
        Self {
            store,
            turned,
            authentication,
            administration,
        }
    }

    /// Who shows `authorization` at `address`.
    pub(super) async fn ask_from(
        &self,
        address: &str,
        authorization: &str,
    ) -> Result<Actor, Unauthenticated> {
        ask(&self.authentication, address, authorization).await
    }

    /// Who shows the bearer token `token`.
    pub(super) async fn ask(&self, token: &str) -> Result<Actor, Unauthenticated> {
        self.ask_from(HERE, &format!("Bearer {token}")).await
    }

    /// A token for `role` in `scope` that holds for a day.
    pub(super) async fn issue(&self, role: Role, scope: Scope) -> Issued {
        let wanted = Wanted {
            name: "a test's".to_owned(),
            role,
            scope,
            lifetime: Duration::from_secs(24 * 3_600),
        };
        self.administration.issue(&chief(), wanted).await.unwrap()
    }

    /// Everything in the audit log.
    pub(super) async fn log(&self) -> Vec<AuditEntry> {
        let page = Page {
            after: None,
            limit: 1_000,
        };
        let filter = AuditFilter::default();
        self.store.audit_entries(&filter, page).await.unwrap()
    }
}

/// Who shows `authorization` at `address`.
pub(super) async fn ask(
    authentication: &Authentication,
    address: &str,
    authorization: &str,
) -> Result<Actor, Unauthenticated> {
    let value = HeaderValue::from_str(authorization).unwrap();
    let fields = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let address: IpAddr = address.parse().unwrap();
    authentication
        .authenticate(&fields, address, "a-request")
        .await
}

/// A store, and who minds it by `clock`.
pub(super) async fn minded(stage: &Stage, oidc: &str, clock: &Clock) -> (Store, Authentication) {
    let admin = match oidc {
        "" => String::new(),
        oidc => format!("admin:\n  listen: 127.0.0.1:0\n  oidc: {oidc}\n"),
    };
    let config = stage.config(&(store_yaml(stage) + &admin)).unwrap();
    let settings = config.store.as_ref().unwrap();
    let store = Store::open(settings, clock.clone()).await.unwrap();
    let provider = provider(&config, clock);
    let authentication = Authentication::new(store.clone(), provider, clock.clone());
    (store, authentication)
}

fn provider(config: &Config, clock: &Clock) -> Option<Provider> {
    let settings = config.admin.oidc.as_ref()?;
    let lookups = Metrics::new(1, 1).lookups();
    let runtime = tokio::runtime::Handle::current();
    let resolver = Resolver::new(Lookup::System, clock.clone(), runtime, lookups);
    let dialer = Dialer::new(resolver);
    Some(Provider::new(settings, &config.trust, dialer, clock.clone()).unwrap())
}

/// Who runs the gateway.
pub(super) fn chief() -> Actor {
    administrator(Role::FullAdmin, Scope::All)
}

/// An administrator who was believed already.
pub(super) fn administrator(role: Role, scope: Scope) -> Actor {
    Actor {
        name: "token:test".to_owned(),
        title: "a test".to_owned(),
        role,
        scope,
        address: HERE.parse().unwrap(),
        request_id: "a-request".to_owned(),
    }
}

/// One organization's.
pub(super) fn only(name: &str) -> Scope {
    Scope::One(Organization::parse(name).unwrap())
}
