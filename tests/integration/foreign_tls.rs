//! Servers with whom no handshake that is good enough can come about: they are told nothing.
//!
//! protocol.md, its last section. Those whose certificate is bad are in `bad_origins.rs` and
//! `token_endpoint.rs`, those whose certificate was revoked in `revocation.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::Answered;
use crate::support::connector::{basic, connector, connectors, with_secret};
use crate::support::gateway::{Running, get};
use crate::support::openssl::OpenSsl;
use crate::support::origin::{Origin, Setup};
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::within;

/// What a server is to the gateway.
#[derive(Clone, Copy, Debug)]
enum Place {
    ResourceDomain,
    TokenEndpoint,
}

const PLACES: [Place; 2] = [Place::ResourceDomain, Place::TokenEndpoint];

/// A gateway whose connector `c` has the server at `url` in this place, and `good` in the other.
async fn gateway_to(stage: &Stage, (place, url): (Place, &str), good: &Origin) -> Running {
    let one = match place {
        Place::ResourceDomain => connector("c", url, &basic("svc", "pass-word")),
        Place::TokenEndpoint => connector("c", &good.url("/"), &with_secret(url)),
    };
    Running::start(stage, &connectors(&[one])).await
}

fn claim_refused(place: Place, answered: &Answered, error: &str) {
    let problem = answered.json();
    let (status, reason, error) = match place {
        Place::ResourceDomain => (502, "origin-tls", error),
        Place::TokenEndpoint => (503, "no-credential", "proxy_internal_error"),
    };
    assert_eq!(answered.status, status, "{place:?}: {problem}");
    assert_eq!(problem["type"], format!("urn:attache:problem:{reason}"));
    // RFC 9209 §2.3.
    let told = answered.field("proxy-status").unwrap();
    assert!(
        told.contains(&format!("error={error}")),
        "{place:?}: {told}"
    );
}

fn claim_silent(heard: &str) {
    let basic = STANDARD.encode("svc:pass-word");
    let client = STANDARD.encode("client:client-secret");
    for secret in ["pass-word", "client-secret", "grant_type", &basic, &client] {
        assert!(!heard.contains(secret), "{heard}");
    }
}

#[tokio::test]
async fn who_speaks_no_newer_tls_or_no_suite_of_ours_is_told_nothing() {
    // RFC 8996: TLS 1.1 is not to be used. Suites without forward secrecy or authenticated
    // encryption are none of ours (RFC 9325 §4.2); protocol.md, certificates 8 and 9.
    let stage = Stage::new();
    let good = Origin::plain(&stage.server()).await;
    let rsa = stage
        .ca
        .issue(&crate::support::pki::Leaf::server(&["localhost"]).rsa());
    for arguments in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
    ] {
        for place in PLACES {
            let server = OpenSsl::start(&stage, &rsa, arguments).await;
            let url = server.url("/x");
            let gateway = gateway_to(&stage, (place, &url), &good).await;

            let answered = gateway.get("/c/x").await;

            claim_refused(place, &answered, "tls_alert_received");
            server.gave_up().await;
            claim_silent(&server.heard());
            gateway.drain().await;
        }
    }
    assert_eq!(good.tally().heads, 0);
}

#[tokio::test]
async fn the_same_server_is_believed_where_it_speaks_as_we_do() {
    // Else the refusals above would show nothing.
    let stage = Stage::new();
    let rsa = stage
        .ca
        .issue(&crate::support::pki::Leaf::server(&["localhost"]).rsa());
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::start(&stage, &rsa, &[version, "-www"]).await;
        let auth = basic("svc", "pass-word");
        let own = connectors(&[connector("c", &server.url("/"), &auth)]);
        let gateway = Running::start(&stage, &own).await;

        assert_eq!(gateway.get("/c/x").await.status, 200, "{version}");
        gateway.drain().await;
    }
}

/// A ServerHello (RFC 5246 §7.4.1.3) in one record, of this version and cipher suite.
fn server_hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(suite);
    // No compression, no extensions.
    body.extend([0, 0, 0]);
    let mut message = vec![2, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend(body);
    let length = u8::try_from(message.len()).unwrap();
    let mut record = vec![22, version[0], version[1], 0, length];
    record.extend(message);
    record
}

#[tokio::test]
async fn who_answers_with_an_older_version_or_a_suite_nobody_offered_is_told_nothing() {
    // RFC 8446 §4.1.3; protocol.md, certificates 8 and 9.
    let stage = Stage::new();
    let good = Origin::plain(&stage.server()).await;
    for said in [
        // SSL 3.0, TLS 1.0, TLS 1.1, with a suite that we offer.
        server_hello([3, 0], [0xc0, 0x2f]),
        server_hello([3, 1], [0xc0, 0x2f]),
        server_hello([3, 2], [0xc0, 0x2f]),
        // TLS 1.2 without encryption, with RC4, with a suite that does not exist.
        server_hello([3, 3], [0, 0]),
        server_hello([3, 3], [0, 5]),
        server_hello([3, 3], [0xfa, 0xce]),
    ] {
        for place in PLACES {
            let server = RawOrigin::start(Setup::new(&stage.server())).await;
            let gateway = gateway_to(&stage, (place, &server.url("/x")), &good).await;
            let address = gateway.flows();
            let flow = tokio::spawn(async move { get(address, "/c/x").await });

            let mut tcp = server.accept_tcp().await;
            tcp.write_all(&said).await.unwrap();
            let mut heard = Vec::new();
            // A reset is an end as good as any.
            let _ = within("the gateway to go", tcp.read_to_end(&mut heard)).await;

            claim_refused(place, &flow.await.unwrap(), "tls_protocol_error");
            claim_silent(&String::from_utf8_lossy(&heard));
            gateway.drain().await;
        }
    }
    assert_eq!(good.tally().accepted, 0);
}
