//! What is behind a head, how long it is, and how frames are cut.

use super::{
    AUTHORITY, Case, Field, Gets, METHOD, PATH, POST, SCHEME, arrives, begun, case, data,
    malformed, of, plain, refused, with,
};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITY, RST_STREAM, block,
    field, frame,
};

pub(super) fn all() -> Vec<Case> {
    [
        lengths(),
        contents(),
        trailers(),
        large(),
        frames_of_heads(),
        forgiven_heads(),
        frames_of_content(),
        frames_elsewhere(),
    ]
    .concat()
}

/// How long content is (RFC 9113 §8.1.1; protocol.md, line 35 and row 30).
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in ["4", "6", "50", "18446744073709551615"] {
        let head = begun(&[(b"content-length", length.as_bytes())]);
        let said = [head, data(END_STREAM, b"hello")].concat();
        cases.push(case(format!("5 bytes of {length}"), said, Gets::Cut));
    }
    let long = [begun(&[(b"content-length", b"5")]), data(0, b"hel")].concat();
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("x-sum", "1"));
    cases.push(case(
        "trailers before the length",
        [long, trailers].concat(),
        Gets::Cut,
    ));
    for length in [
        "+5",
        "-5",
        "5, 5",
        "5,6",
        "five",
        "",
        " 5",
        "0x5",
        "5 ",
        "18446744073709551616",
    ] {
        let head = begun(&[(b"content-length", length.as_bytes())]);
        let said = [head, data(END_STREAM, b"hello")].concat();
        cases.push(malformed(format!("a length of {length:?}"), said));
    }
    let twice = |one: &[u8], other: &[u8]| {
        let head = begun(&[(b"content-length", one), (b"content-length", other)]);
        [head, data(END_STREAM, b"hello")].concat()
    };
    let empty = with(&[(b"content-length", b"")]);
    cases.push(malformed("an empty length of nothing", empty));
    cases.push(malformed("two lengths", twice(b"5", b"6")));
    cases.push(malformed("a length and none", twice(b"5", b"")));
    cases.push(malformed(
        "a length without content",
        with(&[(b"content-length", b"5")]),
    ));
    cases
}

/// Content that is as long as it says, or says nothing of it.
fn contents() -> Vec<Case> {
    let mut cases = Vec::new();
    let posted = "POST /api/x HTTP/1.1\n";
    let five = [
        begun(&[(b"content-length", b"5")]),
        data(END_STREAM, b"hello"),
    ]
    .concat();
    cases.push(arrives(
        "a length",
        five,
        &format!("{posted}content-length: 5\n\nhello"),
    ));
    cases.push(arrives(
        "no length",
        [begun(&[]), data(0, b"he"), data(END_STREAM, b"llo")].concat(),
        &format!("{posted}transfer-encoding: chunked\n\nhello"),
    ));
    cases.push(arrives(
        "no content",
        of(&[POST, SCHEME, AUTHORITY, PATH]),
        &format!("{posted}content-length: 0\n\n"),
    ));
    cases.push(arrives(
        "what looks like a request",
        [
            begun(&[]),
            data(END_STREAM, b"0\r\n\r\nGET /crm/x HTTP/1.1\r\n\r\n"),
        ]
        .concat(),
        &format!("{posted}transfer-encoding: chunked\n\n0\r\n\r\nGET /crm/x HTTP/1.1\r\n\r\n"),
    ));
    cases
}

/// RFC 9113 §8.1, RFC 9110 §6.5.1; protocol.md, line 27.
fn trailers() -> Vec<Case> {
    let trailing = |flags: u8, name: &[u8]| {
        let head = begun(&[(b"trailer", name)]);
        let trailers = frame(HEADERS, END_HEADERS | flags, 1, &field(name, "t"));
        [head, data(0, b"hello"), trailers].concat()
    };
    let mut cases = Vec::new();
    for name in [
        "connection",
        "transfer-encoding",
        "upgrade",
        "X-Sum",
        "x sum",
        "",
        "te",
    ] {
        let said = trailing(END_STREAM, name.as_bytes());
        cases.push(case(format!("the trailer {name:?}"), said, Gets::Cut));
    }
    cases.push(case(
        "trailers that do not end",
        trailing(0, b"x-sum"),
        Gets::Cut,
    ));
    let arrived = |name: &str, lines: &str| {
        format!("POST /api/x HTTP/1.1\ntrailer: {name}\ntransfer-encoding: chunked\n\nhello{lines}")
    };
    cases.push(arrives(
        "a trailer",
        trailing(END_STREAM, b"x-sum"),
        &arrived("x-sum", "\nx-sum: t"),
    ));
    for name in [
        "content-length",
        "host",
        "authorization",
        "x-forwarded-for",
        "x_forwarded_for",
        "cookie",
        // What h2 lets go of.
        ":path",
        ":scheme",
        "connector-id",
        "content_length",
    ] {
        let said = trailing(END_STREAM, name.as_bytes());
        cases.push(arrives(
            format!("the trailer {name}"),
            said,
            &arrived(name, ""),
        ));
    }
    cases
}

