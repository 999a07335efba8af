//! Bodies that are too large, too deep, doubled, of another type, or never end.

use serde_json::json;

use super::desk::{Desk, JSON, refused};

const CREATE: (&str, &str) = ("POST", "/connectors");

#[tokio::test]
async fn a_body_beyond_a_mebibyte_is_refused() {
    // protocol.md, row 62.
    let desk = Desk::new().await;
    let body = |bytes: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(bytes - 11)).into_bytes();

    let at_most = desk.send(desk.acme(), CREATE, &[JSON], body(1 << 20)).await;
    let beyond = desk
        .send(desk.acme(), CREATE, &[JSON], body((1 << 20) + 1))
        .await;

    refused(&at_most, 422, "invalid");
    refused(&beyond, 413, "body-too-large");
}

#[tokio::test]
async fn deep_nesting_is_refused_and_everybody_lives() {
    // protocol.md, row 48.
    let desk = Desk::new().await;

    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [33, 200, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let answer = desk
                .send(desk.acme(), CREATE, &[JSON], text.into_bytes())
                .await;
            refused(&answer, 400, "bad-request");
            // Without an end, too.
            let text = open.repeat(depth);
            let answer = desk
                .send(desk.acme(), CREATE, &[JSON], text.into_bytes())
                .await;
            refused(&answer, 400, "bad-request");
        }
    }
    assert_eq!(desk.get("/connectors").await.status, 200);
}

#[tokio::test]
async fn what_is_no_json_or_says_a_thing_twice_is_refused_without_repeating_it() {
    let desk = Desk::new().await;

    for text in [
        &b""[..],
        b"canary-body",
        b"{\"name\": canary-body}",
        b"{\"name\": \"canary-body\"",
        b"{\"name\": \"canary-body\"} {}",
        b"{\"name\": \"canary-body\", \"name\": \"canary-body\"}",
        b"{\"auth\": {\"basic\": {\"password\": \"canary-body\", \"password\": \"b\"}}}",
        b"{\"name\": \"canary-body\\ud800\"}",
        b"{\"name\": \"canary-body\xff\"}",
        b"\xef\xbb\xbf{\"name\": \"canary-body\"}",
        b"{\"name\": 1e999}",
        b"{'name': 'canary-body'}",
        b"{\"name\": \"canary-body\"} // why",
    ] {
        let answer = desk.send(desk.acme(), CREATE, &[JSON], text.to_vec()).await;

        refused(&answer, 400, "bad-request");
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    for body in [json!([]), json!("text"), json!(null), json!(7), json!(true)] {
        let text = body.to_string().into_bytes();
        let answer = desk.send(desk.acme(), CREATE, &[JSON], text).await;
        refused(&answer, 422, "invalid");
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_not_read() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");

    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
        Some("application/jsonx"),
        Some("application/merge-patch+json"),
        Some("application/json; charset=utf-16"),
        Some("application/json, text/plain"),
        Some(""),
    ] {
        let kind: Vec<_> = kind
            .map(|kind| ("content-type", kind))
            .into_iter()
            .collect();
        let answer = desk.ask(CREATE, &kind, &body).await;
        refused(&answer, 415, "media-type");
    }
    let doubled = [JSON, ("content-type", "text/plain")];
    refused(&desk.ask(CREATE, &doubled, &body).await, 415, "media-type");
    let coded = [JSON, ("content-encoding", "gzip")];
    refused(&desk.ask(CREATE, &coded, &body).await, 415, "media-type");
    let patch = desk
        .ask(
            ("PATCH", "/connectors/orders"),
            &[JSON, ("if-match", "*")],
            &json!({}),
        )
        .await;
    refused(&patch, 415, "media-type");

    let said = [("content-type", "Application/JSON; Charset=UTF-8")];
    let made = desk.ask(CREATE, &said, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

#[tokio::test]
async fn nothing_of_a_body_is_read_before_its_sender_is_known() {
    let desk = Desk::new().await;
    let mut wire = desk.wire().await;

    // The body never comes; the answer does not wait for it.
    wire.write(
        "POST /api/v1/connectors HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n",
    )
    .await;
    let answer = wire.answer().await;

    assert_eq!(answer.status(), 401);
}
