//! Which hosts a request may name: ours, once, and the same everywhere.

use attache::proxy::error::TABLE;

use crate::support::client::Client;
use crate::support::gateway::Running;
use crate::support::message::{Kind, Message};
use crate::support::origin::Setup;
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

/// Sends `head` as it stands and reads the answer.
async fn raw(scene: &Scene, head: &str) -> Message {
    let mut wire = Wire::plain(scene.gateway.flows()).await;
    wire.write(head).await;
    wire.answer().await
}

/// Nobody was connected to.
fn untouched(scene: &Scene) -> bool {
    scene.origin.tally().accepted == 0
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_malformed_or_not_ours_is_refused() {
    // RFC 9112 §3.2; protocol.md, line 18 and point 2.
    let scene = Scene::plain().await;

    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host:\r\n",
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: evil.example:80\r\n",
        "Host: svc@localhost\r\n",
        "Host: local host\r\n",
        "Host: localhost/x\r\n",
        "Host: 10.0.0.1\r\n",
        "Host: [::2]\r\n",
    ] {
        let answer = raw(&scene, &format!("GET /orders/x HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (400, "bad-host"),
            "{hosts:?}"
        );
    }
    assert!(untouched(&scene));
}

#[tokio::test]
async fn loopback_names_the_bound_address_and_listed_names_are_ours() {
    // protocol.md, row 39: the trailing dot changes nothing.
    let scene = Scene::start(Plan {
        settings: "hosts: [gw.example]\n",
        ..Plan::new()
    })
    .await;
    let hosts = [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1",
        "127.8.9.1:80",
        "[::1]:8080",
        "gw.example",
        "GW.example.:443",
    ];

    for host in hosts {
        let head = format!("GET /orders/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(raw(&scene, &head).await.status(), 200, "{host}");
    }

    let origin = format!("localhost:{}", scene.origin.address().port());
    for message in scene.origin.wire() {
        assert_eq!(message.field("host"), Some(origin.as_str()));
    }
}

#[tokio::test]
async fn whatever_host_a_flow_names_the_origins_certificate_is_asked_for_by_the_connectors() {
    // protocol.md, row 39 and point 10.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let own = orders(&raw.url(""), &[]) + "hosts: [gw.example, 127.0.0.1]\n";
    let gateway = Running::start(&stage, &own).await;

    for host in ["gw.example", "gw.example.", "GW.Example.:443", "127.0.0.1"] {
        let mut near = Wire::plain(gateway.flows()).await;
        near.write(format!("GET /orders/x HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let far = raw.accept_tls().await;
        let asked_for = far.get_ref().1.server_name().map(str::to_owned);
        let mut far = Wire::over(far);
        far.message(Kind::Request).await.unwrap();
        far.write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .await;

        assert_eq!(near.answer().await.status(), 204);
        assert_eq!(asked_for.as_deref(), Some("localhost"), "{host}");
    }
    gateway.drain().await;
}

#[test]
fn the_gateway_calls_no_request_misdirected() {
    // RFC 9110 §15.5.20; protocol.md, line 16.
    assert!(TABLE.iter().all(|row| row.status.as_u16() != 421));
}

#[tokio::test]
async fn an_absolute_target_is_carried_where_its_host_is_ours_and_hosts_agree() {
    // RFC 9112 §3.2.2; protocol.md, line 19.
    let scene = Scene::plain().await;
    let absolute =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");

    let ours = raw(
        &scene,
        &absolute("http://localhost:7/orders/x?y", "localhost:7"),
    )
    .await;
    assert_eq!(ours.status(), 200);
    for (target, host) in [
        ("http://evil.example/orders/x", "evil.example"),
        ("http://evil.example/orders/x", "localhost"),
        ("http://localhost/orders/x", "evil.example"),
        ("http://localhost/orders/x", "localhost:7"),
        ("http://127.0.0.1/orders/x", "localhost"),
        ("http://svc@localhost/orders/x", "svc@localhost"),
    ] {
        let answer = raw(&scene, &absolute(target, host)).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (400, "bad-host"),
            "{target} {host}"
        );
    }

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].target(), "/api/x?y");
}

#[tokio::test]
async fn an_http2_authority_that_differs_from_host_is_refused() {
    // RFC 9113 §8.3.1; protocol.md, line 34.
    let scene = Scene::plain().await;
    let mut client = Client::http2(scene.gateway.flows()).await;

    let answered = client
        .call("GET", "/orders/x", &[("host", "localhost")], "")
        .await;

    assert_eq!(answered.reason(), "bad-host");
    assert!(untouched(&scene));
}
