//! `Expect: 100-continue` (RFC 9110 §10.1.1) and the interim answers of origins (§15.2).

use bytes::Bytes;

use crate::support::authority::{Authority, rejection};
use crate::support::body::Outgoing;
use crate::support::client::Client;
use crate::support::connector::with_secret;
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::{Origin, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

fn waiting(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    )
}

/// A gateway with one worker before an origin below HTTP.
async fn before_raw(protocols: Protocols, lines: &[&str]) -> (RawOrigin, Running) {
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols,
        ..Setup::new(&stage.server())
    })
    .await;
    let yaml = orders(&raw.url("/api"), lines) + "workers: 1\n";
    let gateway = Running::start(&stage, &yaml).await;
    (raw, gateway)
}

#[tokio::test]
async fn a_client_is_told_to_go_on_once_its_origin_can_be_written_to_and_not_before() {
    // RFC 9110 §10.1.1; protocol.md, lines 13 and 14.
    let (raw, gateway) = before_raw(Protocols::Http1, &["upstream: { connect: 30s }"]).await;
    let mut near = Wire::plain(gateway.flows()).await;
    near.write(waiting("/orders/x", 5)).await;

    let tcp = raw.accept_tcp().await;
    // The only worker has answered others since.
    for _ in 0..3 {
        assert_eq!(gateway.get("/nobody").await.status, 404);
    }
    assert!(!near.has_more(), "no connection to the origin yet");
    let mut far = raw.shake_hands(tcp).await;

    assert_eq!(near.answer().await.start, "HTTP/1.1 100 Continue");
    near.write("hello").await;
    let arrived = far.message(Kind::Request).await.unwrap();
    assert_eq!(arrived.text(), "hello");
    assert_eq!(arrived.field("expect"), None);
    far.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(near.answer().await.text(), "ok");
}

#[tokio::test]
async fn what_is_refused_is_refused_instead_of_100_and_its_body_never_read() {
    // RFC 9110 §10.1.1; protocol.md, line 13 and row 23.
    let stage = Stage::new();
    let authority = Authority::plain(&stage.server()).await;
    authority.answer_with(|_, _| rejection(400, "invalid_client"));
    let own = |url: &str| {
        let token = with_secret(&authority.token_url());
        orders(url, &[])
            + &format!(
                "  - {{ id: off, name: Off, enabled: false, resource_domain: \"{url}\", auth: none }}\n  \
                 - {{ id: token, name: Token, resource_domain: \"{url}\", auth: {token} }}\n"
            )
    };
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &own(&origin.url("/"))).await;

    for (path, length, status) in [
        ("/nobody", 5, 404),
        ("/off/x", 5, 403),
        ("/orders/%2e%2e/x", 5, 400),
        ("/orders/x", 1 << 30, 413),
        ("/token/x", 5, 503),
    ] {
        let mut wire = Wire::plain(gateway.flows()).await;
        wire.write(waiting(path, length)).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), status, "{path}");
        // Or what the client sends now would be read as a request.
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(wire.rest().await.is_empty(), "{path}");
    }
    assert_eq!(origin.tally().heads, 0);
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_told_instead_of_100() {
    let (raw, gateway) = before_raw(Protocols::Http1, &["upstream: { connect: 300ms }"]).await;
    let mut near = Wire::plain(gateway.flows()).await;

    near.write(waiting("/orders/x", 5)).await;
    let _unanswered = raw.accept_tcp().await;

    assert_eq!(near.answer().await.status(), 504);
}

#[tokio::test]
async fn where_nobody_waits_for_it_there_is_no_100() {
    // RFC 9110 §10.1.1: neither HTTP/1.0 nor a request without content waits.
    let scene = Scene::plain().await;
    let http10 = waiting("/orders/x", 5).replace("HTTP/1.1", "HTTP/1.0");
    for request in [http10 + "hello", waiting("/orders/x", 0)] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(request).await;
        wire.half_close().await;
        let answer = String::from_utf8(wire.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1."), "{answer}");
        assert!(answer[8..].starts_with(" 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn over_http2_the_body_is_taken_without_a_word() {
    let scene = Scene::start(Plan {
        protocols: Protocols::Http2,
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let (pen, body) = Outgoing::streamed();
    let fields = [("expect", "100-continue")];

    let writing = async {
        pen.write(Bytes::from_static(b"hello")).await;
        drop(pen);
    };
    let (answer, ()) = tokio::join!(client.send("POST", "/orders/x", &fields, body), writing);

    assert_eq!(answer.unwrap().status(), 200);
    let arrived = scene.origin.only_request();
    assert_eq!(
        (arrived.text().as_str(), arrived.field("expect")),
        ("hello", None)
    );
}

#[tokio::test]
async fn an_http2_origin_s_interim_answers_do_not_stand_for_the_final_one() {
    // RFC 9110 §15.2; protocol.md, line 14: 103 is dropped, as README says.
    let (raw, gateway) = before_raw(Protocols::Http2, &[]).await;
    let answering = async {
        let stream = raw.accept().await.into_stream();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        for status in [103, 199, 100] {
            let interim = http::Response::builder()
                .status(status)
                .header("link", "</x>");
            respond
                .send_informational(interim.body(()).unwrap())
                .unwrap();
        }
        let response = http::Response::builder().header("x-final", "1");
        let mut body = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
        while connection.accept().await.is_some() {}
    };
    let mut client = Client::http1(gateway.flows()).await;

    let answered = tokio::select! {
        answered = client.get("/orders/x") => answered,
        () = answering => panic!("the origin has ended"),
    };

    assert_eq!(
        (answered.status.as_u16(), answered.text().as_str()),
        (200, "ok")
    );
    assert_eq!(
        (answered.field("x-final"), answered.field("link")),
        (Some("1"), None)
    );
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    let (raw, gateway) =
        before_raw(Protocols::Http1, &["upstream: { response_head: 300ms }"]).await;
    let flooding = async {
        let mut far = raw.accept().await;
        far.message(Kind::Request).await.unwrap();
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(1000);
        while far.try_write(&hints).await.is_ok() {}
    };

    let (answered, ()) = within("an answer", async {
        tokio::join!(gateway.get("/orders/x"), flooding)
    })
    .await;

    assert_eq!(
        (answered.status.as_u16(), &*answered.reason()),
        (504, "origin-timeout")
    );
}
