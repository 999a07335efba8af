//! Bodies travel as they come, both ways: piece by piece, under back-pressure, trailers included.

use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::{Outgoing, Pen};
use crate::support::client::{Answered, Client};
use crate::support::exchange::Progress;
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::{self, Handler, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];
/// More than what both kernels and the gateway's buffers hold for a peer that takes nothing.
const HELD_BYTES_MAX: usize = 24 * 1024 * 1024;
const PIECE: &[u8] = &[7; 64 * 1024];

/// An origin whose first answer a pen writes, with `fields`.
fn penned(fields: &'static [(&'static str, &'static str)]) -> (Pen, Handler) {
    let (pen, answer) = Answer::streamed();
    let answer = fields
        .iter()
        .fold(answer, |answer, (name, value)| answer.field(name, value));
    let once = Mutex::new(Some(answer));
    (
        pen,
        origin::whole(move |_| once.lock().unwrap().take().unwrap()),
    )
}

/// An origin that tells of every piece of a body as it comes, and answers when it is whole.
fn telling() -> (mpsc::UnboundedReceiver<Bytes>, Handler) {
    let (tell, told) = mpsc::unbounded_channel();
    let handler = origin::scripted(move |mut exchange| {
        let tell = tell.clone();
        async move {
            while let Some(piece) = exchange.piece().await {
                tell.send(piece).unwrap();
            }
            Answer::text("ok")
        }
    });
    (told, handler)
}

async fn client(scene: &Scene, protocols: Protocols) -> Client {
    let address = scene.gateway.flows();
    match protocols {
        Protocols::Http2 => Client::http2(address).await,
        Protocols::Http1 | Protocols::Both => Client::http1(address).await,
    }
}

/// Every pair of what flows and origins speak.
fn pairs() -> impl Iterator<Item = (Protocols, Protocols)> {
    BOTH.into_iter()
        .flat_map(|flow| BOTH.into_iter().map(move |origin| (flow, origin)))
}

