//! What a hop owes the hops around it: no loop, `Max-Forwards`, no HTTP/1.0 connection kept.

use crate::support::client::Client;
use crate::support::connector::{connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::message::Message;
use crate::support::scene::Scene;
use crate::support::stage::Stage;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;

const TLS: &str = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";

/// A gateway that speaks TLS and has no connectors yet.
async fn hop(stage: &Stage) -> Running {
    stage.server().write(stage.directory(), "gw");
    Running::start(stage, TLS).await
}

/// Has `from` lead `/round/…` to the same path of `to`.
fn lead(stage: &Stage, from: &Running, to: &Running, http2: &str) {
    let url = format!("https://localhost:{}/round", to.flows().port());
    let more = format!("upstream: {{ http2: {http2} }}");
    let round = connector_with("round", &url, "none", &more);
    let own = TLS.to_owned() + &connectors(&[round]);
    from.reload(stage.config(&own)).unwrap();
}

/// How many requests a gateway knew as its own.
async fn loops(gateway: &Running) -> f64 {
    let labels = [("connector", "round"), ("reason", "loop")];
    gateway.sample("attache_refused_total", &labels).await
}

#[tokio::test]
async fn a_request_that_comes_back_goes_no_further() {
    // RFC 9110 §7.6, §7.6.3; protocol.md, line 6.
    for (http2, protocols) in [("off", Protocols::Http1), ("auto", Protocols::Http2)] {
        let stage = Stage::new();
        let gateway = hop(&stage).await;
        lead(&stage, &gateway, &gateway, http2);
        let config = tls::client(&stage.ca, None, protocols);
        let mut client = Client::tls(gateway.flows(), config).await;

        let answered = client.get("/round/x").await;

        assert_eq!(
            (answered.status.as_u16(), &*answered.reason()),
            (508, "loop"),
            "{protocols:?}"
        );
        assert_eq!(loops(&gateway).await, 1.0, "{protocols:?}");
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_request_that_comes_back_by_way_of_others_goes_no_further() {
    // RFC 9110 §7.6, §7.6.3; protocol.md, line 6.
    let stage = Stage::new();
    let all = [hop(&stage).await, hop(&stage).await, hop(&stage).await];
    let [first, second, third] = &all;
    // Each hop speaks another version than the one before.
    lead(&stage, first, second, "auto");
    lead(&stage, second, third, "off");
    lead(&stage, third, first, "auto");
    let config = tls::client(&stage.ca, None, Protocols::Http1);
    let mut client = Client::tls(first.flows(), config).await;

    let fields = [("via", "1.1 fred"), ("connection", "via")];
    let answered = client.call("GET", "/round/x", &fields, "").await;

    assert_eq!(
        (answered.status.as_u16(), &*answered.reason()),
        (508, "loop")
    );
    // Whoever sent it first knows it; to the others it was new.
    assert_eq!(loops(first).await, 1.0);
    assert_eq!((loops(second).await, loops(third).await), (0.0, 0.0));
}

#[tokio::test]
async fn our_own_mark_counts_though_connection_names_the_field() {
    // protocol.md, lines 3 and 6.
    let scene = Scene::plain().await;
    scene.gateway.get("/orders/x").await;
    let via = scene.origin.wire()[0].field("via").unwrap().to_owned();
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(format!(
        "GET /orders/x HTTP/1.1\r\nHost: localhost\r\nConnection: via\r\nVia: {via}\r\n\r\n"
    ))
    .await;

    assert_eq!(wire.answer().await.status(), 508);
    assert_eq!(scene.origin.tally().heads, 1);
}

#[tokio::test]
async fn max_forwards_that_is_no_number_counts_for_nothing_and_a_large_one_is_bounded() {
    // RFC 9110 §7.6.2; protocol.md, line 7.
    let scene = Scene::plain().await;
    let cases = [
        ("1", "0"),
        ("007", "6"),
        ("18446744073709551615", "18446744073709551614"),
        ("99999999999999999999999", "18446744073709551614"),
        ("+5", "+5"),
        ("-1", "-1"),
        ("5x", "5x"),
        ("", ""),
    ];
    let mut client = Client::http1(scene.gateway.flows()).await;

    for (said, _) in cases {
        let fields = [("max-forwards", said)];
        let answered = client.call("OPTIONS", "/orders/x", &fields, "").await;
        assert_eq!(answered.status, 200, "{said:?}");
    }

    let arrived = scene.origin.wire();
    let arrived = arrived.iter().map(|message| message.field("max-forwards"));
    let expected = cases.map(|(_, told)| Some(told));
    assert_eq!(arrived.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_body_of_what_is_answered_here_is_no_request() {
    // RFC 9112 §9.3; protocol.md, line 7 and row 23.
    let scene = Scene::plain().await;
    let hidden = "GET /orders/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(format!(
        "OPTIONS /orders/x HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n\
         Content-Length: {}\r\n\r\n{hidden}GET /orders/next HTTP/1.1\r\nHost: localhost\r\n\
         Connection: close\r\n\r\n",
        hidden.len()
    ))
    .await;
    let answer = wire.answer().await;
    wire.rest().await;

    assert_eq!(answer.status(), 204);
    let arrived = scene.origin.wire();
    let arrived: Vec<_> = arrived.iter().map(Message::target).collect();
    assert!(
        arrived.is_empty() || arrived == ["/api/next"],
        "{arrived:?}"
    );
}

#[tokio::test]
async fn a_client_of_http10_keeps_no_connection_whatever_it_asks_for() {
    // RFC 9112 §9.3; protocol.md, line 29.
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
    ] {
        let scene = Scene::plain().await;
        for (path, status) in [("/orders/x", "200"), ("/nobody/x", "404")] {
            let mut wire = Wire::plain(scene.gateway.flows()).await;
            let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n");

            wire.write(request.repeat(2)).await;
            let said = String::from_utf8(wire.rest().await).unwrap();

            assert!(said[8..].starts_with(&format!(" {status} ")), "{said}");
            assert_eq!(said.matches("HTTP/1.").count(), 1, "{said}");
            assert!(!said.to_lowercase().contains("keep-alive"), "{said}");
        }
        assert_eq!(scene.origin.tally().heads, 1, "{fields:?}");
    }
}

#[tokio::test]
async fn what_an_http10_client_sends_behind_a_head_without_a_length_is_no_body() {
    // RFC 9112 §6.3: no request lasts until its connection ends; protocol.md, row 21.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write("POST /orders/x HTTP/1.0\r\nHost: localhost\r\n\r\nGET /orders/y HTTP/1.0\r\n\r\n")
        .await;
    wire.half_close().await;
    wire.rest().await;

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].field("content-length"), Some("0"));
    assert_eq!(arrived[0].text(), "");
}
