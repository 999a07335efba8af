//! What a token request says: client assertions, the password grant and its refresh token.

use std::collections::HashSet;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::authority::{TokenRequest, bearer, rejection};
use crate::support::connector::{oauth2, pair, with_secret};
use crate::support::pki::{Identity, Leaf};
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;

fn grants(requests: &[TokenRequest]) -> Vec<&str> {
    let grants = requests.iter().map(|it| it.parameter("grant_type"));
    grants.map(Option::unwrap).collect()
}

fn with_assertion(token_url: &str, pair: &str, algorithm: &str) -> String {
    let rest = format!(
        "client_id: client, client_authentication: private_key_jwt, client_certificate: {pair}, \
         assertion: {{ audience: \"https://issuer.example\", algorithm: {algorithm}, \
         typ: client-authentication+jwt, key_id: k1 }}"
    );
    oauth2(token_url, &rest)
}

/// The claims of an assertion, verified with the key of `identity`.
fn claims(assertion: &str, algorithm: Algorithm, identity: &Identity) -> Value {
    let key = rcgen::KeyPair::from_pem(&identity.key_pem).unwrap();
    let public = rcgen::PublicKeyData::der_bytes(&key);
    let key = match algorithm == Algorithm::ES256 {
        true => DecodingKey::from_ec_der(public),
        false => DecodingKey::from_rsa_der(public),
    };
    let mut validation = Validation::new(algorithm);
    // The gateway's clock stands still at a day of its own.
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(assertion, &key, &validation)
        .unwrap()
        .claims
}

#[tokio::test]
async fn an_assertion_says_who_whom_for_how_long_and_is_said_once() {
    // RFC 7523 §3, RFC 10070 (one audience, as the sole value), RFC 7515 §4.1.8;
    // protocol.md 38, 53 to 55.
    for (name, algorithm, leaf) in [
        ("RS256", Algorithm::RS256, Leaf::client("c").rsa()),
        ("PS256", Algorithm::PS256, Leaf::client("c").rsa()),
        ("ES256", Algorithm::ES256, Leaf::client("c")),
    ] {
        let stage = Stage::new();
        let identity = leaf.self_signed();
        let pair = pair(&stage, "client", &identity);
        let room = TokenRoom::new(&stage, |url| with_assertion(url, &pair, name)).await;

        room.credential().await;
        room.next_credential().await;

        let mut ids = HashSet::new();
        for asked in room.asked() {
            let assertion = asked.parameter("client_assertion").unwrap();
            let header = jsonwebtoken::decode_header(assertion).unwrap();
            assert_eq!(header.alg, algorithm);
            assert_eq!(header.typ.as_deref(), Some("client-authentication+jwt"));
            assert_eq!(header.kid.as_deref(), Some("k1"));
            assert_eq!(header.x5t_s256, Some(identity.thumbprint()));
            let claims = claims(assertion, algorithm, &identity);
            assert_eq!(claims["iss"], "client");
            assert_eq!(claims["sub"], "client");
            assert_eq!(claims["aud"], "https://issuer.example");
            let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
            assert!((1..=300).contains(&life), "{life} s");
            assert!(ids.insert(claims["jti"].to_string()), "a jti is repeated");
            assert_eq!(
                asked.parameter("client_assertion_type"),
                Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            );
            assert_eq!(asked.parameter("client_secret"), None);
            assert_eq!(asked.recorded.field("authorization"), None);
            assert_eq!(asked.recorded.client_certificate, None, "it signs only");
        }
        assert_eq!(ids.len(), 2);
        room.gateway.drain().await;
    }
}

const PASSWORD: &str = "grant: password, username: login@example.com, password: \"pa ss&1\", \
    client_id: client, client_secret: client-secret";

fn with_password(token_url: &str) -> String {
    oauth2(token_url, PASSWORD)
}

fn refreshable(n: usize) -> Answer {
    Answer::json(&json!({
        "access_token": format!("token-{n}"), "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": format!("refresh-{n}"),
    }))
}