/// More than is taken (protocol.md, rows 14 and 29).
fn large() -> Vec<Case> {
    let split = |fields: &[u8]| {
        let all = block(&[METHOD, SCHEME, AUTHORITY, PATH]);
        let whole = [&all[..], fields].concat();
        let mut said = Vec::new();
        for (number, piece) in whole.chunks(16_000).enumerate() {
            let (kind, flags) = match number {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            said.extend(frame(kind, flags, 1, piece));
        }
        said.extend(frame(CONTINUATION, END_HEADERS, 1, b""));
        said
    };
    let many = |count: usize| -> Vec<u8> {
        (0..count)
            .flat_map(|n| field(format!("x-{n}"), "y"))
            .collect()
    };
    let long = field("x-odd", vec![b'y'; 66_000]);
    let name = field(vec![b'x'; 65_600], "y");
    let crumbs = field("cookie", "a=b").repeat(101);
    vec![
        refused("101 fields", split(&many(101)), 431),
        refused("2,000 fields", split(&many(2_000)), 431),
        refused("101 crumbs of cookies", split(&crumbs), 431),
        refused("a value of 66,000 bytes", split(&long), 431),
        malformed("a name of 65,600 bytes", split(&name)),
    ]
}

/// A head of one field more than it needs, for cuts.
fn some_head() -> Vec<u8> {
    block(&[METHOD, SCHEME, AUTHORITY, PATH, (b"x-odd", b"y")])
}

/// How heads are cut and padded (RFC 9113 §6.2, §6.10), which changes nothing.
fn frames_of_heads() -> Vec<Case> {
    let head = some_head();
    let good = plain("x-odd: y\n");
    let (one, two) = head.split_at(head.len() - 3);
    let continued = |flags: u8, kind: u8, stream: u32| {
        let begun = frame(HEADERS, END_STREAM, 1, one);
        [begun, frame(kind, flags, stream, two)].concat()
    };
    let whole = |flags: u8, before: &[u8], behind: &[u8]| {
        let payload = [before, &head, behind].concat();
        frame(HEADERS, END_HEADERS | END_STREAM | flags, 1, &payload)
    };
    let long = field("x", vec![b'y'; 16_400]);
    let too_long = frame(HEADERS, END_HEADERS | END_STREAM, 1, &long);
    let all_padding = frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[255, 0]);
    vec![
        arrives(
            "a head cut amid a field",
            continued(END_HEADERS, CONTINUATION, 1),
            &good,
        ),
        malformed(
            "a head continued elsewhere",
            continued(END_HEADERS, CONTINUATION, 3),
        ),
        malformed(
            "a head continued by content",
            continued(END_STREAM, DATA, 1),
        ),
        malformed(
            "a head continued by a head",
            continued(END_HEADERS, HEADERS, 1),
        ),
        malformed("a head continued by nothing known", continued(0, 0xfe, 1)),
        arrives("a padded head", whole(PADDED, &[200], &[0; 200]), &good),
        arrives("a weighted head", whole(0x20, &[0, 0, 0, 0, 9], &[]), &good),
        malformed("more padding than head", all_padding),
        malformed("a frame over the limit", too_long),
    ]
}

/// What h2 0.4.20 forgets of a head that goes on in another frame (RFC 9113 §8.1.1 wants the request
/// refused): that it was malformed before. What made it so is gone all the same.
fn forgiven_heads() -> Vec<Case> {
    let odd: Field = (b"x-odd", b"y");
    let split = |fields: &[Field]| {
        let whole = block(fields);
        let (one, two) = whole.split_at(whole.len() - 3);
        let begun = frame(HEADERS, END_STREAM, 1, one);
        [begun, frame(CONTINUATION, END_HEADERS, 1, two)].concat()
    };
    let good = plain("x-odd: y\n");
    let mut cases = Vec::new();
    for (name, value) in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"connection", b"authorization"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b":scheme", b"https"),
        (b":path", b"/crm/x"),
    ] {
        let what = format!("{} in a head that goes on", String::from_utf8_lossy(name));
        let fields = [METHOD, SCHEME, AUTHORITY, PATH, (name, value), odd];
        cases.push(arrives(what, split(&fields), &good));
    }
    cases
}

/// How content is cut and padded (RFC 9113 §6.1).
fn frames_of_content() -> Vec<Case> {
    let posted = "POST /api/x HTTP/1.1\ntransfer-encoding: chunked\n\nhello";
    let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    let behind = |frames: &[Vec<u8>]| [begun(&[]), frames.concat()].concat();
    let padded = [&[23][..], b"hello", b"GET /crm/x HTTP/1.1\r\n\r\n"].concat();
    let padded = frame(DATA, PADDED | END_STREAM, 1, &padded);
    let pieces = [data(0, b""), data(0, b"hello"), data(END_STREAM, b"")];
    let too_long = frame(DATA, END_STREAM, 1, &[b'x'; 16_385]);
    let back = [data(0, b"hello"), reset, data(END_STREAM, b"")];
    vec![
        arrives("padded content", behind(&[padded]), posted),
        arrives("empty content before the end", behind(&pieces), posted),
        case("content over a frame", behind(&[too_long]), Gets::Cut),
        case("content that is taken back", behind(&back), Gets::TakenBack),
        case("a second head", behind(&[begun(&[])]), Gets::Cut),
    ]
}

/// Frames where none belong (RFC 9113 §5.1), and some that may stand anywhere.
fn frames_elsewhere() -> Vec<Case> {
    let on = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &some_head());
    let unknown = [frame(0xfe, 0xff, 1, b"x"), with(&[])];
    let priority = [frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]), with(&[])];
    vec![
        malformed("content without a head", data(END_STREAM, b"hello")),
        malformed("a head of an even stream", on(2)),
        malformed("a head of the connection", on(0)),
        arrives("an unknown frame before", unknown.concat(), &plain("")),
        arrives("priority before", priority.concat(), &plain("")),
    ]
}
