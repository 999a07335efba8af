//! Flows that go away amid an exchange, and flows that only stop sending.

use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::{Outgoing, Pen};
use crate::support::client::Client;
use crate::support::exchange::Progress;
use crate::support::origin::{self, Handler};
use crate::support::scene::{Plan, Scene};
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];
const HELD: &str = "GET /orders/held HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Tells when it is dropped.
struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.0.send(());
    }
}

/// An origin that never answers `/api/held`, and tells when it need not any more.
fn never() -> (mpsc::UnboundedReceiver<()>, Handler) {
    let (tell, told) = mpsc::unbounded_channel();
    let handler = origin::scripted(move |mut exchange| {
        let tell = tell.clone();
        async move {
            if exchange.recorded().target == "/api/held" {
                let _told = Told(tell);
                std::future::pending::<()>().await;
            }
            exchange.finish().await;
            Answer::text("ok")
        }
    });
    (told, handler)
}

/// An origin whose answers pens write.
fn penned() -> (mpsc::UnboundedReceiver<Pen>, Handler) {
    let (pens, penned) = mpsc::unbounded_channel();
    let handler = origin::whole(move |_| {
        let (pen, answer) = Answer::streamed();
        pens.send(pen).unwrap();
        answer
    });
    (penned, handler)
}

async fn scene(protocols: Protocols, handler: Handler) -> Scene {
    Scene::start(Plan {
        protocols,
        ..Plan::answering(handler)
    })
    .await
}

#[tokio::test]
async fn a_reset_cancels_what_the_origin_works_on() {
    for protocols in BOTH {
        let (mut told, handler) = never();
        let scene = scene(protocols, handler).await;
        let mut wire = Wire::resetting(scene.gateway.flows()).await;
        wire.write(HELD).await;
        scene.origin.until(|tally| tally.heads == 1).await;

        drop(wire);

        within("the origin's work to be cancelled", told.recv()).await;
        assert_eq!(scene.gateway.get("/orders/x").await.text(), "ok");
    }
}

#[tokio::test]
async fn a_reset_amid_an_answer_cancels_the_rest_of_it() {
    for protocols in BOTH {
        let (mut pens, handler) = penned();
        let scene = scene(protocols, handler).await;
        let mut wire = Wire::resetting(scene.gateway.flows()).await;
        wire.write(HELD).await;
        let pen = within("an answer", pens.recv()).await.unwrap();
        pen.write("half").await;

        drop(wire);

        pen.given_up().await;
    }
}

#[tokio::test]
async fn a_reset_http2_stream_cancels_its_request_and_no_other() {
    // RFC 9113 §5.4.2: CANCEL.
    for protocols in BOTH {
        let (mut told, handler) = never();
        let scene = scene(protocols, handler).await;
        let mut client = Client::http2(scene.gateway.flows()).await;

        tokio::select! {
            answer = client.send("GET", "/orders/held", &[], "") => panic!("{answer:?}"),
            _ = scene.origin.until(|tally| tally.heads == 1) => {}
        }

        within("the origin's work to be cancelled", told.recv()).await;
        assert_eq!(client.get("/orders/x").await.text(), "ok");
    }
}

#[tokio::test]
async fn a_dropped_http2_answer_cancels_the_rest_of_it_and_no_other() {
    for protocols in BOTH {
        let (mut pens, handler) = penned();
        let scene = scene(protocols, handler).await;
        let mut client = Client::http2(scene.gateway.flows()).await;
        let dropped = client.send("GET", "/orders/a", &[], "").await.unwrap();
        let first = pens.recv().await.unwrap();
        let kept = client.send("GET", "/orders/b", &[], "").await.unwrap();
        let second = pens.recv().await.unwrap();

        drop(dropped);

        first.given_up().await;
        assert!(second.write("still here").await);
        drop(second);
        let kept = crate::support::client::Answered::read(kept).await.unwrap();
        assert_eq!(kept.text(), "still here");
    }
}

