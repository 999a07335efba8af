//! Rows of the matrix: an origin that speaks HTTP/1.1, or should.

use crate::support::chaos::Fault::{
    Answer, AnswerOpen, Certificate, Deaf, Greet, Idle, NoTls, Nothing, Refuse, Swallow,
};
use crate::support::chaos::{Said, Then};

use super::Limit::Upstream;
use super::{CONTENT, Row, Warm, rows};

const CONNECT: super::Limit = Upstream("connect: 1s");
const RESPONSE_HEAD: super::Limit = Upstream("response_head: 1s");
const STALL: super::Limit = Upstream("stall: 500ms");

/// The head of an answer that is longer than what ever follows it.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

fn said(bytes: &str, then: Then) -> Row {
    Row::origin(Answer(Said::bytes(bytes).then(then)))
}

fn no_tls(bytes: &str, then: Then) -> Row {
    Row::origin(NoTls(Said::bytes(bytes).then(then)))
}

impl Row {
    pub(super) fn not_http(self) -> Self {
        self.refused(502, "origin-protocol", "http_protocol_error")
    }

    pub(super) fn no_tls(self) -> Self {
        self.refused(502, "origin-tls", "tls_protocol_error")
    }

    pub(super) fn somebody_else(self) -> Self {
        self.refused(502, "origin-tls", "tls_certificate_error")
    }

    pub(super) fn hung_up(self) -> Self {
        self.refused(502, "origin-unreachable", "connection_terminated")
    }

    pub(super) fn silent(self) -> Self {
        self.by(RESPONSE_HEAD)
            .refused(504, "origin-timeout", "http_response_timeout")
    }

    pub(super) fn unconnected(self) -> Self {
        self.by(CONNECT)
            .refused(504, "origin-timeout", "connection_timeout")
    }
}

