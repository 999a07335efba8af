//! Nobody is waited for without a limit: neither flows nor origins.

use std::time::Duration;

use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::origin::{self, Handler, Origin};
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

/// An origin that answers `/api/silent` never and everything else when it is whole.
fn silent_at_times() -> Handler {
    origin::scripted(|mut exchange| async move {
        if exchange.recorded().target == "/api/silent" {
            std::future::pending::<()>().await;
        }
        Answer::text(&exchange.finish().await.text())
    })
}

#[tokio::test]
async fn an_origin_that_never_shakes_hands_is_given_up_after_connect() {
    let stage = Stage::new();
    // The system takes the connection; nobody ever speaks on it.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", deaf.local_addr().unwrap().port());
    let yaml = orders(&url, &["upstream: { connect: 200ms }"]);
    // The system's look-up may take as long on a busy machine.
    let names = [("localhost", &["127.0.0.1"][..])];
    let gateway = Running::start_named(&stage, &yaml, &names).await;

    let answered = gateway.get("/orders/x").await;

    assert_eq!(answered.status, 504);
    assert_eq!(answered.reason(), "origin-timeout");
    let error = Some("attache; error=connection_timeout");
    assert_eq!(answered.field("proxy-status"), error);
    assert_eq!(answered.json()["may_have_reached_origin"], false);
}

#[tokio::test]
async fn an_origin_that_never_answers_is_given_up_after_response_head() {
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            connector: &["upstream: { response_head: 700ms }"],
            ..Plan::answering(silent_at_times())
        })
        .await;

        let answered = scene.gateway.get("/orders/silent").await;
        let next = scene.gateway.get("/orders/x").await;

        assert_eq!((answered.status.as_u16(), next.status.as_u16()), (504, 200));
        assert_eq!(answered.reason(), "origin-timeout");
        let error = Some("attache; error=http_response_timeout");
        assert_eq!(answered.field("proxy-status"), error);
        assert_eq!(answered.json()["may_have_reached_origin"], true);
    }
}

