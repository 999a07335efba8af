//! Tokens of an OpenID provider: which are believed, and how its keys are had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use attache::clock::{Clock, Turned};
use attache::control::access::{Actor, Role, Unauthenticated};
use attache::control::store::AuditOutcome;
use attache::gateway::Environment;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::office::{Office, START_SECONDS, only};
use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::gateway::Running;
use crate::support::origin::{self, Origin, Setup};
use crate::support::pki::{Ca, Leaf};
use crate::support::stage::Stage;
use crate::support::store_room::StoreRoom;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const ROLES: &str = "roles: { admins: full-admin, readers: external-read-only-admin }";

/// A key pair of the provider's, or of somebody else's.
#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    kid: &'static str,
    private: EncodingKey,
}

impl Key {
    fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        let private = if algorithm == Algorithm::ES256 {
            let pem = Leaf::client("signer").self_signed().key_pem;
            EncodingKey::from_ec_pem(pem.as_bytes())
        } else {
            let pem = Leaf::client("signer").rsa().self_signed().key_pem;
            EncodingKey::from_rsa_pem(pem.as_bytes())
        };
        Self {
            algorithm,
            kid,
            private: private.unwrap(),
        }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        header.typ = Some("at+jwt".to_owned());
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// A provider that answers as it is told.
struct Issuer {
    origin: Origin,
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    away: Arc<AtomicBool>,
}

impl Issuer {
    async fn start(stage: &Stage, keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let keys = keys.iter().map(|key| key.public()).collect();
        let keys = Arc::new(Mutex::new(keys));
        let away = Arc::new(AtomicBool::new(false));
        let (issuer, shown, gone) = (url.clone(), Arc::clone(&keys), Arc::clone(&away));
        let handler = origin::whole(move |request| {
            if gone.load(Ordering::SeqCst) {
                return Answer::status(503);
            }
            match request.target.as_str() {
                DISCOVERY => Answer::json(&json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{issuer}/keys"),
                })),
                "/keys" => Answer::json(&json!({ "keys": *shown.lock().unwrap() })),
                _ => Answer::status(404),
            }
        });
        let origin = Origin::start_on(listener, Setup::new(&stage.server()), handler);
        Self {
            origin,
            url,
            keys,
            away,
        }
    }

    /// `admin.oidc` for it.
    fn yaml(&self) -> String {
        format!("{{ issuer: '{}', audience: attache, {ROLES} }}", self.url)
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.url,
            "aud": "attache",
            "sub": "ada",
            "exp": START_SECONDS + 86_400,
            "iat": START_SECONDS,
            "roles": ["readers", "admins"],
        })
    }

    fn asked(&self, target: &str) -> usize {
        let requests = self.origin.requests();
        requests.iter().filter(|one| one.target == target).count()
    }
}

fn refused(asked: Result<Actor, Unauthenticated>) -> Unauthenticated {
    asked.unwrap_err()
}

#[tokio::test]
async fn a_token_signed_with_a_key_of_the_providers_names_its_subject() {
    let stage = Stage::new();
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256] {
        let key = Key::new(algorithm, "one");
        let issuer = Issuer::start(&stage, &[&key]).await;
        let office = Office::with(&stage, &issuer.yaml()).await;

        for _ in 0..3 {
            let actor = office.ask(&key.sign(&issuer.claims())).await.unwrap();
            assert_eq!(
                (actor.name.as_str(), actor.role),
                ("oidc:ada", Role::FullAdmin)
            );
            assert_eq!(actor.scope, only("default"));
        }

        assert_eq!((issuer.asked(DISCOVERY), issuer.asked("/keys")), (1, 1));
        drop(office);
        std::fs::remove_file(stage.directory().join("attache.db")).unwrap();
    }
}

#[tokio::test]
async fn the_gateways_own_tokens_go_on_beside_a_providers() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    let issued = office.issue(Role::HelpDeskAdmin, only("default")).await;

    assert!(office.ask(issued.token.expose()).await.is_ok());
    assert_eq!(issuer.asked(DISCOVERY), 0);
}

