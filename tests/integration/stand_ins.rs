//! The stand-ins keep their own promises; without that, a test of the gateway proves nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use serde_json::json;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::exchange::Progress;
use crate::support::origin::{self, Origin, Setup};
use crate::support::pki::{Ca, Identity, Leaf};
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::tls::{self, Ask, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

/// Whether a client that trusts `ca` completes a handshake with a server called `identity`.
async fn is_accepted(ca: &Ca, identity: &Identity) -> bool {
    let origin = Origin::plain(identity).await;
    let tcp = tokio::net::TcpStream::connect(origin.address())
        .await
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(tls::client(ca, None, Protocols::Http1));
    let name = "localhost".try_into().unwrap();
    within("a handshake", connector.connect(name, tcp))
        .await
        .is_ok()
}

#[tokio::test]
async fn bad_server_certificates_do_not_verify() {
    let ca = Ca::new("trusted");
    let local = Leaf::server(&["localhost"]);

    for (what, identity) in [
        ("expired", ca.issue(&local.clone().expired())),
        ("not yet valid", ca.issue(&local.clone().not_yet_valid())),
        (
            "of another name",
            ca.issue(&Leaf::server(&["other.example"])),
        ),
        ("self-signed", local.self_signed()),
        ("of an unknown CA", Ca::new("unknown").issue(&local)),
        ("for clients", ca.client("localhost")),
    ] {
        assert!(!is_accepted(&ca, &identity).await, "{what}");
    }
}

#[tokio::test]
async fn good_server_certificates_verify_whatever_their_key() {
    let ca = Ca::new("trusted");

    assert!(is_accepted(&ca, &ca.server(&[])).await);
    assert!(is_accepted(&ca, &ca.issue(&Leaf::server(&["localhost"]).rsa())).await);
}

#[tokio::test]
async fn an_origin_sees_the_client_certificate_that_was_shown() {
    let ca = Ca::new("trusted");
    let setup = Setup {
        ask: Ask::Any,
        ..Setup::new(&ca.server(&[]))
    };
    let origin = Origin::start(setup, origin::whole(|_| Answer::text("ok"))).await;
    let shown = Leaf::client("self-signed").self_signed();

    for identity in [Some(&shown), None] {
        let config = tls::client(&ca, identity, Protocols::Both);
        Client::tls(origin.address(), config).await.get("/").await;
    }

    let requests = origin.requests();
    assert_eq!(requests[0].client_certificate, Some(shown.certificate()));
    assert_eq!(requests[1].client_certificate, None);
}

#[tokio::test]
async fn an_origin_that_wants_its_own_ca_takes_no_other_certificate() {
    let ca = Ca::new("trusted");
    let setup = Setup {
        ask: Ask::SignedBy(ca.der()),
        ..Setup::new(&ca.server(&[]))
    };
    let origin = Origin::start(setup, origin::whole(|_| Answer::text("ok"))).await;

    let stranger = Leaf::client("stranger").self_signed();
    for identity in [Some(&stranger), None] {
        let config = tls::client(&ca, identity, Protocols::Http1);
        let mut wire = Wire::tls(origin.address(), config).await;
        let _ = wire.try_write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(wire.is_closed().await);
    }
    let ours = ca.client("ours");
    let config = tls::client(&ca, Some(&ours), Protocols::Http1);
    Client::tls(origin.address(), config).await.get("/").await;

    assert_eq!(origin.tally().handshaken, 1);
    assert_eq!(
        origin.only_request().client_certificate,
        Some(ours.certificate())
    );
}

#[tokio::test]
async fn an_origin_records_what_stood_on_the_wire() {
    let ca = Ca::new("trusted");
    let origin = Origin::plain(&ca.server(&[])).await;
    let config = tls::client(&ca, None, Protocols::Http1);
    let mut wire = Wire::tls(origin.address(), config).await;

    wire.write(
        "POST /a%2Fb'(c)?x&y=%27 HTTP/1.1\r\nhost: H\r\nX-A: 1\r\nOther: o\r\nx-a:  2 \r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nSum: 9\r\n\r\n\
         GET /second HTTP/1.1\r\nHost: H\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.text(), "ok");
    assert_eq!(wire.answer().await.text(), "ok");

    let seen = origin.wire();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(seen[0].start, "POST /a%2Fb'(c)?x&y=%27 HTTP/1.1");
    assert_eq!(
        seen[0].fields,
        [
            pair("host", "H"),
            pair("X-A", "1"),
            pair("Other", "o"),
            pair("x-a", "2"),
            pair("Transfer-Encoding", "chunked"),
        ],
    );
    assert_eq!(seen[0].trailers, [pair("Sum", "9")]);
    assert_eq!(seen[1].target(), "/second");
    let recorded = origin.requests();
    assert_eq!(recorded[0].target, seen[0].target());
    assert_eq!(recorded[0].all("x-a"), ["1", "2"]);
    assert_eq!(recorded[0].text(), "hi");
    assert_eq!(recorded[0].trailers, [pair("sum", "9")]);
    assert_eq!(recorded[0].progress, Progress::Whole);
    assert_eq!(recorded[1].connection, 0);
    assert_eq!(origin.tally().accepted, 1);
}

#[tokio::test]
async fn bodies_stream_both_ways_under_the_test_s_hand() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let ca = Ca::new("trusted");
        // Echoes piece by piece, before the request is whole.
        let handler = origin::scripted(|mut exchange| async move {
            let (pen, answer) = Answer::streamed();
            tokio::spawn(async move {
                while let Some(piece) = exchange.piece().await {
                    pen.write(piece).await;
                }
                pen.trailers(&[("sum", "42")]).await;
            });
            answer
        });
        let setup = Setup {
            protocols,
            ..Setup::new(&ca.server(&[]))
        };
        let origin = Origin::start(setup, handler).await;
        let config = tls::client(&ca, None, protocols);
        let mut client = Client::tls(origin.address(), config).await;
        let (pen, body) = Outgoing::streamed();
        let fields = [("te", "trailers")];

        assert!(pen.write("one ").await);
        let response = client.send("POST", "/echo", &fields, body).await.unwrap();
        assert!(pen.write("two").await);
        drop(pen);
        let answered = within("the echo", Answered::read(response)).await.unwrap();

        assert_eq!(answered.text(), "one two");
        if protocols == Protocols::Http2 {
            assert_eq!(answered.trailers, [("sum".to_owned(), "42".to_owned())]);
        }
        assert_eq!(origin.tally().whole, 1);
    }
}

