//! The breaker: an origin that fails is left alone for a while, then asked by one request.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::Outgoing;
use crate::support::client::Client;
use crate::support::connector::{connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::neighbours::{Neighbours, told};
use crate::support::origin::{Handler, Origin, Setup, scripted, whole};
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const TWO: &str = "breaker: { failures: 2, window: 10s, open: 5s }";
const GAUGE: &str = "attache_breaker_open";

/// What an origin answers, which the test sets.
#[derive(Clone)]
struct Status(Arc<AtomicU16>);

impl Status {
    fn new(status: u16) -> Self {
        Self(Arc::new(AtomicU16::new(status)))
    }

    fn set(&self, status: u16) {
        self.0.store(status, Ordering::SeqCst);
    }

    fn handler(&self) -> Handler {
        let status = Arc::clone(&self.0);
        whole(move |_| Answer::status(status.load(Ordering::SeqCst)))
    }
}

/// A gateway whose `orders` failed twice, so that its breaker is open.
async fn opened(keys: &str) -> (Neighbours, Status) {
    let status = Status::new(503);
    let scene = Neighbours::start(keys, status.handler()).await;
    for _ in 0..2 {
        assert_eq!(scene.get().await.status, 503);
    }
    let open = (503, "breaker-open".to_owned(), Some("5"));
    assert_eq!(told(&scene.get().await), open);
    assert_eq!(scene.origin.tally().heads, 2);
    (scene, status)
}

#[tokio::test]
async fn an_origin_that_says_it_is_not_there_is_left_alone_and_others_are_served() {
    for status in [502, 503, 504] {
        let scene = Neighbours::start(TWO, Status::new(status).handler()).await;
        for _ in 0..2 {
            let answered = scene.get().await;
            assert_eq!(answered.status, status, "the origin's own passes through");
            assert_eq!(answered.reason(), "");
        }

        let refused = scene.get().await;

        let open = (503, "breaker-open".to_owned(), Some("5"));
        assert_eq!(told(&refused), open);
        let error = Some("attache; error=destination_unavailable");
        assert_eq!(refused.field("proxy-status"), error);
        assert_eq!(refused.json()["may_have_reached_origin"], false);
        assert_eq!(scene.origin.tally().heads, 2);
        scene.assert_other_served().await;
        assert!((scene.gauge(GAUGE).await - 1.0).abs() < 0.1);
        assert!((scene.refused("breaker-open").await - 1.0).abs() < 0.1);
    }
}

#[tokio::test]
async fn a_request_that_is_tried_again_stops_when_the_breaker_opens() {
    let keys = format!("{TWO}, retry: {{ statuses: [503], attempts: 5 }}");
    let failing = whole(|_| Answer::status(503).field("retry-after", "0"));
    let scene = Neighbours::start(&keys, failing).await;

    assert_eq!(scene.get().await.status, 503);

    assert_eq!(scene.origin.tally().heads, 2);
}

#[tokio::test]
async fn what_an_application_says_opens_no_breaker() {
    for status in [200, 301, 400, 401, 403, 404, 409, 429, 500, 501, 505] {
        let scene = Neighbours::start(TWO, Status::new(status).handler()).await;
        for _ in 0..5 {
            assert_eq!(scene.get().await.status, status);
        }
        assert_eq!(scene.origin.tally().heads, 5);
    }
}

/// Whether the third of three GETs is refused by the breaker, and how the first two are.
async fn third_of(gateway: &Running) -> (String, bool) {
    let first = gateway.get("/orders/x").await.reason();
    assert_eq!(gateway.get("/orders/x").await.reason(), first);
    let third = gateway.get("/orders/x").await.reason();
    (first, third == "breaker-open")
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_or_does_not_answer_is_left_alone() {
    let stage = Stage::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let untrusted = crate::support::pki::Ca::new("untrusted");
    let stranger = Origin::plain(&untrusted.server(&[])).await;
    let silent = scripted(|_| pending::<Answer>());
    let silent = Origin::start(Setup::new(&stage.server()), silent).await;
    for (url, more, expected) in [
        (
            format!("https://localhost:{port}/"),
            "",
            "origin-unreachable",
        ),
        (stranger.url("/"), "", "origin-tls"),
        ("https://192.0.2.1/".to_owned(), "", "address-refused"),
        (
            silent.url("/"),
            ", upstream: { response_head: 50ms }",
            "origin-timeout",
        ),
    ] {
        let keys = format!("{TWO}{more}");
        let own = connectors(&[connector_with("orders", &url, "none", &keys)]);
        let gateway = Running::start(&stage, &own).await;

        assert_eq!(third_of(&gateway).await, (expected.to_owned(), true));
        gateway.drain().await;
    }
}

#[tokio::test]
async fn what_a_flow_is_to_blame_for_opens_no_breaker() {
    let keys = "breaker: { failures: 1 }, request_body_bytes_max: 3";
    let scene = Neighbours::start(
        keys,
        scripted(|mut exchange| async move {
            match exchange.finish().await.target.as_str() {
                "/held" => pending().await,
                _ => Answer::text("ok"),
            }
        }),
    )
    .await;
    let address = scene.gateway.flows();

    // It goes away while it waits for its answer …
    let mut leaving = Wire::resetting(address).await;
    let head = "GET /orders/held HTTP/1.1\r\nHost: localhost\r\n\r\n";
    leaving.write(head).await;
    scene.origin.until(|tally| tally.heads == 1).await;
    drop(leaving);
    scene.origin.until(|tally| tally.closed == 1).await;
    // … or sends more than it may, or something malformed.
    let mut client = Client::http1(address).await;
    let (pen, body) = Outgoing::streamed();
    let asking = client.call("POST", "/orders/x", &[], body);
    let (answered, _) = tokio::join!(asking, async { pen.write("four").await });
    assert_eq!(answered.reason(), "body-too-large");
    let mut malformed = Wire::plain(address).await;
    let chunked =
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nz";
    malformed.write(chunked).await;
    assert_eq!(malformed.answer().await.status(), 400);

    scene
        .until_gauge("attache_connector_requests_in_flight", 0.0)
        .await;
    assert_eq!(scene.get().await.status, 200);
}

#[tokio::test]
async fn a_used_connection_that_ends_under_a_request_says_nothing_to_the_breaker() {
    let stage = Stage::new();
    let setup = Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    };
    let raw = RawOrigin::start(setup).await;
    let keys = "breaker: { failures: 1 }";
    let own = connectors(&[connector_with("orders", &raw.url("/"), "none", keys)]);
    let gateway = Running::start(&stage, &own).await;
    let mut client = Client::http1(gateway.flows()).await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (used, mut origin) = tokio::join!(client.get("/orders/x"), async {
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        origin.write(ok).await;
        origin
    });
    assert_eq!(used.status, 200);
    let idle = [("state", "idle")];
    let connections = "attache_upstream_connections";
    gateway
        .until_sample(connections, &idle, |count| count > 0.0)
        .await;

    let (ended, _) = tokio::join!(client.call("POST", "/orders/x", &[], ""), async move {
        origin.message(Kind::Request).await.map(drop)
    });
    let (next, _kept) = tokio::join!(client.get("/orders/x"), async {
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        origin.write(ok).await;
        origin
    });

    assert_eq!(
        (ended.status.as_u16(), &*ended.reason()),
        (502, "origin-unreachable")
    );
    assert_eq!(next.status, 200, "{}", next.text());
}

#[tokio::test]
async fn a_busy_connector_is_not_cut_off_by_a_few_failures() {
    let status = Status::new(200);
    let scene = Neighbours::start(TWO, status.handler()).await;
    for _ in 0..10 {
        assert_eq!(scene.get().await.status, 200);
    }
    scene
        .until_gauge("attache_connector_requests_in_flight", 0.0)
        .await;

    status.set(503);
    for _ in 0..5 {
        assert_eq!(scene.get().await.reason(), "");
    }
    status.set(200);

    assert_eq!(scene.get().await.status, 200);
    // What was long ago speaks for it no more.
    scene.turned.advance(Duration::from_secs(20));
    status.set(503);
    for _ in 0..2 {
        scene.get().await;
    }
    assert_eq!(scene.get().await.reason(), "breaker-open");
}

/// An origin that hands out a pen for every answer after the first two, which are 503.
fn penned() -> (mpsc::UnboundedReceiver<mpsc::Sender<u16>>, Handler) {
    let (give, given) = mpsc::unbounded_channel();
    let (asked, give) = (AtomicU16::new(0), Arc::new(give));
    let handler = scripted(move |_| {
        let (give, nth) = (Arc::clone(&give), asked.fetch_add(1, Ordering::SeqCst));
        async move {
            if nth < 2 {
                return Answer::status(503);
            }
            let (say, mut said) = mpsc::channel(1);
            give.send(say).unwrap();
            match said.recv().await {
                Some(status) => Answer::status(status),
                None => pending().await,
            }
        }
    });
    (given, handler)
}

#[tokio::test]
async fn one_request_at_a_time_probes_the_origin_and_its_success_closes_the_breaker() {
    let (mut given, handler) = penned();
    let scene = Neighbours::start(TWO, handler).await;
    for _ in 0..2 {
        scene.get().await;
    }
    scene.turned.advance(Duration::from_millis(4_999));
    let open = (503, "breaker-open".to_owned(), Some("1"));
    assert_eq!(told(&scene.get().await), open);
    scene.turned.advance(Duration::from_millis(1));

    let mut probe = Client::http1(scene.gateway.flows()).await;
    let probing = tokio::spawn(async move { probe.get("/orders/x").await });
    let say = within("the probe", given.recv()).await.unwrap();
    for _ in 0..10 {
        assert_eq!(told(&scene.get().await), open, "beside the probe");
    }
    assert!((scene.gauge(GAUGE).await - 1.0).abs() < 0.1);
    say.send(200).await.unwrap();

    let probed = within("the probe's answer", probing).await;
    assert_eq!(probed.unwrap().status, 200);
    assert_eq!(scene.origin.tally().heads, 3);
    assert_eq!(scene.gauge(GAUGE).await, 0.0);
    let (answered, ()) = tokio::join!(scene.get(), async {
        let say = within("a request at the origin", given.recv()).await;
        say.unwrap().send(200).await.unwrap();
    });
    assert_eq!(answered.status, 200);
}

#[tokio::test]
async fn a_probe_that_fails_opens_the_breaker_again_for_as_long() {
    let (scene, status) = opened(TWO).await;
    for _ in 0..3 {
        scene.turned.advance(Duration::from_secs(5));
        assert_eq!(scene.get().await.reason(), "", "the probe, which fails");
        let open = (503, "breaker-open".to_owned(), Some("5"));
        assert_eq!(told(&scene.get().await), open);
    }
    assert_eq!(scene.origin.tally().heads, 5);

    status.set(200);
    scene.turned.advance(Duration::from_secs(5));

    assert_eq!(scene.get().await.status, 200);
    assert_eq!(scene.get().await.status, 200);
}

#[tokio::test]
async fn a_probe_whose_flow_vanishes_makes_room_for_another() {
    let (mut given, handler) = penned();
    let scene = Neighbours::start(TWO, handler).await;
    for _ in 0..2 {
        scene.get().await;
    }
    scene.turned.advance(Duration::from_secs(5));
    let mut probe = Wire::resetting(scene.gateway.flows()).await;
    probe
        .write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let _kept = within("the probe", given.recv()).await.unwrap();
    assert_eq!(scene.get().await.reason(), "breaker-open");

    drop(probe);
    scene
        .until_gauge("attache_connector_requests_in_flight", 0.0)
        .await;

    let (answered, ()) = tokio::join!(scene.get(), async {
        let say = within("a request at the origin", given.recv()).await;
        say.unwrap().send(200).await.unwrap();
    });
    assert_eq!(answered.status, 200);
    assert_eq!(scene.gauge(GAUGE).await, 0.0);
}

#[tokio::test]
async fn a_reload_keeps_an_open_breaker_and_one_that_takes_the_breaker_away_closes_it() {
    let (scene, _status) = opened(TWO).await;

    scene.reload(&format!("cookies: pass, {TWO}"));
    let open = (503, "breaker-open".to_owned(), Some("5"));
    assert_eq!(told(&scene.get().await), open);
    scene.reload("breaker: null");

    assert_eq!(scene.gauge(GAUGE).await, 0.0);
    for _ in 0..5 {
        assert_eq!(scene.get().await.reason(), "", "the origin's own 503");
    }
    scene.reload(TWO);
    assert_eq!(scene.get().await.reason(), "");
}

#[tokio::test]
async fn without_a_word_of_it_a_connector_has_a_breaker_of_twenty_failures() {
    let scene = Neighbours::start("", Status::new(503).handler()).await;
    for _ in 0..20 {
        assert_eq!(scene.get().await.reason(), "");
    }

    assert_eq!(scene.get().await.reason(), "breaker-open");
}
