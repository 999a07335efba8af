//! Revocation lists (RFC 5280 §5): what an issuer has taken back is refused, in both directions.
//!
//! protocol.md row 45 (RUSTSEC-2026-0049, RUSTSEC-2026-0104) and its last section.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::connector::{basic, connector_with, connectors, with_secret};
use crate::support::gateway::{Running, process, sample};
use crate::support::origin::{Origin, Setup};
use crate::support::pki::{Ca, Identity, Leaf};
use crate::support::stage::Stage;
use crate::support::tls::{Protocols, client};
use crate::support::until;
use crate::support::wire::Wire;

const LISTED: u64 = 1007;
const UNLISTED: u64 = 1008;
const REFUSED: &str = "attache_handshakes_refused_total";

/// A server with that number.
fn numbered(ca: &Ca, number: u64) -> Identity {
    ca.issue(&Leaf::server(&["localhost"]).numbered(number))
}

/// A connector `c` to `url`, whose lists are in `lists.pem`.
fn listed(url: &str, auth: &str) -> String {
    connectors(&[connector_with("c", url, auth, "crl: { file: lists.pem }")])
}

/// What a resource domain is told that is shown as `identity`.
async fn heads_at_origin(stage: &Stage, identity: &Identity, protocols: Protocols) -> usize {
    let setup = Setup {
        protocols,
        ..Setup::new(identity)
    };
    let answer = crate::support::origin::whole(|_| crate::support::answer::Answer::text("ok"));
    let origin = Origin::start(setup, answer).await;
    let own = listed(&origin.url("/"), &basic("svc", "pass-word"));
    let gateway = Running::start(stage, &own).await;

    let answered = gateway.get("/c/x").await;

    let heads = origin.tally().heads;
    match heads {
        0 => {
            assert_eq!(answered.status, 502, "{}", answered.text());
            assert_eq!(answered.json()["type"], "urn:attache:problem:origin-tls");
            // RFC 9209 §2.3.
            let told = answered.field("proxy-status").unwrap();
            assert!(told.contains("error=tls_certificate_error"), "{told}");
        }
        _ => assert_eq!(answered.status, 200, "{}", answered.text()),
    }
    gateway.drain().await;
    heads
}

/// What a token endpoint is told that is shown as `identity`.
async fn heads_at_authority(stage: &Stage, identity: &Identity) -> usize {
    let authority = Authority::plain(identity).await;
    let origin = Origin::plain(&numbered(&stage.ca, UNLISTED)).await;
    let own = listed(&origin.url("/"), &with_secret(&authority.token_url()));
    let gateway = Running::start(stage, &own).await;

    let answered = gateway.get("/c/x").await;

    let heads = authority.origin().tally().heads;
    let expected = if heads == 0 { 503 } else { 200 };
    assert_eq!(answered.status, expected, "{}", answered.text());
    gateway.drain().await;
    heads
}

#[tokio::test]
async fn a_server_whose_certificate_was_revoked_is_told_nothing() {
    // RFC 5280 §6.3; protocol.md, row 45 and certificate 10.
    let stage = Stage::new();
    stage.write("lists.pem", &stage.ca.revokes(&[LISTED]));
    let (revoked, good) = (numbered(&stage.ca, LISTED), numbered(&stage.ca, UNLISTED));

    for protocols in [Protocols::Http1, Protocols::Http2] {
        assert_eq!(heads_at_origin(&stage, &revoked, protocols).await, 0);
        assert_eq!(heads_at_origin(&stage, &good, protocols).await, 1);
    }
    assert_eq!(heads_at_authority(&stage, &revoked).await, 0);
    assert_eq!(heads_at_authority(&stage, &good).await, 1);
}

#[tokio::test]
async fn a_server_below_a_revoked_ca_is_told_nothing() {
    // RFC 5280 §6.3: every certificate of the path.
    let stage = Stage::new();
    let (below, beside) = (
        stage.ca.below("below", LISTED, None),
        stage.ca.below("beside", UNLISTED, None),
    );
    stage.write("lists.pem", &stage.ca.revokes(&[LISTED]));
    let revoked = numbered(&below, 1).behind(&below);
    let good = numbered(&beside, 1).behind(&beside);

    assert_eq!(heads_at_origin(&stage, &revoked, Protocols::Both).await, 0);
    assert_eq!(heads_at_authority(&stage, &revoked).await, 0);
    assert_eq!(heads_at_origin(&stage, &good, Protocols::Both).await, 1);
}

