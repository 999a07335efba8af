//! How the body that the origin receives is framed: once, and as a strict reader wants it.

use crate::support::client::Client;
use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

#[tokio::test]
async fn content_length_stands_once_and_from_http2_too() {
    // RFC 9110 §8.6; protocol.md, line 11 and point 3.
    let scene = Scene::plain().await;
    let mut http1 = Client::http1(scene.gateway.flows()).await;
    let mut http2 = Client::http2(scene.gateway.flows()).await;

    http1.call("POST", "/orders/x", &[], "hello").await;
    http2.call("POST", "/orders/x", &[], "hello").await;
    let length = [("content-length", "5")];
    http2.call("PUT", "/orders/x", &length, "hello").await;

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), 3);
    for message in arrived {
        assert_eq!(message.field("content-length"), Some("5"));
        assert_eq!(message.field("transfer-encoding"), None);
        assert_eq!(message.text(), "hello");
    }
}

#[tokio::test]
async fn a_method_that_expects_content_says_so_where_there_is_none() {
    // RFC 9110 §8.6: a length of 0 for POST; servers answer 411 without it.
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::new()
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        let mut http2 = Client::http2(scene.gateway.flows()).await;

        for head in [
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "PUT /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "PATCH /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            wire.write(head).await;
            assert_eq!(wire.answer().await.status(), 200);
        }
        http2.call("POST", "/orders/x", &[], "").await;

        let arrived = scene.origin.requests();
        assert_eq!(arrived.len(), 5);
        for request in arrived {
            let length = request.field("content-length");
            assert_eq!(length, Some("0"), "{} {protocols:?}", request.method);
        }
    }
}

#[tokio::test]
async fn a_method_without_content_says_nothing_of_it() {
    let scene = Scene::plain().await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        client.call(method, "/orders/x", &[], "").await;
    }

    for message in scene.origin.wire() {
        assert_eq!(message.field("content-length"), None, "{}", message.start);
        assert_eq!(message.field("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn a_get_with_a_body_arrives_with_it_and_the_next_request_is_intact() {
    // RFC 9112 §6.3; protocol.md, row 5.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        "GET /orders/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello\
         GET /orders/b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nworld\r\n0\r\n\r\n\
         GET /orders/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    for _ in 0..3 {
        assert_eq!(wire.answer().await.status(), 200);
    }

    let arrived = scene.origin.wire();
    let arrived: Vec<_> = arrived
        .iter()
        .map(|message| (message.target(), message.text()))
        .collect();
    let expected = [("/api/a", "hello"), ("/api/b", "world"), ("/api/c", "")];
    assert_eq!(arrived, expected.map(|(at, body)| (at, body.to_owned())));
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whole_whatever_the_method() {
    let chunked = "Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::new()
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        let methods = ["GET", "POST", "DELETE", "OPTIONS", "QUERY"];

        for method in methods {
            wire.write(format!("{method} /orders/x HTTP/1.1\r\n{chunked}"))
                .await;
            assert_eq!(wire.answer().await.status(), 200);
        }

        let arrived = scene.origin.requests();
        for (request, method) in arrived.iter().zip(methods) {
            assert_eq!(request.method, method);
            assert_eq!(request.text(), "hello", "{method} over {protocols:?}");
        }
        assert_eq!(arrived.len(), methods.len());
    }
}

#[tokio::test]
async fn chunks_and_their_extensions_are_framed_anew() {
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n\
         2;name=value\r\nhe\r\n03\r\nllo\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.status(), 200);

    let message = &scene.origin.wire()[0];
    assert_eq!(message.field("transfer-encoding"), Some("chunked"));
    assert_eq!(message.text(), "hello");
}

#[tokio::test]
async fn expect_continue_is_answered_here_and_any_other_expectation_travels() {
    // RFC 9110 §10.1.1; protocol.md, line 13.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
         Expect: 100-Continue\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.status(), 100);
    wire.write("hello").await;
    assert_eq!(wire.answer().await.status(), 200);
    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status(), 200);

    let arrived = scene.origin.wire();
    assert_eq!(arrived[0].field("expect"), None);
    assert_eq!(arrived[0].text(), "hello");
    assert_eq!(arrived[1].field("expect"), Some("tea"));
}

