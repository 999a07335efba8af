//! Three replicas in one process that share tokens through a real store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attache::clock::Clock;
use attache::config::Config;
use attache::connector::{Connector, Revision, Stored};
use attache::control::store::Store;
use attache::credential::{Credential, Credentials, Settings, SharedTokens, Source};
use attache::dial::{AddressPolicy, Dialer, Lookup, Resolver};
use attache::metrics::Metrics;
use attache::tls::client::TrustAnchors;
use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Handle;

use super::room::{Room, on_both};
use crate::support::answer::Answer;
use crate::support::authority::{Authority, bearer};
use crate::support::connector::{connector, connectors, oauth2, with_secret};
use crate::support::postgres::{Fsync, Postgres};
use crate::support::stage::Stage;
use crate::support::within;

/// Replicas of one connector before one token endpoint.
struct Replicas {
    authority: Authority,
    sources: Vec<Source>,
    metrics: Vec<Arc<Metrics>>,
    stores: Vec<Store>,
    credentials: Vec<Credentials>,
    settings: Settings,
    connector: Connector,
}

impl Replicas {
    async fn new(room: &Room, auth: impl Fn(&str) -> String) -> Self {
        let stage = Stage::new();
        let authority = Authority::plain(&stage.server()).await;
        let one = connector("crm", "https://crm.example", &auth(&authority.token_url()));
        let config = Config::parse(&stage.yaml(&connectors(&[one])), stage.directory()).unwrap();
        let connector = Connector {
            stored: Some(Arc::new(Stored {
                revision: 1,
                fallback: None,
            })),
            ..Connector::clone(&config.connectors[0])
        };
        let settings = Settings {
            tokens: Arc::new(config.tokens),
            policy: AddressPolicy::allowing(&["127.0.0.0/8".parse().unwrap()]),
            anchors: TrustAnchors::system_and([stage.ca.pem().as_str()]).unwrap(),
        };
        let mut replicas = Self {
            authority,
            sources: Vec::new(),
            metrics: Vec::new(),
            stores: Vec::new(),
            credentials: Vec::new(),
            settings,
            connector,
        };
        for _ in 0..3 {
            replicas.join(room).await;
        }
        replicas
    }

    async fn join(&mut self, room: &Room) {
        let store = Store::open(&room.settings, Clock::system()).await.unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::new(1, 10));
        let runtime = Handle::current();
        let lookups = metrics.lookups();
        let resolver = Resolver::new(Lookup::System, clock.clone(), runtime.clone(), lookups);
        let shared: Arc<dyn SharedTokens> = Arc::new(store.clone());
        let credentials = Credentials::new(
            runtime,
            Dialer::new(resolver),
            clock,
            metrics.tokens(),
            10,
            Some(shared),
        );
        self.sources.push(self.source(&credentials));
        self.credentials.push(credentials);
        self.metrics.push(metrics);
        self.stores.push(store);
    }

    fn source(&self, credentials: &Credentials) -> Source {
        let (revision, label) = (Revision(1), Arc::from("crm"));
        let source = credentials.source(&self.connector, revision, &self.settings, label);
        source.unwrap()
    }

    /// Everybody's token, asked for at once.
    async fn obtain(&self) -> Vec<String> {
        let all = join_all(self.sources.iter().map(obtained));
        within("tokens", all).await
    }

    fn counted(&self, outcome: &str) -> f64 {
        let line = format!("attache_shared_tokens_total{{outcome=\"{outcome}\"}} ");
        let texts = self.metrics.iter().map(|metrics| metrics.encode());
        let count = |text: String| {
            let found = text.lines().find_map(|text| text.strip_prefix(&line));
            found.unwrap().parse::<f64>().unwrap()
        };
        texts.map(count).sum()
    }
}

async fn obtained(source: &Source) -> String {
    let obtained = source.obtain().await.unwrap();
    match obtained.credential {
        Credential::Field { value, .. } => value.to_str().unwrap().to_owned(),
        Credential::None => panic!("no credential"),
    }
}

fn with_refresh_token(access: &str, refresh: &str, expires_in: u64) -> Answer {
    Answer::json(&json!({
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": expires_in,
        "refresh_token": refresh,
    }))
}

#[tokio::test]
async fn three_cold_replicas_make_one_token_request() {
    on_both(|room| async move {
        let replicas = Replicas::new(&room, with_secret).await;

        assert_eq!(replicas.obtain().await, ["Bearer token-1"; 3]);

        assert_eq!(replicas.authority.count(), 1);
        assert_eq!(replicas.counted("fetched"), 1.0);
        assert_eq!(replicas.counted("unavailable"), 0.0);
    })
    .await;
}

