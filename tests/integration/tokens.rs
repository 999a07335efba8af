//! The life of a token: one fetch for any number of flows, used while it is fresh.

use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::authority::bearer;
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::connector::with_secret;
use crate::support::gateway::{self, Running};
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;
use crate::support::wire::Wire;

/// Requests that are being carried, as `/metrics` has it.
const IN_FLIGHT: &str = "attache_requests_in_flight";

/// Starts `count` flows, each over a connection of its own, and waits until all are on their way.
async fn start_flows(room: &TokenRoom, count: u32) -> JoinSet<Answered> {
    let mut flows = JoinSet::new();
    let address = room.gateway.flows();
    for _ in 0..count {
        flows.spawn(async move { gateway::get(address, "/c/x").await });
    }
    let all = f64::from(count);
    room.gateway
        .until_sample(IN_FLIGHT, &[], |carried| carried >= all)
        .await;
    flows
}

async fn cache(gateway: &Running, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    gateway.sample("attache_token_cache_total", &labels).await
}

fn refused(answered: &Answered) {
    let problem = answered.json();
    assert_eq!(answered.status, 503, "{problem}");
    assert_eq!(problem["type"], "urn:attache:problem:no-credential");
    let retry_after: u64 = answered.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after), "{retry_after}");
}

#[tokio::test]
async fn a_hundred_flows_on_a_cold_token_make_one_token_request() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);

    let flows = start_flows(&room, 100).await;
    room.authority.until_requests(1).await;
    room.authority.release_all();
    let answers = flows.join_all().await;

    assert!(answers.iter().all(|answered| answered.status == 200));
    assert_eq!(room.authority.count(), 1);
    let requests = room.origin.requests();
    assert_eq!(requests.len(), 100);
    for request in requests {
        assert_eq!(request.field("authorization"), Some("Bearer token-1"));
    }
    assert_eq!(cache(&room.gateway, "miss").await, 1.0);
    let others = cache(&room.gateway, "joined").await + cache(&room.gateway, "hit").await;
    assert_eq!(others, 99.0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn what_a_request_waits_for_its_token_is_not_the_resource_domains_time() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);
    let flows = start_flows(&room, 1).await;
    room.authority.until_requests(1).await;

    room.turned.advance(Duration::from_secs(1));
    room.authority.release_all();
    flows.join_all().await;

    let sum = async |family| room.gateway.sample(family, &[]).await;
    let whole = sum("attache_request_duration_seconds_sum").await;
    let upstream = sum("attache_upstream_duration_seconds_sum").await;
    assert_eq!((whole, upstream), (1.0, 0.0));
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_fetch_that_fails_fails_once_for_all_who_wait() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|_, _| Answer::status(500));
    room.authority.release(0);

    let flows = start_flows(&room, 20).await;
    room.authority.release_all();
    let answers = flows.join_all().await;

    answers.iter().for_each(refused);
    assert_eq!(room.origin.tally().accepted, 0);
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}

/// Sends a request and resets the connection once the gateway carries it.
async fn hang_up(room: &TokenRoom, carried_before: f64) {
    let address = room.gateway.flows();
    let tcp = TcpStream::connect(address).await.unwrap();
    // A mere close could be a client that still reads (RFC 9112 §9.6); a reset is a hang-up.
    SockRef::from(&tcp)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    let mut wire = Wire::over(tcp);
    wire.write(format!("GET /c/x HTTP/1.1\r\nHost: {address}\r\n\r\n"))
        .await;
    let gateway = &room.gateway;
    gateway
        .until_sample(IN_FLIGHT, &[], |carried| carried > carried_before)
        .await;
    drop(wire);
    gateway
        .until_sample(IN_FLIGHT, &[], |carried| carried <= carried_before)
        .await;
}

