//! Against a real authorization server (npm's oidc-provider).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::client::Answered;
use crate::support::oidc::{ODD_SECRET, Oidc, PASSWORD, USERNAME};
use crate::support::pki::{Ca, Identity, Leaf};

const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

async fn server() -> Oidc {
    Oidc::start(&Arc::new(Ca::new("trusted"))).await
}

fn token(answered: &Answered) -> String {
    let answer = answered.json();
    assert_eq!(answered.status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// A client assertion (RFC 7523 §2.2) signed by `key`.
fn assertion(client_id: &str, audience: &str, algorithm: Algorithm, key: &Identity) -> String {
    let pem = key.key_pem.as_bytes();
    let key = if algorithm == Algorithm::ES256 {
        EncodingKey::from_ec_pem(pem)
    } else {
        EncodingKey::from_rsa_pem(pem)
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience,
        "iat": now, "exp": now + 60, "jti": uuid::Uuid::new_v4().to_string(),
    });
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &key.unwrap()).unwrap()
}

async fn ask_with_assertion(oidc: &Oidc, assertion: &str) -> Answered {
    let form = [
        CLIENT_CREDENTIALS,
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion),
    ];
    oidc.post("/token", None, None, &form).await
}

async fn ask_with_certificate(oidc: &Oidc, client: &str, identity: &Identity) -> Answered {
    let form = [CLIENT_CREDENTIALS, ("client_id", client)];
    oidc.post("/token", Some(identity), None, &form).await
}

#[tokio::test]
async fn the_server_itself_refuses_wrong_proofs() {
    let oidc = server().await;
    let stranger = Leaf::client("tls-client").self_signed();
    let post = [
        CLIENT_CREDENTIALS,
        ("client_id", "client_secret_post"),
        ("client_secret", "wrong"),
    ];
    let password = [
        ("grant_type", "password"),
        ("client_id", "password"),
        ("client_secret", ODD_SECRET),
        ("username", USERNAME),
        ("password", "wrong"),
    ];
    let elsewhere = assertion(
        "private_key_jwt",
        "https://other.example",
        Algorithm::RS256,
        &oidc.assertion_client,
    );

    for (what, answered) in [
        ("secret", oidc.post("/token", None, None, &post).await),
        ("password", oidc.post("/token", None, None, &password).await),
        ("audience", ask_with_assertion(&oidc, &elsewhere).await),
        (
            "issuer",
            ask_with_certificate(&oidc, "tls_client_auth", &stranger).await,
        ),
        (
            "certificate",
            ask_with_certificate(&oidc, "self_signed_tls_client_auth", &stranger).await,
        ),
    ] {
        assert!(
            answered.status.is_client_error(),
            "{what}: {}",
            answered.text()
        );
    }
    assert_eq!(oidc.introspect("no-such-token").await["active"], false);
}

#[tokio::test]
async fn the_server_itself_takes_secrets() {
    let oidc = server().await;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let secret: String = encode(ODD_SECRET);
    let basic = format!(
        "Basic {}",
        STANDARD.encode(format!("client_secret_basic:{secret}"))
    );
    let scoped = [CLIENT_CREDENTIALS, ("scope", "api")];
    let post = [
        CLIENT_CREDENTIALS,
        ("client_id", "client_secret_post"),
        ("client_secret", ODD_SECRET),
    ];

    let by_basic = token(&oidc.post("/token", None, Some(&basic), &scoped).await);
    let by_post = token(&oidc.post("/token", None, None, &post).await);

    let known = oidc.introspect(&by_basic).await;
    assert_eq!(known["active"], true);
    assert_eq!(known["scope"], "api");
    assert_eq!(
        oidc.introspect(&by_post).await["client_id"],
        "client_secret_post"
    );
    assert_eq!(
        oidc.granted("client_secret_post", "client_credentials", 1)
            .await,
        1
    );
}

#[tokio::test]
async fn the_server_itself_takes_assertions() {
    let oidc = server().await;
    for (client, algorithm, key) in [
        ("private_key_jwt", Algorithm::RS256, &oidc.assertion_client),
        ("private_key_jwt", Algorithm::PS256, &oidc.assertion_client),
        (
            "private_key_jwt_ec",
            Algorithm::ES256,
            &oidc.assertion_ec_client,
        ),
    ] {
        for audience in [oidc.issuer(), oidc.token_url()] {
            let assertion = assertion(client, &audience, algorithm, key);

            let token = token(&ask_with_assertion(&oidc, &assertion).await);

            assert_eq!(oidc.introspect(&token).await["client_id"], client);
        }
    }
}

#[tokio::test]
async fn the_server_itself_binds_tokens_to_certificates() {
    let oidc = server().await;
    for (client, identity) in [
        ("tls_client_auth", &oidc.tls_client),
        ("self_signed_tls_client_auth", &oidc.self_signed_client),
    ] {
        let token = token(&ask_with_certificate(&oidc, client, identity).await);

        let known = oidc.introspect(&token).await;
        assert_eq!(known["client_id"], client);
        assert_eq!(known["cnf"]["x5t#S256"], Value::from(identity.thumbprint()));
    }
}

#[tokio::test]
async fn the_server_itself_gives_a_refresh_token_for_a_password() {
    let oidc = server().await;
    let client = [("client_id", "password"), ("client_secret", ODD_SECRET)];
    let mut form = vec![
        ("grant_type", "password"),
        ("username", USERNAME),
        ("password", PASSWORD),
        ("scope", "api"),
    ];
    form.extend(client);

    let first = oidc.post("/token", None, None, &form).await.json();
    let refresh_token = first["refresh_token"].as_str().unwrap();
    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    form.extend(client);
    let second = token(&oidc.post("/token", None, None, &form).await);

    assert_eq!(oidc.introspect(&second).await["sub"], USERNAME);
    assert_eq!(oidc.granted("password", "password", 1).await, 1);
    assert_eq!(oidc.granted("password", "refresh_token", 1).await, 1);
}
