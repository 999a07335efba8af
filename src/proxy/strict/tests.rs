use super::*;

const HOST: &str = "Host: localhost\r\n";
const CHUNKED: &str = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How much of `stream` passes, in one piece, in two, and byte by byte.
fn passes(stream: &str) -> usize {
    let bytes = stream.as_bytes();
    let whole = Strict::default().follow(bytes);
    let in_pieces = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut strict = Strict::default();
        pieces.map(|piece| strict.follow(piece)).sum::<usize>()
    };
    for cut in 0..=bytes.len() {
        let (one, two) = bytes.split_at(cut);
        let passed = in_pieces(&mut [one, two].into_iter());
        // What had passed of a line before it was known to be refused, has passed.
        assert!(
            passed >= whole && passed <= whole.max(cut),
            "{stream:?} at {cut}"
        );
        assert_eq!(
            passed == bytes.len(),
            whole == bytes.len(),
            "{stream:?} at {cut}"
        );
    }
    let single = in_pieces(&mut bytes.chunks(1));
    assert_eq!(single == bytes.len(), whole == bytes.len(), "{stream:?}");
    whole
}

#[test]
fn what_is_written_well_passes_from_message_to_message() {
    let get = format!("GET /a?b HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "y".repeat(3000));
    let post = format!("POST /a HTTP/1.1\r\n{HOST}content-LENGTH:\t11 \r\n\r\n#\nhello\r\n\r\nX");
    let chunks = format!(
        "{CHUNKED}5\r\n#\n\r\0x\r\n0B;a ;b=c; d = \"e;\\\"\"\r\nhello\r\nhel\n\r\n000\r\nT: u\r\n\r\n"
    );
    for stream in [
        get.clone(),
        format!("\r\n\r\n{get}{get}"),
        format!("{post}{get}{post}"),
        format!("{chunks}{post}\r\n{chunks}"),
        "POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\nhello".to_owned(),
        // What hyper refuses is its own business.
        "GET /a HTTP/1.1\r\nX : y\r\n z\r\n\0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(passes(&stream), stream.len(), "{stream:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_stops_the_stream() {
    // RFC 9112 §2.2, §3.2, §6.1, §6.3, §7.1; protocol.md, rows 1, 3, 4, 24, 25, 27 and 28.
    let head = format!("POST /a HTTP/1.1\r\n{HOST}");
    for (good, bad) in [
        ("", "\nGET /a HTTP/1.1\r\n\r\n".to_owned()),
        ("", "GET /a HTTP/1.1\nHost: a\r\n\r\n".to_owned()),
        ("", "GET /a#b HTTP/1.1\r\n\r\n".to_owned()),
        (&head, "X: y\nZ: a\r\n\r\n".to_owned()),
        (&head, "\nGET /b HTTP/1.1\r\n\r\n".to_owned()),
        (&head, "Content-Length: +5\r\n\r\nhello".to_owned()),
        (&head, "Content-Length:\r\n\r\n".to_owned()),
        (&head, "Content-Length: 5, 5\r\n\r\nhello".to_owned()),
        (
            &head,
            "Content-Length: 18446744073709551616\r\n\r\n".to_owned(),
        ),
        (
            &format!("{head}Content-Length: 5\r\n"),
            "Content-Length: 6\r\n\r\n".to_owned(),
        ),
        (
            &format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            "\r\n".to_owned(),
        ),
        (
            &format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
            "\r\n".to_owned(),
        ),
        (CHUNKED, "5\nhello\r\n".to_owned()),
        (CHUNKED, "\r\n".to_owned()),
        (CHUNKED, "5 \r\nhello\r\n".to_owned()),
        (CHUNKED, "x\r\n".to_owned()),
        (CHUNKED, "10000000000000005\r\n".to_owned()),
        (CHUNKED, "5;\r\nhello\r\n".to_owned()),
        (CHUNKED, "5;a=\r\nhello\r\n".to_owned()),
        (CHUNKED, "5;a=\"b\r\nhello\r\n".to_owned()),
        (CHUNKED, "5;a=\"\\\0\"\r\nhello\r\n".to_owned()),
        (CHUNKED, "5;a\rb\r\nhello\r\n".to_owned()),
        (CHUNKED, format!("5;{}\0\r\nhello\r\n", "a".repeat(2000))),
        (&format!("{CHUNKED}5\r\nhello"), "X\r\n".to_owned()),
        (&format!("{CHUNKED}5\r\nhello"), "\n0\r\n\r\n".to_owned()),
        (
            &format!("{CHUNKED}0\r\n"),
            "A: b\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(),
        ),
    ] {
        assert_eq!(passes(&format!("{good}{bad}")), good.len(), "{bad:?}");
    }
}

#[test]
fn a_line_that_frames_may_not_be_cut() {
    // In one piece it is seen whole; in pieces, no more than is kept of it.
    for stream in [
        format!(
            "POST /a HTTP/1.1\r\nContent-Length: {}5\r\n\r\nhello",
            "0".repeat(2000)
        ),
        format!("{CHUNKED}{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(2000)),
    ] {
        let bytes = stream.as_bytes();
        let mut strict = Strict::default();
        let passed: usize = bytes.chunks(100).map(|piece| strict.follow(piece)).sum();

        assert_eq!(Strict::default().follow(bytes), bytes.len());
        assert!(strict.is_refused() && passed < bytes.len());
    }
}

#[test]
fn a_refused_stream_stays_refused() {
    let mut strict = Strict::default();
    assert_eq!(strict.follow(b"GET /a#b HTTP/1.1\r\n\r\n"), 0);

    strict.begin_again();
    strict.go_on();

    assert!(strict.is_refused());
    assert_eq!(strict.follow(b"GET /a HTTP/1.1\r\n\r\n"), 0);
}

#[test]
fn what_follows_a_request_that_may_leave_http_waits_for_its_answer() {
    let head = b"GET /a HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let mut strict = Strict::default();
    assert_eq!(strict.follow(&[head, &b"\x81\n"[..]].concat()), head.len());
    assert!(strict.is_held());
    assert_eq!(strict.follow(b"\x81\n"), 0);

    strict.go_on();

    assert_eq!(strict.follow(b"\n"), 0);
    assert!(strict.is_refused());
    let with_body = "POST /a HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(passes(with_body), with_body.len());
}
