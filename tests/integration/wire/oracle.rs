//! The oracle itself: what it is there to find, it finds.

use crate::support::message::{self, Kind};
use crate::support::wire::corpus::{self, After};
use crate::support::wire::model::{self, End};
use crate::support::wire::mutator::{self, Chance};
use crate::support::wire::recorder::{self, Arrived};
use crate::support::wire::room::CONNECTORS;
use crate::support::wire::{canonical, oracle};

const ASKED: &str = "POST /orders/x?y HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\
    Content-Length: 5\r\n\r\nhello";
const ARRIVED: &str = "POST /api/x?y HTTP/1.1\r\nhost: localhost:1\r\naccept: */*\r\n\
    content-length: 5\r\nauthorization: Basic c3ZjOm9yZGVycy1jYW5hcnk=\r\nvia: 1.1 attache-1\r\n\
    x-request-id: 1\r\nforwarded: for=127.1.0.1;proto=http\r\n\r\nhello";

fn arrival(bytes: &str, recorder: usize) -> Arrived {
    let mut all = message::read_all(bytes.as_bytes(), Kind::Request).unwrap();
    Arrived {
        recorder,
        message: all.remove(0),
        whole: true,
    }
}

fn judged(asked: &str, arrived: &[Arrived]) -> Result<(), String> {
    oracle::judge_arrivals(&CONNECTORS, &model::read(asked.as_bytes()), arrived)
}

#[test]
fn what_was_asked_may_arrive() {
    let arrived = arrival(ARRIVED, 0);

    assert_eq!(canonical::check(&arrived.message, "localhost:1"), Ok(()));
    assert_eq!(judged(ASKED, std::slice::from_ref(&arrived)), Ok(()));
    assert_eq!(judged(ASKED, &[]), Ok(()), "a gateway may refuse");
    let twice = [ASKED, ASKED].concat();
    assert_eq!(judged(&twice, &[arrived.clone(), arrived]), Ok(()));
}

#[test]
fn what_nobody_asked_is_flagged() {
    let good = arrival(ARRIVED, 0);
    for (what, bytes) in [
        ("another path", ARRIVED.replace("/api/x?y", "/api/z?y")),
        ("another query", ARRIVED.replace("?y", "?Y")),
        ("a path that was cut", ARRIVED.replace("?y", "")),
        ("another method", ARRIVED.replace("POST", "PUT")),
        ("another body", ARRIVED.replace("hello", "hellO")),
        ("a field of its own", ARRIVED.replace("accept", "x-odd")),
        ("another value", ARRIVED.replace("*/*", "text/html")),
        (
            "a client's word on itself",
            ARRIVED.replace("accept", "x-forwarded-for"),
        ),
        (
            "a twin of one of ours",
            ARRIVED.replace("accept", "x_request_id"),
        ),
    ] {
        assert!(judged(ASKED, &[arrival(&bytes, 0)]).is_err(), "{what}");
    }
    assert!(
        judged(ASKED, &[good.clone(), good.clone()]).is_err(),
        "twice"
    );
    assert!(judged("", std::slice::from_ref(&good)).is_err(), "smuggled");
    // A strict reader refuses the first, and with it all behind it.
    let behind = format!("GET /orders/a HTTP/1.1\nHost: localhost\n\n{ASKED}");
    assert!(judged(&behind, &[good]).is_err(), "behind a bare LF");
}

#[test]
fn a_request_that_broke_off_may_never_arrive_as_whole() {
    let cut = &ASKED[..ASKED.len() - 2];
    let whole = arrival(ARRIVED, 0);
    let mut begun = whole.clone();
    begun.whole = false;
    begun.message.body = b"hel".to_vec();

    assert_eq!(judged(cut, std::slice::from_ref(&begun)), Ok(()));
    assert!(judged(cut, &[whole]).is_err());
    begun.message.body = b"hex".to_vec();
    assert!(judged(cut, &[begun]).is_err());
}

#[test]
fn a_credential_that_is_missing_doubled_another_or_elsewhere_is_flagged() {
    let line = "authorization: Basic c3ZjOm9yZGVycy1jYW5hcnk=\r\n";
    let twice = ARRIVED.replace(line, &line.repeat(2));
    let both = ARRIVED.replace(line, &format!("{line}x-api-key: crm-canary\r\n"));
    let twin = ARRIVED.replace(
        line,
        &format!("{line}Authorization: flow\r\n").replace("Authorization:", "AUTHORIZATION:"),
    );
    for (what, bytes, at) in [
        ("missing", ARRIVED.replace(line, ""), 0),
        ("doubled", twice, 0),
        (
            "the flow's",
            ARRIVED.replace("c3ZjOm9yZGVycy1jYW5hcnk=", "ZmxvdzpmbG93"),
            0,
        ),
        ("another connector's beside it", both, 0),
        ("a twin", twin, 0),
        ("at another origin", ARRIVED.to_owned(), 1),
    ] {
        assert!(judged(ASKED, &[arrival(&bytes, at)]).is_err(), "{what}");
    }
}

