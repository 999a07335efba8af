//! What goes on once a flow and an origin have left HTTP: bytes both ways, limits, and the end.

use attache::clock::Clock;
use attache::config::{AccessLog, LogFormat, Logs};
use attache::gateway::Environment;
use attache::logging::Logging;
use serde_json::Value;

use crate::support::gateway::{Running, get};
use crate::support::message::Kind;
use crate::support::passage::{AGREE, ALLOWED, ASK, Between};
use crate::support::scene::orders;
use crate::support::tape::Tape;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

/// More than what kernels, rustls and the gateway hold for a peer that takes nothing.
const HELD_BYTES_MAX: usize = 24 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// Both sides say that they have heard each other.
async fn greet(near: &mut Wire, far: &mut Wire) {
    near.write("ping").await;
    assert_eq!(far.bytes(4).await, b"ping");
    far.write("pong").await;
    assert_eq!(near.bytes(4).await, b"pong");
}

/// Bytes in which no stretch looks like another.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

#[tokio::test]
async fn megabytes_cross_both_ways_at_once_as_they_were_sent() {
    let between = Between::allowing().await;
    let (near, far) = between.opened().await;
    let sent = noise(6 * 1024 * 1024);

    let talk = |wire: Wire| {
        let sent = &sent;
        async move {
            let (mut reading, mut writing) = tokio::io::split(wire.into_stream());
            let mut got = Vec::new();
            let write = async {
                tokio::io::AsyncWriteExt::write_all(&mut writing, sent).await?;
                tokio::io::AsyncWriteExt::shutdown(&mut writing).await
            };
            let read = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut got);
            let (written, read) = tokio::join!(write, read);
            written.unwrap();
            read.unwrap();
            got
        }
    };
    let both = async { tokio::join!(talk(near), talk(far)) };
    let (at_near, at_far) = within("both ways", both).await;

    assert!(at_near == sent && at_far == sent);
    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn a_side_that_has_said_all_still_hears_the_other() {
    let between = Between::allowing().await;
    for flow_ends in [true, false] {
        let (near, far) = between.opened().await;
        let (mut first, mut second) = match flow_ends {
            true => (near, far),
            false => (far, near),
        };

        first.write("last words").await;
        first.half_close().await;
        assert_eq!(second.bytes(10).await, b"last words");
        assert!(second.ends_properly().await);
        second.write("and mine").await;
        assert_eq!(first.bytes(8).await, b"and mine");
        second.half_close().await;

        assert!(first.ends_properly().await);
        between.until_nothing_is_open().await;
    }
}

