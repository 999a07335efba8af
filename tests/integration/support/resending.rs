//! An origin that says and ends what a test likes, and requests that may be sent to it again.

use super::client::{Answered, Client};
use super::gateway::Running;
use super::message::Kind;
use super::origin::Setup;
use super::raw::RawOrigin;
use super::scene::orders;
use super::stage::Stage;
use super::tls::Protocols;
use super::wire::Wire;
use super::within;

/// The shortest answer.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A resource domain below HTTP with a gateway before it.
pub(crate) async fn raw(protocols: Protocols, connector: &[&str]) -> (Stage, RawOrigin, Running) {
    let stage = Stage::new();
    let setup = Setup {
        protocols,
        ..Setup::new(&stage.server())
    };
    let raw = RawOrigin::start(setup).await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), connector)).await;
    (stage, raw, gateway)
}

/// One request in the background.
pub(crate) fn call(
    gateway: &Running,
    method: &'static str,
    body: &'static str,
) -> tokio::task::JoinHandle<Answered> {
    let address = gateway.flows();
    tokio::spawn(async move {
        let mut client = Client::http1(address).await;
        client.call(method, "/orders/x", &[], body).await
    })
}

/// A connection that has answered one request and lies in the pool.
pub(crate) async fn used(raw: &RawOrigin, gateway: &Running) -> Wire {
    let first = call(gateway, "GET", "");
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin.write(OK).await;
    assert_eq!(within("the first answer", first).await.unwrap().status, 200);
    let labels = [("state", "idle")];
    let idle = |count: f64| count > 0.0;
    gateway
        .until_sample("attache_upstream_connections", &labels, idle)
        .await;
    origin
}

/// Fails the test unless the flow is told that no answer came, and whether the request may have.
pub(crate) fn unreached(answered: &Answered, may_have_reached_origin: bool) {
    assert_eq!(answered.status, 502, "{}", answered.text());
    assert_eq!(answered.reason(), "origin-unreachable");
    let problem = answered.json();
    assert_eq!(problem["may_have_reached_origin"], may_have_reached_origin);
}