/// RFC 8725 §§2.1, 3.1: neither `none` nor a public key used as a shared secret.
#[tokio::test]
async fn a_token_that_somebody_else_made_is_refused() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::RS256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    let claims = issuer.claims();
    let stranger = Key::new(Algorithm::RS256, "one").sign(&claims);
    let good = key.sign(&claims);
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = head_and_claims.split_once('.').unwrap();
    let (_, other_claims) = stranger.split_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let mut symmetric = Header::new(Algorithm::HS256);
    symmetric.kid = Some("one".to_owned());
    let modulus = key.public()["n"].as_str().unwrap().to_owned();
    let confused = EncodingKey::from_base64_secret(&modulus);
    let confused = confused.unwrap_or_else(|_| EncodingKey::from_secret(modulus.as_bytes()));
    let confused = jsonwebtoken::encode(&symmetric, &claims, &confused).unwrap();
    for (number, token) in [
        stranger.clone(),
        format!("{head_and_claims}."),
        format!("{head}.{other_claims}"),
        format!("{none}.{}.", head_and_claims.split_once('.').unwrap().1),
        format!(
            "{none}.{}.{signature}",
            head_and_claims.split_once('.').unwrap().1
        ),
        confused,
        format!("{good}."),
    ]
    .into_iter()
    .enumerate()
    {
        let (address, shown) = (format!("192.0.2.{number}"), format!("Bearer {token}"));
        let asked = office.ask_from(&address, &shown);
        assert_eq!(refused(asked.await), Unauthenticated::Invalid, "{number}");
    }
    assert!(office.ask(&good).await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_not_for_here_or_not_of_now_is_refused() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    for (number, (claim, value)) in [
        ("iss", json!("https://localhost")),
        ("aud", json!("somebody-else")),
        ("exp", json!(START_SECONDS - 30)),
        ("nbf", json!(START_SECONDS + 31)),
        ("iat", json!(START_SECONDS + 31)),
        ("cnf", json!({ "jkt": "x" })),
        ("sub", json!("")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut claims = issuer.claims();
        claims[claim] = value;
        let token = key.sign(&claims);
        let (address, shown) = (format!("192.0.2.{number}"), format!("Bearer {token}"));
        let asked = office.ask_from(&address, &shown);
        assert_eq!(refused(asked.await), Unauthenticated::Invalid, "{claim}");
    }
    let good = key.sign(&issuer.claims());
    assert!(office.ask(&good).await.is_ok());
    office.turned.advance(Duration::from_secs(86_400 + 30));
    assert_eq!(refused(office.ask(&good).await), Unauthenticated::Invalid);
}

#[tokio::test]
async fn a_token_without_a_mapped_role_is_known_and_refused() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    let mut claims = issuer.claims();
    claims["roles"] = json!(["cleaners"]);
    let token = key.sign(&claims);

    for _ in 0..7 {
        assert_eq!(refused(office.ask(&token).await), Unauthenticated::NoRole);
    }

    let log = office.log().await;
    let forbidden = AuditOutcome::Refused("forbidden".to_owned());
    assert!(
        log.iter()
            .all(|entry| entry.actor == "oidc:ada" && entry.outcome == forbidden)
    );
    assert_eq!(log.len(), 7);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_in_half_a_minute() {
    let stage = Stage::new();
    let (old, new) = (
        Key::new(Algorithm::ES256, "old"),
        Key::new(Algorithm::ES256, "new"),
    );
    let issuer = Issuer::start(&stage, &[&old]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    assert!(office.ask(&old.sign(&issuer.claims())).await.is_ok());
    issuer.keys.lock().unwrap().push(new.public());
    let token = new.sign(&issuer.claims());

    office.turned.advance(Duration::from_secs(29));
    for _ in 0..3 {
        assert_eq!(refused(office.ask(&token).await), Unauthenticated::Invalid);
    }
    assert_eq!(issuer.asked("/keys"), 1);
    office.turned.advance(Duration::from_secs(1));

    assert!(office.ask(&token).await.is_ok());
    assert_eq!(issuer.asked("/keys"), 2);
}

#[tokio::test]
async fn keys_are_used_for_an_hour_while_the_provider_is_away() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    let token = key.sign(&issuer.claims());
    assert!(office.ask(&token).await.is_ok());
    issuer.away.store(true, Ordering::SeqCst);

    office.turned.advance(Duration::from_secs(3_599));
    assert!(office.ask(&token).await.is_ok());
    assert_eq!(issuer.asked(DISCOVERY), 2);
    office.turned.advance(Duration::from_secs(1));

    assert_eq!(
        refused(office.ask(&token).await),
        Unauthenticated::Unavailable
    );
    issuer.away.store(false, Ordering::SeqCst);
    office.turned.advance(Duration::from_secs(30));
    assert!(office.ask(&token).await.is_ok());
}

#[tokio::test]
async fn a_key_that_the_provider_withdrew_is_used_for_five_minutes_at_most() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    let token = key.sign(&issuer.claims());
    assert!(office.ask(&token).await.is_ok());
    issuer.keys.lock().unwrap().clear();

    office.turned.advance(Duration::from_secs(299));
    assert!(office.ask(&token).await.is_ok());
    office.turned.advance(Duration::from_secs(1));

    assert_eq!(refused(office.ask(&token).await), Unauthenticated::Invalid);
}

/// OpenID Connect Discovery 1.0 §4.3, and no redirect: keys come from where they are said to be.
#[tokio::test]
async fn keys_from_elsewhere_are_not_taken() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let real = Issuer::start(&stage, &[&key]).await;
    for answer in ["another-issuer", "redirect", "plain", "long", "no-json", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = format!("https://localhost:{port}");
        let (own, other, keys) = (issuer.clone(), real.url.clone(), real.origin.url("/keys"));
        let elsewhere = origin::whole(move |_| {
            let good = json!({ "issuer": own, "jwks_uri": keys });
            match answer {
                "another-issuer" => Answer::json(&json!({ "issuer": other, "jwks_uri": keys })),
                "redirect" => Answer::json(&good)
                    .with_status(302)
                    .field("location", &keys),
                "plain" => Answer::json(&json!({ "issuer": own, "jwks_uri": "http://localhost/" })),
                "long" => Answer::text(&format!("{good}{}", " ".repeat(300 * 1024))),
                "no-json" => Answer::text("<html>"),
                _ => Answer::json(&good),
            }
        });
        let _other = Origin::start_on(listener, Setup::new(&stage.server()), elsewhere);
        let yaml = format!("{{ issuer: '{issuer}', audience: attache, {ROLES} }}");
        let office = Office::with(&stage, &yaml).await;
        let mut claims = real.claims();
        claims["iss"] = json!(issuer);

        let asked = office.ask(&key.sign(&claims)).await;

        match answer {
            "" => assert!(asked.is_ok(), "{asked:?}"),
            _ => assert_eq!(refused(asked), Unauthenticated::Unavailable, "{answer}"),
        }
    }
}

