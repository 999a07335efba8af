//! Origins that are somebody else, or break off: no credential is sent, no half answer is whole.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::connector::{basic, connector, connectors};
use crate::support::gateway::{self, Running};
use crate::support::message::Kind;
use crate::support::origin::{Origin, Setup};
use crate::support::pki::{Ca, Leaf};
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

/// A gateway whose connector `c` sends Basic credentials to `resource_domain`.
async fn gateway_to(stage: &Stage, resource_domain: &str) -> Running {
    let auth = basic("svc", "pass-word");
    let own = connectors(&[connector("c", resource_domain, &auth)]);
    Running::start(stage, &own).await
}

fn claim_refused(what: &str, answered: &Answered, reason: &str, error: &str) {
    let problem = answered.json();
    assert_eq!(answered.status, 502, "{what}: {problem}");
    let kind = format!("urn:attache:problem:{reason}");
    assert_eq!(problem["type"], kind, "{what}");
    // RFC 9209 §2.3.
    let proxy_status = answered.field("proxy-status").unwrap();
    let error = format!("error={error}");
    assert!(proxy_status.contains(&error), "{what}: {proxy_status}");
}

#[tokio::test]
async fn an_origin_with_a_bad_certificate_receives_nothing() {
    // RFC 9525 §2 (a common name is no name), §6.3; protocol.md, line 50, rows 44 and 45, certificates
    // 1 to 7, 11 and 12.
    let stage = Stage::new();
    for (what, identity) in stage.ca.bad_servers() {
        let origin = Origin::plain(&identity).await;
        let gateway = gateway_to(&stage, &origin.url("/")).await;

        let answered = gateway.get("/c/x").await;

        claim_refused(what, &answered, "origin-tls", "tls_certificate_error");
        gateway.drain().await;
        let tally = origin.tally();
        assert!(tally.accepted > 0, "{what}");
        assert_eq!(tally.handshaken, 0, "{what}");
        assert_eq!(tally.heads, 0, "{what}");
    }
}

#[tokio::test]
async fn a_chain_that_nobody_can_try_out_is_refused_for_little() {
    // protocol.md, row 45 (RUSTSEC-2023-0053): paths are tried within bounds, and not all of a
    // hundred to the power of six.
    for (what, name) in [
        (
            "the root's name: every path is a chain of signatures",
            "stage",
        ),
        ("a name of nobody's: no path ends", "tangle"),
    ] {
        let stage = Stage::new();
        let origin = Origin::plain(&Ca::entangled(name, 100)).await;
        let auth = basic("svc", "pass-word");
        let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
        let child = gateway::process(&stage.config_file(&own));
        let line = child
            .stderr
            .line(what, |line| line.contains("flows are served"));
        let flows = line
            .await
            .rsplit_once("address=")
            .unwrap()
            .1
            .parse()
            .unwrap();
        let before = child.worked();

        let answered = gateway::get(flows, "/c/x").await;

        let worked = child.worked() - before;
        claim_refused(what, &answered, "origin-tls", "tls_certificate_error");
        assert_eq!(origin.tally().handshaken, 0, "{what}");
        assert!(worked < Duration::from_secs(2), "{what}: {worked:?}");
    }
}

