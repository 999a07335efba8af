//! Server-sent events (WHATWG HTML §9.2): each event at once, silence, and flows that go away.

use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::support::answer::Answer;
use crate::support::body::Pen;
use crate::support::client::{Answered, Client};
use crate::support::origin::{self, Handler};
use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

/// Origins whose answers are streams of events that pens write, in the order they are asked.
fn events(count: usize) -> (Vec<Pen>, Handler) {
    let (pens, answers): (Vec<_>, Vec<_>) = (0..count)
        .map(|_| {
            let (pen, answer) = Answer::streamed();
            let answer = answer
                .field("content-type", "text/event-stream")
                .field("cache-control", "no-cache");
            (pen, answer)
        })
        .unzip();
    let answers = Mutex::new(answers.into_iter());
    (
        pens,
        origin::whole(move |_| answers.lock().unwrap().next().unwrap()),
    )
}

async fn client(scene: &Scene, protocols: Protocols) -> Client {
    let address = scene.gateway.flows();
    match protocols {
        Protocols::Http2 => Client::http2(address).await,
        Protocols::Http1 | Protocols::Both => Client::http1(address).await,
    }
}

async fn next(body: &mut Incoming) -> Bytes {
    let frame = within("an event", body.frame()).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn each_event_is_there_before_the_next_is_written() {
    for flow in BOTH {
        for protocols in BOTH {
            let (mut pens, handler) = events(1);
            let scene = Scene::start(Plan {
                protocols,
                ..Plan::answering(handler)
            })
            .await;
            let mut client = client(&scene, flow).await;
            let fields = [("accept", "text/event-stream"), ("last-event-id", "41")];

            let answer = client.send("GET", "/orders/events", &fields, "").await;
            let answer = answer.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            assert_eq!(answer.headers()["cache-control"], "no-cache");
            let mut body = answer.into_body();
            let pen = pens.remove(0);
            // Small ones, one without an end, a comment: nobody waits for a line or a buffer.
            for event in ["id: 42\n", "data: x\n\n", ": still here\n\n", "data: y"] {
                pen.write(event).await;
                assert_eq!(next(&mut body).await, event, "{flow:?} {protocols:?}");
            }
            drop(pen);
            let rest = within("the end", body.collect()).await.unwrap();
            assert!(rest.to_bytes().is_empty());

            let asked = scene.origin.only_request();
            assert_eq!(asked.field("last-event-id"), Some("41"));
            assert_eq!(asked.field("accept"), Some("text/event-stream"));
        }
    }
}

#[tokio::test]
async fn silence_for_longer_than_the_connector_s_stall_breaks_a_stream_off_and_no_other() {
    for flow in BOTH {
        let (mut pens, handler) = events(2);
        let scene = Scene::start(Plan {
            connector: &["upstream: { stall: 10m }"],
            ..Plan::answering(handler)
        })
        .await;
        let own = |stall: &str| {
            let lines = [format!("upstream: {{ stall: {stall} }}")];
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            crate::support::scene::orders(&scene.origin.url("/api"), &lines)
        };
        let mut patient = client(&scene, flow).await;
        let kept = patient.send("GET", "/orders/a", &[], "").await.unwrap();
        // The same connector under another limit; what streams already keeps its own.
        let reloaded = scene.gateway.reload(scene.stage.config(&own("300ms")));
        assert!(reloaded.is_ok(), "{reloaded:?}");
        let mut hasty = client(&scene, flow).await;
        let cut = hasty.send("GET", "/orders/b", &[], "").await.unwrap();

        let cut = within("a stream to be cut", Answered::read(cut)).await;

        assert!(cut.is_err(), "an end that the flow cannot take for one");
        pens[1].given_up().await;
        let mut kept = kept.into_body();
        pens.remove(0).write("data: after a while\n\n").await;
        assert_eq!(next(&mut kept).await, "data: after a while\n\n");
    }
}

#[tokio::test]
async fn a_flow_that_closes_its_stream_ends_it_at_the_origin() {
    for protocols in BOTH {
        let (mut pens, handler) = events(2);
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::answering(handler)
        })
        .await;

        // HTTP/2: the stream is reset, which says it at once.
        let mut client = Client::http2(scene.gateway.flows()).await;
        let answer = client.send("GET", "/orders/a", &[], "").await.unwrap();
        let pen = pens.remove(0);
        drop(answer);
        pen.given_up().await;

        // HTTP/1.1: a plain close is noticed when the next event is written.
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write("GET /orders/b HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        scene.origin.until(|tally| tally.whole == 2).await;
        let pen = pens.remove(0);
        pen.write("data: 1\n\n").await;
        wire.bytes(1).await;
        drop(wire);
        while pen.write("data: 2\n\n").await {}
    }
}
