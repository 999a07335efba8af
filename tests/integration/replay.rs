//! Request bodies that are sent again: what was sent is kept, within a bound, and repeated.

use crate::support::answer::Answer;
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::exchange::Progress;
use crate::support::expiring::{BOTH, Expiring};
use crate::support::origin;
use crate::support::tls::Protocols;
use crate::support::within;

const OLD: &str = "Bearer token-1";
const NEW: &str = "Bearer token-2";

#[tokio::test]
async fn a_body_over_the_bound_is_not_repeated_and_the_next_request_has_a_new_token() {
    // protocol.md, line 49.
    for protocols in BOTH {
        let room = Expiring::rejecting(protocols, "replay_body_bytes_max: 1KiB", || {
            Answer::status(401).body("rejected")
        })
        .await;
        let mut client = room.client().await;

        let (pen, streamed) = Outgoing::streamed();
        let pieces = tokio::spawn(async move {
            for _ in 0..5 {
                pen.write("x".repeat(250)).await;
            }
        });
        let known = client.call("POST", "/c/x", &[], "x".repeat(1025)).await;
        let next = client.call("POST", "/c/x", &[], "x".repeat(1025)).await;
        room.taken.only(3);
        let unknown = client.call("POST", "/c/x", &[], streamed).await;
        pieces.await.unwrap();
        let after = client.call("POST", "/c/x", &[], "x".repeat(1024)).await;

        let answers = [&known, &next, &unknown, &after].map(|answered| answered.status.as_u16());
        assert_eq!(answers, [401, 200, 401, 200], "{protocols:?}");
        assert_eq!(known.text(), "rejected");
        let third = "Bearer token-3";
        assert_eq!(room.credentials(), [OLD, NEW, NEW, third]);
        assert_eq!(room.retries("token").await, 0.0);
    }
}

#[tokio::test]
async fn a_body_of_the_bound_is_repeated() {
    for protocols in BOTH {
        let room = Expiring::plain(protocols).await;
        let body: String = ('a'..='z').cycle().take(64 * 1024).collect();

        let answered = room
            .client()
            .await
            .call("POST", "/c/x", &[], body.clone())
            .await;

        assert_eq!(answered.status, 200, "{protocols:?}");
        assert_eq!(answered.text(), body);
    }
}

#[tokio::test]
async fn a_bound_of_nothing_repeats_no_body_but_requests_without_one() {
    let rejected = || Answer::status(401);
    let more = "replay_body_bytes_max: 0KiB";
    let room = Expiring::rejecting(Protocols::Http1, more, rejected).await;
    assert_eq!(room.gateway.get("/c/x").await.status, 200);

    let room = Expiring::rejecting(Protocols::Http1, more, rejected).await;
    let answered = room.client().await.call("PUT", "/c/x", &[], "x").await;
    assert_eq!(answered.status, 401);
    assert_eq!(room.credentials(), [OLD]);
}

#[tokio::test]
async fn a_repetition_is_framed_like_the_first_and_has_its_trailers() {
    for (protocols, framing) in [
        (Protocols::Http1, "transfer-encoding"),
        (Protocols::Http2, ""),
    ] {
        let room = Expiring::plain(protocols).await;
        let (pen, body) = Outgoing::streamed();
        let writing = tokio::spawn(async move {
            for piece in ["one ", "two ", "three"] {
                assert!(pen.write(piece).await);
            }
            pen.trailers(&[("x-checksum", "abc")]).await;
        });

        let fields = [("trailer", "x-checksum")];
        let answered = room
            .client()
            .await
            .call("POST", "/c/x", &fields, body)
            .await;
        writing.await.unwrap();

        assert_eq!(answered.text(), "one two three", "{protocols:?}");
        let requests = room.origin.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.text(), "one two three");
            assert_eq!(request.progress, Progress::Whole);
            let trailers = [("x-checksum".to_owned(), "abc".to_owned())];
            assert_eq!(request.trailers, trailers, "{protocols:?}");
            assert_eq!(request.field("content-length"), None);
            assert_eq!(
                request.field("transfer-encoding").is_some(),
                !framing.is_empty()
            );
        }
    }
}