#[tokio::test]
async fn a_body_that_fails_is_seen_to_fail() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let ca = Ca::new("trusted");
        let handler = origin::scripted(|_| async {
            let (pen, answer) = Answer::streamed();
            tokio::spawn(async move {
                pen.write("half").await;
                pen.fail().await;
            });
            answer
        });
        let setup = Setup {
            protocols,
            ..Setup::new(&ca.server(&[]))
        };
        let origin = Origin::start(setup, handler).await;
        let config = tls::client(&ca, None, protocols);
        let mut client = Client::tls(origin.address(), config).await;

        let response = client.send("GET", "/", &[], Bytes::new()).await.unwrap();

        assert!(
            within("the failure", Answered::read(response))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_raw_origin_hands_over_bytes() {
    let ca = Ca::new("trusted");
    let setup = Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&ca.server(&[]))
    };
    let origin = RawOrigin::start(setup).await;
    let config = tls::client(&ca, None, Protocols::Http1);
    let address = origin.address();
    let client = tokio::spawn(async move { Client::tls(address, config).await.get("/").await });

    let mut wire = origin.accept().await;
    let request = wire
        .message(crate::support::message::Kind::Request)
        .await
        .unwrap();
    wire.write("HTTP/1.1 200 OK\r\nX: a\r\nx: b\r\nContent-Length: 2\r\n\r\nhi")
        .await;

    assert_eq!(request.start, "GET / HTTP/1.1");
    let answered = client.await.unwrap();
    assert_eq!(answered.version, Version::HTTP_11);
    assert_eq!(answered.all("x"), ["a", "b"]);
}

#[tokio::test]
async fn an_authorization_server_counts_and_holds_back_answers() {
    let ca = Arc::new(Ca::new("trusted"));
    let authority = Arc::new(Authority::plain(&ca.server(&[])).await);
    authority.release(1);
    let ask = |scope: &'static str| {
        let (address, config) = (
            authority.origin().address(),
            tls::client(&ca, None, Protocols::Http1),
        );
        tokio::spawn(async move {
            let mut client = Client::tls(address, config).await;
            let body = format!("grant_type=client_credentials&scope={scope}");
            client.call("POST", "/oauth/token", &[], body).await.json()
        })
    };

    let first = ask("one").await.unwrap();
    let second = ask("two+words");
    authority.until_requests(2).await;
    assert!(!second.is_finished());
    authority.release_all();
    let second = second.await.unwrap();

    assert_eq!(first["access_token"], json!("token-1"));
    assert_eq!(second["access_token"], json!("token-2"));
    let requests = authority.requests();
    assert_eq!(requests[1].parameter("scope"), Some("two words"));
    assert_eq!(authority.count(), 2);
}

#[test]
fn a_stage_s_configuration_is_a_good_one() {
    let stage = Stage::new();

    let config = stage.config(
        "workers: 3\nconnectors:\n  - { id: a, name: A, resource_domain: https://a.example, auth: none }\n",
    );

    let config = config.unwrap();
    assert_eq!(config.workers, 3);
    assert_eq!(config.trust.ca_bundles, [Arc::from(stage.ca.pem())]);
    assert_eq!(config.connectors.len(), 1);
}
