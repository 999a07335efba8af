//! Who may ask at all: names, browsers, tokens.

use attache::connector::Role;
use serde_json::Value;

use super::desk::{Desk, JSON, refused};
use crate::inbound_keys::DOORS;
use crate::support::client::Client;

#[tokio::test]
async fn a_name_that_is_not_ours_gets_nothing_whatever_else_is_right() {
    let desk = Desk::new().await;

    for host in ["attacker.example", "localhost.attacker.example", ""] {
        let mut wire = desk.wire().await;
        let token = desk.acme();
        wire.write(format!(
            "GET /api/v1/connectors HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;

        let answer = wire.answer().await;

        assert_eq!(answer.status(), 400, "{host:?}");
    }
}

#[tokio::test]
async fn what_a_page_of_another_site_makes_a_browser_send_is_refused() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");
    let own = format!("http://{}", desk.address);

    for field in [
        ("origin", "https://attacker.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let read = desk
            .ask(("GET", "/connectors"), &[field], &Value::Null)
            .await;
        let made = desk
            .ask(("POST", "/connectors"), &[JSON, field], &body)
            .await;
        let asked = desk
            .ask(("OPTIONS", "/connectors"), &[field], &Value::Null)
            .await;

        for answer in [read, made, asked] {
            refused(&answer, 403, "browser-refused");
            let cors = |(name, _): &&(String, String)| name.starts_with("access-control");
            assert_eq!(answer.fields.iter().find(cors), None);
        }
    }
    let ours = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let read = desk.ask(("GET", "/connectors"), &ours, &Value::Null).await;
    assert_eq!(read.status, 200, "{}", read.text());
    assert_eq!(read.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn nobody_is_told_anything_without_a_token() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let mut client = Client::http1(desk.address).await;

    for path in [
        "/api/v1/connectors",
        &format!("/api/v1/connectors/{id}"),
        "/api/v1/whoami",
        "/api/v1/nowhere",
        "/api/nowhere",
    ] {
        let answer = client.get(path).await;

        refused(&answer, 401, "unauthenticated");
        // RFC 6750 §3: who shows nothing is told no error.
        assert_eq!(
            answer.field("www-authenticate"),
            Some("Bearer realm=\"attache\"")
        );
    }
    let fields = [("authorization", "Bearer attache_nobody")];
    let answer = client.call("GET", "/api/v1/whoami", &fields, "").await;
    refused(&answer, 401, "unauthenticated");
    let challenge = answer.field("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
}

#[tokio::test]
async fn no_field_stands_in_for_a_token() {
    // protocol.md, row 37.
    let desk = Desk::new().await;
    let mut client = Client::http1(desk.address).await;

    for field in DOORS {
        let field = field.split_once(": ").unwrap();
        for method in ["GET", "POST", "DELETE"] {
            let answer = client
                .call(method, "/api/v1/connectors", &[field], "")
                .await;
            refused(&answer, 401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn whoever_fails_too_often_is_told_when_to_come_back() {
    let desk = Desk::new().await;
    let mut client = Client::http1(desk.address).await;

    let mut last = None;
    for _ in 0..7 {
        let fields = [("authorization", "Bearer attache_nobody")];
        last = Some(client.call("GET", "/api/v1/whoami", &fields, "").await);
    }

    let last = last.unwrap();
    refused(&last, 429, "too-many-failures");
    let wait: u64 = last.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn the_one_who_asks_is_told_who_they_are() {
    let desk = Desk::new().await;
    let reader = desk.token(Role::PartnerReadOnlyAdmin, Some("globex")).await;

    let answer = desk
        .as_who(&reader, ("GET", "/whoami"), &[], &Value::Null)
        .await;

    assert_eq!(answer.status, 200);
    let me = answer.json();
    assert_eq!(me["role"], "partner-read-only-admin");
    assert_eq!(me["organization"], "globex");
    assert!(me["name"].as_str().unwrap().starts_with("token:"));
}

/// Whatever stands at a path, and whether anything does.
#[tokio::test]
async fn no_path_of_the_admin_listener_is_for_other_names_or_other_sites_pages() {
    let desk = Desk::new().await;

    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/readyz?verbose",
        "/openapi.json",
        "/api/v1/connectors",
        "/api/v1/nowhere",
        "/api",
        "/nowhere",
        "/",
    ] {
        for field in [
            ("origin", "https://attacker.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let mut client = Client::http1(desk.address).await;
            for method in ["GET", "HEAD", "OPTIONS", "POST"] {
                let answer = client.call(method, path, &[field], "").await;

                assert_eq!(answer.status, 403, "{method} {path} {field:?}");
                let cors = |(name, _): &&(String, String)| name.starts_with("access-control");
                assert_eq!(answer.fields.iter().find(cors), None);
            }
        }
        for host in ["attacker.example", "attacker.example.", ""] {
            let mut wire = desk.wire().await;
            wire.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
                .await;

            let answer = wire.answer().await;

            assert_eq!(answer.status(), 400, "{path} {host:?}");
            assert_eq!(answer.reason(), "bad-host");
        }
    }
}