#[tokio::test]
async fn a_side_that_breaks_off_never_looks_as_if_it_had_ended() {
    // A TLS origin is told so by the lack of a farewell (RFC 8446 §6.1), the flow by its connection.
    let between = Between::allowing().await;
    let mut near = Wire::resetting(between.gateway.flows()).await;
    near.write(ASK).await;
    let mut far = between.raw.accept().await;
    far.message(Kind::Request).await.unwrap();
    far.write(AGREE).await;
    assert_eq!(near.answer().await.status(), 101);
    greet(&mut near, &mut far).await;

    drop(near);

    assert!(!far.ends_properly().await);
    between.until_nothing_is_open().await;

    let (mut near, mut far) = between.opened().await;
    greet(&mut near, &mut far).await;

    // Dropped amid TLS: truncated for all the gateway knows.
    drop(far);

    assert!(near.rest().await.is_empty());
    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn a_tunnel_through_which_nothing_goes_is_cut_both_ways() {
    let lines = &[ALLOWED, "upstream: { tunnel_idle: 300ms }"];
    let between = Between::start(lines, "").await;
    let (mut near, mut far) = between.opened().await;
    greet(&mut near, &mut far).await;

    assert!(near.rest().await.is_empty());
    assert!(!far.ends_properly().await);

    between.until_nothing_is_open().await;
}

#[tokio::test]
async fn the_limits_of_requests_are_not_those_of_tunnels() {
    let lines = &[
        ALLOWED,
        "upstream: { stall: 300ms, response_head: 300ms, idle: 300ms, age_max: 1s, connect: 300ms }",
    ];
    let settings = "timeouts: { head: 300ms, idle: 300ms, body: 300ms, write: 300ms }\n";
    let between = Between::start(lines, settings).await;
    let (mut near, mut far) = between.opened().await;
    let mut idle = Wire::plain(between.gateway.flows()).await;
    idle.write("GET /nobody HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    idle.answer().await;

    // The sweep has come round and closed what idles.
    assert!(idle.is_closed().await);

    greet(&mut near, &mut far).await;
}

#[tokio::test]
async fn a_side_that_takes_nothing_holds_the_other_back_and_is_given_up() {
    for flow_sends in [true, false] {
        let lines = &[ALLOWED, "upstream: { stall: 300ms }"];
        let settings = "timeouts: { write: 300ms, drain_delay: 0s }\n";
        let between = Between::start(lines, settings).await;
        let (near, far) = between.opened().await;
        let (mut from, _to) = match flow_sends {
            true => (near, far),
            false => (far, near),
        };
        let piece = noise(PIECE);

        let mut written = 0;
        while from.try_write(&piece).await.is_ok() {
            written += PIECE;
            assert!(written < HELD_BYTES_MAX, "the gateway holds it all");
        }

        between.until_nothing_is_open().await;
    }
}

#[tokio::test]
async fn a_tunnel_counts_as_a_request_and_as_a_connection_while_it_is_open() {
    let between = Between::start(&[ALLOWED], "workers: 1\n").await;
    let gateway = &between.gateway;
    let orders = [("connector", "orders")];
    let busy = [("connector", "orders"), ("state", "busy")];
    let (near, far) = between.opened().await;
    let (second_near, second_far) = between.opened().await;

    gateway
        .until_sample("attache_tunnels", &orders, |open| open == 2.0)
        .await;
    let requests = gateway.sample("attache_requests_in_flight", &[]).await;
    let connections = gateway.sample("attache_upstream_connections", &busy).await;
    let answered = gateway.sample("attache_requests_total", &orders).await;
    assert_eq!((requests, connections, answered), (2.0, 2.0, 0.0));

    drop((near, far));
    gateway
        .until_sample("attache_tunnels", &orders, |open| open == 1.0)
        .await;
    drop((second_near, second_far));
    between.until_nothing_is_open().await;
    let switched = [("connector", "orders"), ("method", "GET"), ("code", "101")];
    let answered = gateway.sample("attache_requests_total", &switched).await;
    assert_eq!(answered, 2.0);
}

#[tokio::test]
async fn a_tunnel_s_line_says_how_much_went_each_way_and_why_it_was_cut() {
    let logs = Logs {
        format: LogFormat::Json,
        level: tracing::Level::INFO,
        access: AccessLog::All,
    };
    let tape = Tape::default();
    let (logging, _) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
    let environment = Environment {
        access_log: logging.access_log(),
        ..Environment::system()
    };
    let mut between = Between::start(&[ALLOWED], "").await;
    let yaml = orders(
        &between.raw.url("/api"),
        &[ALLOWED, "upstream: { tunnel_idle: 500ms }"],
    );
    between.gateway = Running::start_in(&between.stage, &yaml, environment).await;
    for ends in [true, false] {
        let (mut near, mut far, _) = between.asked().await;
        far.write(format!("{AGREE}abc")).await;
        near.answer().await;
        near.write("defgh").await;
        assert_eq!(
            (near.bytes(3).await, far.bytes(5).await.len()),
            (b"abc".into(), 5)
        );
        if ends {
            near.half_close().await;
            far.half_close().await;
        }
        near.rest().await;
    }

    between.gateway.drain().await;
    drop(logging);
    let lines = tape.lines().into_iter();
    let records: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(records.len(), 2, "{records:#?}");
    for record in &records {
        assert_eq!(record["status"], 101);
        assert_eq!(
            (&record["request_bytes"], &record["response_bytes"]),
            (&5.into(), &3.into())
        );
        assert_eq!(record["path"], "/orders/chat");
    }
    assert!(
        records[0].get("cause").is_none_or(Value::is_null),
        "{records:#?}"
    );
    let cause = records[1]["cause"].as_str().unwrap();
    assert!(cause.contains("nothing went through the tunnel"), "{cause}");
}

#[tokio::test]
async fn an_edit_that_takes_the_grant_away_cuts_the_tunnel() {
    for lines in [
        &[ALLOWED, "enabled: false"][..],
        &["upgrades: [x-chat]"],
        &[],
        &[
            ALLOWED,
            "auth: { basic: { username: svc, password: another } }",
        ],
        &[ALLOWED, "auth: none"],
    ] {
        let between = Between::allowing().await;
        let (mut near, mut far) = between.opened().await;
        greet(&mut near, &mut far).await;

        let yaml = orders(&between.raw.url("/api"), lines);
        let reloaded = between.gateway.reload(between.stage.config(&yaml));

        assert!(reloaded.is_ok(), "{reloaded:?}");
        assert!(near.rest().await.is_empty(), "{lines:?}");
        assert!(!far.ends_properly().await, "{lines:?}");
        between.until_nothing_is_open().await;
    }
}

#[tokio::test]
async fn a_connector_that_is_removed_or_leads_elsewhere_takes_its_tunnels_with_it() {
    let between = Between::allowing().await;
    for yaml in [
        orders(&between.raw.url("/elsewhere"), &[ALLOWED]),
        "connectors: []\n".to_owned(),
    ] {
        let first = orders(&between.raw.url("/api"), &[ALLOWED]);
        let reloaded = between.gateway.reload(between.stage.config(&first));
        assert!(reloaded.is_ok(), "{reloaded:?}");
        let (mut near, mut far) = between.opened().await;
        greet(&mut near, &mut far).await;

        let reloaded = between.gateway.reload(between.stage.config(&yaml));

        assert!(reloaded.is_ok(), "{reloaded:?}");
        assert!(near.rest().await.is_empty());
        assert!(far.rest().await.is_empty());
    }
}

#[tokio::test]
async fn an_edit_that_leaves_the_grant_alone_leaves_the_tunnel_alone() {
    let between = Between::allowing().await;
    let (mut near, mut far) = between.opened().await;

    for lines in [
        &["upgrades: [x-chat, websocket]", "cookies: pass"][..],
        &[ALLOWED, "upstream: { stall: 5s }"],
        &[ALLOWED],
    ] {
        let yaml = orders(&between.raw.url("/api"), lines);
        let reloaded = between.gateway.reload(between.stage.config(&yaml));
        assert!(reloaded.is_ok(), "{reloaded:?}");
        greet(&mut near, &mut far).await;
    }
}

/// Begins to drain, and returns once the gateway says so.
async fn draining(gateway: Running) -> tokio::task::JoinHandle<()> {
    let admin = gateway.admin();
    let drained = tokio::spawn(gateway.drain());
    let turning = async { while get(admin, "/readyz").await.status == 200 {} };
    within("readiness to end", turning).await;
    drained
}

#[tokio::test]
async fn a_drain_waits_for_a_tunnel_and_ends_with_it() {
    let settings = "timeouts: { drain_delay: 0s, drain: 10m }\n";
    let between = Between::start(&[ALLOWED], settings).await;
    let (mut near, mut far) = between.opened().await;

    let drained = draining(between.gateway).await;
    greet(&mut near, &mut far).await;
    assert!(!drained.is_finished());
    near.half_close().await;
    assert!(far.ends_properly().await);
    far.half_close().await;

    within("the drain to end", drained).await.unwrap();
    assert!(near.ends_properly().await);
}

#[tokio::test]
async fn a_tunnel_that_outlives_the_drain_is_cut_at_its_bound() {
    let settings = "timeouts: { drain_delay: 0s, drain: 500ms }\n";
    let between = Between::start(&[ALLOWED], settings).await;
    let (mut near, mut far) = between.opened().await;
    greet(&mut near, &mut far).await;

    let drained = draining(between.gateway).await;

    within("the drain to end", drained).await.unwrap();
    assert!(near.rest().await.is_empty(), "nothing of the gateway's own");
    assert!(!far.ends_properly().await);
}

#[tokio::test]
async fn a_flow_over_tls_has_its_tunnel_within_it() {
    let mut between = Between::allowing().await;
    between
        .stage
        .server()
        .write(between.stage.directory(), "gw");
    let yaml = orders(&between.raw.url("/api"), &[ALLOWED])
        + "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";
    between.gateway = Running::start(&between.stage, &yaml).await;
    let offer = tls::client(&between.stage.ca, None, Protocols::Http1);
    let mut near = Wire::tls(between.gateway.flows(), offer).await;
    near.write(ASK).await;
    let mut far = between.raw.accept().await;
    far.message(Kind::Request).await.unwrap();
    far.write(format!("{AGREE}hello")).await;

    assert_eq!(near.answer().await.status(), 101);
    assert_eq!(near.bytes(5).await, b"hello");
    greet(&mut near, &mut far).await;
    far.half_close().await;

    assert!(near.ends_properly().await);
}
