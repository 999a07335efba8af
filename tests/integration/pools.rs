//! Connections to origins: reused, shared between workers, bounded, and let go in time.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::Pen;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::{self, Handler, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

/// Answers `/api/held` by a pen that the test gets, and everything else with `ok`.
fn holding() -> (mpsc::UnboundedReceiver<Pen>, Handler) {
    let (pens, penned) = mpsc::unbounded_channel();
    let handler = origin::whole(move |request| {
        if request.target != "/api/held" {
            return Answer::text("ok");
        }
        let (pen, answer) = Answer::streamed();
        pens.send(pen).unwrap();
        answer
    });
    (penned, handler)
}

/// How many connections to the origin the gateway counts in `state`.
async fn counted(gateway: &Running, state: &str) -> f64 {
    let labels = [("connector", "orders"), ("state", state)];
    gateway
        .sample("attache_upstream_connections", &labels)
        .await
}

#[tokio::test]
async fn requests_one_after_the_other_share_one_connection() {
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::new()
        })
        .await;

        for _ in 0..10 {
            assert_eq!(scene.gateway.get("/orders/x").await.status, 200);
        }

        assert_eq!(scene.origin.tally().accepted, 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn a_worker_borrows_another_ones_idle_connection() {
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            settings: "workers: 4\n",
            ..Plan::new()
        })
        .await;
        // Each new connection goes to the worker with the fewest, so four lie on four workers.
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = Client::http1(scene.gateway.flows()).await;
            assert_eq!(client.get("/orders/x").await.status, 200);
            clients.push(client);
        }

        for client in &mut clients {
            assert_eq!(client.get("/orders/x").await.status, 200);
        }

        assert_eq!(scene.origin.tally().accepted, 1, "{protocols:?}");
        assert_eq!(scene.origin.tally().whole, 16);
    }
}

#[tokio::test]
async fn requests_side_by_side_have_connections_of_their_own_over_http11() {
    let (mut penned, handler) = holding();
    let scene = Scene::start(Plan::answering(handler)).await;
    let mut first = Client::http1(scene.gateway.flows()).await;

    let held = first.send("GET", "/orders/held", &[], "").await.unwrap();
    scene.gateway.get("/orders/x").await;
    drop(penned.recv().await);
    Answered::read(held).await.unwrap();
    scene.gateway.get("/orders/x").await;

    assert_eq!(scene.origin.tally().accepted, 2);
}

#[tokio::test]
async fn over_connections_max_a_request_waits_and_takes_what_comes_free() {
    let (mut penned, handler) = holding();
    let scene = Scene::start(Plan {
        connector: &["upstream: { connections_max: 1, connect: 20s }"],
        ..Plan::answering(handler)
    })
    .await;
    let address = scene.gateway.flows();
    let mut first = Client::http1(address).await;
    let held = first.send("GET", "/orders/held", &[], "").await.unwrap();

    // They wait on both workers for the one connection.
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let mut client = Client::http1(address).await;
        waiting.spawn(async move { client.get("/orders/x").await.status });
    }
    let in_flight = "attache_requests_in_flight";
    while scene.gateway.sample(in_flight, &[]).await < 7.0 {}
    assert_eq!(scene.origin.tally().heads, 1);
    drop(penned.recv().await);
    Answered::read(held).await.unwrap();

    while let Some(status) = within("those that wait", waiting.join_next()).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(scene.origin.tally().accepted, 1);
}

#[tokio::test]
async fn over_connections_max_the_wait_is_bounded_and_told() {
    let (mut penned, handler) = holding();
    let scene = Scene::start(Plan {
        connector: &["upstream: { connections_max: 1, connect: 1s }"],
        ..Plan::answering(handler)
    })
    .await;
    let mut first = Client::http1(scene.gateway.flows()).await;
    let held = first.send("GET", "/orders/held", &[], "").await.unwrap();

    let refused = scene.gateway.get("/orders/x").await;
    drop(penned.recv().await);
    Answered::read(held).await.unwrap();
    let next = scene.gateway.get("/orders/x").await;

    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("problem:busy"));
    let error = Some("attache; error=connection_limit_reached");
    assert_eq!(refused.field("proxy-status"), error);
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(next.status, 200);
    assert_eq!(scene.origin.tally().accepted, 1);
}

