//! One connector's share of the gateway: what it may take, and that its trouble is its own.

use std::future::pending;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::Pen;
use crate::support::client::{Answered, Client};
use crate::support::gateway::get;
use crate::support::neighbours::{Neighbours, told};
use crate::support::origin::{Handler, Origin, Setup, scripted, whole};
use crate::support::stage::Stage;
use crate::support::within;

const IN_FLIGHT: &str = "attache_connector_requests_in_flight";

/// An origin that hands out a pen for each answer.
fn held() -> (mpsc::UnboundedReceiver<Pen>, Handler) {
    let (give, given) = mpsc::unbounded_channel();
    let handler = whole(move |_| {
        let (pen, answer) = Answer::streamed();
        give.send(pen).unwrap();
        answer
    });
    (given, handler)
}

/// A request in flight: its client, and its answer's head.
type Carried = (Client, http::Response<hyper::body::Incoming>);

async fn carried(scene: &Neighbours) -> Carried {
    let mut client = Client::http1(scene.gateway.flows()).await;
    let answer = client.send("GET", "/orders/x", &[], "").await.unwrap();
    assert_eq!(answer.status(), 200);
    (client, answer)
}

fn busy() -> (u16, String, Option<&'static str>) {
    (503, "busy".to_owned(), Some("1"))
}

#[tokio::test]
async fn a_request_over_a_connectors_own_limit_is_told_to_come_back_and_others_are_served() {
    let (mut pens, handler) = held();
    let scene = Neighbours::start("requests_in_flight_max: 2", handler).await;
    let first = carried(&scene).await;
    let _second = carried(&scene).await;

    let refused = scene.get().await;

    assert_eq!(told(&refused), busy());
    let error = Some("attache; error=connection_limit_reached");
    assert_eq!(refused.field("proxy-status"), error);
    assert!((scene.gauge(IN_FLIGHT).await - 2.0).abs() < 0.1);
    assert!((scene.refused("busy").await - 1.0).abs() < 0.1);
    scene.assert_other_served().await;
    drop(within("a request at the origin", pens.recv()).await);
    Answered::read(first.1).await.unwrap();
    carried(&scene).await;
    assert_eq!(scene.origin.tally().heads, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_hangs_takes_its_connectors_places_and_no_others() {
    // The default: 512 places of the gateway's 8192.
    let stage = Stage::new();
    let hanging = scripted(|_| pending::<Answer>());
    let origin = Origin::start(Setup::new(&stage.server()), hanging).await;
    let scene = Neighbours::before(stage, origin, "").await;
    let (mut clients, mut asking) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let client = Client::http2(scene.gateway.flows()).await;
        asking.extend((0..64).map(|_| tokio::spawn(client.beside("/orders/x"))));
        clients.push(client);
    }
    scene.until_gauge(IN_FLIGHT, 512.0).await;

    assert_eq!(told(&scene.get().await), busy());
    for _ in 0..50 {
        scene.assert_other_served().await;
    }

    assert!((scene.gauge(IN_FLIGHT).await - 512.0).abs() < 0.1);
    asking.into_iter().for_each(|asking| asking.abort());
    scene.until_gauge(IN_FLIGHT, 0.0).await;
}

#[tokio::test]
async fn those_that_wait_for_a_connection_are_no_more_than_may_be_in_flight() {
    let (mut pens, handler) = held();
    let keys = "requests_in_flight_max: 3, upstream: { connections_max: 1, connect: 20s }";
    let scene = Neighbours::start(keys, handler).await;
    let first = carried(&scene).await;
    let address = scene.gateway.flows();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                client.get("/orders/x").await
            })
        })
        .collect();
    scene.until_gauge(IN_FLIGHT, 3.0).await;

    let refused = scene.get().await;

    assert_eq!(told(&refused), busy());
    assert_eq!(scene.origin.tally().heads, 1);
    // One after the other they get the one connection.
    for _ in 0..3 {
        drop(within("a request at the origin", pens.recv()).await);
    }
    Answered::read(first.1).await.unwrap();
    for answered in waiting {
        assert_eq!(
            within("one that waits", answered).await.unwrap().status,
            200
        );
    }
    assert_eq!(scene.origin.tally().accepted, 1);
}