#[tokio::test]
async fn three_replicas_make_one_token_request_per_renewal_interval() {
    const LIFE: u64 = 2;
    let watch = |room: Room| async move {
        let replicas = Replicas::new(&room, with_secret).await;
        let answer = |n, _: &_| bearer(&format!("token-{n}"), LIFE);
        replicas.authority.answer_with(answer);
        let began = Instant::now();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while replicas.authority.count() < 6 {
            pace.tick().await;
            replicas.obtain().await;
        }
        let took = began.elapsed();

        // Five renewals, each 80 % of a life and up to 5 % by chance after the one before.
        assert!(took >= Duration::from_millis(5 * 1_600), "{took:?}");
        assert_eq!(replicas.counted("unavailable"), 0.0);
        assert_eq!(replicas.counted("fetched"), 6.0);
        assert!(replicas.counted("taken") + replicas.counted("waited") >= 10.0);
    };
    let postgres = Room::postgres().await;
    let both = async { tokio::join!(watch(Room::sqlite()), watch(postgres)) };
    within("six token requests", both).await;
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_for_all() {
    on_both(|room| async move {
        let replicas = Replicas::new(&room, with_secret).await;
        replicas.obtain().await;

        for source in &replicas.sources {
            let token = source.obtain().await.unwrap().token.unwrap();
            assert!(source.reject(token));
        }

        assert_eq!(replicas.obtain().await, ["Bearer token-2"; 3]);
        assert_eq!(replicas.authority.count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_starts_anew_takes_what_is_there() {
    on_both(|room| async move {
        let mut replicas = Replicas::new(&room, with_secret).await;
        replicas.obtain().await;

        replicas.join(&room).await;

        assert_eq!(replicas.obtain().await, ["Bearer token-1"; 4]);
        assert_eq!(replicas.authority.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn rotated_refresh_tokens_are_spent_once_by_whoever_is_next() {
    on_both(|room| async move {
        let replicas = Replicas::new(&room, |url| {
            let rest = "client_id: client, client_secret: s, grant: password, \
                 username: svc, password: p";
            oauth2(url, rest)
        })
        .await;
        let answer =
            |n, _: &_| with_refresh_token(&format!("token-{n}"), &format!("refresh-{n}"), 3600);
        replicas.authority.answer_with(answer);

        for _ in 0..5 {
            replicas.obtain().await;
            for source in &replicas.sources {
                let token = source.obtain().await.unwrap().token.unwrap();
                assert!(source.reject(token));
            }
        }

        let requests = replicas.authority.requests();
        let spent: Vec<_> = requests
            .iter()
            .filter_map(|request| request.parameter("refresh_token"))
            .collect();
        assert_eq!(spent, ["refresh-1", "refresh-2", "refresh-3", "refresh-4"]);
        let count = "SELECT COUNT(*) FROM shared_tokens WHERE length(refresh_sealed) > 0";
        assert_eq!(room.number(count).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_gone_costs_a_request_each_and_no_failure() {
    let room = Room::on(Postgres::own(Fsync::Off)).await;
    let replicas = Replicas::new(&room, with_secret).await;
    replicas.obtain().await;

    room.server().kill();
    for source in &replicas.sources {
        let token = source.obtain().await.unwrap().token.unwrap();
        assert!(source.reject(token));
    }
    replicas.obtain().await;
    assert_eq!(replicas.authority.count(), 4);
    assert_eq!(replicas.counted("unavailable"), 3.0);

    room.server().start();
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    let again = async {
        while replicas.counted("taken") + replicas.counted("waited") < 4.0 {
            pace.tick().await;
            for source in &replicas.sources {
                let token = source.obtain().await.unwrap().token.unwrap();
                source.reject(token);
            }
            replicas.obtain().await;
        }
    };
    within("tokens that are shared again", again).await;
}

#[tokio::test]
async fn a_database_that_hangs_costs_half_a_second_once_and_no_failure() {
    let room = Room::on(Postgres::own(Fsync::Off)).await;
    let replicas = Replicas::new(&room, with_secret).await;
    replicas.obtain().await;

    room.server().freeze();
    let reject = || async {
        for source in &replicas.sources {
            let token = source.obtain().await.unwrap().token.unwrap();
            assert!(source.reject(token));
        }
    };
    reject().await;
    let began = Instant::now();
    replicas.obtain().await;
    let first = began.elapsed();
    reject().await;
    let began = Instant::now();
    replicas.obtain().await;
    let second = began.elapsed();
    room.server().thaw();

    assert!(first >= Duration::from_millis(500), "{first:?}");
    assert!(
        first < Duration::from_millis(1_900),
        "no flow gave up: {first:?}"
    );
    assert!(
        second < Duration::from_millis(500),
        "it is left alone: {second:?}"
    );
    assert_eq!(replicas.authority.count(), 7);
}

#[tokio::test]
async fn a_replica_that_dies_with_the_lease_costs_one_lease() {
    on_both(|mut room| async move {
        room.settings.lease = Duration::from_secs(1);
        let mut replicas = Replicas::new(&room, with_secret).await;
        let dying = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        replicas.authority.release(0);
        let entered = dying.enter();
        let store = dying.handle().spawn({
            let settings = room.settings.clone();
            async move { Store::open(&settings, Clock::system()).await.unwrap() }
        });
        drop(entered);
        let store = store.await.unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::new(1, 10));
        let runtime = dying.handle().clone();
        let lookups = metrics.lookups();
        let resolver = Resolver::new(Lookup::System, clock.clone(), runtime.clone(), lookups);
        let tokens = metrics.tokens();
        let shared: Arc<dyn SharedTokens> = Arc::new(store);
        let credentials = Credentials::new(
            runtime,
            Dialer::new(resolver),
            clock,
            tokens,
            10,
            Some(shared),
        );
        credentials.warm(vec![replicas.source(&credentials)]);
        replicas.authority.until_requests(1).await;
        dying.shutdown_background();
        replicas.authority.release_all();

        let began = Instant::now();
        let tokens = replicas.obtain().await;
        let took = began.elapsed();

        assert_eq!(tokens, ["Bearer token-2"; 3]);
        assert_eq!(replicas.authority.count(), 2);
        assert_eq!(replicas.counted("lapsed"), 1.0);
        assert!(took < room.settings.lease * 2, "{took:?}");
        replicas.sources.clear();
    })
    .await;
}