#[tokio::test]
async fn an_overdue_list_refuses_all_of_its_issuer_and_of_nobody_else() {
    // RFC 5280 §5.1.2.5, 6.3.3: whether a certificate was revoked since is not known.
    let stage = Stage::new();
    let other = Ca::new("other");
    stage.write("other.pem", &other.pem());
    let good = numbered(&stage.ca, UNLISTED);
    stage.write("lists.pem", &stage.ca.revoked_once(&[]));
    assert_eq!(heads_at_origin(&stage, &good, Protocols::Both).await, 0);
    assert_eq!(heads_at_authority(&stage, &good).await, 0);

    // A newer list in the same file takes its place, wherever it stands.
    let (old, new) = (stage.ca.revoked_once(&[]), stage.ca.revokes(&[LISTED]));
    for both in [format!("{old}{new}"), format!("{new}{old}")] {
        stage.write("lists.pem", &both);
        assert_eq!(heads_at_origin(&stage, &good, Protocols::Both).await, 1);
        let revoked = numbered(&stage.ca, LISTED);
        assert_eq!(heads_at_origin(&stage, &revoked, Protocols::Both).await, 0);
    }

    // Another issuer's list says nothing of this one's certificates.
    for others in [other.revokes(&[UNLISTED]), other.revoked_once(&[])] {
        stage.write("lists.pem", &others);
        assert_eq!(heads_at_origin(&stage, &good, Protocols::Both).await, 1);
    }
}

#[tokio::test]
async fn a_list_that_somebody_else_wrote_in_the_issuers_name_is_not_believed() {
    let stage = Stage::new();
    let impostor = Ca::new("stage");
    stage.write("lists.pem", &impostor.revokes(&[]));

    let good = numbered(&stage.ca, UNLISTED);

    assert_eq!(heads_at_origin(&stage, &good, Protocols::Both).await, 0);
}

#[tokio::test]
async fn a_list_that_is_replaced_ends_the_connections_made_under_the_old_one() {
    let stage = Stage::new();
    stage.write("lists.pem", &stage.ca.revokes(&[]));
    let origin = Origin::plain(&numbered(&stage.ca, LISTED)).await;
    let own = listed(&origin.url("/"), &basic("svc", "pass-word"));
    let gateway = Running::start(&stage, &own).await;
    assert_eq!(gateway.get("/c/x").await.status, 200);
    assert_eq!(gateway.get("/c/x").await.status, 200);
    assert_eq!(origin.tally().accepted, 1, "they share a connection");

    stage.write("lists.pem", &stage.ca.revokes(&[LISTED]));
    gateway.reload(stage.config(&own)).unwrap();

    origin.until(|tally| tally.closed == 1).await;
    assert_eq!(gateway.get("/c/x").await.status, 502);
    assert_eq!(origin.tally().heads, 2);
    gateway.drain().await;
}

#[tokio::test]
async fn ones_own_list_holds_for_connections_that_another_connector_made() {
    // Pools are shared by those alone that believe the same.
    let stage = Stage::new();
    let origin = Origin::plain(&numbered(&stage.ca, LISTED)).await;
    stage.write("lists.pem", &stage.ca.revokes(&[LISTED]));
    stage.write("others.pem", &stage.ca.revokes(&[]));
    let one = |id: &str, more: &str| connector_with(id, &origin.url("/"), "none", more);
    let own = connectors(&[
        one("free", ""),
        one("other", "crl: { file: others.pem }"),
        one("c", "crl: { file: lists.pem }"),
    ]);
    let gateway = Running::start(&stage, &own).await;

    assert_eq!(gateway.get("/free/x").await.status, 200);
    assert_eq!(gateway.get("/other/x").await.status, 200);
    assert_eq!(gateway.get("/c/x").await.status, 502);

    assert_eq!(origin.tally().heads, 2);
    assert_eq!(origin.tally().handshaken, 2, "one for each that believes");
    gateway.drain().await;
}

/// A gateway whose listeners ask for certificates of `clients` and look them up in `clients.crl`.
async fn guarded(stage: &Stage, clients: &Ca) -> (Running, Origin) {
    stage.write("clients.pem", &clients.pem());
    stage.server().write(stage.directory(), "listener");
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(stage, &asking(&origin)).await;
    (gateway, origin)
}

fn asking(origin: &Origin) -> String {
    let tls = "{ certificate: { file: listener.pem }, private_key: { file: listener.key }, \
               client_ca: { file: clients.pem }, client_crl: { file: clients.crl } }";
    let url = origin.url("/");
    format!(
        "tls: {tls}\nadmin: {{ listen: 127.0.0.1:0, tls: {tls} }}\n\
         metrics: {{ listen: 127.0.0.1:0 }}\n\
         connectors:\n  - {{ id: c, name: c, resource_domain: \"{url}\", auth: none }}\n"
    )
}

