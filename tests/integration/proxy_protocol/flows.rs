//! What a flow behind a balancer is to the gateway: where it is, and no less than any other.

use attache::clock::Clock;
use attache::config::{AccessLog, LogFormat, Logs};
use attache::gateway::Environment;
use attache::logging::Logging;
use http::Version;

use super::{DESTINATION, SOURCE};
use crate::support::balancer::{self, header, header_of, header_with, local, wire};
use crate::support::body::Outgoing;
use crate::support::client::Client;
use crate::support::gateway::{Running, get};
use crate::support::origin::Origin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tape::Tape;
use crate::support::tls::{self, Protocols};
use crate::support::within;

const ANYBODY: &str = "inbound: { proxy_protocol: true }\n";
const GET: &str = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OWN: &str = "for=127.0.0.1;proto=http";

/// A gateway whose origin is told whom each request is for.
fn telling(settings: &'static str) -> Plan {
    Plan {
        settings,
        connector: &["forwarded: true"],
        ..Plan::new()
    }
}

/// Whom the requests so far were for, as the origin was told (RFC 7239 §4).
fn told(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    let forwarded = requests.iter().map(|request| request.field("forwarded"));
    forwarded.map(|field| field.unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_source_that_a_balancer_names_is_the_flows_address() {
    let scene = Scene::start(telling(ANYBODY)).await;
    let values: &[(u8, &[u8])] = &[(1, b"h2"), (4, &[0; 40]), (0xe0, b"own"), (2, b"")];

    for (begins, whom) in [
        (header(SOURCE, DESTINATION), "for=203.0.113.7;proto=http"),
        (
            header("[2001:db8::7]:1", "[2001:db8::1]:443"),
            "for=\"[2001:db8::7]\";proto=http",
        ),
        // RFC 4291 §2.5.5.2.
        (
            header("[::ffff:203.0.113.8]:1", "[::ffff:198.51.100.1]:443"),
            "for=203.0.113.8;proto=http",
        ),
        (
            header_with(SOURCE, DESTINATION, values),
            "for=203.0.113.7;proto=http",
        ),
        // The balancer itself; and what has no address of ours: UDP, a Unix socket, nothing (§2.2).
        (local(), OWN),
        (header_of(0x20, 0x11, &[9; 12]), OWN),
        (header_of(0x21, 0x00, b"whatever"), OWN),
        (header_of(0x21, 0x12, &[9; 12]), OWN),
        (header_of(0x21, 0x31, &[9; 216]), OWN),
    ] {
        let mut client = wire(scene.gateway.flows(), &begins).await;
        client.write(GET).await;
        assert_eq!(client.answer().await.status(), 200);
        assert_eq!(told(&scene.origin).last().unwrap(), whom);
        // Each request of a connection, and not what the flow says itself.
        client
            .write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\nForwarded: for=10.0.0.1\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status(), 200);
        assert_eq!(told(&scene.origin).last().unwrap(), whom);
    }
}

#[tokio::test]
async fn a_header_may_come_in_any_two_pieces_and_nothing_behind_it_is_lost() {
    let scene = Scene::start(telling(ANYBODY)).await;
    let sent = header_with(SOURCE, DESTINATION, &[(4, &[0; 5])]);
    let sent = [&sent[..], GET.as_bytes()].concat();

    for cut in 1..sent.len() {
        let mut client = wire(scene.gateway.flows(), &sent[..cut]).await;
        // The worker may have read the first piece by now, or reads both at once.
        tokio::task::yield_now().await;
        client.write(&sent[cut..]).await;
        assert_eq!(client.answer().await.status(), 200, "{cut}");
    }

    let told = told(&scene.origin);
    assert_eq!(told.len(), sent.len() - 1);
    assert!(told.iter().all(|whom| whom == "for=203.0.113.7;proto=http"));
}

#[tokio::test]
async fn a_body_and_a_pipelined_request_behind_a_header_arrive_whole() {
    let scene = Scene::start(telling(ANYBODY)).await;
    let post = "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let sent = [
        &header(SOURCE, DESTINATION)[..],
        post.as_bytes(),
        GET.as_bytes(),
    ]
    .concat();

    let mut client = wire(scene.gateway.flows(), &sent).await;

    assert_eq!(client.answer().await.status(), 200);
    assert_eq!(client.answer().await.status(), 200);
    let arrived = scene.origin.wire();
    assert_eq!(arrived[0].text(), "hello");
    assert_eq!((arrived.len(), arrived[1].method()), (2, "GET"));
}

#[tokio::test]
async fn http2_and_tls_are_spoken_behind_a_header_as_without_one() {
    let settings = "inbound: { proxy_protocol: true }\n\
        tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";
    let header = header(SOURCE, DESTINATION);
    let plain = Scene::start(telling(ANYBODY)).await;
    let secure = Scene::start_with(telling(settings), |stage| {
        stage.server().write(stage.directory(), "gw");
    })
    .await;
    let secured = |protocols| {
        let config = tls::client(&secure.stage.ca, None, protocols);
        balancer::tls(secure.gateway.flows(), &header, config)
    };

    for (mut client, version) in [
        (
            balancer::http2(plain.gateway.flows(), &header).await,
            Version::HTTP_2,
        ),
        (secured(Protocols::Http1).await, Version::HTTP_11),
        (secured(Protocols::Both).await, Version::HTTP_2),
    ] {
        for _ in 0..2 {
            let answered = client.get("/orders/x").await;
            assert_eq!((answered.status.as_u16(), answered.version), (200, version));
        }
    }

    assert_eq!(told(&plain.origin), ["for=203.0.113.7;proto=http"; 2]);
    assert_eq!(told(&secure.origin), ["for=203.0.113.7;proto=https"; 4]);
}