/// The issuer's address is one that token endpoints may have.
#[tokio::test]
async fn a_provider_at_a_refused_address_is_not_asked() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let oidc = issuer.yaml();
    let trust = "trust: { ca_bundles: [{ file: ca.pem }], token_endpoint_allow_addresses: [] }\n";
    let office = Office::with(&stage, &format!("{oidc}\n{trust}")).await;

    let asked = office.ask(&key.sign(&issuer.claims())).await;

    assert_eq!(refused(asked), Unauthenticated::Unavailable);
    assert_eq!(issuer.origin.tally().accepted, 0);
}

fn reached_by_none() -> &'static str {
    "trust: { ca_bundles: [{ file: ca.pem }], token_endpoint_allow_addresses: [] }\n"
}

#[tokio::test]
async fn a_provider_whose_address_is_no_longer_allowed_is_not_asked_again() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let office = Office::with(&stage, &issuer.yaml()).await;
    assert!(office.ask(&key.sign(&issuer.claims())).await.is_ok());
    let asked = issuer.origin.tally().accepted;

    let narrowed = stage.config(reached_by_none()).unwrap();
    office.authentication.keep_within(&narrowed.trust).unwrap();
    // Past the time that keys are used for.
    office.turned.advance(Duration::from_secs(2 * 3_600));
    let later = office.ask(&key.sign(&issuer.claims())).await;

    assert_eq!(refused(later), Unauthenticated::Unavailable);
    assert_eq!(issuer.origin.tally().accepted, asked);
}

/// A key is believed no longer than whoever vouched for where it came from.
#[tokio::test]
async fn keys_from_a_provider_that_is_trusted_no_more_are_not_used() {
    let stage = Stage::new();
    stage.write("other.pem", &Ca::new("other").pem());
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let allow = "allow_addresses: [127.0.0.0/8, \"::1\"]";
    let others = format!("trust: {{ ca_bundles: [{{ file: other.pem }}], {allow} }}\n");
    for narrowed in [&others, reached_by_none()] {
        let office = Office::with(&stage, &issuer.yaml()).await;
        let token = key.sign(&issuer.claims());
        assert!(office.ask(&token).await.is_ok());
        let asked = issuer.asked("/keys");

        let trust = |own: &str| stage.config(own).unwrap().trust;
        let same = trust("");
        office.authentication.keep_within(&same).unwrap();
        assert!(office.ask(&token).await.is_ok());
        assert_eq!(issuer.asked("/keys"), asked, "nothing changed");

        office.authentication.keep_within(&trust(narrowed)).unwrap();
        let later = office.ask(&token).await;

        assert_eq!(refused(later), Unauthenticated::Unavailable, "{narrowed}");
        assert_eq!(issuer.asked("/keys"), asked);
        // Nobody waits for the pause that another provider was promised.
        office.authentication.keep_within(&same).unwrap();
        assert!(office.ask(&token).await.is_ok());
    }
}

#[tokio::test]
async fn a_reload_says_where_a_provider_may_be() {
    let stage = Stage::new();
    let key = Key::new(Algorithm::ES256, "one");
    let issuer = Issuer::start(&stage, &[&key]).await;
    let room = StoreRoom::sqlite(&stage).await;
    let admin = format!("admin:\n  listen: 127.0.0.1:0\n  oidc: {}\n", issuer.yaml());
    let own = room.yaml(&admin);
    let start = UNIX_EPOCH + Duration::from_secs(START_SECONDS);
    let turned = Turned::starting_at(start);
    let environment = Environment {
        clock: Clock::turned(&turned),
        ..Environment::system()
    };
    let narrow = format!("{}{own}", reached_by_none());
    let gateway = Running::start_in(&stage, &narrow, environment).await;
    let token = format!("Bearer {}", key.sign(&issuer.claims()));
    let ask = async || {
        let mut client = Client::http1(gateway.admin()).await;
        let fields = [("authorization", token.as_str())];
        let asked = client.call("GET", "/api/v1/whoami", &fields, "").await;
        asked.status.as_u16()
    };
    assert_eq!(ask().await, 503);
    assert_eq!(issuer.origin.tally().accepted, 0);

    gateway.reload(stage.config(&own)).unwrap();
    // Past the least time between two questions.
    turned.advance(Duration::from_secs(31));

    assert_eq!(ask().await, 200);
}