/// Whether `address` answers a client that shows `identity`.
async fn is_answered(
    address: SocketAddr,
    (stage, identity): (&Stage, &Identity),
    protocols: Protocols,
) -> bool {
    let config = client(&stage.ca, Some(identity), protocols);
    let mut wire = Wire::tls(address, config).await;
    // In TLS 1.3 a client is done before its certificate is looked at (RFC 8446 §2).
    let _sent = wire
        .try_write("GET /c/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    wire.rest().await.starts_with(b"HTTP/1.1 ")
}

/// Waits until so many handshakes of each listener failed for that reason.
async fn until_refused(gateway: &Running, reason: &str, count: f64) {
    let metrics = gateway.metrics().unwrap();
    for listener in ["flows", "admin"] {
        let labels = [("listener", listener), ("reason", reason)];
        let refused = async || sample(metrics, REFUSED, &labels).await == count;
        until("a handshake to be counted", refused).await;
    }
}

#[tokio::test]
async fn a_client_whose_certificate_was_revoked_gets_into_neither_plane() {
    let stage = Stage::new();
    let clients = Ca::new("clients");
    stage.write("clients.crl", &clients.revokes(&[LISTED]));
    let (gateway, origin) = guarded(&stage, &clients).await;
    let shown = |number| clients.issue(&Leaf::client("flow").numbered(number));
    let (revoked, good) = (shown(LISTED), shown(UNLISTED));

    for address in [gateway.flows(), gateway.admin()] {
        assert!(!is_answered(address, (&stage, &revoked), Protocols::Http1).await);
        assert!(is_answered(address, (&stage, &good), Protocols::Http1).await);
    }
    let heads = origin.tally().heads;
    assert_eq!(heads, 1, "only the good one came through");
    until_refused(&gateway, "certificate", 1.0).await;

    // Overdue: nobody of that CA.
    stage.write("clients.crl", &clients.revoked_once(&[]));
    gateway.reload(stage.config(&asking(&origin))).unwrap();
    for address in [gateway.flows(), gateway.admin()] {
        assert!(!is_answered(address, (&stage, &good), Protocols::Http1).await);
    }
    assert_eq!(origin.tally().heads, heads);
    until_refused(&gateway, "certificate", 2.0).await;
    gateway.drain().await;
}

#[tokio::test]
async fn who_speaks_no_tls_was_refused_and_who_says_nothing_only_went_away() {
    let stage = Stage::new();
    let clients = Ca::new("clients");
    stage.write("clients.crl", &clients.revokes(&[]));
    let (gateway, _origin) = guarded(&stage, &clients).await;
    for address in [gateway.flows(), gateway.admin()] {
        drop(TcpStream::connect(address).await.unwrap());
        // The beginning of a record, and no more.
        Wire::plain(address).await.write("\x16\x03\x01").await;
        let mut plain = Wire::plain(address).await;
        plain.write("GET / HTTP/1.1\r\n\r\n").await;
        plain.rest().await;
    }

    until_refused(&gateway, "protocol", 1.0).await;

    let metrics = gateway.metrics().unwrap();
    assert_eq!(sample(metrics, REFUSED, &[]).await, 2.0);
    gateway.drain().await;
}

#[tokio::test]
async fn the_log_says_whose_certificate_was_refused_and_why() {
    let stage = Stage::new();
    let clients = Ca::new("clients");
    stage.write("clients.pem", &clients.pem());
    stage.write("clients.crl", &clients.revokes(&[LISTED]));
    stage.server().write(stage.directory(), "listener");
    let origin = Origin::plain(&stage.server()).await;
    let child = process(&stage.config_file(&asking(&origin)));
    let revoked = clients.issue(&Leaf::client("flow").numbered(LISTED));
    for (whom, listener) in [
        ("flows are served", "listener=flows"),
        ("served to administrators", "listener=admin"),
    ] {
        let line = child.stderr.line(whom, |line| line.contains(whom)).await;
        let address = line.rsplit_once("address=").unwrap().1.parse().unwrap();

        // Both within a second: each listener tells for itself.
        assert!(!is_answered(address, (&stage, &revoked), Protocols::Http1).await);

        let refused = |line: &str| line.contains("handshake failed") && line.contains(listener);
        let told = child.stderr.line("the refusal", refused).await;
        for part in ["WARN", "reason=certificate", "peer=127.0.0.1:", "Revoked"] {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[tokio::test]
async fn a_flow_that_comes_again_is_looked_up_again() {
    // A resumed session has no certificate to look at (RFC 8446 §4.6.1).
    let stage = Stage::new();
    let clients = Ca::new("clients");
    stage.write("clients.crl", &clients.revokes(&[]));
    let (gateway, _origin) = guarded(&stage, &clients).await;
    let identity = clients.issue(&Leaf::client("flow").numbered(LISTED));
    let config = client(&stage.ca, Some(&identity), Protocols::Http1);
    for _ in 0..3 {
        let mut flow = Client::tls(gateway.flows(), std::sync::Arc::clone(&config)).await;
        assert_eq!(flow.get("/c/x").await.status, 200);
    }

    let kind = crate::support::tls::handshake(gateway.flows(), &config).await;

    assert_eq!(kind, rustls::HandshakeKind::Full);
    gateway.drain().await;
}