async fn next(body: &mut Incoming) -> Bytes {
    let frame = within("a piece of an answer", body.frame()).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn an_answer_reaches_the_flow_piece_by_piece() {
    for (flow, upstream) in pairs() {
        let (pen, handler) = penned(&[]);
        let scene = Scene::start(Plan {
            protocols: upstream,
            ..Plan::answering(handler)
        })
        .await;
        let mut client = client(&scene, flow).await;

        let answering = client.send("GET", "/orders/x", &[], "").await;
        let mut body = answering.unwrap().into_body();

        // Each piece is there before the next one is written.
        for piece in ["one", "two", "three"] {
            pen.write(piece).await;
            assert_eq!(next(&mut body).await, piece, "{flow:?} {upstream:?}");
        }
        drop(pen);
        let rest = within("the end", body.collect()).await.unwrap();
        assert!(rest.to_bytes().is_empty());
    }
}

#[tokio::test]
async fn a_request_reaches_the_origin_piece_by_piece() {
    for (flow, upstream) in pairs() {
        let (mut told, handler) = telling();
        let scene = Scene::start(Plan {
            protocols: upstream,
            ..Plan::answering(handler)
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();

        let asking = client.send("POST", "/orders/x", &[], body);
        let writing = async {
            for piece in ["one", "two", "three"] {
                pen.write(piece).await;
                let arrived = within("a piece of a request", told.recv()).await;
                assert_eq!(arrived.unwrap(), piece, "{flow:?} {upstream:?}");
            }
            drop(pen);
        };
        let (answer, ()) = tokio::join!(asking, writing);

        assert_eq!(answer.unwrap().status(), 200);
        assert_eq!(scene.origin.only_request().text(), "onetwothree");
    }
}

#[tokio::test]
async fn a_flow_that_takes_nothing_holds_the_origin_back_and_is_given_up() {
    // protocol.md, row 31 and point 13.
    for (flow, upstream) in pairs() {
        let (pen, handler) = penned(&[]);
        let scene = Scene::start(Plan {
            protocols: upstream,
            settings: "timeouts: { write: 500ms, drain_delay: 0s }\n",
            ..Plan::answering(handler)
        })
        .await;
        let mut client = client(&scene, flow).await;
        let answer = client.send("GET", "/orders/x", &[], "").await.unwrap();

        let mut written = 0;
        while pen.write(PIECE).await {
            written += PIECE.len();
            assert!(written < HELD_BYTES_MAX, "held by {flow:?} {upstream:?}");
        }

        pen.given_up().await;
        let cut = within("the end of what there is", Answered::read(answer)).await;
        assert!(cut.is_err(), "the flow has to notice");
    }
}

#[tokio::test]
async fn an_origin_that_takes_nothing_holds_the_flow_back() {
    for (flow, upstream) in pairs() {
        let scene = Scene::start(Plan {
            protocols: upstream,
            connector: &["upstream: { stall: 500ms }"],
            ..Plan::answering(origin::scripted(|exchange| async move {
                // Holds the body, and reads none of it.
                std::future::pending::<()>().await;
                drop(exchange);
                Answer::text("never")
            }))
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();

        let asking = client.send("POST", "/orders/x", &[], body);
        let writing = async {
            let mut written = 0;
            while pen.write(PIECE).await {
                written += PIECE.len();
                assert!(written < HELD_BYTES_MAX, "held by {flow:?} {upstream:?}");
            }
        };
        let (answer, ()) = tokio::join!(asking, writing);

        if let Ok(answer) = answer {
            assert_eq!(answer.status(), 504, "{flow:?} {upstream:?}");
        }
    }
}

#[tokio::test]
async fn a_body_of_many_megabytes_arrives_as_it_was_sent_both_ways() {
    for (flow, upstream) in pairs() {
        let scene = Scene::start(Plan {
            protocols: upstream,
            ..Plan::answering(origin::whole(|request| {
                Answer::status(200).body(request.body.clone())
            }))
        })
        .await;
        let mut client = client(&scene, flow).await;
        let sent: Vec<u8> = (0_u32..2_000_000).flat_map(u32::to_be_bytes).collect();

        let answered = client.call("POST", "/orders/x", &[], sent.clone()).await;

        assert!(answered.body == sent, "{flow:?} {upstream:?}");
    }
}

#[tokio::test]
async fn trailers_travel_both_ways() {
    // RFC 9110 §6.5, §10.1.4.
    for (flow, upstream) in pairs() {
        let (pen, handler) = penned(&[("trailer", "x-sum, x-other")]);
        let scene = Scene::start(Plan {
            protocols: upstream,
            ..Plan::answering(handler)
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (request_pen, body) = Outgoing::streamed();
        let fields = [("te", "trailers"), ("trailer", "x-check")];

        let asking = client.send("POST", "/orders/x", &fields, body);
        let writing = async {
            request_pen.write("hello").await;
            request_pen.trailers(&[("x-check", "1")]).await;
            pen.write("world").await;
            pen.trailers(&[("x-sum", "2"), ("x-other", "3")]).await;
        };
        let (answer, ()) = tokio::join!(asking, writing);
        let answered = Answered::read(answer.unwrap()).await.unwrap();

        assert_eq!(answered.text(), "world");
        let trailers: Vec<_> = answered.trailers.iter().map(|(_, value)| value).collect();
        assert_eq!(trailers, ["2", "3"], "{flow:?} {upstream:?}");
        let request = scene.origin.only_request();
        assert_eq!(request.text(), "hello");
        assert_eq!(request.trailers, [("x-check".to_owned(), "1".to_owned())]);
    }
}

#[tokio::test]
async fn trailers_that_frame_route_or_authenticate_do_not_travel() {
    // RFC 9110 §6.5.1; protocol.md, line 27.
    let (pen, handler) = penned(&[("trailer", "set-cookie, x-sum")]);
    let scene = Scene::start(Plan {
        protocols: Protocols::Http2,
        ..Plan::answering(handler)
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let (request_pen, body) = Outgoing::streamed();

    let asking = client.send("POST", "/orders/x", &[("te", "trailers")], body);
    let writing = async {
        request_pen
            .trailers(&[
                ("authorization", "Bearer flow"),
                ("host", "evil.example"),
                ("content-length", "9"),
                ("x-forwarded-for", "1.2.3.4"),
                ("connector-id", "other"),
                ("cookie", "a=b"),
                ("x-check", "1"),
            ])
            .await;
        pen.trailers(&[("set-cookie", "a=b"), ("location", "/x"), ("x-sum", "2")])
            .await;
    };
    let (answer, ()) = tokio::join!(asking, writing);
    let answered = Answered::read(answer.unwrap()).await.unwrap();

    assert_eq!(answered.trailers, [("x-sum".to_owned(), "2".to_owned())]);
    let request = scene.origin.only_request();
    assert_eq!(request.trailers, [("x-check".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_flow_too() {
    // RFC 9112 §8; protocol.md, line 28 and row 9.
    for (flow, upstream) in pairs() {
        for fields in [&[][..], &[("content-length", "100")]] {
            let (pen, handler) = penned(fields);
            let scene = Scene::start(Plan {
                protocols: upstream,
                ..Plan::answering(handler)
            })
            .await;
            let mut client = client(&scene, flow).await;

            let mut answer = client.send("GET", "/orders/x", &[], "").await.unwrap();
            pen.write("half").await;
            assert_eq!(next(answer.body_mut()).await, "half");
            pen.fail().await;

            let outcome = within("the end", Answered::read(answer)).await;
            assert!(outcome.is_err(), "{flow:?} {upstream:?} {fields:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_never_looks_whole_to_the_origin() {
    // RFC 9112 §8; protocol.md, line 28.
    for (flow, upstream) in pairs() {
        let (ended, mut end) = mpsc::unbounded_channel();
        let scene = Scene::start(Plan {
            protocols: upstream,
            ..Plan::answering(origin::scripted(move |mut exchange| {
                let ended = ended.clone();
                async move {
                    let request = exchange.finish().await;
                    ended.send(request.progress).unwrap();
                    Answer::text("ok")
                }
            }))
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();

        let asking = client.send("POST", "/orders/x", &[], body);
        let writing = async {
            pen.write("half").await;
            scene.origin.until(|tally| tally.heads == 1).await;
            pen.fail().await;
        };
        drop(tokio::join!(asking, writing));

        let progress = within("the request's end", end.recv()).await;
        assert_eq!(progress, Some(Progress::BrokenOff), "{flow:?} {upstream:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_whole_request_is_relayed_and_its_connection_not_used_again() {
    // The late body must not reach the origin as something else; protocol.md, row 23 and point 7.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut wire = Wire::plain(gateway.flows()).await;
    let mut client = Client::http1(gateway.flows()).await;
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    wire.write("POST /orders/early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf")
        .await;
    let mut first = raw.accept().await;
    first.write(ok).await;
    assert_eq!(wire.answer().await.text(), "ok");
    // The gateway may have hung up by now, which is as well.
    let _ = wire
        .try_write("GET /orders/smuggled HTTP/1.1\r\n\r\n")
        .await;
    let next = tokio::spawn(async move { client.get("/orders/next").await });
    let mut second = raw.accept().await;
    let request = second.message(Kind::Request).await.unwrap();
    second.write(ok).await;

    assert_eq!(request.target(), "/next");
    assert_eq!(next.await.unwrap().text(), "ok");
    let all_of_the_first = String::from_utf8(first.rest().await).unwrap();
    assert!(all_of_the_first.starts_with("POST /early"));
    assert!(!all_of_the_first.contains("smuggled"));
    gateway.drain().await;
}
