//! Requests that are sent again, and those that must not be (RFC 9110 §9.2.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::expiring::{BOTH, retries};
use crate::support::gateway;
use crate::support::message::Kind;
use crate::support::origin;
use crate::support::resending::{OK, call, raw, unreached, used};
use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

#[tokio::test]
async fn an_idempotent_request_survives_a_used_connection_that_ends_under_it() {
    for (method, body) in [
        ("GET", ""),
        ("HEAD", ""),
        ("PUT", "content"),
        ("DELETE", ""),
        ("OPTIONS", ""),
    ] {
        let (_stage, raw, gateway) = raw(Protocols::Http1, &[]).await;
        let mut origin = used(&raw, &gateway).await;

        let flow = call(&gateway, method, body);
        let first = origin.message(Kind::Request).await.unwrap();
        drop(origin);
        let mut another = raw.accept().await;
        let second = another.message(Kind::Request).await.unwrap();
        another.write(&OK[..OK.len() - 2]).await;
        if method != "HEAD" {
            another.write("ok").await;
        }

        let answered = within("the flow", flow).await.unwrap();
        assert_eq!(answered.status, 200, "{method}");
        assert_eq!(second.text(), body);
        assert_eq!(first.fields, second.fields);
        assert_eq!(retries(&gateway, "connection").await, 1.0);
    }
}

