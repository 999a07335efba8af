//! Whom the gateway lets in: TLS towards flows, and client certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Version;
use rustls::ClientConfig;

use crate::support::client::Client;
use crate::support::gateway::Running;
use crate::support::origin::Origin;
use crate::support::pki::{Ca, Leaf};
use crate::support::stage::Stage;
use crate::support::tls::{Protocols, client};
use crate::support::wire::Wire;

const GET: &str = "GET /orders/x HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nobody,
    Everybody,
}

/// A gateway with TLS for flows, its certificate signed by the stage's CA; clients' by `clients`.
struct Guarded {
    stage: Stage,
    clients: Ca,
    origin: Origin,
    gateway: Running,
}

impl Guarded {
    async fn start(asks: Asks, own: &str) -> Self {
        let stage = Stage::new();
        let clients = Ca::new("clients");
        stage.write("clients.pem", &clients.pem());
        stage.server().write(stage.directory(), "listener");
        let origin = Origin::plain(&stage.server()).await;
        let own = configured(asks, &origin) + own;
        let gateway = Running::start(&stage, &own).await;
        Self {
            stage,
            clients,
            origin,
            gateway,
        }
    }

    fn flows(&self) -> SocketAddr {
        self.gateway.flows()
    }

    /// A client without a certificate.
    fn nobody(&self, protocols: Protocols) -> Arc<ClientConfig> {
        client(&self.stage.ca, None, protocols)
    }

    /// A client whose certificate says `leaf` and is signed by `ca`.
    fn somebody(&self, ca: &Ca, leaf: &Leaf, protocols: Protocols) -> Arc<ClientConfig> {
        client(&self.stage.ca, Some(&ca.issue(leaf)), protocols)
    }

    fn reload(&self, asks: Asks) {
        let own = configured(asks, &self.origin);
        self.gateway.reload(self.stage.config(&own)).unwrap();
    }
}

fn configured(asks: Asks, origin: &Origin) -> String {
    let client_ca = match asks {
        Asks::Nobody => "",
        Asks::Everybody => ", client_ca: { file: clients.pem }",
    };
    let url = origin.url("/");
    format!(
        "tls: {{ certificate: {{ file: listener.pem }}, private_key: {{ file: listener.key }}{client_ca} }}\n\
         connectors:\n  - {{ id: orders, name: Orders, resource_domain: \"{url}\", auth: none }}\n"
    )
}

