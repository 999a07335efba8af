//! A token endpoint that fails, lies or is somebody else: the flow gets 503, the origin nothing.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::answer::Answer;
use crate::support::authority::{Authority, bearer, rejection};
use crate::support::client::Answered;
use crate::support::connector::{connector, connectors, oauth2, pair, with_secret};
use crate::support::gateway::Running;
use crate::support::origin::{Origin, Setup, Tally};
use crate::support::pki::Leaf;
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;
use crate::support::within;

/// A token answer that is taken, if nothing else is wrong with it.
const GOOD: &str = r#"{"access_token":"token-1","token_type":"Bearer","expires_in":60}"#;

/// Claims that the gateway said so itself, and that it is not the flow that lacks a credential.
fn claim_no_credential(what: &str, answered: &Answered) {
    let problem = answered.json();
    assert_eq!(answered.status, 503, "{what}: {problem}");
    assert_eq!(
        problem["type"], "urn:attache:problem:no-credential",
        "{what}"
    );
    assert_eq!(
        answered.field("content-type"),
        Some("application/problem+json")
    );
    assert!(answered.field("retry-after").is_some(), "{what}");
    assert_eq!(answered.field("www-authenticate"), None, "{what}");
    // RFC 9209 §2.3.
    let proxy_status = answered.field("proxy-status").unwrap();
    assert!(
        proxy_status.contains("error=proxy_internal_error"),
        "{proxy_status}"
    );
}

fn token(members: serde_json::Value) -> Answer {
    Answer::json(&members)
}