#[test]
fn what_is_not_canonical_is_flagged() {
    for (what, bytes) in [
        (
            "another Host",
            ARRIVED.replace("localhost:1", "evil.example"),
        ),
        ("a fragment", ARRIVED.replace("?y", "?y#z")),
        (
            "absolute-form",
            ARRIVED.replace("/api/x", "http://localhost:1/api/x"),
        ),
        ("CONNECT", ARRIVED.replace("POST", "CONNECT")),
        ("TRACE", ARRIVED.replace("POST", "TRACE")),
        (
            "Connection",
            ARRIVED.replace("accept: */*", "connection: close"),
        ),
        ("Keep-Alive", ARRIVED.replace("accept", "keep-alive")),
        ("Upgrade", ARRIVED.replace("accept", "upgrade")),
        (
            "HTTP2-Settings",
            ARRIVED.replace("accept", "http2-settings"),
        ),
        (
            "TE",
            ARRIVED.replace("accept: */*", "te: gzip\r\nconnection: te"),
        ),
        ("a control byte", ARRIVED.replace("*/*", "a\x07b")),
    ] {
        let message = arrival(&bytes, 0).message;
        assert!(canonical::check(&message, "localhost:1").is_err(), "{what}");
    }
}

/// An answer of the recorder to [`ASKED`].
fn echoed(body: &str) -> String {
    let echo = recorder::echo(0, "POST", "/api/x?y", body.as_bytes());
    format!("HTTP/1.1 200 OK\r\nx-echo: {echo}\r\ncontent-length: 2\r\n\r\nok")
}

const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
    connection: close\r\ncontent-length: 42\r\n\r\n{\"type\":\"urn:attache:problem:bad-request\"}";

fn answered(asked: &str, got: &str) -> Result<Vec<u16>, String> {
    oracle::judge_answers(&CONNECTORS, &model::read(asked.as_bytes()), got.as_bytes())
}

#[test]
fn each_answer_belongs_to_its_request() {
    let good = echoed("hello");
    assert_eq!(answered(ASKED, &good), Ok(vec![200]));
    assert_eq!(answered(ASKED, REFUSED), Ok(vec![400]));
    let broken = format!("{ASKED}GET /orders/a HTTP/1.1\nHost: localhost\r\n\r\n");
    assert_eq!(
        answered(&broken, &format!("{good}{REFUSED}")),
        Ok(vec![200, 400])
    );
    let last = ASKED.replace("Accept: */*", "Connection: close");

    for (what, asked, got) in [
        ("none", ASKED, String::new()),
        ("another's", ASKED, echoed("HELLO")),
        ("one too many", ASKED, good.repeat(2)),
        ("a refusal of nothing", ASKED, format!("{good}{REFUSED}")),
        (
            "one behind a refusal that closes",
            &ASKED.repeat(2),
            format!("{REFUSED}{good}"),
        ),
        (
            "one behind a request that closes",
            &format!("{last}{ASKED}"),
            good.repeat(2),
        ),
        ("no word of what is wrong", &broken, good.clone()),
        ("no whole answer", ASKED, good[..good.len() - 1].to_owned()),
        (
            "not the gateway's",
            ASKED,
            good.replace("x-echo", "x-other"),
        ),
        (
            "two lengths",
            ASKED,
            good.replace("ok", "")
                .replacen("\r\n", "\r\ncontent-length: 0\r\n", 1),
        ),
    ] {
        assert!(answered(asked, &got).is_err(), "{what}");
    }
}

#[test]
fn the_strict_reading_refuses_what_some_would_read() {
    // RFC 9112 §2.2, §3, §3.2, §5.1, §5.2, §6.1, §6.3, §7.1.
    let head = "POST /a HTTP/1.1\r\nHost: h\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for bad in [
        "GET /a HTTP/1.1\nHost: h\r\n\r\n".to_owned(),
        "GET  /a HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /a HTTP/1.1 \r\nHost: h\r\n\r\n".to_owned(),
        "GET /a HTTP/1.2\r\nHost: h\r\n\r\n".to_owned(),
        format!("{head}A : b\r\n\r\n"),
        format!("{head}A: b\r\n c\r\n\r\n"),
        format!("{head}A: b\0\r\n\r\n"),
        format!("{head}: b\r\n\r\n"),
        format!("{head}Content-Length: +1\r\n\r\na"),
        format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!("{head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{chunked}1 \r\na\r\n0\r\n\r\n"),
        format!("{chunked}1\na\r\n0\r\n\r\n"),
        format!("{chunked}1;a=\"\r\na\r\n0\r\n\r\n"),
        format!("{chunked}10000000000000001\r\na\r\n0\r\n\r\n"),
        format!("{chunked}1\r\nab\r\n0\r\n\r\n"),
        format!("{chunked}0\r\nA: b\n\r\n\r\n"),
    ] {
        let seen = model::read(bad.as_bytes());
        assert!(matches!(seen.end, End::Refused(_)), "{bad:?}: {seen:?}");
        assert!(seen.requests.iter().all(|asked| !asked.whole), "{bad:?}");
    }
}