#[tokio::test]
async fn an_address_that_the_certificate_does_not_name_receives_nothing() {
    // RFC 9525 §6.5.
    let stage = Stage::new();
    let identity = stage.ca.issue(&Leaf::server(&["localhost"]));
    let origin = Origin::plain(&identity).await;
    let gateway = gateway_to(&stage, &origin.url_as("127.0.0.1", "/")).await;

    let answered = gateway.get("/c/x").await;

    claim_refused("address", &answered, "origin-tls", "tls_certificate_error");
    assert_eq!(origin.tally().handshaken, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn another_connectors_trust_is_not_ones_own() {
    let stage = Stage::new();
    let other = Ca::new("other");
    stage.write("other.pem", &other.pem());
    let origin = Origin::plain(&other.server(&[])).await;
    let trusting = crate::support::connector::connector_with(
        "trusting",
        &origin.url("/"),
        &basic("svc", "pass-word"),
        "ca_bundle: { file: other.pem }",
    );
    let auth = basic("svc", "pass-word");
    let all = [trusting, connector("c", &origin.url("/"), &auth)];
    let gateway = Running::start(&stage, &connectors(&all)).await;

    // A pooled connection of the one must not serve the other, whatever its origin.
    let trusted = gateway.get("/trusting/x").await;
    let untrusted = gateway.get("/c/x").await;

    assert_eq!(trusted.status, 200, "{}", trusted.text());
    claim_refused(
        "untrusted",
        &untrusted,
        "origin-tls",
        "tls_certificate_error",
    );
    assert_eq!(origin.tally().heads, 1);
    gateway.drain().await;
}

fn send(gateway: &Running) -> JoinHandle<Answered> {
    let address = gateway.flows();
    tokio::spawn(async move { gateway::get(address, "/c/x").await })
}

#[tokio::test]
async fn whoever_speaks_before_the_handshake_is_told_nothing_and_not_heard() {
    // protocol.md, row 43 and certificate 13 (CVE-2026-1642).
    let stage = Stage::new();
    for said in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"[..],
        b"SSH-2.0-OpenSSH_9.9\r\n",
        // A fatal alert: handshake_failure (RFC 8446 §6), as where no cipher suite is common.
        &[21, 3, 3, 0, 2, 2, 40],
        // protocol_version, as from who knows nothing newer than TLS 1.1.
        &[21, 3, 2, 0, 2, 2, 70],
        b"",
    ] {
        let origin = RawOrigin::start(Setup::new(&stage.server())).await;
        let gateway = gateway_to(&stage, &origin.url("/")).await;
        let flow = send(&gateway);

        let mut tcp = origin.accept_tcp().await;
        tcp.write_all(said).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // A reset is an end as good as any.
        let _ = within("the gateway to go", tcp.read_to_end(&mut heard)).await;
        let answered = flow.await.unwrap();

        let what = String::from_utf8_lossy(said).into_owned();
        assert_eq!(answered.status, 502, "{what}: {}", answered.text());
        assert_eq!(answered.json()["type"], "urn:attache:problem:origin-tls");
        assert!(!answered.text().contains("evil"));
        // Only handshake and alert records (RFC 8446 §5.1).
        assert!(records(&heard).iter().all(|kind| [21, 22].contains(kind)));
        let heard = String::from_utf8_lossy(&heard);
        assert!(!heard.contains(&STANDARD.encode("svc:pass-word")));
        gateway.drain().await;
    }
}

/// The content types of the TLS records in `bytes`; change_cipher_spec (20) is a formality.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        if *kind != 20 {
            kinds.push(*kind);
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = rest.get(length..).unwrap_or_default();
    }
    kinds
}

/// Beginnings of an answer, none of which is whole; the last ends only with the stream, so that a
/// cut is not told from an end unless TLS says so (RFC 8446 §6.1).
const BROKEN_OFF: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "HTTP/1.1 200 OK\r\n\r\nhalf",
];

async fn http1_origin(stage: &Stage) -> RawOrigin {
    let setup = Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    };
    RawOrigin::start(setup).await
}

#[tokio::test]
async fn an_answer_that_is_cut_short_never_looks_whole_over_http1() {
    // RFC 9112 §8; protocol.md 28, row 9 and certificate 14.
    let stage = Stage::new();
    let origin = http1_origin(&stage).await;
    let gateway = gateway_to(&stage, &origin.url("/")).await;
    for said in BROKEN_OFF {
        let address = gateway.flows();
        let mut flow = Wire::plain(address).await;
        flow.write(format!("GET /c/x HTTP/1.1\r\nHost: {address}\r\n\r\n"))
            .await;
        let mut wire = origin.accept().await;
        wire.message(Kind::Request).await.unwrap();
        wire.write(said).await;
        // The stream ends without close_notify.
        drop(wire);

        let answered = flow.message(Kind::Response).await;

        assert!(answered.is_err(), "{said:?} came through as {answered:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn an_answer_that_is_cut_short_never_looks_whole_over_http2() {
    // RFC 9113 §8.1: RST_STREAM, never END_STREAM.
    let stage = Stage::new();
    let origin = http1_origin(&stage).await;
    let gateway = gateway_to(&stage, &origin.url("/")).await;
    for said in BROKEN_OFF {
        let mut client = Client::http2(gateway.flows()).await;
        let flow = tokio::spawn(async move {
            let body = Outgoing::Whole(None);
            let response = client.send("GET", "/c/x", &[], body).await.unwrap();
            within("an answer's end", Answered::read(response)).await
        });
        let mut wire = origin.accept().await;
        wire.message(Kind::Request).await.unwrap();
        wire.write(said).await;
        drop(wire);

        let answered = flow.await.unwrap();

        assert!(answered.is_err(), "{said:?} came through as {answered:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn an_answer_that_ends_with_its_stream_is_whole_where_tls_says_so() {
    // RFC 9112 §6.3, 8; RFC 8446 §6.1: close_notify.
    let stage = Stage::new();
    let origin = http1_origin(&stage).await;
    let gateway = gateway_to(&stage, &origin.url("/")).await;
    let flow = send(&gateway);

    let mut wire = origin.accept().await;
    wire.message(Kind::Request).await.unwrap();
    wire.write(BROKEN_OFF[2]).await;
    wire.half_close().await;

    assert_eq!(flow.await.unwrap().text(), "half");
    gateway.drain().await;
}