#[tokio::test]
async fn a_connection_that_ends_with_its_flow_makes_room_for_another() {
    let (mut penned, handler) = holding();
    let scene = Scene::start(Plan {
        connector: &["upstream: { connections_max: 1, connect: 20s }"],
        ..Plan::answering(handler)
    })
    .await;
    let address = scene.gateway.flows();
    let mut first = Wire::resetting(address).await;
    first
        .write("GET /orders/held HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let pen = penned.recv().await.unwrap();
    let waiting = tokio::spawn(async move {
        let mut client = Client::http1(address).await;
        client.get("/orders/x").await.status
    });

    drop(first);
    pen.given_up().await;

    assert_eq!(within("the one that waits", waiting).await.unwrap(), 200);
    assert_eq!(scene.origin.tally().accepted, 2);
}

#[tokio::test]
async fn an_idle_connection_is_used_until_idle_and_then_closed() {
    for protocols in BOTH {
        let (scene, turned) = Scene::start_turned(Plan {
            protocols,
            connector: &["upstream: { idle: 30s, age_max: 1h }"],
            ..Plan::new()
        })
        .await;
        scene.gateway.get("/orders/x").await;

        turned.advance(Duration::from_secs(29));
        scene.gateway.get("/orders/x").await;
        turned.advance(Duration::from_secs(29));
        scene.gateway.get("/orders/x").await;
        let before = scene.origin.tally();
        turned.advance(Duration::from_secs(31));
        scene.origin.until(|tally| tally.closed == 1).await;
        scene.gateway.get("/orders/x").await;

        assert_eq!((before.accepted, before.closed), (1, 0), "{protocols:?}");
        assert_eq!(scene.origin.tally().accepted, 2);
    }
}

#[tokio::test]
async fn a_connection_over_age_max_takes_no_further_request_but_ends_the_one_it_has() {
    for protocols in BOTH {
        let (mut penned, handler) = holding();
        let (scene, turned) = Scene::start_turned(Plan {
            protocols,
            connector: &["upstream: { idle: 1h, age_max: 10m }"],
            settings: "timeouts: { idle: 1h, drain_delay: 0s }\n",
            ..Plan::answering(handler)
        })
        .await;
        scene.gateway.get("/orders/x").await;
        turned.advance(Duration::from_secs(599));
        let mut client = Client::http1(scene.gateway.flows()).await;
        let held = client.send("GET", "/orders/held", &[], "").await.unwrap();
        let pen = penned.recv().await.unwrap();

        turned.advance(Duration::from_secs(2));
        scene.gateway.get("/orders/x").await;
        pen.write("whole").await;
        drop(pen);
        let answered = Answered::read(held).await.unwrap();

        assert_eq!(answered.text(), "whole", "{protocols:?}");
        scene.origin.until(|tally| tally.closed == 1).await;
        assert_eq!(scene.origin.tally().accepted, 2);
    }
}

#[tokio::test]
async fn a_connection_the_origin_closes_is_not_used_again() {
    // RFC 9112 §9.6.
    let scene = Scene::start(Plan::answering(origin::whole(|_| {
        Answer::text("ok").field("connection", "close")
    })))
    .await;

    for _ in 0..3 {
        assert_eq!(scene.gateway.get("/orders/x").await.status, 200);
    }

    assert_eq!(scene.origin.tally().accepted, 3);
}

#[tokio::test]
async fn connections_are_counted_while_they_are_busy_and_idle() {
    let (mut penned, handler) = holding();
    let scene = Scene::start(Plan::answering(handler)).await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    let held = client.send("GET", "/orders/held", &[], "").await.unwrap();
    let busy = counted(&scene.gateway, "busy").await;
    drop(penned.recv().await);
    Answered::read(held).await.unwrap();
    while counted(&scene.gateway, "busy").await > 0.0 {}

    assert!((busy - 1.0).abs() < 0.1, "{busy}");
    assert!((counted(&scene.gateway, "idle").await - 1.0).abs() < 0.1);
}

/// A raw HTTP/1.1 origin with a gateway before it.
async fn raw() -> (Stage, RawOrigin, Running) {
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    (stage, raw, gateway)
}

const GET: &str = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn an_idle_connection_that_the_origin_closes_costs_no_request() {
    let (_stage, raw, gateway) = raw().await;
    let mut wire = Wire::plain(gateway.flows()).await;

    for _ in 0..3 {
        wire.write(GET).await;
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        origin
            .write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert_eq!(wire.answer().await.text(), "ok");
        drop(origin);
        while counted(&gateway, "idle").await > 0.0 {}
    }
    gateway.drain().await;
}

#[tokio::test]
async fn bytes_behind_an_answer_are_never_anybodys_answer() {
    // RFC 9112 §6.3, §9.2; protocol.md, line 26 and row 16.
    let (_stage, raw, gateway) = raw().await;
    let mut wire = Wire::plain(gateway.flows()).await;

    wire.write(GET).await;
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin
        .write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
             HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        )
        .await;
    let first = wire.answer().await;
    wire.write(GET).await;
    let mut second_origin = raw.accept().await;
    second_origin.message(Kind::Request).await.unwrap();
    second_origin
        .write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        .await;

    assert_eq!(first.text(), "ok");
    assert_eq!(wire.answer().await.text(), "good");
    gateway.drain().await;
}