#[test]
fn the_strict_reading_finds_fault_with_what_it_reads() {
    // RFC 9112 §3.2.
    for bad in [
        "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        "GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h:x\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [h]\r\n\r\n",
    ] {
        let seen = model::read(bad.as_bytes());
        assert!(
            seen.requests[0].whole && seen.requests[0].fault.is_some(),
            "{bad:?}"
        );
        assert_eq!(seen.end, End::Clean);
        let arrived = arrival(&ARRIVED.replace("POST /api/x?y", "GET /api/a"), 0);
        assert!(judged(bad, &[arrived]).is_err(), "{bad:?}");
    }
}

#[test]
fn the_strict_reading_reads_what_is_written_well() {
    let stream = "\r\nPOST /a HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: Chunked\r\n\r\n\
        03;a=b ; c=\"d;\\\"e\"\r\nabc\r\n00\r\nT: u\r\n\r\n\
        GET http://h/b?c HTTP/1.1\r\nHost:h\r\nContent-Length: 2, 2\r\n\r\nxy\
        OPTIONS * HTTP/1.0\r\n\r\nGET /never HTTP/1.1\r\n";

    let seen = model::read(stream.as_bytes());

    let read: Vec<_> = seen
        .requests
        .iter()
        .map(|asked| (asked.target.as_str(), asked.body.as_slice(), asked.whole))
        .collect();
    let expected: [(&str, &[u8], bool); 3] = [
        ("/a", b"abc", true),
        ("http://h/b?c", b"xy", true),
        ("*", b"", true),
    ];
    assert_eq!(read, expected);
    assert_eq!(
        seen.requests[0].trailers,
        [("T".to_owned(), "u".to_owned())]
    );
    assert_eq!(seen.end, End::Closes);
}

#[test]
fn a_stream_is_read_as_it_is_written_down() {
    let text = "# Why.\nname: a\neach: 1 | \\x31\neach: x | \\{yz*2}\n> {} {2}\\r\\n\npause\n\
        > \\0\\\\\\xff\\t\nhalf-close\n= 100 400/431 open\n\n\nname: b\n> b\n= close\n";

    let streams = corpus::parse(text);

    assert_eq!(streams.len(), 5);
    assert_eq!(streams[1].name, "a: 1, \\{yz*2}");
    assert_eq!(
        streams[1].writes,
        [b"1 yzyz\r\n".to_vec(), b"\0\\\xff\t".to_vec()]
    );
    assert!(streams[1].half_closes && !streams[4].half_closes);
    assert_eq!(streams[1].answers, [vec![100], vec![400, 431]]);
    assert_eq!(streams[4].after, After::Closes);
    let shown = corpus::show("c", &streams[1].writes);
    assert_eq!(corpus::parse(&shown)[0].writes, streams[1].writes);
}

#[test]
fn a_mutant_is_the_same_again_for_the_same_seed() {
    let streams = [
        ASKED.as_bytes().to_vec(),
        b"GET /crm HTTP/1.1\r\n\r\n".to_vec(),
    ];
    let of = |seed| mutator::mutant(&streams, &mut Chance::new(seed));

    assert!((0..200).all(|seed| of(seed) == of(seed)));
    let distinct: std::collections::HashSet<_> = (0..200).map(of).collect();
    assert!(distinct.len() > 150, "{}", distinct.len());
}