/// RFC 9112 §3.2: what is ours in `Host` is the address that the flow connected to.
#[tokio::test]
async fn the_destination_that_a_balancer_names_is_an_address_of_ours_and_no_other_is() {
    let scene = Scene::start(telling(ANYBODY)).await;

    for (host, status) in [
        ("198.51.100.1", 200),
        ("198.51.100.1:443", 200),
        ("localhost", 200),
        ("198.51.100.2", 400),
        ("203.0.113.7", 400),
        ("gw.example", 400),
    ] {
        let mut client = wire(scene.gateway.flows(), &header(SOURCE, DESTINATION)).await;
        let get = format!("GET /orders/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.write(get).await;
        assert_eq!(client.answer().await.status(), status, "{host}");
    }
}

/// Source networks mean something behind a balancer, and its own address means nothing.
#[tokio::test]
async fn the_networks_of_a_connector_are_held_against_the_source() {
    let scene = Scene::start(Plan {
        settings: ANYBODY,
        connector: &["allow: [ { networks: [203.0.113.0/28, 2001:db8::/64] } ]"],
        ..Plan::new()
    })
    .await;

    for (source, status) in [
        ("203.0.113.15:1", 200),
        ("203.0.113.16:1", 403),
        ("127.0.0.1:1", 403),
        ("[2001:db8::7]:1", 200),
        ("[2001:db8:0:1::7]:1", 403),
        ("[::ffff:203.0.113.15]:1", 200),
        ("[::ffff:203.0.113.16]:1", 403),
    ] {
        let destination = match source.starts_with('[') {
            true => "[2001:db8::1]:443",
            false => DESTINATION,
        };
        let mut client = wire(scene.gateway.flows(), &header(source, destination)).await;
        client.write(GET).await;
        assert_eq!(client.answer().await.status(), status, "{source}");
    }
    // Who names nobody is at the balancer's own address.
    let mut client = wire(scene.gateway.flows(), &local()).await;
    client.write(GET).await;
    assert_eq!(client.answer().await.reason(), "caller-denied");
}

#[tokio::test]
async fn the_access_log_has_the_address_of_the_flow() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
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
    let own = orders(&origin.url("/"), &[]) + ANYBODY;
    let gateway = Running::start_in(&stage, &own, environment).await;
    let mut client = wire(gateway.flows(), &header(SOURCE, DESTINATION)).await;
    client.write(GET).await;
    client.answer().await;
    // One that hyper refuses before there is a request.
    let mut malformed = wire(gateway.flows(), &header(SOURCE, DESTINATION)).await;
    malformed
        .write("GET /orders/x HTTP/1.1\r\nno field\r\n\r\n")
        .await;
    assert!(malformed.rest().await.starts_with(b"HTTP/1.1 400"));
    drop((client, malformed));
    let bad = [("reason", "bad-request")];
    let one = |count| count == 1.0;
    gateway
        .until_sample("attache_refused_total", &bad, one)
        .await;

    gateway.drain().await;
    drop(logging);

    let lines = tape.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let peer = line["peer"].as_str().unwrap();
        assert!(peer.starts_with("203.0.113.7"), "{line}");
    }
}

#[tokio::test]
async fn a_reload_says_how_new_connections_begin_and_leaves_old_ones_alone() {
    let scene = Scene::start(telling("")).await;
    let flows = scene.gateway.flows();
    let url = scene.origin.url("/api");
    let reload = |settings: &str| {
        let own = orders(&url, &["forwarded: true"]) + settings;
        scene.gateway.reload(scene.stage.config(&own)).unwrap();
    };
    let mut old = Client::http1(flows).await;
    assert_eq!(old.get("/orders/x").await.status, 200);

    reload(ANYBODY);

    assert_eq!(old.get("/orders/x").await.status, 200);
    let mut bare = wire(flows, GET.as_bytes()).await;
    assert!(bare.is_closed().await);
    let mut behind = balancer::http1(flows, &header(SOURCE, DESTINATION)).await;
    assert_eq!(behind.get("/orders/x").await.status, 200);

    reload("");

    assert_eq!(behind.get("/orders/x").await.status, 200);
    let own = "for=127.0.0.1;proto=http";
    let theirs = "for=203.0.113.7;proto=http";
    assert_eq!(told(&scene.origin), [own, own, theirs, theirs]);
    assert_eq!(get(flows, "/orders/x").await.status, 200);
}

#[tokio::test]
async fn a_drain_finishes_what_was_asked_and_waits_for_nobody_who_asks_nothing() {
    let settings = "inbound: { proxy_protocol: true }\n\
        timeouts: { drain_delay: 0s, drain: 10m, head: 5m, idle: 10m }\n";
    let scene = Scene::start(telling(settings)).await;
    let flows = scene.gateway.flows();
    let header = header(SOURCE, DESTINATION);
    let mut silent = [
        wire(flows, &[]).await,
        wire(flows, &header).await,
        wire(flows, &header).await,
    ];
    silent[2].write(GET).await;
    assert_eq!(silent[2].answer().await.status(), 200);
    let mut slow = balancer::http1(flows, &header).await;
    let (pen, body) = Outgoing::streamed();
    let asked = tokio::spawn(async move { slow.call("POST", "/orders/x", &[], body).await });
    let one = |count| count == 1.0;
    let in_flight = "attache_requests_in_flight";
    scene.gateway.until_sample(in_flight, &[], one).await;

    let drained = tokio::spawn(scene.gateway.drain());
    for client in &mut silent {
        assert!(client.is_closed().await);
    }
    drop(pen);
    let answered = asked.await.unwrap();

    assert_eq!(answered.status, 200);
    assert_eq!(answered.field("connection"), Some("close"));
    within("the gateway to end", drained).await.unwrap();
}
