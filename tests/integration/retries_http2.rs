//! Requests that are sent again over HTTP/2, where an origin says what it did nothing with (RFC 9113
//! §6.8, §8.7).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::support::expiring::retries;
use crate::support::raw::RawOrigin;
use crate::support::resending::{call, raw, unreached};
use crate::support::tls::Protocols;
use crate::support::within;

/// An HTTP/2 origin frame by frame: whatever arrives, it says only what it is told to.
struct Frames {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const REFUSED_STREAM: u32 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

impl Frames {
    /// The next connection, after both prefaces (RFC 9113 §3.4).
    async fn accept(raw: &RawOrigin) -> Self {
        let mut frames = Self {
            stream: raw.accept_tls().await,
            read: Vec::new(),
        };
        frames.fill(24).await;
        frames.read.drain(..24);
        frames.write(SETTINGS, 0, 0, &[]).await;
        frames
    }

    async fn fill(&mut self, bytes: usize) {
        while self.read.len() < bytes {
            let reading = self.stream.read_buf(&mut self.read);
            assert!(within("a frame", reading).await.unwrap() > 0, "ended");
        }
    }

    /// The next frame (RFC 9113 §4.1): its kind, flags and stream.
    async fn frame(&mut self) -> (u8, u8, u32) {
        self.fill(9).await;
        let head: [u8; 9] = self.read[..9].try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        self.fill(9 + length).await;
        self.read.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        (head[3], head[4], stream)
    }

    /// The stream of the next request, once it is whole.
    async fn request(&mut self) -> u32 {
        loop {
            let (kind, flags, stream) = self.frame().await;
            if (kind == HEADERS || kind == DATA) && flags & 1 == 1 {
                return stream;
            }
        }
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        within("a frame to be taken", self.stream.write_all(&frame))
            .await
            .unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Answers 200 and nothing else (RFC 7541 Appendix A, entry 8).
    async fn answer(&mut self, stream: u32) {
        let end = END_STREAM_AND_HEADERS;
        self.write(HEADERS, end, stream, &[0x88]).await;
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        let payload = code.to_be_bytes();
        self.write(RST_STREAM, 0, stream, &payload).await;
    }

    async fn go_away(&mut self, last_stream: u32, code: u32) {
        let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        self.write(GOAWAY, 0, 0, &payload).await;
    }
}

#[tokio::test]
async fn a_refused_stream_is_opened_again_under_any_method() {
    // RFC 9113 §8.7.
    for (method, body) in [("GET", ""), ("POST", ""), ("POST", "content")] {
        let (_stage, raw, gateway) = raw(Protocols::Http2, &[]).await;

        let flow = call(&gateway, method, body);
        let mut origin = Frames::accept(&raw).await;
        let first = origin.request().await;
        origin.reset(first, REFUSED_STREAM).await;
        let second = origin.request().await;
        origin.answer(second).await;

        assert_eq!(within("the flow", flow).await.unwrap().status, 200);
        assert_eq!(retries(&gateway, "unsent").await, 1.0, "{method}");
    }
}

#[tokio::test]
async fn an_origin_that_refuses_every_stream_is_asked_four_times() {
    let (_stage, raw, gateway) = raw(Protocols::Http2, &[]).await;

    let flow = call(&gateway, "POST", "content");
    let mut origin = Frames::accept(&raw).await;
    for _ in 0..4 {
        let stream = origin.request().await;
        origin.reset(stream, REFUSED_STREAM).await;
    }

    unreached(&within("the flow", flow).await.unwrap(), false);
    assert_eq!(retries(&gateway, "unsent").await, 3.0);
}

#[tokio::test]
async fn other_resets_are_the_origins_answer() {
    const INTERNAL_ERROR: u32 = 2;
    const CANCEL: u32 = 8;
    for code in [INTERNAL_ERROR, CANCEL] {
        let retry = ["retry: { statuses: [502], attempts: 5 }"];
        let (_stage, raw, gateway) = raw(Protocols::Http2, &retry).await;

        let flow = call(&gateway, "GET", "");
        let mut origin = Frames::accept(&raw).await;
        let stream = origin.request().await;
        origin.reset(stream, code).await;

        let answered = within("the flow", flow).await.unwrap();
        assert_eq!(answered.status, 502);
        assert_eq!(answered.json()["may_have_reached_origin"], true);
        assert_eq!(retries(&gateway, "unsent").await, 0.0);
        assert_eq!(retries(&gateway, "connection").await, 0.0);
    }
}

#[tokio::test]
async fn a_stream_behind_the_last_one_of_a_goaway_moves_to_another_connection() {
    // RFC 9113 §6.8.
    for (method, body) in [("GET", ""), ("POST", "content")] {
        let (_stage, raw, gateway) = raw(Protocols::Http2, &[]).await;

        let flow = call(&gateway, method, body);
        let mut origin = Frames::accept(&raw).await;
        origin.request().await;
        origin.go_away(0, 0).await;
        let mut another = Frames::accept(&raw).await;
        let stream = another.request().await;
        another.answer(stream).await;

        assert_eq!(within("the flow", flow).await.unwrap().status, 200);
        assert_eq!(retries(&gateway, "unsent").await, 1.0, "{method}");
    }
}

#[tokio::test]
async fn a_stream_that_a_goaway_leaves_in_doubt_is_sent_again_only_if_idempotent() {
    for (method, body) in [("POST", "content"), ("PATCH", ""), ("GET", "")] {
        let (_stage, raw, gateway) = raw(Protocols::Http2, &[]).await;
        let first = call(&gateway, "GET", "");
        let mut origin = Frames::accept(&raw).await;
        let stream = origin.request().await;
        origin.answer(stream).await;
        assert_eq!(within("the first", first).await.unwrap().status, 200);

        let flow = call(&gateway, method, body);
        let stream = origin.request().await;
        origin.go_away(stream, 0).await;
        drop(origin);

        if method == "GET" {
            let mut another = Frames::accept(&raw).await;
            let stream = another.request().await;
            another.answer(stream).await;
            assert_eq!(within("the flow", flow).await.unwrap().status, 200);
        } else {
            unreached(&within("the flow", flow).await.unwrap(), true);
        }
    }
}
