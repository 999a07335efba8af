//! Refusals beyond the table's most common ones, and what they leave behind.

use crate::answers::{Provoked, by_origin_bytes};
use crate::support::answer::Answer;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin;
use crate::support::resending;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

#[tokio::test]
async fn what_no_http_answer_is_told_as_the_origins_fault() {
    // RFC 9112 §5.1, §5.2, §6.3; RFC 9110 §15.2.2; protocol.md, lines 14, 21, 22 and 25, point 5.
    for bytes in [
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: half a he",
    ] {
        let Provoked { answered, .. } = by_origin_bytes(bytes).await;
        assert_eq!(answered.reason(), "origin-protocol", "{bytes:?}");
        assert_eq!(answered.status, 502);
        assert_eq!(answered.json()["may_have_reached_origin"], true);
    }
}

#[tokio::test]
async fn an_answer_of_more_fields_than_are_taken_is_told_as_the_origins_fault() {
    let answer = |fields: usize| {
        let date = "Date: Sat, 21 Nov 2026 17:00:00 GMT\r\n";
        let fields = (2..fields).map(|at| format!("x-{at}: v\r\n"));
        let fields = fields.collect::<String>();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{date}{fields}\r\nok")
    };

    let (_stage, raw, gateway) = resending::raw(Protocols::Http1, &[]).await;
    let answering = async {
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        origin.write(answer(100)).await;
    };
    let (taken, ()) = tokio::join!(gateway.get("/orders/x"), answering);
    assert_eq!(taken.status, 200);
    assert_eq!(taken.field("x-99"), Some("v"));

    let Provoked { answered, .. } = by_origin_bytes(&answer(101)).await;
    assert_eq!(answered.reason(), "origin-protocol");
    assert_eq!(answered.status, 502);
}

#[tokio::test]
async fn an_origin_that_hangs_up_before_its_answer_is_told_as_one() {
    let Provoked { answered, .. } = by_origin_bytes("").await;

    assert_eq!(
        (answered.status.as_u16(), &*answered.reason()),
        (502, "origin-unreachable")
    );
    let error = Some("attache; error=connection_terminated");
    assert_eq!(answered.field("proxy-status"), error);
    assert_eq!(answered.json()["may_have_reached_origin"], true);
}

#[tokio::test]
async fn connect_and_trace_are_not_carried() {
    // RFC 9110 §9.3.6, §9.3.8, §15.5.6; protocol.md, line 36, row 19 and point 1.
    let scene = Scene::plain().await;
    let address = scene.gateway.flows();

    for line in [
        "CONNECT localhost:443 HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "TRACE /orders/x HTTP/1.1",
    ] {
        let host = line.split(' ').nth(1).filter(|_| line.starts_with('C'));
        let host = host.unwrap_or("localhost");
        let mut wire = Wire::plain(address).await;
        wire.write(format!("{line}\r\nHost: {host}\r\n\r\n")).await;
        let answered = Answered::from(wire.answer().await);
        assert_eq!(
            (answered.status.as_u16(), &*answered.reason()),
            (405, "method"),
            "{line}"
        );
        let allowed = answered.field("allow").unwrap();
        assert!(!allowed.contains("TRACE") && !allowed.contains("CONNECT"));
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_refusal_carries_the_requests_id_and_the_connection_goes_on() {
    let scene = Scene::plain().await;
    for mut client in [
        Client::http1(scene.gateway.flows()).await,
        Client::http2(scene.gateway.flows()).await,
    ] {
        let sane = [("x-request-id", "r-17")];
        let told = client.call("GET", "/nobody/x", &sane, "").await;
        let insane = [("x-request-id", "r 17")];
        let made = client.call("GET", "/nobody/x", &insane, "").await;
        let carried = client.get("/orders/x").await;

        assert_eq!(told.json()["request_id"], "r-17");
        let made = made.json()["request_id"].as_str().unwrap().to_owned();
        assert!(uuid::Uuid::parse_str(&made).is_ok(), "{made}");
        assert_eq!(carried.status, 200);
    }
}

#[tokio::test]
async fn a_refused_requests_body_is_never_read_as_the_next_request() {
    // RFC 9112 §9.3; protocol.md, row 23.
    let scene = Scene::start(Plan {
        settings: "limits: { request_body_bytes_max: 1KiB }\n",
        ..Plan::new()
    })
    .await;
    let hidden = "GET /orders/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let body = hidden.repeat(30);
    let framed = [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        // Longer than what comes.
        format!("Content-Length: {}\r\n\r\n{body}", body.len() + 1),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n{hidden}",
            body.len()
        ),
    ];

    for (line, host, status) in [
        ("POST /nobody/x", "localhost", 404),
        ("POST /orders/../x", "localhost", 400),
        ("POST /orders/x", "evil.example", 400),
        ("TRACE /orders/x", "localhost", 405),
        ("POST /orders/x", "localhost", 413),
    ] {
        for framed in &framed {
            let mut wire = Wire::plain(scene.gateway.flows()).await;
            wire.write(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{framed}"))
                .await;
            let answer = wire.answer().await;

            assert_eq!(answer.status(), status, "{line}");
            assert_eq!(answer.field("connection"), Some("close"), "{line}");
            assert!(wire.is_closed().await, "{line}");
        }
    }
    assert_eq!(scene.origin.tally().whole, 0);
}

#[tokio::test]
async fn an_origins_401_stays_a_401_and_is_told_as_the_origins() {
    let scene = Scene::start(Plan::answering(origin::whole(|_| {
        Answer::text("who are you?").with_status(401)
    })))
    .await;

    let answered = scene.gateway.get("/orders/x").await;

    assert_eq!(
        (answered.status.as_u16(), &*answered.text()),
        (401, "who are you?")
    );
    assert_eq!(answered.field("proxy-status"), None);
    let refused = scene.gateway.sample("attache_refused_total", &[]).await;
    assert!(refused.abs() < 0.1);
}

#[tokio::test]
async fn what_was_wrong_in_detail_is_for_operators_alone() {
    let stage = Stage::new();
    let name = "internal-name.example";
    let gateway = Running::start_named(&stage, &orders(&format!("https://{name}"), &[]), &[]).await;

    let answered = gateway.get("/orders/x").await;

    assert_eq!(answered.status, 502);
    assert!(
        !answered.text().contains("internal-name"),
        "{}",
        answered.text()
    );
    gateway.drain().await;
}

/// RFC 9110 §9.3.2; over HTTP/2 content would be a malformed answer (RFC 9113 §8.1.1).
#[tokio::test]
async fn a_refused_head_request_is_answered_without_content() {
    let scene = Scene::plain().await;
    for mut client in [
        Client::http1(scene.gateway.flows()).await,
        Client::http2(scene.gateway.flows()).await,
    ] {
        let told = client.call("POST", "/nowhere", &[], "").await;
        for _ in 0..2 {
            let answer = client.call("HEAD", "/nowhere", &[], "").await;

            assert_eq!(
                (answer.status.as_u16(), answer.text()),
                (404, String::new())
            );
            let length = answer.field("content-length");
            assert_eq!(length, Some(told.body.len().to_string().as_str()));
            assert_eq!(answer.field("content-type"), told.field("content-type"));
        }
    }
}