#[tokio::test]
async fn framing_that_can_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    // RFC 9112 §5.1, §5.2, §6.1, §6.3; protocol.md, lines 21 to 25, rows 2, 3, 26 and 27.
    let scene = Scene::plain().await;
    let head = "POST /orders/x HTTP/1.1\r\nHost: localhost\r\n";

    for framing in [
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5, 6\r\n\r\nhello",
        "Content-Length:\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "X : y\r\n\r\n",
        "Content-Length : 5\r\n\r\nhello",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        "X: y\r\n\tz\r\n\r\n",
        "Content-Length: 5\r\n \r\n\r\nhello",
        " X: y\r\n\r\n",
        ":\r\n\r\n",
        ": Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "X: y\r\n z\r\n\r\n",
        ": y\r\n\r\n",
        "X\r\n\r\n",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!("{head}{framing}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 400, "{framing:?}");
        assert!(answer.text().contains("problem:bad-request"), "{framing:?}");
        assert!(wire.is_closed().await, "{framing:?}");
    }
    assert_eq!(scene.origin.tally().heads, 0);
}

#[tokio::test]
async fn http10_knows_no_transfer_codings() {
    // RFC 9112 §6.1; protocol.md, line 23 and row 21.
    let scene = Scene::plain().await;
    let head = "POST /orders/x HTTP/1.0\r\nHost: localhost\r\n";

    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
        "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!("{head}{framing}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 400, "{framing:?}");
        assert!(wire.is_closed().await, "{framing:?}");
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_malformed_request_line_is_refused_and_never_repaired() {
    // RFC 9112 §2.3, §3; protocol.md, line 20.
    let scene = Scene::plain().await;

    for line in [
        "GET /orders/x",
        "GET /orders/x ",
        "GET /orders/x HTTP/1.1 ",
        "GET /orders/x  HTTP/1.1",
        "GET  /orders/x HTTP/1.1",
        " GET /orders/x HTTP/1.1",
        "GET /orders/x HTTP/1.1 HTTP/1.1",
        "GET /orders/x http/1.1",
        "GET /orders/x HTTP/2.0",
        "GET /orders/x HTTP/11",
        "GET /orders/x HTTP/1.1\r",
        "GET\t/orders/x HTTP/1.1",
        "GET /orders/\0 HTTP/1.1",
        "G{T /orders/x HTTP/1.1",
        "G\u{cb}T /orders/x HTTP/1.1",
        "/orders/x HTTP/1.1",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!("{line}\r\nHost: localhost\r\n\r\n"))
            .await;
        let answer = wire.answer().await;
        let told = (answer.status(), answer.reason());
        assert_eq!(told, (400, "bad-request".to_owned()), "{line:?}");
        assert!(wire.is_closed().await, "{line:?}");
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_malformed_chunk_is_a_malformed_request() {
    // RFC 9112 §7.1; protocol.md, rows 4, 24 and 25, and point 6.
    let scene = Scene::plain().await;

    for chunk in [
        "10000000000000005\r\n",
        "x\r\n",
        "-1\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!(
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
        ))
        .await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 400, "{chunk:?}");
        assert!(answer.text().contains("problem:bad-request"), "{chunk:?}");
        assert!(wire.is_closed().await, "{chunk:?}");
    }
    assert_eq!(scene.origin.tally().whole, 0);
}

#[tokio::test]
async fn a_length_beside_chunks_is_refused_and_the_connection_closed() {
    // RFC 9112 §6.1; protocol.md, lines 11 and 23 and row 1.
    let scene = Scene::plain().await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;

        wire.write(format!(
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n2\r\nhi\r\n0\r\n\r\n\
             GET /orders/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
        let answer = wire.answer().await;

        assert_eq!(answer.status(), 400, "{framing:?}");
        assert_eq!(answer.reason(), "bad-request", "{framing:?}");
        assert!(wire.is_closed().await, "{framing:?}");
    }
    assert_eq!(scene.origin.tally().heads, 0);
}
