//! Answers over HTTP/1.1: where they end.

use super::load::body::Body;
use super::load::head::{Head, HeadError, Length, scan};
use super::load::refusal::Refused;

fn head(text: &str) -> Head {
    scan(text.as_bytes()).unwrap().unwrap()
}

#[test]
fn a_head_says_how_long_its_body_is() {
    // RFC 9112 §6.3, each rule in turn.
    for (text, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", Length::Bytes(0)),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            Length::Bytes(0),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            Length::Chunked,
        ),
        (
            "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:Chunked\r\n\r\n",
            Length::Chunked,
        ),
        (
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length:  1048576 \r\n\r\n",
            Length::Bytes(1_048_576),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 7\nContent-Length: 7\n\n",
            Length::Bytes(7),
        ),
        ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", Length::ToEnd),
        ("HTTP/1.1 200\r\n\r\n", Length::ToEnd),
    ] {
        let read = head(text);
        assert_eq!(read.length, length, "{text}");
        assert_eq!(read.bytes, text.len(), "{text}");
    }
}

#[test]
fn a_head_ends_where_its_empty_line_does() {
    let text = "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n";
    let read = head(&format!("{text}ok"));

    assert_eq!((read.status, read.bytes), (201, text.len()));
    for cut in 0..text.len() {
        assert_eq!(scan(&text.as_bytes()[..cut]), Ok(None), "{cut} bytes");
    }
}

#[test]
fn a_head_says_whether_the_connection_ends() {
    // RFC 9112 §9.3.
    for (text, closes) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: x , Close\r\n\r\n",
            true,
        ),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
    ] {
        assert_eq!(head(text).closes, closes, "{text}");
    }
}

#[test]
fn what_is_no_http_is_told_as_that() {
    for text in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2 200\r\n",
        "HTTP/1.1 2x0 OK\r\n",
        "\r\n",
    ] {
        let told = scan(text.as_bytes());
        assert!(matches!(told, Err(HeadError::NotHttp(_))), "{told:?}");
    }
    for field in [
        "content-length: -1",
        "content-length: +1",
        "content-length: ",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip, chunked",
    ] {
        let told = scan(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n").as_bytes());
        assert!(told.is_err(), "{field}: {told:?}");
    }
}

/// Reads `bytes` in pieces of `size`: the content, what was not read, and whether it was whole.
fn read_in(size: usize, length: Length, bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let mut body = Body::new(length);
    let (mut content, mut left) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let taken = body.read(piece, |part| content.extend_from_slice(part));
        left += piece.len() - taken.unwrap();
    }
    (content, left, body.is_whole())
}

#[test]
fn a_body_ends_where_it_says_however_it_comes_in() {
    // RFC 9112 §7.1: extensions and trailers are read over.
    let chunked = b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\nnext";
    for size in 1..=chunked.len() {
        let read = read_in(size, Length::Chunked, chunked);
        assert_eq!(read, (b"abc0123456789".to_vec(), 4, true), "by {size}");
        let read = read_in(size, Length::Bytes(3), b"abcnext");
        assert_eq!(read, (b"abc".to_vec(), 4, true), "by {size}");
        let read = read_in(size, Length::Chunked, &chunked[..chunked.len() - 6]);
        assert!(!read.2, "by {size}: the last line is missing");
    }
}

#[test]
fn malformed_chunks_are_told() {
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let read = Body::new(Length::Chunked).read(text.as_bytes(), |_| {});
        assert!(read.is_err(), "{text:?}");
    }
}

#[test]
fn a_gateways_own_answers_are_told_from_the_origins() {
    let problem = br#"{"type":"urn:attache:problem:busy","title":"Service Unavailable"}"#;
    for (proxy_status, content, told) in [
        (
            "attache; error=connection_limit_reached",
            &problem[..],
            Some("attache: busy"),
        ),
        // Without a document, or with one that says nothing, the registered word is left.
        ("attache; error=dns_error", b"", Some("attache: dns_error")),
        (
            "a;error=x, \"edge, 1\" ; received-status=503;error=\"y\"",
            br#"{"type": "about:blank"}"#,
            Some("edge, 1: y"),
        ),
        // Who passed an answer on did not refuse (RFC 9209 §2.1).
        ("attache; received-status=503", &problem[..], None),
        ("", &problem[..], None),
    ] {
        let read = Refused::read(proxy_status, content);
        let read = read.map(|refused| refused.to_string());
        assert_eq!(read.as_deref(), told, "{proxy_status}");
    }
}

#[test]
fn field_lines_of_one_name_are_one_list() {
    let text = "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: a\r\nproxy-status: b; error=c\r\n\r\n";

    assert_eq!(head(text).proxy_status.as_deref(), Some("a, b; error=c"));
}
