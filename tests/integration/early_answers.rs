//! Answers that come before the whole request: they arrive whole, and no connection outlives them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::answer::Answer;
use crate::support::body::{Outgoing, Pen};
use crate::support::client::Client;
use crate::support::connector::{connector, connectors, pair};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::{self, Handler, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::{self, Ask, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];
const PIECE: &[u8] = &[7; 64 * 1024];
/// As many are more than what kernels and the gateway hold for an origin that takes nothing.
const PIECES: usize = 400;
/// As many shut the window of an HTTP/2 origin that reads nothing, and fit in what is before it.
const WINDOW_PIECES: usize = 20;

/// Uploads that are refused, by their head or amid their body.
const REFUSED: &[(&str, u16)] = &[
    (
        "POST /nobody/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n",
        404,
    ),
    (
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n",
        413,
    ),
    (
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n",
        413,
    ),
    (
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4194304\r\n\r\n",
        400,
    ),
];

/// An origin that answers at once, keeps its connection, and never takes the body.
fn deaf() -> Handler {
    origin::scripted(|exchange| async move {
        tokio::spawn(async move {
            let _kept = exchange;
            std::future::pending::<()>().await;
        });
        Answer::text("early")
    })
}

async fn client(scene: &Scene, protocols: Protocols) -> Client {
    let address = scene.gateway.flows();
    match protocols {
        Protocols::Http2 => Client::http2(address).await,
        Protocols::Http1 | Protocols::Both => Client::http1(address).await,
    }
}

/// Writes until nobody takes any more.
async fn pour(pen: Pen) {
    while pen.write(PIECE).await {}
}

async fn until_none(gateway: &Running, name: &str, labels: &[(&str, &str)]) {
    gateway
        .until_sample(name, labels, |count| count == 0.0)
        .await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending_before_it_reads() {
    // RFC 9112 §9.6: closing at once would reset the connection, and the answer with it;
    // protocol.md, row 23.
    let scene = Scene::start_with(
        Plan {
            settings: "limits: { request_body_bytes_max: 1KiB }\n\
                       tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n",
            ..Plan::new()
        },
        |stage| {
            stage.server().write(stage.directory(), "gw");
        },
    )
    .await;
    for (head, status) in REFUSED {
        let config = tls::client(&scene.stage.ca, None, Protocols::Http1);
        let mut wire = Wire::tls(scene.gateway.flows(), config).await;

        wire.write(head).await;
        for _ in 0..64 {
            wire.write(PIECE).await;
        }
        let answer = wire.answer().await;

        assert_eq!(answer.status(), *status, "{head:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{head:?}");
        assert!(wire.is_closed().await, "{head:?}");
        drop(wire);
        until_none(&scene.gateway, "attache_client_connections", &[]).await;
    }
    assert_eq!(scene.origin.tally().whole, 0);
}

#[tokio::test]
async fn a_client_that_neither_sends_nor_closes_after_a_refusal_is_closed() {
    let (scene, turned) = Scene::start_turned(Plan::new()).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write("POST /nobody/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    assert_eq!(wire.answer().await.status(), 404);
    assert!(wire.is_closed().await, "half of it, at once");
    let open = scene
        .gateway
        .sample("attache_client_connections", &[])
        .await;
    assert_eq!(open, 1.0, "its own half is open");
    turned.advance(Duration::from_secs(6));

    until_none(&scene.gateway, "attache_client_connections", &[]).await;
}

#[tokio::test]
async fn a_client_without_a_body_in_flight_is_closed_at_once() {
    let (scene, _turned) = Scene::start_turned(Plan::new()).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    for request in [
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "GET /orders/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        wire.write(request).await;
        assert_eq!(wire.answer().await.status(), 200);
    }
    assert!(wire.is_closed().await);

    until_none(&scene.gateway, "attache_client_connections", &[]).await;
}

#[tokio::test]
async fn an_early_answer_of_an_origin_ends_the_upload_and_leaves_no_connection_behind() {
    // hyper #4176: the client's half waits for a body that nobody wants, for ever.
    for flow in BOTH {
        let scene = Scene::start(Plan::answering(deaf())).await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();

        let asking = client.call("POST", "/orders/x", &[], body);
        let (answered, ()) = tokio::join!(asking, pour(pen));

        assert_eq!(answered.text(), "early", "{flow:?}");
        let busy = [("connector", "orders"), ("state", "busy")];
        until_none(&scene.gateway, "attache_upstream_connections", &busy).await;
        until_none(&scene.gateway, "attache_requests_in_flight", &[]).await;
        let idle = [("connector", "orders"), ("state", "idle")];
        until_none(&scene.gateway, "attache_upstream_connections", &idle).await;
        match flow {
            Protocols::Http1 | Protocols::Both => client.closed().await,
            Protocols::Http2 => {
                assert_eq!(client.get("/orders/next").await.text(), "early");
                drop(client);
            }
        }
        until_none(&scene.gateway, "attache_client_connections", &[]).await;
    }
}

#[tokio::test]
async fn an_http2_origins_shut_window_holds_no_upload_beyond_the_answer() {
    // RFC 9113 §5.2: while it is shut, nobody looks at the body that waits for it.
    for flow in BOTH {
        let shut = Arc::new(Notify::new());
        let told = Arc::clone(&shut);
        let handler = origin::scripted(move |exchange| {
            let told = Arc::clone(&told);
            async move {
                let (pen, answer) = Answer::streamed();
                tokio::spawn(async move {
                    told.notified().await;
                    drop(pen);
                    let _kept = exchange;
                    std::future::pending::<()>().await;
                });
                answer
            }
        });
        let (scene, _turned) = Scene::start_turned(Plan {
            protocols: Protocols::Http2,
            ..Plan::answering(handler)
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();

        let asking = client.call("POST", "/orders/x", &[], body);
        let pouring = async {
            for _ in 0..WINDOW_PIECES {
                assert!(pen.write(PIECE).await);
            }
            shut.notify_one();
            pour(pen).await;
        };
        let (answered, ()) = tokio::join!(asking, pouring);

        assert_eq!(answered.status, 200, "{flow:?}");
        until_none(&scene.gateway, "attache_requests_in_flight", &[]).await;
        let busy = [("connector", "orders"), ("state", "busy")];
        until_none(&scene.gateway, "attache_upstream_connections", &busy).await;
        match flow {
            Protocols::Http1 | Protocols::Both => client.closed().await,
            Protocols::Http2 => drop(client),
        }
        until_none(&scene.gateway, "attache_client_connections", &[]).await;
    }
}

#[tokio::test]
async fn an_upload_that_pauses_is_ended_by_an_early_answer_too() {
    for flow in BOTH {
        for upstream in BOTH {
            let (scene, _turned) = Scene::start_turned(Plan {
                protocols: upstream,
                ..Plan::answering(deaf())
            })
            .await;
            let mut client = client(&scene, flow).await;
            let (pen, body) = Outgoing::streamed();
            pen.write("half").await;

            let answered = client.call("POST", "/orders/x", &[], body).await;

            assert_eq!(answered.text(), "early", "{flow:?} {upstream:?}");
            within("the upload's end", pen.given_up()).await;
        }
    }
}

#[tokio::test]
async fn an_early_answer_arrives_whole_though_its_origin_resets_the_connection() {
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    // No more than an origin can send at once: a reset destroys what is still to be sent.
    let body = "x".repeat(30_000);
    for _ in 0..5 {
        let mut wire = Wire::plain(gateway.flows()).await;

        let uploading = async {
            let length = PIECES * PIECE.len();
            let head = format!(
                "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
            );
            wire.write(head).await;
            for _ in 0..PIECES {
                wire.write(PIECE).await;
            }
            wire.answer().await
        };
        let refusing = async {
            let mut origin = raw.accept().await;
            origin.until_head().await;
            let head = format!(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            origin.write(head + &body).await;
            // What it has not read makes this a reset.
            drop(origin);
        };
        let (answer, ()) = tokio::join!(uploading, refusing);

        assert_eq!(answer.status(), 413, "{}", answer.text());
        assert_eq!(answer.text(), body);
        assert!(wire.is_closed().await);
        for state in ["busy", "idle"] {
            let labels = [("connector", "orders"), ("state", state)];
            until_none(&gateway, "attache_upstream_connections", &labels).await;
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn nothing_of_a_late_body_follows_over_a_connection_that_a_certificate_opened() {
    // RFC 9112 §9.6; protocol.md, point 7 and row 23: there the connection is the credential, and
    // what comes over it is believed.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ask: Ask::Any,
        ..Setup::new(&stage.server())
    })
    .await;
    let pair = pair(&stage, "client", &stage.ca.client("gateway"));
    let auth = format!("{{ client_certificate: {pair} }}");
    let orders = connector("orders", &raw.url("/"), &auth);
    let gateway = Running::start(&stage, &connectors(&[orders])).await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let hidden = "DELETE /all HTTP/1.1\r\nHost: localhost\r\n\r\n";

    for (framing, late) in [
        ("Content-Length: 45\r\n\r\n", hidden.to_owned()),
        (
            "Transfer-Encoding: chunked\r\n\r\n",
            format!("29\r\n{hidden}\r\n0\r\n\r\n"),
        ),
    ] {
        let half = if framing.starts_with('C') {
            "half"
        } else {
            "4\r\nhalf\r\n"
        };
        let mut near = Wire::plain(gateway.flows()).await;
        near.write(format!(
            "POST /orders/early HTTP/1.1\r\nHost: localhost\r\n{framing}{half}"
        ))
        .await;
        let mut far = raw.accept().await;
        far.until_head().await;
        far.write(ok).await;
        assert_eq!(near.answer().await.text(), "ok");
        // The gateway may have hung up by now, which is as well.
        let _ = near.try_write(&late).await;

        let mut client = Client::http1(gateway.flows()).await;
        let next = tokio::spawn(async move { client.get("/orders/next").await });
        let mut another = raw.accept().await;
        let request = another.message(Kind::Request).await.unwrap();
        another
            .write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;

        assert_eq!(request.target(), "/next");
        assert_eq!(next.await.unwrap().status, 204);
        let came = String::from_utf8(far.rest().await).unwrap();
        assert!(came.starts_with("POST /early"), "{came}");
        assert!(!came.contains("DELETE"), "{came}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn refused_uploads_take_nothing_of_an_http2_connections_window() {
    // RFC 9113 §5.1: what arrives for a stream that was reset counts against the connection.
    let scene = Scene::start(Plan {
        settings: "limits: { request_body_bytes_max: 1KiB }\n",
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;

    for _ in 0..16 {
        let (pen, body) = Outgoing::streamed();
        let asking = client.call("POST", "/nobody/x", &[], body);
        let (answered, ()) = tokio::join!(asking, pour(pen));
        assert_eq!(answered.status, 404);
    }
    let answered = client.call("POST", "/orders/x", &[], "hello").await;

    assert_eq!(answered.text(), "ok");
    assert_eq!(scene.origin.only_request().text(), "hello");
}