/// Everything the listener says to `config` after a handshake and a request.
async fn said(address: SocketAddr, config: Arc<ClientConfig>) -> Vec<u8> {
    let mut wire = Wire::tls(address, config).await;
    // In TLS 1.3 a client is done before its certificate is looked at (RFC 8446 §2).
    let _sent = wire.try_write(GET).await;
    wire.rest().await
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_told_so_in_words_and_goes_no_further() {
    let guarded = Guarded::start(Asks::Everybody, "").await;
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let mut client = Client::tls(guarded.flows(), guarded.nobody(protocols)).await;

        for target in ["/orders/x", "/no-such-connector", "/-/", "/orders/../x"] {
            let refused = client.get(target).await;

            assert_eq!(refused.status, 401, "{target}");
            let problem = refused.json();
            assert_eq!(problem["type"], "urn:attache:problem:caller-unknown");
            assert_eq!(problem["connector"], serde_json::Value::Null);
            let told = refused.field("proxy-status").unwrap();
            assert!(told.contains("http_request_denied"), "{told}");
        }
    }
    assert_eq!(guarded.origin.tally().accepted, 0);
    let refused = [("connector", "none"), ("reason", "caller-unknown")];
    let count = guarded.gateway.sample("attache_refused_total", &refused);
    assert_eq!(count.await, 8.0);
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_that_our_ca_did_not_sign_or_that_does_not_hold_fails_the_handshake() {
    let guarded = Guarded::start(Asks::Everybody, "").await;
    let strangers = Ca::new("clients");
    let (ours, flow) = (&guarded.clients, Leaf::client("flow"));

    for (ca, leaf) in [
        (&strangers, flow.clone()),
        (&guarded.stage.ca, flow.clone()),
        (ours, flow.clone().expired()),
        (ours, flow.clone().not_yet_valid()),
        // RFC 5280 §4.2.1.12: a server's certificate is not a client's.
        (ours, Leaf::server(&["flow.example"])),
    ] {
        for protocols in [Protocols::Http1, Protocols::Http2] {
            let config = guarded.somebody(ca, &leaf, protocols);
            assert_eq!(said(guarded.flows(), config).await, b"", "{leaf:?}");
        }
    }
    let own = client(
        &guarded.stage.ca,
        Some(&flow.self_signed()),
        Protocols::Http1,
    );
    assert_eq!(said(guarded.flows(), own).await, b"");
    assert_eq!(guarded.origin.tally().accepted, 0);
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn a_caller_with_a_certificate_is_served_over_both_protocols() {
    let guarded = Guarded::start(Asks::Everybody, "").await;
    for (protocols, version) in [
        (Protocols::Http1, Version::HTTP_11),
        (Protocols::Http2, Version::HTTP_2),
        (Protocols::Both, Version::HTTP_2),
    ] {
        let config = guarded.somebody(&guarded.clients, &Leaf::client("flow"), protocols);
        let mut client = Client::tls(guarded.flows(), config).await;

        let answered = client.get("/orders/x").await;

        assert_eq!((answered.version, answered.text()), (version, "ok".into()));
    }
    // Who called is between the flow and the gateway.
    let shown = guarded.origin.requests();
    assert!(
        shown
            .iter()
            .all(|request| request.client_certificate.is_none())
    );
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn where_nobody_is_asked_tls_alone_is_enough() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    let config = guarded.nobody(Protocols::Both);

    let mut client = Client::tls(guarded.flows(), config).await;

    assert_eq!(client.get("/orders/x").await.text(), "ok");
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn what_is_not_tls_is_not_served() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    for bytes in [
        GET.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // protocol.md row 41: what a PostgreSQL client begins with.
        &[0, 0, 0, 8, 4, 210, 22, 47],
    ] {
        let mut wire = Wire::plain(guarded.flows()).await;
        wire.write(bytes).await;

        let said = wire.rest().await;

        assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    }
    assert_eq!(guarded.origin.tally().accepted, 0);
    guarded.gateway.drain().await;
}

/// protocol.md row 41.
#[tokio::test]
async fn a_handshake_that_stalls_is_closed_in_time() {
    let timeouts = "timeouts: { handshake: 50ms, head: 5m, drain_delay: 0s }\n";
    let guarded = Guarded::start(Asks::Everybody, timeouts).await;
    let mut wire = Wire::plain(guarded.flows()).await;

    // A handshake record of 512 bytes (RFC 8446 §5.1), of which the first five come.
    wire.write([22, 3, 1, 2, 0, 1, 0, 1, 252, 3]).await;

    assert!(wire.is_closed().await);
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_new_connections_and_open_ones_go_on() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    let mut open = Client::tls(guarded.flows(), guarded.nobody(Protocols::Both)).await;
    assert_eq!(open.get("/orders/x").await.text(), "ok");
    let next = Ca::new("next");
    next.server(&[])
        .write(guarded.stage.directory(), "listener");

    guarded.reload(Asks::Nobody);

    let mut new = Client::tls(guarded.flows(), client(&next, None, Protocols::Both)).await;
    assert_eq!(new.get("/orders/x").await.text(), "ok");
    assert_eq!(open.get("/orders/x").await.text(), "ok");
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_certificate_changes_nothing() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    let other = guarded.stage.server();
    guarded.stage.write("listener.key", &other.key_pem);

    let own = configured(Asks::Nobody, &guarded.origin);
    let refused = guarded.gateway.reload(guarded.stage.config(&own));

    assert!(refused.is_err());
    let config = guarded.nobody(Protocols::Both);
    let mut client = Client::tls(guarded.flows(), config).await;
    assert_eq!(client.get("/orders/x").await.text(), "ok");
    guarded.gateway.drain().await;
}

/// Closing the door counts for those inside: a connection that showed no certificate is refused.
#[tokio::test]
async fn once_certificates_are_asked_for_an_open_connection_without_one_is_refused() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    let mut open = Client::tls(guarded.flows(), guarded.nobody(Protocols::Http2)).await;
    assert_eq!(open.get("/orders/x").await.status, 200);

    guarded.reload(Asks::Everybody);

    assert_eq!(open.get("/orders/x").await.status, 401);
    guarded.reload(Asks::Nobody);
    assert_eq!(open.get("/orders/x").await.status, 200);
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn the_certificate_s_end_is_shown_and_follows_a_reload() {
    let guarded = Guarded::start(Asks::Nobody, "").await;
    let name = "attache_certificate_expiry_timestamp_seconds";
    let labels = [("connector", "none"), ("use", "listener")];
    // 2049-01-01, as the stage's certificates say.
    let ends = guarded.gateway.sample(name, &labels).await;
    assert_eq!(ends, 2_493_072_000.0);

    let leaf = Leaf::server(&["localhost"]).not_yet_valid();
    let next = guarded.stage.ca.issue(&leaf);
    next.write(guarded.stage.directory(), "listener");
    guarded.reload(Asks::Nobody);

    assert!(guarded.gateway.sample(name, &labels).await > ends);
    guarded.gateway.drain().await;
}

#[tokio::test]
async fn the_admin_listener_speaks_tls_where_it_is_told_to() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "admin");
    let own = "admin: { listen: 127.0.0.1:0, tls: { certificate: { file: admin.pem }, \
               private_key: { file: admin.key } } }\nconnectors: []\n";
    let gateway = Running::start(&stage, own).await;

    let config = client(&stage.ca, None, Protocols::Http1);
    let mut inside = Client::tls(gateway.admin(), config).await;
    assert_eq!(inside.get("/readyz").await.status, 200);
    let mut outside = Wire::plain(gateway.admin()).await;
    outside
        .write("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;

    assert!(!outside.rest().await.starts_with(b"HTTP/"));
    gateway.drain().await;
}
