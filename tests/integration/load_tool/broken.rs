//! Targets that break off, end connections, or answer what is no answer: each is told as what it
//! is, and the run goes on.

use std::time::Duration;

use crate::support::chaos::http2::Frame;
use crate::support::chaos::{Chaos, Fault, Said, Then};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;

use super::load::target::Tls;
use super::load::{Client, Exchange, Load, Outcome, Pace, Target, run};

const CONTENT: &str = "ok";
const HTTP2: Client = Client::Http2 { streams: 1 };

/// Sends `pace` for so long over one connection.
async fn sent(
    (stage, peer): (&Stage, &Chaos),
    (client, pace): (Client, Pace),
    lasts: Duration,
) -> Outcome {
    let ca = stage.directory().join("ca.pem");
    let target = Target {
        address: peer.address(),
        host: "localhost".to_owned(),
        prefix: String::new(),
        tls: Some(Tls::trusting("localhost", Some(&ca)).unwrap()),
    };
    let load = Load {
        name: "test",
        title: "a test",
        exchange: Exchange::Get {
            answer_bytes: CONTENT.len(),
        },
        client,
        connections: 1,
        pace,
    };
    let running = tokio::task::spawn_blocking(move || run(&load, &target, lasts));
    running.await.unwrap()
}

/// Answers that are none, and what has to be told of them.
fn broken() -> Vec<(Client, Said, &'static str)> {
    let bytes = |text: &str| Said::bytes(text).then(Then::Close);
    let long = "HTTP/1.1 200 OK\r\nx: ".to_owned() + &"x".repeat(70_000);
    let kept = Client::KeptAlive;
    vec![
        (
            kept,
            Said::nothing().then(Then::Close),
            "closed before the answer began",
        ),
        (
            kept,
            Said::nothing().then(Then::Reset),
            "the connection broke",
        ),
        (kept, bytes("HTTP/1.1 20"), "closed amid the answer"),
        (
            kept,
            bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"),
            "closed amid the answer",
        ),
        (
            kept,
            bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokok"),
            "bytes behind the answer's end",
        ),
        (
            Client::NewEach,
            bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx"),
            "a malformed chunk",
        ),
        (
            Client::NewEach,
            bytes("SSH-2.0-x\r\n"),
            "this is not HTTP/1.1: \"SSH-2.0-x\"",
        ),
        (
            kept,
            bytes(&long),
            "the answer's head has more than 65536 bytes",
        ),
        (
            HTTP2,
            Said::nothing().frame(Frame::Reset(7)),
            "HTTP/2: stream error",
        ),
        (
            HTTP2,
            Said::nothing()
                .frame(Frame::GoAwayBehind(2))
                .then(Then::Close),
            "HTTP/2: ",
        ),
        (
            HTTP2,
            Said::nothing().then(Then::Reset),
            "HTTP/2: connection reset",
        ),
    ]
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_what_it_is() {
    for (client, said, told) in broken() {
        let protocols = match client {
            Client::Http2 { .. } => Protocols::Http2,
            Client::KeptAlive | Client::NewEach => Protocols::Http1,
        };
        let stage = Stage::new();
        let peer = Chaos::start(&stage, protocols, CONTENT, Fault::Answer(said)).await;

        let lasts = Duration::from_millis(50);
        let outcome = sent((&stage, &peer), (client, Pace::Closed), lasts).await;

        assert_eq!(outcome.requests, 0, "{told}");
        assert!(outcome.failures > 0, "{told}");
        let all = outcome.told.join("\n");
        assert!(all.contains(told), "{told}: {all}");
    }
}

#[tokio::test]
async fn what_comes_before_the_answer_and_how_it_is_cut_make_no_difference() {
    // RFC 9110 §15.2; RFC 9112 §6.3, rule 8.
    let early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    for said in [
        Said::bytes(early).drip(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        Said::nothing()
            .drip(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        Said::bytes("HTTP/1.0 200 OK\r\n\r\nok").then(Then::Close),
    ] {
        let stage = Stage::new();
        let fault = Fault::Answer(said);
        let peer = Chaos::start(&stage, Protocols::Http1, CONTENT, fault).await;

        let lasts = Duration::from_millis(50);
        let outcome = sent((&stage, &peer), (Client::KeptAlive, Pace::Closed), lasts).await;

        assert_eq!(outcome.told, [""; 0]);
        assert!(outcome.requests > 0);
    }
}

#[tokio::test]
async fn a_connection_that_ends_while_nothing_is_under_way_is_replaced() {
    let goaway = Said::nothing().frame(Frame::GoAwayBehind(0));
    for (client, protocols, said) in [
        (Client::KeptAlive, Protocols::Http1, Said::nothing()),
        (HTTP2, Protocols::Http2, goaway),
    ] {
        let stage = Stage::new();
        let peer = Chaos::start(&stage, protocols, CONTENT, Fault::Nothing).await;

        // One to begin with, one at once, and one long after the connection has ended.
        let (pace, lasts) = (Pace::Open { per_second: 1 }, Duration::from_millis(1100));
        let ending = async {
            peer.until(|tally| tally.heard == 2).await;
            peer.inflict(Fault::Idle(said.then(Then::Close)));
        };
        let (outcome, ()) = tokio::join!(sent((&stage, &peer), (client, pace), lasts), ending);

        assert_eq!(outcome.told, [""; 0], "{client:?}");
        assert_eq!(outcome.requests, 2, "{client:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_on_a_connection_that_was_said_to_end() {
    // RFC 9112 §9.6: also where the server takes its time over it.
    let stage = Stage::new();
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let fault = Fault::Answer(Said::bytes(answer).then(Then::Silence));
    let peer = Chaos::start(&stage, Protocols::Http1, CONTENT, fault).await;

    let lasts = Duration::from_millis(50);
    let outcome = sent((&stage, &peer), (Client::KeptAlive, Pace::Closed), lasts).await;

    assert_eq!(outcome.told, [""; 0]);
    assert!(outcome.requests > 0);
}

#[tokio::test]
async fn a_target_that_never_answers_does_not_hold_a_run_up() {
    let stage = Stage::new();
    let silence = Fault::Answer(Said::nothing().then(Then::Silence));
    for (client, protocols) in [
        (Client::KeptAlive, Protocols::Http1),
        (HTTP2, Protocols::Http2),
    ] {
        let peer = Chaos::start(&stage, protocols, CONTENT, silence.clone()).await;

        let lasts = Duration::from_millis(50);
        let outcome = sent((&stage, &peer), (client, Pace::Closed), lasts).await;

        assert_eq!((outcome.requests, outcome.failures), (0, 2), "{client:?}");
        assert!(
            outcome.told[1].starts_with("no answer within "),
            "{outcome:?}"
        );
        assert_eq!(outcome.latencies.len(), 1, "{client:?}: it was waited for");

        let (pace, lasts) = (Pace::Open { per_second: 100 }, Duration::from_millis(50));
        let outcome = sent((&stage, &peer), (client, pace), lasts).await;

        // One to begin with, one under way, and four that could not be sent.
        let counted = (outcome.requests, outcome.failures, outcome.unsent);
        assert_eq!(counted, (0, 6, 4), "{client:?}");
        assert_eq!(
            outcome.latencies.len(),
            5,
            "{client:?}: all were waited for"
        );
        // Nobody waited for less than a second after the end.
        assert!(outcome.latencies.min() > 1_000_000_000, "{outcome:?}");
    }
}
