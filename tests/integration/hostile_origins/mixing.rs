//! What an origin says when it was not asked, and who must not hear it.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::frames::{DATA, END_STREAM, Frames, frame, head};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::Setup;
use crate::support::raw::RawOrigin;
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tls::{self, Ask, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

use super::{Flow, Room, ask};

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
const GET: &str = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Answers the next request on `origin` with its own path.
async fn echo(origin: &mut Wire) {
    let request = origin.message(Kind::Request).await.unwrap();
    let path = request.target();
    let length = path.len();
    origin
        .write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
        ))
        .await;
}

#[tokio::test]
async fn an_answer_that_comes_before_its_request_is_nobodys() {
    // RFC 9112 §9.2; RFC 8446 §2: a server may speak with its first flight.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let mut config = ServerConfig::clone(&tls::server(
        &stage.server(),
        &Ask::Nothing,
        Protocols::Http1,
    ));
    config.send_half_rtt_data = true;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut wire = Wire::plain(gateway.flows()).await;

    wire.write(GET).await;
    let speaking = async {
        loop {
            let tcp = raw.accept_tcp().await;
            let speak = |connection: &mut rustls::ServerConnection| {
                std::io::Write::write_all(&mut connection.writer(), POISON.as_bytes()).unwrap();
            };
            let Ok(mut stream) = acceptor.accept_with(tcp, speak).await else {
                continue;
            };
            // Whatever it asks is answered no more.
            let mut heard = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await;
            let _ = stream.shutdown().await;
            assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));
        }
    };
    let answer = tokio::select! {
        answer = wire.answer() => answer,
        () = speaking => unreachable!("it speaks for ever"),
    };

    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert!(!answer.text().contains("poison"));
    gateway.drain().await;
}

#[tokio::test]
async fn what_an_origin_says_on_an_idle_connection_reaches_no_flow() {
    // RFC 9112 §9.2; protocol.md, line 26 and row 16.
    let room = Room::start(Protocols::Http1).await;
    let mut first = Wire::plain(room.gateway.flows()).await;
    let mut second = Wire::plain(room.gateway.flows()).await;

    for poison in [
        POISON,
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        "\r\n",
        "e",
    ] {
        first.write(GET).await;
        let mut idle = room.raw.accept().await;
        echo(&mut idle).await;
        assert_eq!(first.answer().await.text(), "/x");
        idle.write(poison).await;
        assert!(idle.is_closed().await, "{poison:?}");

        second.write(GET.replace("/x", "/second")).await;
        first.write(GET.replace("/x", "/first")).await;
        let (mut one, mut other) = (room.raw.accept().await, room.raw.accept().await);
        echo(&mut other).await;
        echo(&mut one).await;

        assert_eq!(second.answer().await.text(), "/second", "{poison:?}");
        assert_eq!(first.answer().await.text(), "/first", "{poison:?}");
        drop((one, other));
        let idle = [("state", "idle")];
        let name = "attache_upstream_connections";
        let gateway = &room.gateway;
        gateway.until_sample(name, &idle, |count| count < 0.5).await;
    }
    room.gateway.drain().await;
}

#[tokio::test]
async fn answers_on_one_http2_connection_never_change_places() {
    // RFC 9113 §5.1.1: a stream is one request's alone, however its origin mixes their frames.
    let room = Room::start(Protocols::Http2).await;
    let gateway = room.gateway.flows();
    let first = tokio::spawn(ask(gateway, Flow::Http1, "GET", "/orders/warm".to_owned()));
    let mut origin = Frames::of_origin(room.raw.accept().await).await;
    let stream = origin.request().await.unwrap();
    let empty = head(END_STREAM, stream, &[(":status", "200")]);
    origin.write(empty).await.unwrap();
    within("an answer", first).await.unwrap().unwrap();

    let mut streams = Vec::new();
    let mut asking = Vec::new();
    for flow in [Flow::Http1, Flow::Http2, Flow::Http1] {
        asking.push(tokio::spawn(ask(
            gateway,
            flow,
            "GET",
            "/orders/x".to_owned(),
        )));
        streams.push(origin.request().await.unwrap());
    }
    let mut mixed = Vec::new();
    for stream in streams.iter().rev() {
        let fields = [
            (":status", "200".to_owned()),
            ("x-stream", stream.to_string()),
        ];
        mixed.extend(head(0, *stream, &fields));
    }
    for piece in ["a", "b", "c"] {
        for stream in &streams {
            mixed.extend(frame(
                DATA,
                0,
                *stream,
                format!("{stream}{piece}").as_bytes(),
            ));
        }
    }
    for stream in &streams {
        mixed.extend(frame(DATA, END_STREAM, *stream, b""));
    }
    origin.write(mixed).await.unwrap();

    for (asking, stream) in asking.into_iter().zip(streams) {
        let answered = within("an answer", asking).await.unwrap().unwrap();
        assert_eq!(answered.field("x-stream"), Some(&*stream.to_string()));
        assert_eq!(answered.text(), format!("{stream}a{stream}b{stream}c"));
    }
    room.gateway.drain().await;
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up_at_the_limit_and_hold_up_nobody_else() {
    // RFC 9110 §15.2: they are none, however many. The flow's own limit is the head's.
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let limits = ["upstream: { response_head: 700ms }"];
        let room = Room::with(protocols, &limits).await;
        let gateway = room.gateway.flows();
        let asking = tokio::spawn(ask(gateway, Flow::Http1, "GET", "/orders/x".to_owned()));
        let wire = room.raw.accept().await;
        let flood = async move {
            match protocols {
                Protocols::Http2 => {
                    let mut origin = Frames::of_origin(wire).await;
                    let stream = origin.request().await.unwrap();
                    let interim = head(0, stream, &[(":status", "103")]).repeat(200);
                    while origin.write(&interim).await.is_ok() {}
                }
                Protocols::Http1 | Protocols::Both => {
                    let mut origin = wire;
                    origin.message(Kind::Request).await.unwrap();
                    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(200);
                    while origin.try_write(&interim).await.is_ok() {}
                }
            }
        };
        let flooding = tokio::spawn(flood);
        let meanwhile = room.gateway.get("/nobody/x").await;

        let answered = within("an answer", asking).await.unwrap().unwrap();

        assert_eq!(meanwhile.status, 404);
        assert_eq!(answered.status, 504, "{protocols:?}: {}", answered.text());
        assert_eq!(answered.reason(), "origin-timeout");
        if protocols == Protocols::Http1 {
            within("the flood to end", flooding).await.unwrap();
        } else {
            flooding.abort();
        }
        room.gateway.drain().await;
    }
}
