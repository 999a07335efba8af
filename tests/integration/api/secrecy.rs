//! No answer ever shows a secret.

use serde_json::{Value, json};

use super::desk::{ANY, Desk, JSON, PATCH, staged};
use crate::support::canary::Canaries;

#[tokio::test]
async fn no_answer_of_any_operation_shows_a_secret() {
    // protocol.md, rows 54 and 55.
    let desk = Desk::new().await;
    let secrets = [
        "canary-first-1c1c",
        "canary-second-2d2d",
        "canary-third-3e3e",
    ];
    let mut canary = Canaries::default();
    for secret in secrets {
        canary.watch(secret, secret);
        desk.room.accept(secret);
    }
    let mut body = desk.room.basic("Orders");
    body["auth"]["basic"]["password"] = secrets[0].into();
    let made = desk.ask(("POST", "/connectors"), &[JSON], &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let at = |step: &str| format!("/connectors/{id}{step}");
    let mut said = vec![made.text()];

    let mut whole = made.json();
    whole["auth"]["basic"]["password"] = secrets[2].into();
    let bad = json!({"auth": {"basic": {"password": secrets[2], "pasword": secrets[2]}}});
    let none = Value::Null;
    for (method, path, kind, body) in [
        ("GET", at(""), JSON, none.clone()),
        ("GET", "/connectors".to_owned(), JSON, none.clone()),
        ("PUT", at("/staged-secrets"), JSON, staged(secrets[1])),
        ("POST", at("/staged-secrets/test"), JSON, none.clone()),
        ("POST", at("/staged-secrets/promote"), JSON, json!({})),
        ("POST", at("/roll-back"), JSON, none.clone()),
        ("POST", at("/test"), JSON, none.clone()),
        ("PUT", at(""), JSON, whole.clone()),
        ("POST", at("/deactivate"), JSON, none.clone()),
        ("PATCH", at(""), PATCH, bad),
        ("PUT", at(""), JSON, whole),
        ("POST", at("/activate"), JSON, none.clone()),
        ("POST", at("/deactivate"), JSON, none.clone()),
        ("DELETE", at(""), JSON, none.clone()),
        ("GET", "/audit?limit=200".to_owned(), JSON, none.clone()),
        ("GET", "/connectors?state=deleted".to_owned(), JSON, none),
    ] {
        let answer = desk.ask((method, &path), &[kind, ANY], &body).await;
        said.push(format!(
            "{method} {path}: {:?} {}",
            answer.fields,
            answer.text()
        ));
    }

    for text in &said {
        canary.assert_absent("an answer", text);
    }
    assert!(said.last().unwrap().contains("\"deleted\""), "{said:?}");
}
