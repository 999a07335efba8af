//! Requests that ask to leave HTTP (RFC 9110 §7.8): which may, what the origin is asked, and what
//! becomes of those that may not.

use futures_util::{SinkExt, StreamExt};
use http::{Method, Version};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{accept_async, client_async};

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::message::Kind;
use crate::support::origin;
use crate::support::passage::{AGREE, ALLOWED, ASK, Between};
use crate::support::scene::{CREDENTIAL, Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

/// An origin's HTTP/1.1 beside HTTP/2, and a connector that allows WebSocket.
fn allowing(protocols: Protocols) -> Plan {
    Plan {
        protocols,
        connector: &[ALLOWED],
        ..Plan::answering(origin::whole(|request| {
            Answer::text(&request.text()).field("x-method", &request.method)
        }))
    }
}

#[tokio::test]
async fn a_websocket_client_and_a_websocket_server_talk_through_the_gateway() {
    // RFC 6455: both ends check the other's handshake.
    let between = Between::allowing().await;
    let stream = TcpStream::connect(between.gateway.flows()).await.unwrap();

    let serving = async {
        let stream = between.raw.accept().await.into_stream();
        let mut server = accept_async(stream).await.unwrap();
        while let Some(Ok(frame)) = server.next().await {
            if frame.is_text() || frame.is_binary() {
                server.send(frame).await.unwrap();
            }
        }
    };
    let asking = async {
        let url = "ws://localhost/orders/chat?room=1";
        let (mut client, answer) = client_async(url, stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        for frame in [
            Frame::text("hello"),
            Frame::binary(vec![7; 300_000]),
            Frame::text("é"),
        ] {
            client.send(frame.clone()).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), frame);
        }
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
    };
    within("a conversation", async { tokio::join!(serving, asking) }).await;

    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn the_origin_is_asked_in_our_words_with_the_credential_and_both_handshakes_pass() {
    // RFC 9110 §7.6.1, §7.8; RFC 6455 §4.
    let between = Between::start(&[ALLOWED], "inbound: { browsers: allow }\n").await;
    let mut near = Wire::plain(between.gateway.flows()).await;
    near.write(
        "GET /orders/chat?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, upgrade, X-Hop\r\n\
         Upgrade: h2c, WebSocket, x-chat\r\nTE: trailers\r\nX-Hop: 1\r\nOrigin: https://a.example\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\nAuthorization: Bearer of-the-flow\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat\r\n\r\n",
    )
    .await;
    let mut far = between.raw.accept().await;
    let asked = far.message(Kind::Request).await.unwrap();
    far.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, x-gone\r\nUpgrade: WebSocket\r\n\
         X-Gone: 1\r\nX-Echo: Basic c3ZjOnBhLXNzLXdvcmQ=\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nSec-WebSocket-Protocol: chat\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    .await;
    let answer = near.answer().await;

    assert_eq!(asked.start, "GET /api/chat?x=1 HTTP/1.1");
    assert_eq!(asked.field("connection"), Some("Upgrade"));
    assert_eq!(asked.field("upgrade"), Some("websocket"));
    assert_eq!(asked.field("authorization"), Some(CREDENTIAL));
    assert_eq!(
        asked.field("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(asked.field("sec-websocket-version"), Some("13"));
    assert_eq!(asked.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(asked.field("origin"), Some("https://a.example"));
    for gone in [
        "te",
        "x-hop",
        "http2-settings",
        "content-length",
        "transfer-encoding",
    ] {
        assert_eq!(asked.field(gone), None, "{gone}");
    }
    assert_eq!(answer.start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(answer.field("connection"), Some("Upgrade"));
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(
        answer.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.field("sec-websocket-protocol"), Some("chat"));
    // An echo of the credential is masked here too.
    let echo = answer.field("x-echo").unwrap();
    assert_eq!(
        (echo.len(), echo.contains("c3Zj")),
        (CREDENTIAL.len(), false)
    );
    for gone in [
        "content-length",
        "transfer-encoding",
        "set-cookie",
        "x-gone",
    ] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn what_a_connector_does_not_allow_is_an_ordinary_request() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for (lines, version, fields) in [
        (&[][..], "1.1", upgrade),
        (&["upgrades: [x-chat]"][..], "1.1", upgrade),
        (
            &[ALLOWED][..],
            "1.1",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        ),
        // RFC 9110 §7.8: no word to this hop without `Connection`, none at all in HTTP/1.0.
        (&[ALLOWED][..], "1.1", "Upgrade: websocket\r\n"),
        (&[ALLOWED][..], "1.0", upgrade),
    ] {
        let scene = Scene::start(Plan {
            connector: lines,
            ..Plan::new()
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;

        let head = format!("GET /orders/x HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n");
        wire.write(head).await;
        wire.half_close().await;
        let answer = String::from_utf8(wire.rest().await).unwrap();

        assert!(answer.contains(" 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let arrived = &scene.origin.wire()[0];
        assert_eq!(arrived.field("upgrade"), None, "{fields}");
        assert_eq!(arrived.field("connection"), None, "{fields}");
    }
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_an_ordinary_request_whose_body_is_framed_once() {
    // CVE-2026-58055; protocol.md, row 17.
    let scene = Scene::start(allowing(Protocols::Http1)).await;
    let head = "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!("{head}{body}")).await;
        assert_eq!(wire.answer().await.text(), "hello");
        // The connection still speaks HTTP.
        wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(wire.answer().await.status(), 200);
    }

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), 4);
    for request in &arrived {
        assert_eq!(request.field("upgrade"), None);
    }
    assert_eq!(
        (arrived[0].text(), arrived[2].text()),
        ("hello".into(), "hello".into())
    );
}

#[tokio::test]
async fn an_origin_that_prefers_http2_is_asked_over_http11_and_still_gets_the_rest_over_http2() {
    let scene = Scene::start(allowing(Protocols::Both)).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(ASK).await;
    // The stand-in knows no upgrades: an ordinary answer.
    assert_eq!(wire.answer().await.status(), 200);
    scene.gateway.get("/orders/x").await;

    let versions = scene.origin.requests().into_iter().map(|it| it.version);
    assert_eq!(
        versions.collect::<Vec<_>>(),
        [Version::HTTP_11, Version::HTTP_2]
    );
}

#[tokio::test]
async fn an_ordinary_answer_to_an_upgrade_is_one_and_its_connection_serves_nobody_else() {
    // CVE-2024-23326, CVE-2026-73548; protocol.md, rows 16 and 18.
    for (status, tail) in [(200, "still HTTP"), (403, "no"), (426, "")] {
        let between = Between::allowing().await;
        let (mut near, mut far, _) = between.asked().await;
        let length = tail.len();
        far.write(format!(
            "HTTP/1.1 {status} Whatever\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Content-Length: {length}\r\n\r\n{tail}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmug!"
        ))
        .await;
        let answer = near.answer().await;
        assert_eq!((answer.status(), answer.text().as_str()), (status, tail));
        assert_eq!(answer.field("upgrade"), None);
        assert!(far.rest().await.is_empty(), "nothing else goes there");

        near.write("GET /orders/next HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut next = between.raw.accept_http1().await;
        assert_eq!(
            next.message(Kind::Request).await.unwrap().target(),
            "/api/next"
        );
        next.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
            .await;
        assert_eq!(near.answer().await.text(), "next");
    }
}

#[tokio::test]
async fn an_origin_that_switches_to_something_else_is_told_as_its_fault() {
    // RFC 9110 §15.2.2; protocol.md, line 14 and point 5.
    for fields in [
        "Connection: Upgrade\r\nUpgrade: x-chat\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, x-chat\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "",
    ] {
        let between = Between::allowing().await;
        let (mut near, mut far, _) = between.asked().await;

        far.write(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n"))
            .await;

        let answer = near.answer().await;
        assert_eq!(answer.status(), 502, "{fields}");
        assert_eq!(answer.reason(), "origin-protocol");
        assert!(far.rest().await.is_empty());
        between.until_nothing_is_open().await;
    }
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_is_declined_are_the_next_request() {
    // RUSTSEC-2026-0033; protocol.md, row 15.
    let between = Between::allowing().await;
    let mut near = Wire::plain(between.gateway.flows()).await;
    let second = "GET /orders/second HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n\r\n";
    near.write(format!("{ASK}{second}")).await;
    let mut far = between.raw.accept().await;
    far.message(Kind::Request).await.unwrap();

    far.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        .await;
    assert_eq!(near.answer().await.text(), "first");

    assert!(far.rest().await.is_empty(), "not one byte of the second");
    let mut next = between.raw.accept_http1().await;
    let arrived = next.message(Kind::Request).await.unwrap();
    assert_eq!(arrived.target(), "/api/second");
    assert_eq!(arrived.field("authorization"), Some(CREDENTIAL));
}

#[tokio::test]
async fn bytes_behind_an_upgrade_wait_for_the_origins_consent_and_come_first_then() {
    // RUSTSEC-2026-0033; protocol.md, row 15.
    let between = Between::start(&[ALLOWED], "workers: 1\n").await;
    let mut near = Wire::plain(between.gateway.flows()).await;
    near.write(format!("{ASK}early ")).await;
    let mut far = between.raw.accept().await;
    far.message(Kind::Request).await.unwrap();
    near.write("bird ").await;
    // The only worker has answered others since.
    for _ in 0..3 {
        assert_eq!(between.gateway.get("/nobody").await.status, 404);
    }
    assert!(!far.has_more());

    far.write(format!("{AGREE}at once")).await;

    assert_eq!(near.answer().await.status(), 101);
    assert_eq!(near.bytes(7).await, b"at once");
    near.write("late").await;
    assert_eq!(far.bytes(15).await, b"early bird late");
}

#[tokio::test]
async fn extended_connect_is_refused_as_connect_is() {
    // RFC 8441 §4: only where a server said that it may; protocol.md, line 36 and row 19.
    let scene = Scene::start(allowing(Protocols::Both)).await;
    let tcp = TcpStream::connect(scene.gateway.flows()).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(tcp).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(Method::CONNECT)
        .uri("http://localhost/orders/chat")
        .body(())
        .unwrap();
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);

    let (answer, _) = sender.send_request(request, false).unwrap();
    let answer = within("a refusal", answer).await;

    assert!(!answer.is_ok_and(|answer| answer.status().is_success()));
    assert_eq!(scene.origin.tally().accepted, 0);
    drop(sender);
    driver.abort();
    assert_eq!(scene.gateway.get("/orders/x").await.status, 200);
}

#[tokio::test]
async fn an_upgrade_takes_the_place_of_an_idle_connection() {
    for (protocols, before) in [
        (Protocols::Http1, Version::HTTP_11),
        (Protocols::Both, Version::HTTP_2),
    ] {
        let plan = Plan {
            connector: &[ALLOWED, "upstream: { connections_max: 1, connect: 5s }"],
            ..allowing(protocols)
        };
        let scene = Scene::start(plan).await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        wire.answer().await;

        wire.write(ASK).await;
        assert_eq!(wire.answer().await.status(), 200, "{protocols:?}");
        scene.origin.until(|tally| tally.closed == 2).await;

        assert_eq!(scene.origin.tally().accepted, 2);
        let versions = scene.origin.requests().into_iter().map(|it| it.version);
        assert_eq!(versions.collect::<Vec<_>>(), [before, Version::HTTP_11]);
    }
}

#[tokio::test]
async fn without_a_connection_for_it_an_upgrade_is_refused_as_busy() {
    let lines = &[ALLOWED, "upstream: { connections_max: 1, connect: 300ms }"];
    let between = Between::start(lines, "").await;
    let (_near, _far) = between.opened().await;
    let mut wire = Wire::plain(between.gateway.flows()).await;

    wire.write(ASK).await;
    let answer = wire.answer().await;

    assert_eq!((answer.status(), &*answer.reason()), (503, "busy"));
}

#[tokio::test]
async fn an_origin_that_is_silent_about_an_upgrade_is_given_up() {
    let lines = &[ALLOWED, "upstream: { response_head: 300ms }"];
    let between = Between::start(lines, "").await;
    let (mut near, mut far, _) = between.asked().await;

    let answer = near.answer().await;

    assert_eq!(
        (answer.status(), &*answer.reason()),
        (504, "origin-timeout")
    );
    assert!(far.rest().await.is_empty());
    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn a_flow_that_goes_away_before_the_consent_closes_the_connection_that_waits_for_it() {
    let between = Between::allowing().await;
    let mut near = Wire::resetting(between.gateway.flows()).await;
    near.write(ASK).await;
    let mut far = between.raw.accept().await;
    far.message(Kind::Request).await.unwrap();

    drop(near);

    assert!(far.rest().await.is_empty());
    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn a_refused_upgrade_is_a_problem_as_any_other() {
    let between = Between::start(&[ALLOWED, "enabled: false"], "").await;
    let mut client = Client::http1(between.gateway.flows()).await;
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];

    let answered = client.call("GET", "/orders/chat", &fields, "").await;

    assert_eq!(answered.status, 403);
    assert_eq!(answered.reason(), "connector-inactive");
    assert_eq!(client.get("/nobody").await.status, 404);
}