#[tokio::test]
async fn a_reset_amid_a_request_never_looks_whole_to_the_origin() {
    for protocols in BOTH {
        let (ended, mut end) = mpsc::unbounded_channel();
        let handler = origin::scripted(move |mut exchange| {
            let ended = ended.clone();
            async move {
                ended.send(exchange.finish().await.progress).unwrap();
                Answer::text("ok")
            }
        });
        let scene = scene(protocols, handler).await;
        let mut wire = Wire::resetting(scene.gateway.flows()).await;
        wire.write("POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        scene.origin.until(|tally| tally.heads == 1).await;

        drop(wire);

        let progress = within("the request's end", end.recv()).await;
        assert_eq!(progress, Some(Progress::BrokenOff), "{protocols:?}");
    }
}

#[tokio::test]
async fn a_flow_that_closes_its_sending_half_still_gets_its_answer() {
    // RFC 9112 §9.6 lets a client do so.
    for protocols in BOTH {
        let (mut pens, handler) = penned();
        let scene = scene(protocols, handler).await;
        for request in [
            "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n",
        ] {
            let mut wire = Wire::plain(scene.gateway.flows()).await;
            wire.write(request).await;
            wire.half_close().await;
            let pen = within("a whole request", pens.recv()).await.unwrap();

            for piece in ["one ", "two ", "three"] {
                pen.write(piece).await;
            }
            drop(pen);

            assert_eq!(wire.answer().await.text(), "one two three", "{request:?}");
            assert!(wire.is_closed().await);
        }
    }
}

#[tokio::test]
async fn a_flow_that_closes_its_sending_half_amid_its_request_gets_no_other_answer_than_400() {
    // protocol.md, row 6; RFC 9112 §8.
    let (_, handler) = never();
    let scene = scene(Protocols::Http1, handler).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write("POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    scene.origin.until(|tally| tally.heads == 1).await;
    wire.half_close().await;
    let rest = String::from_utf8(wire.rest().await).unwrap();

    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 400 "),
        "{rest}"
    );
    assert_eq!(scene.origin.tally().whole, 0);
}

#[tokio::test]
async fn over_tls_a_flow_that_says_close_notify_still_gets_its_answer() {
    // RFC 8446 §6.1: it closes one direction alone.
    let (mut pens, handler) = penned();
    let scene = Scene::start_with(
        Plan {
            settings: "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n",
            ..Plan::answering(handler)
        },
        |stage| {
            stage.server().write(stage.directory(), "gw");
        },
    )
    .await;
    let config = tls::client(&scene.stage.ca, None, Protocols::Http1);
    let mut wire = Wire::tls(scene.gateway.flows(), config).await;

    wire.write(HELD).await;
    wire.half_close().await;
    let pen = within("a whole request", pens.recv()).await.unwrap();
    pen.write("an answer").await;
    drop(pen);

    assert_eq!(wire.answer().await.text(), "an answer");
}

#[tokio::test]
async fn a_flow_that_goes_while_it_waits_for_a_connection_leaves_the_queue() {
    let (mut pens, handler) = penned();
    let scene = Scene::start(Plan {
        connector: &["upstream: { connections_max: 1, connect: 20s }"],
        ..Plan::answering(handler)
    })
    .await;
    let address = scene.gateway.flows();
    let mut first = Client::http1(address).await;
    let held = first.send("GET", "/orders/a", &[], "").await.unwrap();
    let pen = pens.recv().await.unwrap();
    let mut waiting = Wire::resetting(address).await;
    waiting.write(HELD).await;
    let in_flight = "attache_requests_in_flight";
    while scene.gateway.sample(in_flight, &[]).await < 2.0 {}

    drop(waiting);
    while scene.gateway.sample(in_flight, &[]).await > 1.0 {}
    drop(pen);
    crate::support::client::Answered::read(held).await.unwrap();

    let (_pen, body) = Outgoing::streamed();
    let next = first.send("POST", "/orders/b", &[], body);
    tokio::select! {
        answer = next => panic!("{answer:?}"),
        _ = scene.origin.until(|tally| tally.heads == 2) => {}
    }
    let targets: Vec<_> = scene
        .origin
        .requests()
        .into_iter()
        .map(|r| r.target)
        .collect();
    assert_eq!(targets, ["/api/a", "/api/b"]);
}