#[tokio::test]
async fn response_head_does_not_run_while_the_request_is_still_arriving() {
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            connector: &["upstream: { response_head: 700ms, stall: 700ms }"],
            ..Plan::answering(silent_at_times())
        })
        .await;
        let mut client = Client::http1(scene.gateway.flows()).await;
        let (pen, body) = Outgoing::streamed();
        pen.write("slow").await;

        let asking = client.call("POST", "/orders/x", &[], body);
        let writing = async {
            scene.origin.until(|tally| tally.heads == 1).await;
            // The limit runs out for two others before this request goes on.
            for _ in 0..2 {
                assert_eq!(scene.gateway.get("/orders/silent").await.status, 504);
            }
            pen.write("ly").await;
            drop(pen);
        };
        let (answered, ()) = tokio::join!(asking, writing);

        assert_eq!(answered.text(), "slowly", "{protocols:?}");
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut_where_the_flow_can_see_it() {
    for protocols in BOTH {
        let (pens, mut penned) = mpsc::unbounded_channel();
        let scene = Scene::start(Plan {
            protocols,
            connector: &["upstream: { stall: 200ms }"],
            ..Plan::answering(origin::whole(move |_| {
                let (pen, answer) = Answer::streamed();
                pens.send(pen).unwrap();
                answer
            }))
        })
        .await;
        let mut client = Client::http1(scene.gateway.flows()).await;

        let answer = client.send("GET", "/orders/x", &[], "").await.unwrap();
        let pen = penned.recv().await.unwrap();
        pen.write("half").await;

        let outcome = within("the cut", Answered::read(answer)).await;
        assert!(outcome.is_err(), "{protocols:?}");
        pen.given_up().await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_with_408() {
    // RFC 9110 §15.5.9; protocol.md, row 23.
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            settings: "timeouts: { body: 200ms, drain_delay: 0s }\n",
            ..Plan::answering(silent_at_times())
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        let mut http2 = Client::http2(scene.gateway.flows()).await;

        wire.write("POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        let answer = wire.answer().await;
        let (pen, body) = Outgoing::streamed();
        let answered = http2.call("POST", "/orders/x", &[], body).await;

        assert_eq!((answer.status(), answered.status.as_u16()), (408, 408));
        assert_eq!(answered.reason(), "client-timeout");
        assert!(wire.is_closed().await, "half a body is no next request");
        assert_eq!(scene.origin.tally().whole, 0);
        drop(pen);
    }
}

/// What is sent before silence, and which limits end it.
const SILENCES: &[(&str, &str)] = &[
    ("", "head: 200ms"),
    ("GET /orders/x HT", "head: 200ms"),
    (
        "GET /orders/x HTTP/1.1\r\nHost: localhost\r\nX: ",
        "head: 200ms",
    ),
    // Half of the preface (RFC 9113 §3.4).
    ("PRI * HTTP/2.0\r\n\r\n", "handshake: 200ms"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "head: 200ms"),
    (
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
        "head: 200ms",
    ),
];

#[tokio::test]
async fn a_flow_that_falls_silent_before_its_request_is_whole_is_closed() {
    // RFC 9113 §3.4; protocol.md, points 8 and 13, row 41.
    for (sent, limit) in SILENCES {
        let settings = format!("timeouts: {{ {limit}, drain_delay: 0s }}\n").leak();
        let scene = Scene::start(Plan {
            settings,
            ..Plan::new()
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;

        wire.write(sent).await;
        let answer = wire.rest().await;

        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{sent:?}: {answer:?}");
        assert_eq!(scene.origin.tally().accepted, 0, "{sent:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_closed() {
    // protocol.md, row 41: a ClientHello that breaks off, and PostgreSQL's SSLRequest.
    let scene = Scene::start_with(
        Plan {
            settings: "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n\
                       timeouts: { handshake: 200ms, drain_delay: 0s }\n",
            ..Plan::new()
        },
        |stage| {
            stage.server().write(stage.directory(), "gw");
        },
    )
    .await;

    for sent in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(sent).await;
        let answer = wire.rest().await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    for reason in ["timeout", "protocol"] {
        let labels = [("listener", "flows"), ("reason", reason)];
        let refused = "attache_handshakes_refused_total";
        let gateway = &scene.gateway;
        gateway
            .until_sample(refused, &labels, |count| count == 1.0)
            .await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    for protocols in BOTH {
        let (held, mut holding) = mpsc::unbounded_channel();
        let scene = Scene::start(Plan {
            settings: "timeouts: { idle: 700ms, head: 700ms, drain_delay: 0s }\n",
            ..Plan::answering(origin::whole(move |request| {
                if request.target != "/api/held" {
                    return Answer::text("ok");
                }
                let (pen, answer) = Answer::streamed();
                held.send(pen).unwrap();
                answer
            }))
        })
        .await;
        let mut busy = match protocols {
            Protocols::Http1 => Client::http1(scene.gateway.flows()).await,
            Protocols::Http2 | Protocols::Both => Client::http2(scene.gateway.flows()).await,
        };
        let answer = busy.send("GET", "/orders/held", &[], "").await.unwrap();
        let pen = holding.recv().await.unwrap();

        // Two idle connections live and die while the busy one waits.
        for _ in 0..2 {
            let mut wire = Wire::plain(scene.gateway.flows()).await;
            wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            assert_eq!(wire.answer().await.status(), 200);
            assert!(wire.is_closed().await);
        }
        pen.write("at last").await;
        drop(pen);

        let answered = Answered::read(answer).await.unwrap();
        assert_eq!(answered.text(), "at last", "{protocols:?}");
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    // protocol.md, point 13.
    let scene = Scene::start(Plan {
        settings: "timeouts: { idle: 200ms, drain_delay: 0s }\n",
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    client.get("/orders/x").await;

    client.closed().await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_moves_no_time_limit() {
    // protocol.md, point 14.
    let (scene, turned) = Scene::start_turned(Plan {
        settings: "timeouts: { idle: 30s, drain_delay: 0s }\n",
        ..Plan::new()
    })
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    for step in [86_400_000, -172_800_000] {
        turned.step_wall_ms(step);
        turned.advance(Duration::from_secs(1));
        assert_eq!(client.get("/orders/x").await.status, 200);
    }
    assert_eq!(scene.origin.tally().accepted, 1);
    turned.advance(Duration::from_secs(31));

    client.closed().await;
}

/// RFC 9113 §6.7: a ping is no request, and no head that is awaited follows it.
#[tokio::test]
async fn an_idle_http2_connection_that_was_pinged_keeps_its_idle_limit() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let url = origin.url("/");
    let own = format!(
        "workers: 1\ntimeouts: {{ head: 10s, idle: 10m, drain_delay: 0s }}\nconnectors:\n  - {{ id: orders, \
         name: Orders, resource_domain: \"{url}\", auth: none }}\n"
    );
    let (gateway, turned) = Running::start_turned(&stage, &own).await;
    let stream = TcpStream::connect(gateway.flows()).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let status = async || {
        let mut sender = sender.clone().ready().await?;
        let request = Request::get("http://localhost/orders/x").body(()).unwrap();
        let (response, _) = sender.send_request(request, true)?;
        response.await.map(|response| response.status())
    };
    assert_eq!(status().await.unwrap(), 200);
    within("a pong", pings.ping(h2::Ping::opaque()))
        .await
        .unwrap();

    // Whoever stalls amid a head is closed, so the sweep has been; what it asked is done by the
    // time it has been again.
    for _ in 0..2 {
        let mut stalls = Wire::plain(gateway.flows()).await;
        stalls.write("GET /orders/x HT").await;
        let opening =
            async { while gateway.sample("attache_client_connections", &[]).await < 2.0 {} };
        within("the connection to be taken", opening).await;
        turned.advance(Duration::from_secs(60));
        assert!(stalls.is_closed().await);
    }

    assert_eq!(status().await.unwrap(), 200);
    gateway.drain().await;
}
