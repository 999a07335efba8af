//! A gateway between a flow and an origin that leave HTTP together.

use super::gateway::Running;
use super::message::{Kind, Message};
use super::origin::Setup;
use super::raw::RawOrigin;
use super::scene::orders;
use super::stage::Stage;
use super::wire::Wire;

/// A request to leave HTTP.
pub(crate) const ASK: &str = "GET /orders/chat HTTP/1.1\r\nHost: localhost\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// An origin's consent.
pub(crate) const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// The line of a connector whose requests may leave HTTP.
pub(crate) const ALLOWED: &str = "upgrades: [websocket]";

/// An origin below HTTP, which offers HTTP/2 and HTTP/1.1, and a gateway with the connector
/// `orders` before it.
pub(crate) struct Between {
    pub(crate) stage: Stage,
    pub(crate) raw: RawOrigin,
    pub(crate) gateway: Running,
}

impl Between {
    /// A connector that allows WebSocket.
    pub(crate) async fn allowing() -> Self {
        Self::start(&[ALLOWED], "").await
    }

    /// A connector with `lines`, and further top-level keys.
    pub(crate) async fn start(lines: &[&str], settings: &str) -> Self {
        let stage = Stage::new();
        let raw = RawOrigin::start(Setup::new(&stage.server())).await;
        let yaml = orders(&raw.url("/api"), lines) + settings;
        let gateway = Running::start(&stage, &yaml).await;
        Self {
            stage,
            raw,
            gateway,
        }
    }

    /// Asks for WebSocket, over a connection of its own, and has the origin read the request.
    pub(crate) async fn asked(&self) -> (Wire, Wire, Message) {
        let mut near = Wire::plain(self.gateway.flows()).await;
        near.write(ASK).await;
        let mut far = self.raw.accept().await;
        let request = far.message(Kind::Request).await.unwrap();
        (near, far, request)
    }

    /// A tunnel: the flow's end and the origin's.
    pub(crate) async fn opened(&self) -> (Wire, Wire) {
        let (mut near, mut far, _) = self.asked().await;
        far.write(AGREE).await;
        assert_eq!(near.answer().await.status(), 101);
        (near, far)
    }

    /// Waits until no tunnel is open and no request in flight, and no connection to an origin busy.
    pub(crate) async fn until_nothing_is_open(&self) {
        let busy: &[_] = &[("connector", "orders"), ("state", "busy")];
        for (name, labels) in [
            ("attache_tunnels", &busy[..1]),
            ("attache_requests_in_flight", &[]),
            ("attache_upstream_connections", busy),
        ] {
            self.gateway
                .until_sample(name, labels, |value| value == 0.0)
                .await;
        }
    }
}