#[tokio::test]
async fn ten_flows_that_hang_up_on_a_cold_token_leave_one_token_request_and_its_token() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);

    for _ in 0..10 {
        hang_up(&room, 0.0).await;
    }
    room.authority.until_requests(1).await;
    room.authority.release_all();
    let carried = room.credential().await;

    assert_eq!(carried, "Bearer token-1");
    assert_eq!(room.authority.count(), 1);
    assert_eq!(room.origin.tally().heads, 1);
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_http2_flow_that_gives_up_cancels_no_fetch() {
    // RFC 9113 §5.4.2.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);

    for _ in 0..10 {
        let mut client = Client::http2(room.gateway.flows()).await;
        let flow = tokio::spawn(async move {
            let sent = client.send("GET", "/c/x", &[], Outgoing::Whole(None)).await;
            sent.map(drop)
        });
        room.gateway
            .until_sample(IN_FLIGHT, &[], |it| it > 0.0)
            .await;
        flow.abort();
        room.gateway
            .until_sample(IN_FLIGHT, &[], |it| it < 1.0)
            .await;
    }
    room.authority.release_all();
    let carried = room.credential().await;

    assert_eq!(carried, "Bearer token-1");
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_flow_waits_no_longer_than_it_may_while_the_fetch_goes_on() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);
    let mut flows = start_flows(&room, 1).await;
    room.authority.until_requests(1).await;

    // tokens.wait is 2 s, tokens.fetch 10 s.
    room.turned.advance(Duration::from_secs(2));
    let answered = flows.join_next().await.unwrap().unwrap();
    room.authority.release_all();
    let carried = room.credential().await;

    refused(&answered);
    assert_eq!(carried, "Bearer token-1");
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_fetch_that_takes_too_long_is_given_up_and_another_follows() {
    let stage = Stage::new();
    let settings = "tokens: { wait: 30s, fetch: 10s }";
    let room = TokenRoom::with(&stage, settings, with_secret).await;
    room.authority.release(0);
    let mut flows = start_flows(&room, 1).await;
    room.authority.until_requests(1).await;

    room.turned.advance(Duration::from_secs(10));
    let answered = flows.join_next().await.unwrap().unwrap();
    room.authority.release_all();
    let carried = room.recovered_credential().await;

    refused(&answered);
    assert_eq!(carried, "Bearer token-2");
    let labels = [("connector", "c"), ("outcome", "timeout")];
    let timeouts = room.gateway.sample("attache_token_requests_total", &labels);
    assert_eq!(timeouts.await, 1.0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_spent_token_is_replaced_by_one_fetch_however_many_flows_ask() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority
        .answer_with(|n, _| bearer(&format!("token-{n}"), 60));

    assert_eq!(room.credential().await, "Bearer token-1");
    room.authority.release(1);
    // The margin is a tenth of a short life.
    room.turned.advance(Duration::from_secs(53));
    assert_eq!(room.credential().await, "Bearer token-1");
    room.turned.advance(Duration::from_secs(2));
    let flows = start_flows(&room, 10).await;
    room.authority.release_all();
    let answers = flows.join_all().await;

    assert!(answers.iter().all(|answered| answered.status == 200));
    assert_eq!(room.authority.count(), 2);
    let requests = room.origin.requests();
    let renewed = requests[2..].iter();
    assert!(
        renewed
            .map(|it| it.field("authorization"))
            .all(|it| it == Some("Bearer token-2"))
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_keeps_no_token_alive() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;

    room.credential().await;
    room.turned.step_wall_ms(-86_400_000);
    let carried = room.next_credential().await;

    assert_eq!(carried, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_life_of_two_seconds_is_used_for_most_of_it() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority
        .answer_with(|n, _| bearer(&format!("token-{n}"), 2));

    room.credential().await;
    room.turned.advance(Duration::from_millis(1_500));
    let held = room.credential().await;
    room.turned.advance(Duration::from_millis(500));
    let renewed = room.credential().await;

    assert_eq!(held, "Bearer token-1");
    assert_eq!(renewed, "Bearer token-2");
    assert_eq!(room.authority.count(), 2);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_token_without_any_life_serves_those_who_waited_for_it_and_nobody_else() {
    for expires_in in [json!(0), json!(-5), json!("0")] {
        let stage = Stage::new();
        let room = TokenRoom::new(&stage, with_secret).await;
        let shown = expires_in.to_string();
        room.authority.answer_with(move |n, _| {
            let token = format!("token-{n}");
            Answer::json(&json!({ "access_token": token, "expires_in": expires_in }))
        });
        room.authority.release(0);

        let flows = start_flows(&room, 5).await;
        room.authority.release_all();
        let answers = flows.join_all().await;
        let next = room.credential().await;

        assert!(answers.iter().all(|it| it.status == 200), "{shown}");
        assert_eq!(next, "Bearer token-2", "{shown}");
        assert_eq!(room.authority.count(), 2, "{shown}");
        room.gateway.drain().await;
    }
}

#[tokio::test]
async fn a_token_of_unknown_life_is_used_for_five_minutes() {
    // RFC 6749 §5.1; protocol.md 41.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| {
        let token = format!("token-{n}");
        Answer::json(&json!({ "access_token": token, "token_type": "Bearer" }))
    });

    room.credential().await;
    room.turned.advance(Duration::from_secs(200));
    let held = room.credential().await;
    room.turned.advance(Duration::from_secs(100));
    let renewed = room.credential().await;

    assert_eq!(held, "Bearer token-1");
    assert_eq!(renewed, "Bearer token-2");
    room.gateway.drain().await;
}
