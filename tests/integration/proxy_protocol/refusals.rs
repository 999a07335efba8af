//! Who is not introduced, or by nobody who is believed, is closed without an answer.

use std::time::Duration;

use super::{DESTINATION, REFUSED, SOURCE, bad_beginnings};
use crate::support::balancer::{header, wire, wire_from};
use crate::support::scene::{Plan, Scene};
use crate::support::wire::Wire;

const ANYBODY: &str = "inbound: { proxy_protocol: true }\n";
const GET: &str = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn behind(settings: &'static str) -> Plan {
    Plan {
        settings,
        ..Plan::new()
    }
}

async fn refused(scene: &Scene, reason: &str) -> f64 {
    let labels = [("listener", "flows"), ("reason", reason)];
    scene.gateway.sample(REFUSED, &labels).await
}

/// Nothing came of what was sent: no request, no answer, no connection to the origin.
async fn claim_nothing_was_asked(scene: &Scene) {
    let requests = scene.gateway.sample("attache_requests_total", &[]).await;
    let answers = scene.gateway.sample("attache_refused_total", &[]).await;
    assert_eq!((requests, answers), (0.0, 0.0));
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_connection_that_does_not_begin_with_a_good_header_is_closed_without_an_answer() {
    let scene = Scene::start(behind(ANYBODY)).await;
    let (mut missing, mut malformed) = (0.0, 0.0);

    for (begins, reason) in bad_beginnings() {
        let mut client = wire(scene.gateway.flows(), &begins).await;
        assert!(client.is_closed().await, "{}", begins.escape_ascii());
        match reason {
            "missing" => missing += 1.0,
            _ => malformed += 1.0,
        }
        assert_eq!(refused(&scene, "missing").await, missing);
        assert_eq!(refused(&scene, "malformed").await, malformed);
    }

    claim_nothing_was_asked(&scene).await;
    assert_eq!(refused(&scene, "stranger").await, 0.0);
}

#[tokio::test]
async fn a_header_that_is_cut_off_by_the_end_of_the_connection_is_malformed() {
    let scene = Scene::start(behind(ANYBODY)).await;
    let header = header(SOURCE, DESTINATION);

    for cut in [1, 12, 15, 16, 27] {
        let mut client = wire(scene.gateway.flows(), &header[..cut]).await;
        client.half_close().await;
        assert!(client.is_closed().await, "{cut}");
    }

    assert_eq!(refused(&scene, "malformed").await, 5.0);
    claim_nothing_was_asked(&scene).await;
}

/// Balancers look whether a port is open that way; it is nothing to tell of.
#[tokio::test]
async fn a_connection_that_ends_before_its_first_byte_is_not_counted() {
    let scene = Scene::start(behind(ANYBODY)).await;
    let mut client = Wire::plain(scene.gateway.flows()).await;

    client.half_close().await;

    assert!(client.is_closed().await);
    for reason in ["stranger", "missing", "malformed"] {
        assert_eq!(refused(&scene, reason).await, 0.0);
    }
    claim_nothing_was_asked(&scene).await;
}

#[tokio::test]
async fn who_comes_from_outside_balancers_is_closed_whatever_it_says() {
    let settings = "inbound: { proxy_protocol: true, balancers: [127.0.0.2, 10.0.0.0/8] }\n";
    let scene = Scene::start(behind(settings)).await;
    let flows = scene.gateway.flows();

    // Without having said a word, and with a good header.
    assert!(Wire::plain(flows).await.is_closed().await);
    let mut stranger = Wire::plain(flows).await;
    let said = [&header("10.0.0.1:1", DESTINATION)[..], GET.as_bytes()].concat();
    // It may be closed already.
    drop(stranger.try_write(said).await);
    assert!(stranger.is_closed().await);
    assert_eq!(refused(&scene, "stranger").await, 2.0);
    claim_nothing_was_asked(&scene).await;

    let mut balancer = wire_from("127.0.0.2", flows).await;
    balancer.write(header(SOURCE, DESTINATION)).await;
    balancer.write(GET).await;
    assert_eq!(balancer.answer().await.status(), 200);
}

#[tokio::test]
async fn whoever_is_silent_before_within_or_behind_its_header_is_closed_and_no_request() {
    let (scene, turned) = Scene::start_turned(behind(ANYBODY)).await;
    let flows = scene.gateway.flows();
    let whole = header(SOURCE, DESTINATION);
    let mut silent = Vec::new();
    for begins in [&[][..], &whole[..1], &whole[..16], &whole[..27], &whole] {
        silent.push(wire(flows, begins).await);
    }
    let all = |open| open == 5.0;
    let open = "attache_client_connections";
    scene.gateway.until_sample(open, &[], all).await;

    turned.advance(Duration::from_secs(60));

    for client in &mut silent {
        assert!(client.is_closed().await);
    }
    claim_nothing_was_asked(&scene).await;
}

/// HAProxy and others connect ahead of their clients, or keep a connection until one comes.
#[tokio::test]
async fn a_balancer_may_be_ahead_of_its_client_by_the_time_that_a_head_may_take() {
    let (scene, turned) = Scene::start_turned(behind(ANYBODY)).await;
    let mut client = wire(scene.gateway.flows(), &header(SOURCE, DESTINATION)).await;
    let one = |open| open == 1.0;
    let open = "attache_client_connections";
    scene.gateway.until_sample(open, &[], one).await;

    // More than `timeouts.handshake`, less than `timeouts.head`.
    turned.advance(Duration::from_secs(8));
    client.write(GET).await;

    assert_eq!(client.answer().await.status(), 200);
}
