//! Rows of the matrix: a token endpoint. The origin is healthy, and hears nothing of the flow.

use std::time::Duration;

use crate::support::chaos::Fault::{Answer, Certificate, Deaf, NoTls, Refuse, Swallow};
use crate::support::chaos::{Said, Then};

use super::{Limit, Row, rows};

const UNREACHABLE: &str = "token unreachable";
const TIMEOUT: &str = "token timeout";
const MALFORMED: &str = "token malformed";
const REJECTED: &str = "token rejected";

/// `tokens.fetch` in real time: a connection is not made by the clock that a test turns.
const DIAL: Limit = Limit::Tokens("wait: 1m, fetch: 1s");
const FETCH: Limit = Limit::TokensTurned("wait: 1m, fetch: 10s", Duration::from_secs(10));
const WAIT: Limit = Limit::TokensTurned("wait: 10s, fetch: 5m", Duration::from_secs(10));

/// The head of a token answer that is longer than what ever follows it.
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n";

fn said(bytes: &str, then: Then, outcome: &'static str) -> Row {
    Row::token_endpoint(Answer(Said::bytes(bytes).then(then)), outcome)
}

fn no_tls(bytes: &str, then: Then) -> Row {
    Row::token_endpoint(NoTls(Said::bytes(bytes).then(then)), UNREACHABLE)
}

fn rejection(status: &str, content: &str) -> Row {
    let length = content.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{content}");
    said(&answer, Then::Serve, REJECTED)
}

rows! {
    // On the way there.
    refused => Row::token_endpoint(Refuse, UNREACHABLE);
    black_hole => Row::token_endpoint(Swallow, TIMEOUT).by(DIAL);
    deaf => Row::token_endpoint(Deaf, TIMEOUT).by(DIAL);
    reset_before_the_handshake => no_tls("", Then::Reset);
    closed_before_the_handshake => no_tls("", Then::Close);
    plaintext => no_tls("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Then::Close);
    wrong_certificate => Row::token_endpoint(Certificate("another name"), UNREACHABLE);
    expired_certificate => Row::token_endpoint(Certificate("expired"), UNREACHABLE);
    certificate_of_a_stranger => Row::token_endpoint(Certificate("signed by itself"), UNREACHABLE);

    // Before, amid and behind the head.
    reset_before_the_head => said("", Then::Reset, UNREACHABLE);
    closed_before_the_head => said("", Then::Close, UNREACHABLE);
    reset_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Reset, UNREACHABLE);
    closed_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Close, UNREACHABLE);
    reset_after_the_head => said(HEAD, Then::Reset, UNREACHABLE);
    truncated_body => said(&format!("{HEAD}{{"), Then::Close, UNREACHABLE);
    cut_body_without_a_length =>
        said(&format!("HTTP/1.1 200 OK\r\n\r\n{}", super::CONTENT), Then::Cut, UNREACHABLE);
    half_closed_behind_a_body_without_a_length =>
        said(&format!("HTTP/1.1 200 OK\r\n\r\n{}", super::CONTENT), Then::Close, super::TOKEN_OK)
            .meanwhile(None)
            .answered(200, super::CONTENT);

    // Slow ones.
    silence_ends_with_the_fetch => said("", Then::Silence, TIMEOUT).by(FETCH);
    /// The fetch goes on, and the next flow has its token.
    silence_ends_with_the_wait =>
        Row::token_endpoint(Answer(Said::nothing().then(Then::Silence)), "").by(WAIT);
    silent_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Silence, TIMEOUT).by(FETCH);
    dripping_head => Row::token_endpoint(Answer(
        Said::nothing().drip(b"HTTP/1.1 200 OK\r\n").then(Then::DripAgain(b"X: y\r\n"))
    ), TIMEOUT).by(FETCH);
    dripping_body => said("HTTP/1.1 200 OK\r\n\r\n", Then::DripAgain(b" "), TIMEOUT).by(FETCH);
    stalled_body => said(&format!("{HEAD}{{"), Then::Silence, TIMEOUT).by(FETCH);

    // Wrong ones.
    another_protocol => said("SSH-2.0-OpenSSH_9.9\r\n", Then::Close, MALFORMED);
    malformed_head => said("HTTP/1.1 200 OK\r\nBad Field: x\r\n\r\n", Then::Close, MALFORMED);
    endless_head => said("HTTP/1.1 200 OK\r\nX: ", Then::Again(&[b'y'; 4096]), MALFORMED);
    endless_body => said("HTTP/1.1 200 OK\r\n\r\n", Then::Again(&[b' '; 4096]), MALFORMED);
    a_page => said("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", Then::Serve, MALFORMED);

    // What it says for itself.
    status_500 => rejection("500 No", "");
    status_503 => rejection("503 No\r\nRetry-After: 7", "");
    status_429 => rejection("429 No\r\nRetry-After: 7", "");
    status_400_temporarily => rejection("400 No", r#"{"error":"temporarily_unavailable"}"#);
    redirect => rejection("307 No\r\nLocation: https://elsewhere.example/", "");
}
