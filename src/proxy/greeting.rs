//! How a client begins: which protocol it speaks, and its first head.
//!
//! # Invariants
//!
//! A connection on which no whole head has arrived costs what has arrived and little more. hyper
//! sets 24 KiB aside as soon as it looks at a connection, so it does not see one before.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::meter::Meter;

/// What begins every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for what a client sends first, in bytes.
const START_BYTES: usize = 512;
/// A first head that is larger than this is read by hyper, which has its own limit, in bytes.
const HELD_BACK_BYTES_MAX: usize = 8192;

/// The HTTP version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http11,
    Http2,
}

/// A stream whose protocol is known.
#[derive(Debug)]
pub(super) struct Greeted<S> {
    pub(super) stream: S,
    /// What was read already.
    pub(super) replay: Bytes,
    pub(super) version: Version,
}

/// Reads enough to tell HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1.1, and of HTTP/1.1
/// a head.
pub(super) async fn greet<S>(mut stream: S, meter: &Meter) -> io::Result<Greeted<S>>
where
    S: AsyncRead + Unpin,
{
    let mut start = BytesMut::new();
    let mut version = None;
    while match version {
        None => true,
        Some(Version::Http11) => awaits_more(&start),
        Some(Version::Http2) => false,
    } {
        start.reserve(START_BYTES);
        if stream.read_buf(&mut start).await? == 0 {
            break;
        }
        meter.spoke();
        version = version_of(&start);
        if version.is_some() {
            meter.greeted();
        }
    }
    Ok(Greeted {
        stream,
        replay: start.freeze(),
        version: version.unwrap_or(Version::Http11),
    })
}

/// The version that `start` begins, unless it may still become either.
fn version_of(start: &[u8]) -> Option<Version> {
    if start.starts_with(PREFACE) {
        return Some(Version::Http2);
    }
    (!PREFACE.starts_with(start)).then_some(Version::Http11)
}

/// Whether `start` is the beginning of a head and no more. What cannot be one is hyper's to refuse,
/// and a client that speaks TLS in a place without it learns so at once.
fn awaits_more(start: &[u8]) -> bool {
    let may_be_head = start.first().is_some_and(u8::is_ascii_alphabetic);
    may_be_head && start.len() < HELD_BACK_BYTES_MAX && !has_blank_line(start)
}

/// Whether a head ends in `start`. Lines end with LF, which CR may precede (RFC 9112 §2.2).
fn has_blank_line(start: &[u8]) -> bool {
    let mut line_ends = start.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.any(|(at, _)| {
        let next = start.get(at + 1..).unwrap_or_default();
        next.starts_with(b"\n") || next.starts_with(b"\r\n")
    })
}

#[cfg(test)]
mod tests {
    use super::super::meter::Tick;
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    async fn greeted(sent: &[u8]) -> (Version, Bytes) {
        let greeted = greet(sent, &Meter::new(Tick::default())).await;
        greeted.map_or((Version::Http2, Bytes::new()), |it| (it.version, it.replay))
    }

    #[tokio::test]
    async fn the_preface_tells_http2_and_nothing_read_is_lost() {
        let cases: [(&[u8], Version); 5] = [
            (PREFACE, Version::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Version::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Version::Http11),
            (b"P", Version::Http11),
            (HEAD, Version::Http11),
        ];
        for (sent, version) in cases {
            assert_eq!(greeted(sent).await, (version, Bytes::copy_from_slice(sent)));
        }
    }

    #[test]
    fn a_head_is_awaited_until_its_blank_line_and_nothing_else_is() {
        for cut in 1..HEAD.len() {
            assert!(awaits_more(&HEAD[..cut]), "{cut}");
        }
        assert!(!awaits_more(HEAD));
        assert!(!awaits_more(b"GET / HTTP/1.1\nHost: localhost\n\n"));
        assert!(!awaits_more(b"\x16\x03\x01\x02"));
        assert!(!awaits_more(b"\r\nGET"));
        assert!(!awaits_more(&[b'a'; HELD_BACK_BYTES_MAX]));
    }
}
