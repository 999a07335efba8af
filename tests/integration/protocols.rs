//! HTTP/1.1 and HTTP/2 on both sides, in all combinations.

use http::Version;

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::origin;
use crate::support::pki::Ca;
use crate::support::scene::{Plan, Scene};
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;

/// An origin that answers with the body it was sent, reversed.
fn reversing(protocols: Protocols) -> Plan {
    Plan {
        protocols,
        ..Plan::answering(origin::whole(|request| {
            let reversed: String = request.text().chars().rev().collect();
            Answer::text(&reversed).field("x-method", &request.method)
        }))
    }
}

const TLS: &str = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";

/// A scene whose gateway speaks TLS to flows, and the CA they trust.
async fn tls_scene(protocols: Protocols) -> Scene {
    // The files have to be there before the gateway starts.
    Scene::start_with(
        Plan {
            settings: TLS,
            ..reversing(protocols)
        },
        |stage| {
            stage.server().write(stage.directory(), "gw");
        },
    )
    .await
}

#[tokio::test]
async fn every_protocol_of_flows_meets_every_protocol_of_origins() {
    for (protocols, upstream) in [
        (Protocols::Http1, Version::HTTP_11),
        (Protocols::Http2, Version::HTTP_2),
        (Protocols::Both, Version::HTTP_2),
    ] {
        let plain = Scene::start(reversing(protocols)).await;
        let secure = tls_scene(protocols).await;
        let offer = |protocols| tls::client(&secure.stage.ca, None, protocols);
        let clients = [
            (Client::http1(plain.gateway.flows()).await, Version::HTTP_11),
            (Client::http2(plain.gateway.flows()).await, Version::HTTP_2),
            (
                Client::tls(secure.gateway.flows(), offer(Protocols::Http1)).await,
                Version::HTTP_11,
            ),
            (
                Client::tls(secure.gateway.flows(), offer(Protocols::Both)).await,
                Version::HTTP_2,
            ),
        ];

        for (mut client, version) in clients {
            for (method, body, expected) in [
                ("POST", "abc", "cba"),
                ("GET", "", ""),
                ("PATCH", "12", "21"),
            ] {
                let answered = client.call(method, "/orders/x", &[], body).await;
                assert_eq!(answered.version, version);
                assert_eq!(answered.text(), expected, "{version:?} to {upstream:?}");
                assert_eq!(answered.field("x-method"), Some(method));
            }
        }

        for request in [plain.origin.requests(), secure.origin.requests()].concat() {
            assert_eq!(request.version, upstream);
            let port = [&plain, &secure].map(|scene| scene.origin.address().port());
            let ours = port.map(|port| format!("localhost:{port}"));
            assert!(ours.contains(&request.authority), "{}", request.authority);
        }
    }
}

#[tokio::test]
async fn http2_towards_an_origin_can_be_switched_off() {
    let scene = Scene::start(Plan {
        connector: &["upstream: { http2: off }"],
        ..reversing(Protocols::Both)
    })
    .await;

    scene.gateway.get("/orders/x").await;

    assert_eq!(scene.origin.only_request().version, Version::HTTP_11);
}

#[tokio::test]
async fn a_client_that_offers_no_protocol_over_tls_speaks_http11() {
    let scene = tls_scene(Protocols::Http1).await;
    let mut config = (*tls::client(&scene.stage.ca, None, Protocols::Http1)).clone();
    config.alpn_protocols.clear();
    let mut wire = Wire::tls(scene.gateway.flows(), config.into()).await;

    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;

    assert_eq!(wire.answer().await.status(), 200);
}

#[tokio::test]
async fn where_tls_is_on_a_client_without_it_gets_nothing() {
    let scene = tls_scene(Protocols::Http1).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = wire.rest().await;

    // At most a TLS alert (RFC 8446 §6), never HTTP.
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_gateway_sends_nothing() {
    let scene = tls_scene(Protocols::Http1).await;
    let config = tls::client(&Ca::new("another"), None, Protocols::Both);
    let tcp = tokio::net::TcpStream::connect(scene.gateway.flows()).await;
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();

    let handshake = tokio_rustls::TlsConnector::from(config).connect(name, tcp.unwrap());

    assert!(handshake.await.is_err());
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn many_http2_requests_share_one_connection_to_an_http2_origin() {
    let scene = Scene::start(reversing(Protocols::Http2)).await;
    let address = scene.gateway.flows();
    // The first one finds out what the origin speaks.
    scene.gateway.get("/orders/x").await;

    let mut asking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let mut client = Client::http2(address).await;
        asking.spawn(async move {
            let body = format!("{number:03}");
            let answered = client.call("POST", "/orders/x", &[], body.clone()).await;
            (body, answered.text())
        });
    }
    while let Some(ended) = asking.join_next().await {
        let (sent, got) = ended.unwrap();
        assert_eq!(got.chars().rev().collect::<String>(), sent);
    }

    assert_eq!(scene.origin.tally().accepted, 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    // RFC 9112 §9.3.2.
    let scene = Scene::start(reversing(Protocols::Http1)).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    let requests: String = (0..5)
        .map(|number| {
            format!(
                "POST /orders/{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{number}-"
            )
        })
        .collect();
    wire.write(requests).await;

    for number in 0..5 {
        assert_eq!(wire.answer().await.text(), format!("-{number}"));
    }
}