/// Token answers that must not be believed, by name.
fn unbelievable() -> Vec<(&'static str, Answer)> {
    vec![
        ("no content", Answer::status(204)),
        ("an empty answer", Answer::status(200)),
        ("a page", Answer::text("<html>Sign in</html>")),
        (
            "a form",
            Answer::text("access_token=token-1&token_type=bearer"),
        ),
        ("half an object", Answer::text(&GOOD[..40])),
        ("two objects", Answer::text(&format!("{GOOD}{GOOD}"))),
        ("a list", Answer::text(&format!("[{GOOD}]"))),
        ("no token", token(json!({ "token_type": "Bearer" }))),
        ("an empty token", token(json!({ "access_token": "" }))),
        ("null for a token", token(json!({ "access_token": null }))),
        ("a number for a token", token(json!({ "access_token": 7 }))),
        (
            "a token twice",
            Answer::text(r#"{"access_token":"a","access_token":"b"}"#),
        ),
        (
            "a life in words",
            token(json!({ "access_token": "t", "expires_in": "soon" })),
        ),
        // RFC 6750 §2.1; protocol.md 48 and row 59.
        (
            "a token of two lines",
            token(json!({ "access_token": "a\r\nX-Evil: 1" })),
        ),
        (
            "a token with NUL",
            token(json!({ "access_token": "a\u{0}b" })),
        ),
        (
            "a token with a space",
            token(json!({ "access_token": "a b" })),
        ),
        // RFC 6749 §7.1; protocol.md 42.
        (
            "DPoP",
            token(json!({ "access_token": "t", "token_type": "DPoP" })),
        ),
        (
            "mac",
            token(json!({ "access_token": "t", "token_type": "mac" })),
        ),
        (
            "N_A",
            token(json!({ "access_token": "t", "token_type": "N_A" })),
        ),
    ]
}

/// Answers that would cost more than they are worth (protocol.md rows 47 to 49).
fn bombs() -> Vec<(&'static str, Answer)> {
    let long = "a".repeat(64 * 1024);
    let space = " ".repeat(64 * 1024);
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let encoded = Answer::text(GOOD).field("content-encoding", "gzip");
    vec![
        ("64 KiB of token", token(json!({ "access_token": long }))),
        ("64 KiB of space", Answer::text(&format!("{GOOD}{space}"))),
        ("deep nesting", Answer::text(&deep)),
        (
            "a deep member",
            Answer::text(&format!(r#"{{"access_token":"t","x":{deep}}}"#)),
        ),
        ("a content encoding", encoded),
    ]
}

/// Refusals, by name; none may look like the flow's own fault.
fn refusals() -> Vec<(&'static str, Answer)> {
    vec![
        ("500", Answer::status(500)),
        ("500 with a token", bearer("token-1", 60).with_status(500)),
        ("400 with a token", bearer("token-1", 60).with_status(400)),
        (
            "503",
            Answer::status(503).field("retry-after", "Thu, 99 Foo 2026"),
        ),
        ("429", rejection(429, "slow_down")),
        (
            "401",
            rejection(401, "invalid_client").field("www-authenticate", "Basic realm=\"as\""),
        ),
        ("403", rejection(403, "unauthorized_client")),
        ("400", rejection(400, "invalid_scope")),
        (
            "a refusal that is a page",
            Answer::text("<html>").with_status(404),
        ),
        (
            "a refusal with a bomb",
            Answer::text(&"[".repeat(100_000)).with_status(400),
        ),
    ]
}

#[tokio::test]
async fn what_is_no_token_answer_is_no_credential_and_reaches_no_origin() {
    // protocol.md, lines 42 and 48, rows 48 and 49.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    let answers = unbelievable().into_iter().chain(bombs()).chain(refusals());
    for (index, (what, answer)) in answers.enumerate() {
        let answer = std::sync::Mutex::new(Some(answer));
        room.authority
            .answer_with(move |_, _| answer.lock().unwrap().take().unwrap());
        // Another connector's first request: it remembers no failure.
        let own = room.own();
        let edited = own.replace("client_id: client", &format!("client_id: client-{index}"));
        assert_ne!(edited, own);
        room.gateway.reload(stage.config(&edited)).unwrap();

        let answered = room.get().await;

        claim_no_credential(what, &answered);
        assert_eq!(room.origin.tally().accepted, 0, "{what}");
        assert_eq!(room.authority.count(), index + 1, "{what}");
    }
    room.authority.answer_with(|_, _| bearer("token", 60));
    assert_eq!(
        room.recovered_credential().await,
        "Bearer token",
        "no failure is for ever"
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_answer_just_below_the_limit_is_taken() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    let frame = json!({ "access_token": "", "expires_in": 60 }).to_string();
    let long = "a".repeat(4 * 1024);
    let padding = " ".repeat(64 * 1024 - 1 - frame.len() - long.len());
    let body = frame.replace("\"\"", &format!("\"{long}\"")) + &padding;
    assert_eq!(body.len(), 64 * 1024 - 1);
    room.authority.answer_with(move |_, _| Answer::text(&body));

    assert_eq!(room.credential().await, format!("Bearer {long}"));
    room.gateway.drain().await;
}

#[tokio::test]
async fn no_redirect_of_a_token_endpoint_is_followed() {
    // protocol.md 50 and row 57.
    let stage = Stage::new();
    let decoy = Authority::plain(&stage.server()).await;
    let room = TokenRoom::new(&stage, with_secret).await;
    for status in [301, 302, 303, 307, 308] {
        let location = decoy.token_url();
        room.authority.answer_with(move |_, _| {
            bearer("token-of-a-redirect", 60)
                .with_status(status)
                .field("location", &location)
        });

        let answered = room.get().await;

        claim_no_credential(&status.to_string(), &answered);
        assert_eq!(answered.field("location"), None);
    }
    assert_eq!(decoy.origin().tally().accepted, 0);
    assert_eq!(room.origin.tally().accepted, 0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    // protocol.md row 47.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let endpoint = RawOrigin::start(Setup::new(&stage.server())).await;
    let auth = with_secret(&endpoint.url("/token"));
    let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &own).await;
    let flow = tokio::spawn({
        let address = gateway.flows();
        async move { crate::support::gateway::get(address, "/c/x").await }
    });

    let mut wire = endpoint.accept().await;
    wire.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":\"")
        .await;
    let chunk = [b'a'; 16 * 1024];
    let mut written = 0;
    // The writer sees the other side go. What was written until then stood in the buffers of both
    // sides' sockets but for 64 KiB: nobody reads a gigabyte, nor keeps it.
    while written < 1 << 30 && wire.try_write(chunk).await.is_ok() {
        written += chunk.len();
    }

    assert!(written < 1 << 24, "{written} bytes were read");
    claim_no_credential("an endless answer", &flow.await.unwrap());
    assert_eq!(origin.tally().accepted, 0);
    gateway.drain().await;
}

/// One flow to a connector whose token endpoint is `authority`: 503, and the endpoint saw no byte
/// of a request.
async fn claim_untold(what: &str, stage: &Stage, authority: &Authority, settings: &str) -> Tally {
    let origin = Origin::plain(&stage.server()).await;
    let auth = with_secret(&authority.token_url());
    let all = [
        connector("c", &origin.url("/"), &auth),
        connector("plain", &origin.url("/"), "none"),
    ];
    let gateway = Running::start(stage, &format!("{settings}\n{}", connectors(&all))).await;

    let answered = gateway.get("/c/x").await;
    let beside = gateway.get("/plain/x").await;

    claim_no_credential(what, &answered);
    assert_eq!(
        beside.status, 200,
        "{what}: another connector is none the worse"
    );
    assert_eq!(origin.tally().heads, 1, "{what}");
    gateway.drain().await;
    let tally = authority.origin().tally();
    assert_eq!(tally.heads, 0, "{what}");
    tally
}

#[tokio::test]
async fn a_token_endpoint_with_a_bad_certificate_is_told_nothing() {
    // RFC 6750 §5.3; protocol.md 50, rows 44 and 45, certificates 1 to 7, 11 and 12.
    let stage = Stage::new();
    for (what, identity) in stage.ca.bad_servers() {
        let authority = Authority::plain(&identity).await;

        let tally = claim_untold(what, &stage, &authority, "").await;

        assert!(tally.accepted > 0, "{what}");
        assert_eq!(tally.handshaken, 0, "{what}");
    }
}

#[tokio::test]
async fn a_token_endpoint_outside_the_allowed_addresses_is_not_connected_to() {
    let stage = Stage::new();
    let authority = Authority::plain(&stage.server()).await;
    let trust = "trust: { ca_bundles: [{ file: ca.pem }], \
        allow_addresses: [127.0.0.0/8, \"::1\"], token_endpoint_allow_addresses: [10.0.0.0/8] }";

    let tally = claim_untold("an address", &stage, &authority, trust).await;

    assert_eq!(tally.accepted, 0);
}

#[tokio::test]
async fn an_answer_before_the_handshake_is_no_answer() {
    // protocol.md, row 43 and certificate 13 (CVE-2026-1642).
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let endpoint = RawOrigin::start(Setup::new(&stage.server())).await;
    let auth = with_secret(&endpoint.url("/token"));
    let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &own).await;
    let address = gateway.flows();
    let flow = tokio::spawn(async move { crate::support::gateway::get(address, "/c/x").await });

    let mut tcp = endpoint.accept_tcp().await;
    let said = b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"access_token\":\"token-1\"}";
    tcp.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    // A reset is an end as good as any.
    let _ = within("the gateway to go", tcp.read_to_end(&mut heard)).await;

    claim_no_credential("plaintext", &flow.await.unwrap());
    assert_eq!(heard[0], 22, "only a ClientHello was sent (RFC 8446 §5.1)");
    let heard = String::from_utf8_lossy(&heard);
    assert!(!heard.contains("client_credentials") && !heard.contains("Basic"));
    assert_eq!(origin.tally().accepted, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_token_endpoint_that_hangs_up_amid_its_answer_gave_no_token() {
    // RFC 9112 §8 (an incomplete message); protocol.md, line 28 and certificate 14.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let endpoint = RawOrigin::start(Setup::new(&stage.server())).await;
    let auth = with_secret(&endpoint.url("/token"));
    let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &own).await;
    let body = r#"{"access_token":"token-1"}"#;
    let length = body.len();
    for said in [
        String::new(),
        "HTTP/1.1 200".to_owned(),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            length + 1
        ),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n"),
        // Without a length the end of the stream is the end, and a cut is not told from it
        // unless TLS says so (RFC 8446 §6.1).
        format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
        "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
    ] {
        let address = gateway.flows();
        let flow = tokio::spawn(async move { crate::support::gateway::get(address, "/c/x").await });
        let mut wire = endpoint.accept().await;
        wire.write(&said).await;
        // No close_notify.
        drop(wire);

        claim_no_credential(&said, &flow.await.unwrap());
    }
    assert_eq!(origin.tally().accepted, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_token_endpoint_that_wants_another_certificate_gives_no_token() {
    let stage = Stage::new();
    let authority = Authority::start(Setup {
        ask: crate::support::tls::Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    })
    .await;
    let origin = Origin::plain(&stage.server()).await;
    let pair = pair(&stage, "stranger", &Leaf::client("stranger").self_signed());
    let rest =
        format!("client_id: c, client_authentication: tls_client_auth, client_certificate: {pair}");
    let auth = oauth2(&authority.token_url(), &rest);
    let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &own).await;

    let answered = gateway.get("/c/x").await;

    claim_no_credential("another certificate", &answered);
    assert_eq!(authority.count(), 0);
    assert_eq!(origin.tally().accepted, 0);
    gateway.drain().await;
}
