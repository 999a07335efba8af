//! The tokens of a real authorization server, npm's oidc-provider.

use attache::clock::Clock;
use attache::control::access::{Role, Unauthenticated};

use super::office::{HERE, ask, minded, only};
use crate::support::oidc::{ODD_SECRET, Oidc};
use crate::support::stage::Stage;

/// What the server calls the gateway (RFC 8707).
const RESOURCE: &str = "https://attache.example/admin";

async fn token(oidc: &Oidc, resource: &str) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "client_secret_post"),
        ("client_secret", ODD_SECRET),
        ("scope", "api"),
        ("resource", resource),
    ];
    let answered = oidc.post("/token", None, None, &form).await.json();
    answered["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_access_token_of_a_real_server_names_an_administrator() {
    let stage = Stage::new();
    let oidc = Oidc::start(&stage.ca).await;
    let issuer = oidc.issuer();
    let yaml = format!(
        "{{ issuer: '{issuer}', audience: '{RESOURCE}', roles: {{ connector-admins: full-admin }} }}"
    );
    let (_store, authentication) = minded(&stage, &yaml, &Clock::system()).await;

    let good = format!("Bearer {}", token(&oidc, RESOURCE).await);
    let actor = ask(&authentication, HERE, &good).await.unwrap();

    assert_eq!(
        (actor.name.as_str(), actor.role),
        ("oidc:client_secret_post", Role::FullAdmin)
    );
    assert_eq!(actor.scope, only("default"));
    let other = format!(
        "Bearer {}",
        token(&oidc, "https://attache.example/other").await
    );
    let refused = ask(&authentication, HERE, &other).await;
    assert_eq!(refused.unwrap_err(), Unauthenticated::Invalid);
}
