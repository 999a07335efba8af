//! Nothing is taken in without a bound: heads, bodies, connections, requests in flight.

use tokio::sync::mpsc;

use crate::support::answer::Answer;
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::exchange::Progress;
use crate::support::origin;
use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

async fn scene(settings: &'static str) -> Scene {
    Scene::start(Plan {
        settings,
        ..Plan::new()
    })
    .await
}

async fn client(scene: &Scene, protocols: Protocols) -> Client {
    let address = scene.gateway.flows();
    match protocols {
        Protocols::Http1 => Client::http1(address).await,
        Protocols::Http2 | Protocols::Both => Client::http2(address).await,
    }
}

/// The status and the reason of a refusal.
fn refusal(answered: &Answered) -> (u16, String) {
    assert_eq!(
        answered.field("content-type"),
        Some("application/problem+json")
    );
    (answered.status.as_u16(), answered.reason())
}

#[tokio::test]
async fn a_body_over_the_limit_by_its_length_is_refused_before_anything_is_sent() {
    let scene = scene("limits: { request_body_bytes_max: 1KiB }\n").await;
    let length = [("content-length", "1025")];

    for protocols in BOTH {
        let mut client = client(&scene, protocols).await;
        let answered = client
            .call("POST", "/orders/x", &length, vec![7; 1025])
            .await;

        assert_eq!(refusal(&answered), (413, "body-too-large".to_owned()));
        assert_eq!(answered.json()["may_have_reached_origin"], false);
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_cut_and_never_looks_whole_to_the_origin() {
    for (flow, upstream) in [
        (Protocols::Http1, Protocols::Http1),
        (Protocols::Http2, Protocols::Http1),
        (Protocols::Http1, Protocols::Http2),
        (Protocols::Http2, Protocols::Http2),
    ] {
        let (ended, mut end) = mpsc::unbounded_channel();
        let scene = Scene::start(Plan {
            protocols: upstream,
            settings: "limits: { request_body_bytes_max: 1KiB }\n",
            ..Plan::answering(origin::scripted(move |mut exchange| {
                let ended = ended.clone();
                async move {
                    ended.send(exchange.finish().await.progress).unwrap();
                    Answer::text("ok")
                }
            }))
        })
        .await;
        let mut client = client(&scene, flow).await;
        let (pen, body) = Outgoing::streamed();
        let asking = client.call("POST", "/orders/x", &[], body);
        let writing = async {
            pen.write(vec![7; 1024]).await;
            scene.origin.until(|tally| tally.heads == 1).await;
            pen.write("x").await;
            pen
        };

        let (answered, _pen) = tokio::join!(asking, writing);

        assert_eq!(refusal(&answered), (413, "body-too-large".to_owned()));
        assert_eq!(answered.json()["may_have_reached_origin"], true);
        let progress = within("the request's end", end.recv()).await;
        assert_eq!(progress, Some(Progress::BrokenOff), "{flow:?} {upstream:?}");
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_carried() {
    let scene = scene("limits: { request_body_bytes_max: 1KiB }\n").await;

    for protocols in BOTH {
        let mut client = client(&scene, protocols).await;
        let answered = client.call("POST", "/orders/x", &[], vec![7; 1024]).await;
        assert_eq!(answered.status, 200);
        let (pen, body) = Outgoing::streamed();
        let writing = async {
            pen.write(vec![7; 1024]).await;
            drop(pen);
        };
        let asking = client.call("POST", "/orders/x", &[], body);
        assert_eq!(tokio::join!(asking, writing).0.status, 200);
    }
}

#[tokio::test]
async fn a_head_over_head_bytes_max_is_refused_with_a_problem() {
    // RFC 6585 §5; protocol.md, rows 7 and 29 and point 13.
    let scene = scene("limits: { head_bytes_max: 8KiB }\n").await;
    let long = "a".repeat(9000);
    let megabyte = "a".repeat(1024 * 1024);

    for head in [
        format!("GET /orders/x HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        format!("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n{long}: x\r\n\r\n"),
        format!("GET /orders/{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /orders/x HTTP/1.1\r\nHost: localhost\r\nX: {megabyte}"),
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        // It may be refused before all of it is written.
        let _ = wire.try_write(&head).await;
        let answered = Answered::from(wire.answer().await);
        assert_eq!(refusal(&answered), (431, "head-too-large".to_owned()));
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn more_fields_than_fields_max_are_refused_with_a_problem() {
    // Cookies count one by one; protocol.md, row 14.
    let scene = scene("limits: { fields_max: 20 }\n").await;

    for name in ["x-field", "cookie"] {
        let fields = [(name, "v"); 30];
        for protocols in BOTH {
            let mut client = client(&scene, protocols).await;
            let answered = client.call("GET", "/orders/x", &fields, "").await;
            let expected = (431, "head-too-large".to_owned());
            assert_eq!(refusal(&answered), expected, "{name} {protocols:?}");
        }
    }
    let mut http1 = client(&scene, Protocols::Http1).await;
    let answered = http1.call("GET", "/orders/x", &[("x", "v"); 18], "").await;
    assert_eq!(answered.status, 200);
    assert_eq!(scene.origin.tally().heads, 1);
}

#[tokio::test]
async fn an_http2_head_over_head_bytes_max_is_refused_and_its_connection_goes_on() {
    let scene = scene("limits: { head_bytes_max: 8KiB }\n").await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let long = "a".repeat(9000);

    let refused = client.send("GET", "/orders/x", &[("x", &long)], "").await;
    let next = client.get("/orders/x").await;

    // hyper's h2 answers with a bare 431 (RFC 9113 §10.5.1).
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
    assert_eq!(next.status, 200);
    assert_eq!(scene.origin.tally().heads, 1);
}

#[tokio::test]
async fn one_request_more_than_requests_in_flight_max_is_told_to_come_back() {
    let (pens, mut penned) = mpsc::unbounded_channel();
    let scene = Scene::start(Plan {
        settings: "limits: { requests_in_flight_max: 2 }\n",
        ..Plan::answering(origin::whole(move |_| {
            let (pen, answer) = Answer::streamed();
            pens.send(pen).unwrap();
            answer
        }))
    })
    .await;
    let mut clients = [
        client(&scene, Protocols::Http1).await,
        client(&scene, Protocols::Http2).await,
    ];
    let mut answers = Vec::new();
    for client in &mut clients {
        answers.push(client.send("GET", "/orders/x", &[], "").await.unwrap());
    }

    let refused = scene.gateway.get("/orders/x").await;
    drop(penned.recv().await);
    Answered::read(answers.remove(0)).await.unwrap();
    let mut last = client(&scene, Protocols::Http1).await;
    let admitted = last.send("GET", "/orders/x", &[], "").await.unwrap();

    assert_eq!(refusal(&refused), (503, "busy".to_owned()));
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(admitted.status(), 200, "a place was given up");
    assert_eq!(scene.origin.tally().heads, 3);
}

#[tokio::test]
async fn one_connection_more_than_connections_max_waits_for_another_to_end() {
    let scene = scene("limits: { connections_max: 1 }\n").await;
    let mut first = Wire::plain(scene.gateway.flows()).await;
    let get = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.write(get).await;
    assert_eq!(first.answer().await.status(), 200);
    let mut second = Wire::plain(scene.gateway.flows()).await;
    second.write(get).await;

    // The first is served again although the second was there long before.
    first.write(get).await;
    assert_eq!(first.answer().await.status(), 200);
    let before = scene.origin.tally().heads;
    drop(first);

    assert_eq!(second.answer().await.status(), 200);
    assert_eq!((before, scene.origin.tally().heads), (2, 3));
}

/// A scene whose connector has these lines and whose origin answers with a body of 1024 bytes, of
/// known length or not.
async fn answering(connector: &'static [&'static str], upstream: Protocols) -> Scene {
    let handler = origin::scripted(|mut exchange| async move {
        let request = exchange.finish().await;
        if request.method == "HEAD" {
            return Answer::status(200).field("content-length", "1024");
        }
        if request.target.ends_with("/whole") {
            return Answer::status(200).body(vec![7; 1024]);
        }
        let (pen, answer) = Answer::streamed();
        tokio::spawn(async move {
            pen.write(vec![7; 1023]).await;
            pen.write(vec![7; 1]).await;
        });
        answer
    });
    Scene::start(Plan {
        protocols: upstream,
        connector,
        ..Plan::answering(handler)
    })
    .await
}

#[tokio::test]
async fn a_connectors_own_limit_on_bodies_stands_in_the_gateways_place_both_ways() {
    for (own, length, status) in [
        ("request_body_bytes_max: 2KiB", 2048, 200),
        ("request_body_bytes_max: 2KiB", 2049, 413),
        ("request_body_bytes_max: 10", 10, 200),
        ("request_body_bytes_max: 10", 11, 413),
        ("request_body_bytes_max: null", 1024, 200),
        ("request_body_bytes_max: null", 1025, 413),
    ] {
        let scene = Scene::start(Plan {
            connector: Vec::leak(vec![own]),
            settings: "limits: { request_body_bytes_max: 1KiB }\n",
            ..Plan::new()
        })
        .await;
        let mut client = client(&scene, Protocols::Http2).await;

        let known = client.call("POST", "/orders/x", &[], vec![7; length]).await;
        let (pen, body) = Outgoing::streamed();
        let writing = async {
            pen.write(vec![7; length]).await;
            drop(pen);
        };
        let asking = client.call("POST", "/orders/x", &[], body);
        let (unknown, ()) = tokio::join!(asking, writing);

        assert_eq!(known.status, status, "{own}: {length} bytes");
        assert_eq!(unknown.status, status, "{own}: {length} bytes, unsaid");
    }
}

#[tokio::test]
async fn an_answer_over_the_connectors_limit_by_its_length_is_refused() {
    // RFC 9209 §2.3.
    for (flow, upstream) in [
        (Protocols::Http1, Protocols::Http1),
        (Protocols::Http2, Protocols::Http1),
        (Protocols::Http1, Protocols::Http2),
    ] {
        let scene = answering(&["response_body_bytes_max: 1023"], upstream).await;
        let mut client = client(&scene, flow).await;

        let answered = client.get("/orders/whole").await;
        let head = client.call("HEAD", "/orders/whole", &[], "").await;

        let expected = (502, "response-too-large".to_owned());
        assert_eq!(refusal(&answered), expected, "{flow:?} {upstream:?}");
        let error = Some("attache; error=http_response_body_size");
        assert_eq!(answered.field("proxy-status"), error);
        assert_eq!(answered.json()["may_have_reached_origin"], true);
        assert_eq!(head.status, 200, "a head has no body to be too large");
    }
}

#[tokio::test]
async fn an_upload_ends_with_the_refusal_of_its_answer() {
    // The origin answers early, and would take the rest of the request all the same.
    let (end, mut ends) = mpsc::unbounded_channel();
    let handler = origin::scripted(move |mut exchange| {
        let end = end.clone();
        async move {
            tokio::spawn(async move { end.send(exchange.finish().await.progress) });
            Answer::status(200).body(vec![7; 1024])
        }
    });
    let scene = Scene::start(Plan {
        protocols: Protocols::Http2,
        connector: &["response_body_bytes_max: 1023"],
        ..Plan::answering(handler)
    })
    .await;
    let mut client = client(&scene, Protocols::Http1).await;
    let (pen, body) = Outgoing::streamed();
    pen.try_write("one ");

    let answered = client.call("POST", "/orders/x", &[], body).await;

    let expected = (502, "response-too-large".to_owned());
    assert_eq!(refusal(&answered), expected);
    let ended = within("the upload's end", ends.recv()).await;
    assert_eq!(ended, Some(Progress::BrokenOff));
    drop(pen);
}

#[tokio::test]
async fn an_answer_that_grows_over_the_connectors_limit_breaks_off_and_never_looks_whole() {
    for (flow, upstream) in [
        (Protocols::Http1, Protocols::Http1),
        (Protocols::Http2, Protocols::Http1),
        (Protocols::Http1, Protocols::Http2),
        (Protocols::Http2, Protocols::Http2),
    ] {
        let (pens, mut penned) = mpsc::unbounded_channel();
        let scene = Scene::start(Plan {
            protocols: upstream,
            connector: &["response_body_bytes_max: 1023"],
            ..Plan::answering(origin::whole(move |_| {
                let (pen, answer) = Answer::streamed();
                pens.send(pen).unwrap();
                answer
            }))
        })
        .await;
        let mut client = client(&scene, flow).await;
        let answer = client.send("GET", "/orders/x", &[], "").await.unwrap();
        let pen = penned.recv().await.unwrap();
        pen.write(vec![7; 1023]).await;

        pen.write("x").await;

        pen.given_up().await;
        let read = within("an answer that breaks off", Answered::read(answer)).await;
        assert!(read.is_err(), "{flow:?} {upstream:?}");
    }
}

#[tokio::test]
async fn an_answer_of_just_the_connectors_limit_is_carried() {
    let scene = answering(&["response_body_bytes_max: 1KiB"], Protocols::Http1).await;

    for protocols in BOTH {
        let mut client = client(&scene, protocols).await;
        for target in ["/orders/whole", "/orders/x"] {
            let answered = client.get(target).await;
            assert_eq!((answered.status.as_u16(), answered.body.len()), (200, 1024));
        }
    }
}