#[tokio::test]
async fn a_reload_forgets_nobody_in_flight_and_an_edit_of_the_limit_holds_at_once() {
    let (mut pens, handler) = held();
    let scene = Neighbours::start("requests_in_flight_max: 1", handler).await;
    let _first = carried(&scene).await;
    let _pen = within("a request at the origin", pens.recv()).await;

    scene.reload("cookies: pass, requests_in_flight_max: 1");
    assert_eq!(told(&scene.get().await), busy());
    scene.reload("requests_in_flight_max: 2");
    let second = carried(&scene).await;
    assert_eq!(told(&scene.get().await), busy());
    scene.reload("requests_in_flight_max: 1");
    drop(within("a request at the origin", pens.recv()).await);
    Answered::read(second.1).await.unwrap();
    scene.until_gauge(IN_FLIGHT, 1.0).await;

    assert_eq!(told(&scene.get().await), busy());
    assert_eq!(scene.origin.tally().heads, 2);
}

/// What `/readyz?verbose` tells of connectors that are not at rest.
async fn verbose(scene: &Neighbours) -> Vec<Value> {
    let told = get(scene.gateway.admin(), "/readyz?verbose").await;
    assert_eq!(told.status, 200, "an origin's trouble is not the gateway's");
    let told = told.json();
    assert_eq!(told["ready"], true);
    assert_eq!(told["bulkheads_omitted"], 0);
    told["bulkheads"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_verbose_answer_shows_what_is_in_use_and_readiness_never_depends_on_it() {
    let (_pens, handler) = held();
    let keys = "requests_in_flight_max: 4, requests_per_second: { rate: 1, burst: 9 }, \
                upstream: { connections_max: 1, connect: 20s }";
    let scene = Neighbours::start(keys, handler).await;
    assert_eq!(verbose(&scene).await, [Value::Null; 0], "all are at rest");
    scene.assert_other_served().await;
    let _first = carried(&scene).await;
    let client = Client::http2(scene.gateway.flows()).await;
    let _waiting = tokio::spawn(client.beside("/orders/x"));
    let shown = async {
        loop {
            let told = verbose(&scene).await;
            if told[0]["waiting"] == 1 {
                return told;
            }
        }
    };

    let told = within("one that waits to be shown", shown).await;

    let orders = json!({
        "connector": "orders",
        "breaker": "closed",
        "waiting": 1,
        "requests_in_flight": 2,
        "requests_in_flight_max": 4,
        "connections": 1,
        "connections_max": 1,
        "burst_left": 7,
    });
    assert_eq!(told[0], orders, "the worst comes first");
    assert_eq!(told[1]["connector"], "other");
    assert_eq!(told[1]["connections"], 1);
}

#[tokio::test]
async fn the_verbose_answer_shows_until_when_a_breaker_is_open() {
    let handler = whole(|_| Answer::status(503));
    let scene = Neighbours::start("breaker: { failures: 1, open: 90s }", handler).await;
    scene.assert_other_served().await;
    scene.get().await;

    let open = verbose(&scene).await.remove(0);
    scene.turned.advance(Duration::from_secs(90));
    let half_open = verbose(&scene).await.remove(0);

    assert_eq!(open["connector"], "orders");
    assert_eq!(open["breaker"], "open");
    // The clock of these scenes starts at 2026-11-18T11:06:40Z.
    assert_eq!(open["breaker_open_until"], "2026-11-18T11:08:10.000Z");
    assert_eq!(half_open["breaker"], "half-open");
    assert_eq!(half_open.get("breaker_open_until"), None);
}