#[tokio::test]
async fn a_request_gets_through_to_a_healthy_origin_however_many_used_connections_are_dead() {
    let (_stage, raw, gateway) = raw(Protocols::Http1, &[]).await;
    let mut kept = Vec::new();
    let flows: Vec<_> = (0..6).map(|_| call(&gateway, "GET", "")).collect();
    for _ in 0..6 {
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        kept.push(origin);
    }
    for origin in &mut kept {
        origin.write(OK).await;
    }
    for flow in flows {
        assert_eq!(within("an answer", flow).await.unwrap().status, 200);
    }
    let idle = |count: f64| count == 6.0;
    gateway
        .until_sample("attache_upstream_connections", &[("state", "idle")], idle)
        .await;

    // Each of them ends as the request comes, as behind a load balancer that was replaced.
    let dying: Vec<_> = kept
        .into_iter()
        .map(|mut origin| {
            tokio::spawn(async move { origin.message(Kind::Request).await.map(drop) })
        })
        .collect();
    let flow = call(&gateway, "GET", "");
    let mut fresh = raw.accept().await;
    fresh.message(Kind::Request).await.unwrap();
    fresh.write(OK).await;

    assert_eq!(within("the flow", flow).await.unwrap().status, 200);
    assert_eq!(retries(&gateway, "connection").await, 2.0);
    dying.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_request_that_is_not_idempotent_reaches_an_origin_once() {
    // RFC 9110 §9.2.2: the origin may have acted on it before its connection ended; protocol.md,
    // line 12.
    for (method, body) in [("POST", "content"), ("POST", ""), ("PATCH", "content")] {
        let retry = ["retry: { statuses: [502, 503], attempts: 5 }"];
        let (_stage, raw, gateway) = raw(Protocols::Http1, &retry).await;
        let mut origin = used(&raw, &gateway).await;

        let flow = call(&gateway, method, body);
        origin.message(Kind::Request).await.unwrap();
        drop(origin);

        unreached(&within("the flow", flow).await.unwrap(), true);
        for cause in ["connection", "unsent", "status", "token"] {
            assert_eq!(retries(&gateway, cause).await, 0.0, "{method} {cause}");
        }
    }
}

#[tokio::test]
async fn a_new_connection_that_ends_under_a_request_is_no_reason_to_repeat_it() {
    let (_stage, raw, gateway) = raw(Protocols::Http1, &[]).await;

    let flow = call(&gateway, "GET", "");
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    drop(origin);

    unreached(&within("the flow", flow).await.unwrap(), true);
    assert_eq!(retries(&gateway, "connection").await, 0.0);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let retry = ["retry: { statuses: [502], attempts: 5 }"];
    let (_stage, raw, gateway) = raw(Protocols::Http1, &retry).await;
    let mut origin = used(&raw, &gateway).await;

    let flow = call(&gateway, "GET", "");
    origin.message(Kind::Request).await.unwrap();
    origin.write("HTTP/1.1 200 O").await;
    drop(origin);

    let answered = within("the flow", flow).await.unwrap();
    assert_eq!(answered.status, 502);
    assert_eq!(answered.reason(), "origin-protocol");
    assert_eq!(retries(&gateway, "connection").await, 0.0);
}

#[tokio::test]
async fn a_body_that_was_not_kept_is_not_repeated() {
    let bound = ["replay_body_bytes_max: 1KiB"];
    let (_stage, raw, gateway) = raw(Protocols::Http1, &bound).await;
    let mut origin = used(&raw, &gateway).await;

    let flow = call(
        &gateway,
        "PUT",
        Box::leak("x".repeat(1025).into_boxed_str()),
    );
    origin.message(Kind::Request).await.unwrap();
    drop(origin);

    unreached(&within("the flow", flow).await.unwrap(), true);
}

/// A scene whose origin answers 503, with `fields`, until it was asked `failures` times.
async fn failing(
    protocols: Protocols,
    retry: &'static str,
    failures: usize,
    field: (&'static str, &'static str),
) -> Scene {
    let asked = Arc::new(AtomicUsize::new(0));
    let handler =
        origin::whole(
            move |request| match asked.fetch_add(1, Ordering::SeqCst) < failures {
                true => Answer::status(503).body("busy").field(field.0, field.1),
                false => Answer::text(&request.text()),
            },
        );
    Scene::start(Plan {
        protocols,
        connector: vec![retry].leak(),
        ..Plan::answering(handler)
    })
    .await
}

const NOW: (&str, &str) = ("retry-after", "0");

#[tokio::test]
async fn a_status_that_may_pass_is_tried_again_where_the_connector_says_so() {
    for protocols in BOTH {
        for field in [NOW, ("retry-after", ""), ("x-no", "hint")] {
            let retry = "retry: { statuses: [503], attempts: 3 }";
            let scene = failing(protocols, retry, 2, field).await;
            let mut client = Client::http1(scene.gateway.flows()).await;

            let answered = client.call("PUT", "/orders/x", &[], "content").await;

            assert_eq!(answered.status, 200, "{protocols:?}");
            assert_eq!(answered.text(), "content");
            assert_eq!(scene.origin.tally().whole, 3);
            assert_eq!(scene.origin.tally().accepted, 1);
            assert_eq!(retries(&scene.gateway, "status").await, 2.0);
        }
    }
}

#[tokio::test]
async fn attempts_are_counted_in_all_and_the_last_answer_is_passed_on() {
    let retry = "retry: { statuses: [503], attempts: 3 }";
    let scene = failing(Protocols::Http1, retry, 9, NOW).await;

    let answered = scene.gateway.get("/orders/x").await;

    assert_eq!(answered.status, 503);
    assert_eq!(answered.text(), "busy");
    assert_eq!(scene.origin.tally().whole, 3);
}

#[tokio::test]
async fn no_status_makes_a_post_go_out_twice() {
    let retry = "retry: { statuses: [503], attempts: 3 }";
    for method in ["POST", "PATCH"] {
        let scene = failing(Protocols::Http1, retry, 1, NOW).await;
        let mut client = Client::http1(scene.gateway.flows()).await;

        let answered = client.call(method, "/orders/x", &[], "content").await;

        assert_eq!(answered.status, 503, "{method}");
        assert_eq!(scene.origin.tally().whole, 1);
    }
}

#[tokio::test]
async fn without_the_connectors_word_no_status_is_tried_again() {
    for retry in ["retry: null", "retry: { statuses: [502], attempts: 3 }"] {
        let scene = failing(Protocols::Http1, retry, 1, NOW).await;

        assert_eq!(scene.gateway.get("/orders/x").await.status, 503, "{retry}");
        assert_eq!(scene.origin.tally().whole, 1);
    }
}

#[tokio::test]
async fn a_wait_over_the_limit_is_the_flows() {
    let retry = "retry: { statuses: [503], attempts: 3, wait_max: 5s }";
    let scene = failing(Protocols::Http1, retry, 1, ("retry-after", "6")).await;

    let answered = scene.gateway.get("/orders/x").await;

    assert_eq!(answered.status, 503);
    assert_eq!(answered.field("retry-after"), Some("6"));
    assert_eq!(scene.origin.tally().whole, 1);
}

/// A scene under a turned clock whose first answer asks for five seconds.
async fn asked_to_wait() -> (Scene, attache::clock::Turned) {
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = origin::whole(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(503).field("retry-after", "5"),
        _ => Answer::text("ok"),
    });
    Scene::start_turned(Plan {
        connector: &["retry: { statuses: [503], attempts: 2, wait_max: 5s }"],
        ..Plan::answering(handler)
    })
    .await
}