rows! {
    nothing_is_wrong => Row::origin(Nothing).heard(1);

    // On the way there.
    refused => Row::origin(Refuse).refused(502, "origin-unreachable", "connection_refused");
    black_hole => Row::origin(Swallow).unconnected();
    deaf => Row::origin(Deaf).unconnected();
    reset_before_the_handshake => no_tls("", Then::Reset).no_tls();
    closed_before_the_handshake => no_tls("", Then::Close).no_tls();
    silent_amid_the_handshake => no_tls("\u{16}\u{3}\u{3}", Then::Silence).unconnected();
    plaintext => no_tls("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Then::Close).no_tls();
    wrong_certificate => Row::origin(Certificate("another name")).somebody_else();
    expired_certificate => Row::origin(Certificate("expired")).somebody_else();
    certificate_of_a_stranger => Row::origin(Certificate("signed by itself")).somebody_else();
    half_closed_behind_the_handshake =>
        Row::origin(Greet(Said::nothing().then(Then::Close))).hung_up();

    // Before the head.
    reset_before_the_head => said("", Then::Reset).hung_up();
    closed_before_the_head => said("", Then::Close).hung_up();
    cut_before_the_head => said("", Then::Cut).hung_up();
    silence => said("", Then::Silence).silent();
    post_is_answered_with_silence => said("", Then::Silence).post().silent();
    reset_before_the_head_of_a_post => said("", Then::Reset).post().hung_up();

    // Amid it.
    reset_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Reset).not_http();
    closed_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Close).not_http();
    silent_amid_the_head => said("HTTP/1.1 200 OK\r\nContent-", Then::Silence).silent();
    dripping_head => Row::origin(Answer(
        Said::nothing().drip(b"HTTP/1.1 200 OK\r\n").then(Then::DripAgain(b"X: y\r\n"))
    )).silent();
    endless_head => said("HTTP/1.1 200 OK\r\nX: ", Then::Again(&[b'y'; 4096])).not_http();
    endless_fields => said("HTTP/1.1 200 OK\r\n", Then::Again(b"X: y\r\n")).not_http();
    /// RFC 9110 §15.2: interim answers are none.
    endless_interim_answers =>
        said("", Then::DripAgain(b"HTTP/1.1 100 Continue\r\n\r\n")).silent();
    another_protocol => said("SSH-2.0-OpenSSH_9.9\r\n", Then::Close).not_http();
    malformed_status_line => said("HTTP/1.1 2OO OK\r\n\r\n", Then::Close).not_http();
    /// RFC 9112 §5.1.
    malformed_field => said("HTTP/1.1 200 OK\r\nBad Field: x\r\n\r\n", Then::Close).not_http();
    /// RFC 9112 §6.3.
    two_lengths => said(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Then::Close
    ).not_http();
    /// RFC 9110 §15.2.2.
    unasked_upgrade => said(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Then::Silence
    ).not_http();

    // Behind it.
    reset_after_the_head => said(HEAD, Then::Reset).broken(200);
    closed_after_the_head => said(HEAD, Then::Close).broken(200);
    reset_amid_the_body => said(&format!("{HEAD}half"), Then::Reset).broken(200);
    truncated_body => said(&format!("{HEAD}half"), Then::Close).broken(200);
    /// RFC 9112 §7.1, §8.
    truncated_chunks => said(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Then::Close
    ).broken(200);
    malformed_chunks => said(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\nhalf\r\n", Then::Silence
    ).broken(200);
    /// RFC 8446 §6.1: without close_notify the end is none.
    cut_body_without_a_length => said("HTTP/1.1 200 OK\r\n\r\nhalf", Then::Cut).broken(200);
    half_closed_behind_a_body_without_a_length =>
        said("HTTP/1.1 200 OK\r\n\r\nwhole", Then::Close).answered(200, "whole");
    stalled_body => said(&format!("{HEAD}half"), Then::Silence).by(STALL).broken(200);
    dripping_body => Row::origin(Answer(
        Said::bytes(HEAD).drip(b"drop after").then(Then::Serve)
    )).answered(200, "drop after");
    endless_body =>
        said("HTTP/1.1 200 OK\r\n\r\n", Then::Again(&[b'y'; 4096])).endless(1024 * 1024);
    /// RFC 9112 §6.3; protocol.md, row 16.
    bytes_behind_the_answer => said(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        Then::Silence
    ).answered(200, "ok");

    // An idle connection.
    idle_connection_that_was_closed =>
        Row::origin(Idle(Said::nothing().then(Then::Close)))
            .warm(Warm::Noticed)
            .answered(200, CONTENT)
            .heard(1);
    idle_connection_that_was_reset =>
        Row::origin(Idle(Said::nothing().then(Then::Reset)))
            .warm(Warm::Noticed)
            .answered(200, CONTENT)
            .heard(1);
    /// RFC 9110 §9.2.2: what was idle may have been closed before the request came.
    idle_connection_that_resets_a_get =>
        Row::origin(AnswerOpen(Said::nothing().then(Then::Reset)))
            .warm(Warm::Yes)
            .answered(200, CONTENT)
            .heard(2)
            .counts("retried connection");
    idle_connection_that_closes_on_a_get =>
        Row::origin(AnswerOpen(Said::nothing().then(Then::Close)))
            .warm(Warm::Yes)
            .answered(200, CONTENT)
            .heard(2)
            .counts("retried connection");
    idle_connection_that_closes_on_a_post =>
        Row::origin(AnswerOpen(Said::nothing().then(Then::Close)))
            .warm(Warm::Yes)
            .post()
            .hung_up()
            .heard(1);
    idle_connection_that_resets_a_post => said("", Then::Reset).warm(Warm::Yes).post().hung_up();

    // What an origin says for itself.
    status_500 => said("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n500", Then::Serve)
        .answered(500, "500");
    status_502 => said("HTTP/1.1 502 No\r\nContent-Length: 3\r\n\r\n502", Then::Serve)
        .answered(502, "502");
    status_503 => said(
        "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\n503", Then::Serve
    ).answered(503, "503");
    status_504 => said("HTTP/1.1 504 No\r\nContent-Length: 3\r\n\r\n504", Then::Serve)
        .answered(504, "504");
    status_429 => said(
        "HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\n429", Then::Serve
    ).answered(429, "429");
}
