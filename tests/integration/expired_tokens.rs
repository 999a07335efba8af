//! Tokens that the resource domain does not accept any more: replaced once, the request repeated.

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::authority::rejection;
use crate::support::body::Pen;
use crate::support::client::{Answered, Client};
use crate::support::expiring::{BOTH, Expiring, Taken, retries};
use crate::support::gateway;
use crate::support::origin;
use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::within;

const OLD: &str = "Bearer token-1";
const NEW: &str = "Bearer token-2";

/// A connector whose origin says in the body of a 200 that the token is not accepted.
const BY_BODY: &str = "expired_on: { statuses: [], pointer: /errcode, equals: \"190\" }";

#[tokio::test]
async fn a_rejected_token_is_replaced_and_the_request_repeated() {
    // protocol.md, line 49.
    for protocols in BOTH {
        let room = Expiring::plain(protocols).await;

        for method in ["GET", "HEAD", "DELETE"] {
            let answered = room.client().await.call(method, "/c/x?y", &[], "").await;
            assert_eq!(answered.status, 200, "{protocols:?} {method}");
        }

        assert_eq!(room.credentials(), [OLD, NEW, NEW, NEW]);
        assert_eq!(room.authority.count(), 2);
        assert_eq!(room.retries("token").await, 1.0);
        let [first, second, ..] = &room.origin.requests()[..] else {
            panic!("two requests");
        };
        assert_eq!(first.target, second.target);
        let id = |request: &crate::support::exchange::Recorded| {
            request.field("x-request-id").unwrap().to_owned()
        };
        assert_eq!(id(first), id(second));
        // The short answer was read to its end, so that its connection carries the repetition.
        assert_eq!(room.origin.tally().accepted, 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn a_post_is_repeated_too_for_the_origin_has_done_nothing_with_it() {
    // RFC 6750 §3.1; protocol.md, line 49.
    for protocols in BOTH {
        let room = Expiring::plain(protocols).await;

        let answered = room
            .client()
            .await
            .call("POST", "/c/x", &[], "content")
            .await;

        assert_eq!(answered.status, 200, "{protocols:?}");
        assert_eq!(answered.text(), "content");
        let bodies = room.origin.requests();
        let bodies: Vec<_> = bodies.iter().map(|request| request.text()).collect();
        assert_eq!(bodies, ["content", "content"]);
    }
}

#[tokio::test]
async fn an_origin_that_rejects_every_token_gets_each_request_twice_at_most() {
    let room = Expiring::plain(Protocols::Http1).await;
    room.taken.only(0);

    for _ in 0..3 {
        let answered = room.gateway.get("/c/x").await;
        assert_eq!(answered.status, 401);
        assert_eq!(answered.text(), "rejected");
    }

    assert!(room.origin.tally().whole <= 6);
    assert!(room.authority.count() <= 4, "{}", room.authority.count());
}

#[tokio::test]
async fn what_nobody_may_see_costs_the_others_no_token() {
    let room = Expiring::plain(Protocols::Http1).await;
    room.taken.only(0);
    assert_eq!(room.gateway.get("/c/x").await.status, 401);
    assert_eq!(room.credentials(), [OLD, NEW]);

    for _ in 0..5 {
        assert_eq!(room.gateway.get("/c/x").await.status, 401);
    }

    // A new token had fared no better, so that none is dropped for it.
    assert_eq!(room.credentials()[2..], [NEW; 5]);
    assert_eq!(room.authority.count(), 2);
    room.taken.only(2);
    assert_eq!(room.gateway.get("/c/x").await.status, 200);
}

#[tokio::test]
async fn late_rejections_of_one_old_token_cost_one_token_request() {
    const FLOWS: usize = 40;
    for protocols in BOTH {
        let (gate, opened) = tokio::sync::watch::channel(false);
        let room = Expiring::start(protocols, ("", ""), |taken: Taken| {
            origin::scripted(move |mut exchange| {
                let (taken, mut opened) = (taken.clone(), opened.clone());
                async move {
                    let request = exchange.finish().await;
                    if taken.accepts(&request) {
                        return Answer::text("ok");
                    }
                    opened.wait_for(|open| *open).await.unwrap();
                    Answer::status(401)
                }
            })
        })
        .await;
        let (address, mut flows) = (room.gateway.flows(), JoinSet::new());
        for _ in 0..FLOWS {
            flows.spawn(async move { gateway::get(address, "/c/x").await.status });
        }
        room.origin.until(|tally| tally.whole == FLOWS).await;

        gate.send_replace(true);

        let statuses = within("the flows", flows.join_all()).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(room.authority.count(), 2, "{protocols:?}");
        assert_eq!(room.origin.tally().whole, 2 * FLOWS);
        assert_eq!(room.retries("token").await, FLOWS as f64);
    }
}

#[tokio::test]
async fn without_another_token_the_flow_gets_the_answer_of_the_origin() {
    let room = Expiring::plain(Protocols::Http1).await;
    room.authority.answer_with(|n, _| match n {
        1 => crate::support::authority::bearer("token-1", 3600),
        _ => rejection(400, "invalid_client"),
    });

    let answered = room
        .client()
        .await
        .call("POST", "/c/x", &[], "content")
        .await;

    assert_eq!(answered.status, 401);
    assert_eq!(answered.text(), "rejected");
    assert_eq!(room.origin.tally().whole, 1);
    assert_eq!(room.retries("token").await, 0.0);
}

#[tokio::test]
async fn other_refusals_of_the_origin_say_nothing_of_the_token() {
    // protocol.md, line 49.
    // RFC 6750 §3.1: `insufficient_scope` is 403, which no other token of ours would change.
    for status in [400, 403, 407, 500] {
        let room = Expiring::rejecting(Protocols::Http1, "", move || {
            let challenge = "Bearer error=\"insufficient_scope\"";
            Answer::status(status).field("www-authenticate", challenge)
        })
        .await;

        let answered = room.gateway.get("/c/x").await;

        assert_eq!(answered.status.as_u16(), status);
        assert_eq!(room.credentials(), [OLD]);
        assert_eq!(room.authority.count(), 1);
    }
}

#[tokio::test]
async fn the_statuses_that_reject_a_token_are_the_connectors_to_say() {
    let room = Expiring::rejecting(Protocols::Http1, "expired_on: { statuses: [403] }", || {
        Answer::status(403)
    })
    .await;

    assert_eq!(room.gateway.get("/c/x").await.status, 200);
    assert_eq!(room.credentials(), [OLD, NEW]);

    let room = Expiring::rejecting(Protocols::Http1, "expired_on: { statuses: [403] }", || {
        Answer::status(401)
    })
    .await;

    assert_eq!(room.gateway.get("/c/x").await.status, 401);
    assert_eq!(room.credentials(), [OLD]);
}

#[tokio::test]
async fn what_is_no_token_is_never_replaced() {
    for auth in [
        "auth: none",
        "auth: { basic: { username: svc, password: pa-ss-word } }",
        "auth: { header: { name: X-Api-Key, value: api-key-1 } }",
    ] {
        let lines = vec![auth, "expired_on: { statuses: [401] }"].leak();
        let scene = Scene::start(Plan {
            connector: lines,
            ..Plan::answering(origin::whole(|_| Answer::status(401)))
        })
        .await;

        assert_eq!(scene.gateway.get("/orders/x").await.status, 401, "{auth}");
        assert_eq!(scene.origin.tally().whole, 1);
        assert_eq!(retries(&scene.gateway, "token").await, 0.0);
    }
}

/// One request to an origin whose word about `token-1` is `rejection`, by the rule for bodies.
async fn by_body(protocols: Protocols, word: fn() -> Answer) -> (Expiring, Answered) {
    let room = Expiring::rejecting(protocols, BY_BODY, word).await;
    let answered = room.gateway.get("/c/x").await;
    (room, answered)
}

#[tokio::test]
async fn a_body_may_say_that_the_token_is_not_accepted() {
    for protocols in BOTH {
        for word in [
            || Answer::json(&json!({ "errcode": "190" })),
            || Answer::json(&json!({ "errcode": 190, "message": "x".repeat(60_000) })),
            || {
                Answer::status(200)
                    .field("content-type", "application/vnd.crm+json; charset=utf-8")
                    .body(r#"{"errcode":190}"#)
            },
        ] {
            let (room, answered) = by_body(protocols, word).await;

            assert_eq!(answered.status, 200);
            assert_eq!(answered.text(), "", "{protocols:?}");
            assert_eq!(room.credentials(), [OLD, NEW]);
        }
    }
}

#[tokio::test]
async fn a_body_that_says_something_else_is_passed_on_as_it_is() {
    let long = || Answer::json(&json!({ "message": "x".repeat(70_000), "errcode": 190 }));
    let words: [fn() -> Answer; 7] = [
        || Answer::json(&json!({ "errcode": 0 })),
        || Answer::json(&json!({ "in": { "errcode": 190 } })),
        long,
        || Answer::text(r#"{"errcode":190}"#).field("content-type", "text/plain"),
        || Answer::json(&json!({ "errcode": 190 })).with_status(201),
        || Answer::json(&json!({ "errcode": 190 })).field("content-encoding", "gzip"),
        || {
            Answer::status(200)
                .field("content-type", "application/json")
                .body(r#"{"errcode":190"#)
        },
    ];
    for protocols in BOTH {
        for word in words {
            let (room, answered) = by_body(protocols, word).await;

            let expected = word().whole_body();
            assert_eq!(answered.body, expected, "{protocols:?}");
            assert_eq!(room.credentials(), [OLD]);
            assert_eq!(room.gateway.get("/c/x").await.body, expected);
            assert_eq!(room.origin.tally().accepted, 1);
            assert_eq!(room.authority.count(), 1);
        }
    }
}

/// A room whose origin streams JSON through pens to `token-1`.
async fn streaming(protocols: Protocols) -> (Expiring, tokio::sync::mpsc::UnboundedReceiver<Pen>) {
    let (pens, penned) = tokio::sync::mpsc::unbounded_channel();
    let room = Expiring::rejecting(protocols, BY_BODY, move || {
        let (pen, answer) = Answer::streamed();
        pens.send(pen).unwrap();
        answer.field("content-type", "application/json")
    })
    .await;
    (room, penned)
}

#[tokio::test]
async fn a_sign_that_comes_in_pieces_is_seen() {
    for protocols in BOTH {
        let (room, mut penned) = streaming(protocols).await;
        let address = room.gateway.flows();
        let flow = tokio::spawn(async move { gateway::get(address, "/c/x").await });
        let pen = within("a pen", penned.recv()).await.unwrap();

        for piece in ["{\"err", "code\"", ":1", "90", "}"] {
            assert!(pen.write(piece).await);
        }
        drop(pen);

        assert_eq!(within("the flow", flow).await.unwrap().status, 200);
        assert_eq!(room.credentials(), [OLD, NEW], "{protocols:?}");
    }
}

#[tokio::test]
async fn a_long_answer_is_passed_on_while_it_comes() {
    for protocols in BOTH {
        let (room, mut penned) = streaming(protocols).await;
        let mut client = Client::http1(room.gateway.flows()).await;
        let flow = tokio::spawn(async move { client.send("GET", "/c/x", &[], "").await });
        let pen = within("a pen", penned.recv()).await.unwrap();

        let piece = "[".repeat(10_000);
        for _ in 0..7 {
            assert!(pen.write(piece.clone()).await);
        }
        // The head goes out though the body has no end yet.
        let response = within("a head", flow).await.unwrap().unwrap();
        assert!(pen.write("the end").await);
        drop(pen);

        let answered = Answered::read(response).await.unwrap();
        assert_eq!(answered.text(), piece.repeat(7) + "the end");
        assert_eq!(room.credentials(), [OLD], "{protocols:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_while_it_is_looked_into_breaks_off_for_the_flow() {
    for protocols in BOTH {
        let (room, mut penned) = streaming(protocols).await;
        let mut client = Client::http1(room.gateway.flows()).await;
        let flow = tokio::spawn(async move { client.send("GET", "/c/x", &[], "").await });
        let pen = within("a pen", penned.recv()).await.unwrap();

        assert!(pen.write(r#"{"errcode":190}"#).await);
        pen.fail().await;

        // The end may overtake the head.
        let whole = match within("the flow", flow).await.unwrap() {
            Ok(response) => Answered::read(response).await.is_ok(),
            Err(_) => false,
        };
        assert!(!whole, "{protocols:?}");
        assert_eq!(room.credentials(), [OLD]);
    }
}

#[tokio::test]
async fn server_sent_events_are_never_held_back() {
    let (pens, mut penned) = tokio::sync::mpsc::unbounded_channel();
    let room = Expiring::rejecting(Protocols::Http1, BY_BODY, move || {
        let (pen, answer) = Answer::streamed();
        pens.send(pen).unwrap();
        answer.field("content-type", "text/event-stream")
    })
    .await;
    let mut client = Client::http1(room.gateway.flows()).await;

    let response = client.send("GET", "/c/x", &[], "").await.unwrap();
    let pen = penned.recv().await.unwrap();
    assert!(pen.write("data: 1\n\n").await);
    drop(pen);

    assert_eq!(
        Answered::read(response).await.unwrap().text(),
        "data: 1\n\n"
    );
}