#[tokio::test]
async fn a_wait_that_the_origin_asks_for_is_kept() {
    let (scene, turned) = asked_to_wait().await;
    let address = scene.gateway.flows();
    let flow = tokio::spawn(async move { gateway::get(address, "/orders/x").await });
    scene.origin.until(|tally| tally.whole == 1).await;

    let labels = [("state", "idle")];
    let idle = |count: f64| count > 0.0;
    let connections = "attache_upstream_connections";
    scene.gateway.until_sample(connections, &labels, idle).await;
    assert_eq!(scene.origin.tally().whole, 1);
    // The wait may begin a moment after its connection was set free.
    while retries(&scene.gateway, "status").await < 1.0 {
        turned.advance(Duration::from_secs(5));
    }

    assert_eq!(within("the flow", flow).await.unwrap().status, 200);
    assert_eq!(scene.origin.tally().whole, 2);
}

#[tokio::test]
async fn a_flow_that_has_gone_is_not_served_again() {
    let (scene, turned) = asked_to_wait().await;
    let mut wire = Wire::resetting(scene.gateway.flows()).await;
    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    scene.origin.until(|tally| tally.whole == 1).await;

    drop(wire);
    let in_flight = "attache_requests_in_flight";
    let none = |count: f64| count < 1.0;
    scene.gateway.until_sample(in_flight, &[], none).await;
    turned.advance(Duration::from_secs(60));
    scene.gateway.get("/orders/x").await;

    assert_eq!(scene.origin.tally().whole, 2);
    assert_eq!(retries(&scene.gateway, "status").await, 0.0);
}

#[tokio::test]
async fn retries_are_held_to_their_budget() {
    // The breaker would end it sooner.
    let retry = "retry: { statuses: [503], attempts: 5, budget_percent: 20 }\n    breaker: null";
    let scene = failing(Protocols::Http1, retry, usize::MAX, NOW).await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    for _ in 0..50 {
        assert_eq!(client.get("/orders/x").await.status, 503);
    }

    // Ten are always allowed; a little more comes with the seconds that pass.
    let retried = retries(&scene.gateway, "status").await;
    assert!((10.0..40.0).contains(&retried), "{retried}");
    assert_eq!(scene.origin.tally().whole as f64, 50.0 + retried);
}

#[tokio::test]
async fn every_request_earns_its_part_of_the_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let handler = origin::whole(move |_| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        // A hundred that need no other attempt, then every other one does.
        match nth >= 100 && nth.is_multiple_of(2) {
            true => Answer::status(503).field(NOW.0, NOW.1),
            false => Answer::text("ok"),
        }
    });
    let (scene, _turned) = Scene::start_turned(Plan {
        connector: &["retry: { statuses: [503], attempts: 2, budget_percent: 20 }"],
        ..Plan::answering(handler)
    })
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;
    for _ in 0..115 {
        assert_eq!(client.get("/orders/x").await.status, 200);
    }

    // Ten would be allowed to a connector without requests.
    assert_eq!(retries(&scene.gateway, "status").await, 15.0);
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_tried_again_where_the_connector_says_so() {
    for (method, sent_again) in [("GET", 2.0), ("POST", 0.0)] {
        let retry = ["retry: { attempts: 3 }"];
        let (_stage, raw, gateway) = raw(Protocols::Http1, &retry).await;
        drop(raw);

        let flow = call(&gateway, method, "");

        unreached(&within("the flow", flow).await.unwrap(), false);
        let retried = retries(&gateway, "connection").await;
        assert_eq!(retried, sent_again, "{method}");
    }
}

#[tokio::test]
async fn a_new_connection_that_ends_is_tried_again_where_the_connector_says_so() {
    let retry = ["retry: { attempts: 2 }"];
    let (_stage, raw, gateway) = raw(Protocols::Http1, &retry).await;

    let flow = call(&gateway, "GET", "");
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    drop(origin);
    let mut another = raw.accept().await;
    another.message(Kind::Request).await.unwrap();
    another.write(OK).await;

    assert_eq!(within("the flow", flow).await.unwrap().status, 200);
    assert_eq!(retries(&gateway, "connection").await, 1.0);
}

#[tokio::test]
async fn what_reached_the_origin_once_is_told_whatever_the_last_attempt_was() {
    let retry = ["retry: { statuses: [503], attempts: 2 }"];
    let (_stage, raw, gateway) = raw(Protocols::Http1, &retry).await;

    let flow = call(&gateway, "GET", "");
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin
        .write("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;
    drop((origin, raw));

    unreached(&within("the flow", flow).await.unwrap(), true);
}