#[tokio::test]
async fn a_password_is_sent_once_and_refresh_tokens_from_then_on() {
    // RFC 6749 §4.3.2, §6; protocol.md 44, 45.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_password).await;
    room.authority.answer_with(|n, _| refreshable(n));

    let carried = [
        room.credential().await,
        room.next_credential().await,
        room.next_credential().await,
    ];

    assert_eq!(
        carried,
        ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
    );
    let asked = room.asked();
    assert_eq!(
        grants(&asked),
        ["password", "refresh_token", "refresh_token"]
    );
    assert_eq!(asked[0].parameter("username"), Some("login@example.com"));
    assert_eq!(asked[0].parameter("password"), Some("pa ss&1"));
    assert_eq!(asked[0].parameter("refresh_token"), None);
    for (asked, given) in asked[1..].iter().zip(["refresh-1", "refresh-2"]) {
        // The rotated one replaces the one before.
        assert_eq!(asked.parameter("refresh_token"), Some(given));
        assert_eq!(asked.parameter("username"), None);
        assert_eq!(asked.parameter("password"), None);
    }
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_refresh_token_that_is_not_replaced_serves_again() {
    // RFC 6749 §6: the server MAY issue a new one.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_password).await;
    room.authority.answer_with(|n, _| match n {
        1 => refreshable(n),
        _ => bearer(&format!("token-{n}"), 3600),
    });

    room.credential().await;
    room.next_credential().await;
    room.next_credential().await;

    let asked = room.asked();
    assert_eq!(asked[1].parameter("refresh_token"), Some("refresh-1"));
    assert_eq!(asked[2].parameter("refresh_token"), Some("refresh-1"));
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_refused_refresh_token_is_forgotten_and_the_password_sent_once() {
    // RFC 6749 §5.2.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_password).await;
    room.authority
        .answer_with(|n, request| match request.parameter("grant_type") {
            Some("refresh_token") => rejection(400, "invalid_grant"),
            _ => refreshable(n),
        });

    room.credential().await;
    let carried = room.next_credential().await;

    assert_eq!(carried, "Bearer token-3");
    assert_eq!(
        grants(&room.asked()),
        ["password", "refresh_token", "password"]
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_busy_server_costs_neither_the_refresh_token_nor_the_password() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_password).await;
    room.authority.answer_with(|n, _| match n {
        2 => Answer::status(503),
        _ => refreshable(n),
    });

    room.credential().await;
    room.turned.advance(Duration::from_secs(3600));
    let refused = room.get().await;
    let carried = room.recovered_credential().await;

    assert_eq!(refused.status, 503);
    assert_eq!(carried, "Bearer token-3");
    let asked = room.asked();
    assert_eq!(
        grants(&asked),
        ["password", "refresh_token", "refresh_token"]
    );
    assert_eq!(asked[2].parameter("refresh_token"), Some("refresh-1"));
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_refresh_token_beside_client_credentials_is_ignored() {
    // RFC 6749 §4.4.3; protocol.md 43.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| refreshable(n));

    room.credential().await;
    room.next_credential().await;

    let asked = room.asked();
    assert_eq!(grants(&asked), ["client_credentials", "client_credentials"]);
    assert!(
        asked
            .iter()
            .all(|it| it.parameter("refresh_token").is_none())
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_public_client_names_itself_and_proves_nothing() {
    // RFC 6749 §2.1, §3.2.1.
    let stage = Stage::new();
    let auth = |url: &str| {
        let rest = "grant: password, username: u, password: pass-word, client_id: public, \
            client_authentication: none";
        oauth2(url, rest)
    };
    let room = TokenRoom::new(&stage, auth).await;

    room.credential().await;

    let asked = room.authority.only_request();
    assert_eq!(asked.parameter("client_id"), Some("public"));
    assert_eq!(asked.parameter("client_secret"), None);
    assert_eq!(asked.recorded.field("authorization"), None);
    room.gateway.drain().await;
}
