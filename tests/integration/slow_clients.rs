//! Thousands of slow clients cost little memory, and none of them stays.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::child::Child;
use crate::support::client::Client;
use crate::support::gateway::{process, sample};
use crate::support::origin::{self, Origin, Setup};
use crate::support::scene::{Plan, Scene, orders};
use crate::support::sockets;
use crate::support::stage::Stage;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

/// More than kernels and the gateway hold for a client that takes nothing.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![7; 24 * 1024 * 1024].into());
const CLIENTS: usize = 4000;
/// What all of them may cost together.
const COST_KIB_MAX: usize = 100 * 1024;
const LIMITS: &str = "logs: { level: info, access: off }\n\
    timeouts: { handshake: 8s, head: 8s, idle: 8s, body: 8s, write: 8s, drain_delay: 0s }\n";

/// How a client is slow.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// It sends this and no more.
    After(&'static str),
    /// It shakes hands over TLS and then sends this.
    AfterHandshake(&'static str),
}

const PLAIN: &[Slow] = &[
    Slow::After(""),
    Slow::After("P"),
    Slow::After("GET /orders/x HTTP/1.1\r\nHost: localhost\r\nX: "),
    Slow::After("POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"),
    Slow::After("POST /nobody/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"),
    // RFC 9113 §3.4: the preface with its settings.
    Slow::After("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
];
/// Some never read their answer: their connector says how many of those there can be at once.
const DEAF: &[Slow] = &[
    Slow::After("G"),
    Slow::After("GET /files/x HTTP/1.1\r\nHost: localhost\r\nX: "),
    Slow::After("GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n"),
];
const TLS: &[Slow] = &[
    Slow::After(""),
    Slow::After("\u{16}\u{3}\u{1}\u{2}\0\u{1}"),
    Slow::AfterHandshake(""),
    Slow::AfterHandshake("GET /orders/x HTT"),
];

impl Slow {
    async fn connect(self, address: SocketAddr, config: Arc<ClientConfig>) -> Wire {
        let (mut wire, sent) = match self {
            Self::After(sent) => (Wire::plain(address).await, sent),
            Self::AfterHandshake(sent) => (Wire::tls(address, config).await, sent),
        };
        wire.write(sent).await;
        wire
    }
}

async fn address(child: &Child, whom: &str) -> SocketAddr {
    let line = child.stderr.line(whom, |line| line.contains(whom)).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

async fn clients(admin: SocketAddr) -> f64 {
    sample(admin, "attache_client_connections", &[]).await
}

/// Holds that [`CLIENTS`] clients of all `kinds` cost no more than they may, and are closed by the
/// limits alone.
async fn claim_cheap_and_gone(kinds: &[Slow], settings: &str) {
    sockets::allow_a_crowd();
    let stage = Stage::new();
    stage.server().write(stage.directory(), "gw");
    let handler = origin::scripted(|mut exchange| async move {
        if exchange.recorded().target == "/large" {
            return Answer::status(200).body(LARGE.clone());
        }
        exchange.finish().await;
        Answer::text("ok")
    });
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    let url = origin.url("");
    let files = format!(
        "  - {{ id: files, name: Files, resource_domain: \"{url}\", auth: none, \
         requests_in_flight_max: 64 }}\n"
    );
    let own = orders(&url, &[]) + &files + LIMITS + settings;
    let child = process(&stage.config_file(&own));
    let flows = address(&child, "flows are served").await;
    let admin = address(&child, "served to administrators").await;
    let config = tls::client(&stage.ca, None, Protocols::Http1);
    let before = child.memory_kib("VmRSS");

    let mut connecting = JoinSet::new();
    let mut kept = Vec::new();
    for kind in kinds.iter().cycle().take(CLIENTS) {
        connecting.spawn(kind.connect(flows, Arc::clone(&config)));
        if connecting.len() > 64 {
            kept.extend(connecting.join_next().await);
        }
    }
    while let Some(connected) = connecting.join_next().await {
        kept.push(connected);
    }
    assert!(kept.iter().all(Result::is_ok));
    let open = clients(admin).await;
    // Those that a connector has no connection for are answered, and may be gone by now.
    assert!(open > 2000.0, "{open} of them at once");

    within("slow clients to be gone", async {
        while clients(admin).await > 0.0 {}
    })
    .await;
    let cost = child.memory_kib("VmHWM") - before;
    println!("{CLIENTS} slow clients cost {cost} KiB");
    assert!(cost < COST_KIB_MAX, "{cost} KiB");
}

#[tokio::test]
async fn thousands_of_slow_clients_cost_little_and_go() {
    claim_cheap_and_gone(PLAIN, "").await;
}

#[tokio::test]
async fn thousands_of_slow_clients_over_tls_cost_little_and_go() {
    let settings = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";
    claim_cheap_and_gone(TLS, settings).await;
}

#[tokio::test]
async fn thousands_of_clients_of_which_some_never_read_cost_little_and_go() {
    // protocol.md, point 8 and row 31.
    claim_cheap_and_gone(DEAF, "").await;
}

#[tokio::test]
async fn clients_that_take_nothing_keep_nothing_from_others_of_the_same_connection() {
    // RFC 9113 §5.2.2: what is not taken of one stream counts against its connection.
    let scene = Scene::start(Plan {
        protocols: Protocols::Http2,
        connector: &["upstream: { connections_max: 1 }"],
        ..Plan::answering(origin::whole(|_| Answer::status(200).body(LARGE.clone())))
    })
    .await;
    let mut takes_nothing = Vec::new();
    for _ in 0..16 {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        wire.until_head().await;
        takes_nothing.push(wire);
    }
    let mut client = Client::http1(scene.gateway.flows()).await;

    for _ in 0..2 {
        let answered = client.get("/orders/x").await;
        assert_eq!(answered.body.len(), LARGE.len());
    }

    assert_eq!(scene.origin.tally().accepted, 1);
}
