//! The room from outside: real sockets, a stand-in for the token endpoint, a clock that is turned.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::clock::Turned;
use crate::connector::{
    ClientAuthentication, ClientCertificate, ConnectorId, Cookies, Custom, Forwarded, GrantType,
    HttpsUrl, Kind, ResourceDomain, Scrub,
};
use crate::dial::{Lookup, Resolver};
use crate::metrics::Metrics;
use crate::secret::Secret;

use server::{Pki, Server};

mod answers;
mod canaries;
mod fallbacks;
mod fleet;
mod flights;
mod keys;
mod leases;
mod refresh_tokens;
mod refusals;
mod requests;
mod revocations;
mod server;
mod sharing;
mod shelf;

/// The client secret of every staged connector.
const SECRET: &str = "a:b%/+é ";

/// A token endpoint and the gateway's side of it.
struct Stage {
    pki: Pki,
    server: Server,
    turned: Turned,
    credentials: Credentials,
    settings: Settings,
    metrics: Arc<Metrics>,
}

impl Stage {
    async fn new() -> Self {
        Self::of(Pki::new(), None).await
    }

    async fn of(pki: Pki, client_ca_pem: Option<String>) -> Self {
        let server = Server::start(&pki, "login.example", client_ca_pem).await;
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let clock = Clock::turned(&turned);
        let settings = Settings {
            tokens: Arc::new(Tokens {
                renew_at_percent: 80,
                retries_per_minute_max: 30,
                wait: Duration::from_secs(2),
                fetch: Duration::from_secs(10),
                default_lifetime: Duration::from_secs(300),
                entries_max: 1000,
            }),
            policy: AddressPolicy::allowing(&["127.0.0.0/8".parse().expect("a range")]),
            anchors: TrustAnchors::system_and([pki.pem().as_str()]).expect("anchors"),
        };
        let metrics = Metrics::new(1, 10);
        let credentials = credentials(&clock, &metrics, None);
        Self {
            pki,
            server,
            turned,
            credentials,
            settings,
            metrics,
        }
    }

    fn url(&self, host: &str) -> HttpsUrl {
        let port = self.server.address.port();
        HttpsUrl::parse(&format!("https://{host}:{port}/token?tenant=a")).expect("a URL")
    }

    /// Client credentials with `client_secret_basic`.
    fn oauth2(&self) -> OAuth2 {
        OAuth2 {
            grant: GrantType::ClientCredentials,
            token_url: self.url("login.example"),
            revocation_url: None,
            client_id: "client-1".to_owned(),
            client_authentication: ClientAuthentication::ClientSecretBasic(secret(SECRET)),
            certificate_to_resource: false,
            scope: None,
            token_parameters: BTreeMap::new(),
            token_headers: Vec::new(),
        }
    }

    fn password(&self) -> OAuth2 {
        OAuth2 {
            grant: GrantType::Password {
                username: "svc@example.com".to_owned(),
                password: secret("pass word&="),
            },
            ..self.oauth2()
        }
    }

    fn source(&self, connector: &Connector) -> Source {
        let label = Arc::from(connector.id.as_str());
        self.credentials
            .source(connector, Revision(1), &self.settings, label)
            .expect("a usable identity")
    }

    /// A fresh source for `oauth2`, asked once.
    async fn obtain(&self, oauth2: OAuth2) -> Result<Obtained, Unobtained> {
        self.source(&connector("crm", oauth2)).obtain().await
    }

    /// What a token request whose answer is `answer` comes to.
    async fn answered(&self, answer: Vec<u8>) -> Result<Obtained, Arc<TokenError>> {
        self.server.will_answer(answer);
        let connector = connector("crm", self.oauth2());
        let source = self.source(&connector);
        let obtained = source.obtain().await;
        self.credentials.retire(&source);
        drop(source);
        obtained.map_err(|unobtained| {
            let shown = format!("{unobtained:?}");
            assert!(!shown.contains("secret-token"), "{shown}");
            unobtained.reason
        })
    }

    /// Lets time pass until `source` may try again, and waits for the token that it then gets.
    async fn recovered(&self, source: &Source) -> Obtained {
        self.turned.advance(Duration::from_secs(330));
        let recovering = async {
            loop {
                if let Ok(obtained) = source.obtain().await {
                    return obtained;
                }
                tokio::task::yield_now().await;
            }
        };
        within("a recovery", recovering).await
    }

    /// Returns once as many attempts in a row have failed.
    async fn failed(&self, source: &Source, attempts: u32) {
        let failing = async {
            while source.failure().is_none_or(|it| it.attempts < attempts) {
                tokio::task::yield_now().await;
            }
        };
        within("a failed attempt", failing).await;
    }
}

/// Credentials whose fetches run on the test's own runtime.
fn credentials(
    clock: &Clock,
    metrics: &Metrics,
    shared: Option<Arc<dyn SharedTokens>>,
) -> Credentials {
    let loopback = vec!["127.0.0.1".parse().expect("an address")];
    let names = ["login.example", "other.example"];
    let table = names.map(|name| (name.to_owned(), loopback.clone()));
    let lookup = Lookup::Table(Arc::new(HashMap::from(table)));
    let runtime = Handle::current();
    let resolver = Resolver::new(lookup, clock.clone(), runtime.clone(), metrics.lookups());
    let dialer = Dialer::new(resolver);
    let tokens = metrics.tokens();
    Credentials::new(runtime, dialer, clock.clone(), tokens, 1000, shared)
}

/// What `future` comes to; a test that would wait for ever fails instead.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(20);
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Without what owns them.
fn told(answered: &Result<Obtained, Arc<TokenError>>) -> Result<&Obtained, &TokenError> {
    answered.as_ref().map_err(|error| &**error)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn connector(id: &str, oauth2: OAuth2) -> Connector {
    Connector {
        organization: Default::default(),
        id: ConnectorId::parse(id).expect("an ID"),
        name: id.into(),
        enabled: true,
        kind: Kind::Custom(Custom {
            resource_domain: ResourceDomain::parse("https://crm.example").expect("a domain"),
            probe: None,
            scheme: Scheme::OAuth2(Arc::new(oauth2)),
        }),
        ca_bundle: None,
        crl: None,
        cookies: Cookies::Drop,
        forwarded: Forwarded::Omit,
        warm: false,
        recovery: Arc::default(),
        bulkhead: Arc::default(),
        scrub: Scrub::default(),
        requests: Arc::default(),
        upstream: Arc::default(),
        stored: None,
    }
}

/// The value of `Authorization`, which must be marked sensitive.
fn authorization(obtained: &Obtained) -> &str {
    match &obtained.credential {
        Credential::Field { name, value, .. } => {
            assert_eq!(name, header::AUTHORIZATION);
            assert!(value.is_sensitive());
            value.to_str().expect("visible ASCII")
        }
        Credential::None => panic!("no credential"),
    }
}
