//! Rows of the matrix: an origin that speaks HTTP/2.

use crate::support::chaos::Fault::{Answer, AnswerOpen, Idle, Nothing};
use crate::support::chaos::http2::Frame;
use crate::support::chaos::{Said, Then};

use super::{CONTENT, Limit, Row, Warm, rows};

// Error codes (RFC 9113 §7).
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frames(frames: &[Frame], then: Then) -> Row {
    let said = frames
        .iter()
        .fold(Said::nothing(), |said, frame| said.frame(*frame));
    Row::origin_http2(Answer(said.then(then)))
}

/// A kept connection says so to its next request, and serves the one after it.
fn open(frames: &[Frame], then: Then) -> Row {
    let said = frames
        .iter()
        .fold(Said::nothing(), |said, frame| said.frame(*frame));
    Row::origin_http2(AnswerOpen(said.then(then)))
        .warm(Warm::Yes)
        .answered(200, CONTENT)
        .heard(2)
}

fn bytes(bytes: &'static [u8]) -> Row {
    Row::origin_http2(Answer(Said::bytes(bytes).then(Then::Silence)))
}

rows! {
    nothing_is_wrong => Row::origin_http2(Nothing).heard(1);

    silence => frames(&[], Then::Silence)
        .by(Limit::Upstream("response_head: 1s"))
        .refused(504, "origin-timeout", "http_response_timeout");
    reset_before_the_answer => frames(&[], Then::Reset).hung_up();
    closed_before_the_answer => frames(&[], Then::Close).hung_up();
    reset_before_the_answer_of_a_kept_connection => open(&[], Then::Close).counts("retried connection");
    stalled_body => frames(&[Frame::Head(200), Frame::Data(b"half")], Then::Silence)
        .by(Limit::Upstream("stall: 500ms"))
        .broken(200);
    reset_amid_the_body => frames(&[Frame::Head(200), Frame::Data(b"half")], Then::Reset)
        .broken(200);
    truncated_body => frames(&[Frame::Head(200), Frame::Data(b"half")], Then::Close).broken(200);
    /// RFC 9113 §6.9.1.
    body_beyond_its_window => frames(&[Frame::Head(200), Frame::Flood(4 << 20)], Then::Silence)
        .broken(200);

    rst_stream_internal_error => frames(&[Frame::Reset(INTERNAL_ERROR)], Then::Serve).not_http();
    rst_stream_cancel => frames(&[Frame::Reset(CANCEL)], Then::Serve).not_http();
    /// RFC 9113 §8.7: nothing was done with it.
    rst_stream_refused => open(&[Frame::Reset(REFUSED_STREAM)], Then::Serve).counts("retried unsent");
    rst_stream_refused_to_a_post => open(&[Frame::Reset(REFUSED_STREAM)], Then::Serve)
        .post()
        .counts("retried unsent");
    rst_stream_amid_the_body => frames(
        &[Frame::Head(200), Frame::Data(b"half"), Frame::Reset(INTERNAL_ERROR)], Then::Serve
    ).broken(200);
    /// RFC 9113 §8.1: an early answer's farewell.
    rst_stream_no_error_behind_the_answer => frames(
        &[Frame::Head(200), Frame::LastData(b"whole"), Frame::Reset(NO_ERROR)], Then::Serve
    ).answered(200, "whole");

    goaway_before_the_request => open(&[Frame::GoAwayBefore(NO_ERROR)], Then::Serve).counts("retried unsent");
    goaway_before_a_post => open(&[Frame::GoAwayBefore(NO_ERROR)], Then::Serve)
        .post()
        .counts("retried unsent");
    goaway_with_an_error => frames(&[Frame::GoAwayBehind(ENHANCE_YOUR_CALM)], Then::Close).hung_up();
    goaway_behind_the_request_and_then_an_answer => frames(
        &[Frame::GoAwayBehind(NO_ERROR), Frame::Head(200), Frame::LastData(b"whole")], Then::Serve
    ).answered(200, "whole");
    goaway_amid_the_body => frames(
        &[Frame::Head(200), Frame::Data(b"half"), Frame::GoAwayBehind(ENHANCE_YOUR_CALM)], Then::Close
    ).broken(200);
    goaway_while_idle => Row::origin_http2(Idle(
        Said::nothing().frame(Frame::GoAwayBehind(NO_ERROR)).then(Then::Serve)
    )).warm(Warm::Noticed).answered(200, CONTENT).heard(1);

    garbage => bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").not_http();
    /// RFC 9113 §4.2.
    oversized_frame => bytes(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01").not_http();
    /// RFC 9113 §4.3: a header block that cannot be decoded.
    undecodable_head => bytes(b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff").not_http();

    status_503 => frames(&[Frame::Head(503), Frame::LastData(b"503")], Then::Serve)
        .answered(503, "503");
    status_429 => frames(&[Frame::Head(429), Frame::LastData(b"429")], Then::Serve)
        .answered(429, "429");
}
