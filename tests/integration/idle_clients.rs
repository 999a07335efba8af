//! Thousands of clients that keep their connections cost little between two requests.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::child::Child;
use crate::support::gateway::{process, sample};
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

const CLIENTS: usize = 1000;
/// Answered by the gateway itself.
const GET: &str = "GET /nobody/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Long enough that no client is closed meanwhile.
const LIMITS: &str = "workers: 1\ntimeouts: { handshake: 5m, head: 5m, idle: 5m }\n";
const TLS: &str = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";

async fn address(child: &Child, whom: &str) -> SocketAddr {
    let line = child.stderr.line(whom, |line| line.contains(whom)).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

async fn connect(address: SocketAddr, config: Option<&Arc<ClientConfig>>) -> Wire {
    match config {
        None => Wire::plain(address).await,
        Some(config) => Wire::tls(address, Arc::clone(config)).await,
    }
}

async fn ask(clients: &mut [Wire]) {
    for client in clients {
        client.write(GET).await;
        assert_eq!(client.answer().await.status(), 404);
    }
}

/// Holds that [`CLIENTS`] clients cost no more than `each_kib_max` each some time after a request,
/// and are answered again.
async fn claim_cheap_between_requests(settings: &str, each_kib_max: usize) {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "gw");
    let own = orders("https://localhost", &[]) + LIMITS + settings;
    let child = process(&stage.config_file(&own));
    let flows = address(&child, "flows are served").await;
    let admin = address(&child, "served to administrators").await;
    let config = tls::client(&stage.ca, None, Protocols::Http1);
    let config = (!settings.is_empty()).then_some(&config);
    // What the first requests set up stays.
    ask(&mut [connect(flows, config).await]).await;
    let before = child.memory_kib("VmRSS");

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect(flows, config).await;
        ask(std::slice::from_mut(&mut client)).await;
        clients.push(client);
    }
    within("idle clients to cost little", async {
        // The allocator gives memory back while it is asked for some.
        while child.memory_kib("VmRSS").saturating_sub(before) > CLIENTS * each_kib_max {
            sample(admin, "attache_client_connections", &[]).await;
            ask(&mut [connect(flows, config).await]).await;
        }
    })
    .await;

    ask(&mut clients).await;
}

#[tokio::test]
async fn a_thousand_clients_between_two_requests_cost_little() {
    claim_cheap_between_requests("", 8).await;
}

#[tokio::test]
async fn a_thousand_clients_over_tls_between_two_requests_cost_what_tls_needs() {
    claim_cheap_between_requests(TLS, 20).await;
}