#[tokio::test]
async fn a_body_of_known_length_is_repeated_with_it() {
    for protocols in BOTH {
        let room = Expiring::plain(protocols).await;
        let mut client = Client::http2(room.gateway.flows()).await;

        let answered = client.call("POST", "/c/x", &[], "content").await;

        assert_eq!(answered.text(), "content", "{protocols:?}");
        for request in room.origin.requests() {
            assert_eq!(request.field("content-length"), Some("7"), "{protocols:?}");
            assert_eq!(request.field("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn what_still_arrives_follows_the_repetition() {
    for protocols in BOTH {
        let room = Expiring::hasty(protocols, "").await;
        let (pen, body) = Outgoing::streamed();
        let mut client = room.client().await;
        let flow = tokio::spawn(async move { client.send("POST", "/c/x", &[], body).await });

        // The first answer comes amid the body; the second needs all of it.
        assert!(pen.write("one ").await);
        room.origin.until(|tally| tally.heads == 2).await;
        assert!(pen.write("two ").await);
        assert!(pen.write("three").await);
        drop(pen);

        let response = within("an answer", flow).await.unwrap().unwrap();
        let answered = Answered::read(response).await.unwrap();
        assert_eq!(answered.status, 200, "{protocols:?}");
        assert_eq!(answered.text(), "one two three");
        assert_eq!(room.credentials(), [OLD, NEW]);
        assert_eq!(room.retries("token").await, 1.0);
    }
}

#[tokio::test]
async fn what_still_arrives_is_repeated_no_more_once_it_is_over_the_bound() {
    for protocols in BOTH {
        let (gate, opened) = tokio::sync::watch::channel(false);
        let room = Expiring::start(protocols, ("", "replay_body_bytes_max: 1KiB"), |taken| {
            origin::scripted(move |mut exchange| {
                let (taken, mut opened) = (taken.clone(), opened.clone());
                async move {
                    let mut read = 0;
                    while read < 2048 {
                        read += exchange.piece().await.map_or(2048, |piece| piece.len());
                    }
                    opened.wait_for(|open| *open).await.unwrap();
                    match taken.accepts(&exchange.recorded()) {
                        true => Answer::text("ok"),
                        false => Answer::status(401),
                    }
                }
            })
        })
        .await;
        let (pen, body) = Outgoing::streamed();
        let mut client = room.client().await;
        let flow = tokio::spawn(async move { client.send("POST", "/c/x", &[], body).await });

        for _ in 0..4 {
            assert!(pen.write("x".repeat(512)).await);
        }
        gate.send_replace(true);
        let response = within("an answer", flow).await.unwrap().unwrap();
        drop(pen);

        assert_eq!(response.status(), 401, "{protocols:?}");
        assert_eq!(room.origin.tally().heads, 1);
        assert_eq!(room.retries("token").await, 0.0);
    }
}

#[tokio::test]
async fn a_flow_that_stalls_amid_the_repetition_is_told_so() {
    let settings = "timeouts: { body: 300ms, drain_delay: 0s }";
    let room = Expiring::hasty(Protocols::Http1, settings).await;
    let mut client = room.client().await;
    let (pen, body) = Outgoing::streamed();
    let flow = tokio::spawn(async move { client.send("POST", "/c/x", &[], body).await });

    assert!(pen.write("one ").await);
    let response = within("an answer", flow).await.unwrap().unwrap();

    assert_eq!(response.status(), 408);
    let answered = Answered::read(response).await.unwrap();
    assert_eq!(answered.reason(), "client-timeout");
    assert_eq!(answered.json()["may_have_reached_origin"], true);
    drop(pen);
}

#[tokio::test]
async fn bytes_that_are_sent_twice_are_counted_and_limited_once() {
    // The body is just within the limit: twice its bytes would be over it.
    let settings = "limits: { request_body_bytes_max: 8KiB }";
    let room = Expiring::set(Protocols::Http1, settings).await;
    let mut client = room.client().await;
    let (pen, body) = Outgoing::streamed();
    let writing = tokio::spawn(async move {
        for _ in 0..8 {
            assert!(pen.write("x".repeat(1024)).await);
        }
    });

    let answered = client.call("POST", "/c/x", &[], body).await;
    writing.await.unwrap();

    assert_eq!(answered.status, 200);
    assert_eq!(answered.body.len(), 8 * 1024);
    assert_eq!(room.origin.requests().len(), 2);
}

#[tokio::test]
async fn an_attempt_that_has_lost_its_body_ends_though_its_origin_goes_on_reading() {
    // RFC 9113 §8.1: an origin may answer early and still take the rest of the request.
    let (end, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let room = Expiring::start(Protocols::Http2, ("", ""), |taken| {
        origin::scripted(move |mut exchange| {
            let (taken, end) = (taken.clone(), end.clone());
            async move {
                if taken.accepts(&exchange.recorded()) {
                    return Answer::text(&exchange.finish().await.text());
                }
                tokio::spawn(async move { end.send(exchange.finish().await.progress) });
                Answer::status(401)
            }
        })
    })
    .await;
    let (pen, body) = Outgoing::streamed();
    let mut client = room.client().await;
    let flow = tokio::spawn(async move { client.send("POST", "/c/x", &[], body).await });

    // Nothing more comes of the body, which is the second attempt's by now.
    assert!(pen.write("one ").await);
    room.origin.until(|tally| tally.heads == 2).await;
    let first = within("the first attempt's end", ends.recv()).await;
    assert!(pen.write("two").await);
    drop(pen);

    assert_eq!(first, Some(Progress::BrokenOff));
    let response = within("an answer", flow).await.unwrap().unwrap();
    assert_eq!(Answered::read(response).await.unwrap().text(), "one two");
}

#[tokio::test]
async fn what_is_masked_is_the_token_that_the_answered_attempt_carried() {
    for protocols in BOTH {
        let room = Expiring::start(protocols, ("", "scrub: all"), |taken| {
            origin::whole(move |request| {
                let token = request.field("authorization").unwrap();
                let status = if taken.accepts(request) { 200 } else { 401 };
                Answer::text(token)
                    .with_status(status)
                    .field("x-echo", token)
            })
        })
        .await;

        let answered = room.client().await.call("POST", "/c/x", &[], "x").await;

        assert_eq!(answered.status, 200);
        assert_eq!(room.credentials(), [OLD, NEW]);
        assert_eq!(answered.text(), "Bearer *******", "{protocols:?}");
        assert_eq!(answered.field("x-echo"), Some("Bearer *******"));
    }
}
