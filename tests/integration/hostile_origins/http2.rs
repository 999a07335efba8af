//! Rows: answers of HTTP/2 (RFC 9113), on stream 1 of a new connection.
//!
//! A fault of one stream leaves its connection fit for others (RFC 9113 §5.4.2), which then get
//! their own answers over it; a fault of the connection does not.

use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, field, frame, goaway, head,
};
use crate::support::tls::Protocols;
use crate::support::within;

use super::{Flow, Gets, Room, Row, ask, broken, refused, row, whole};

/// The head of a good answer.
fn ok() -> Vec<u8> {
    head(0, 1, &[(":status", "200")])
}

fn data(flags: u8, content: &str) -> Vec<u8> {
    frame(DATA, flags, 1, content.as_bytes())
}

/// An answer whose head is `block`, with content that nobody may see.
fn headed(what: &'static str, block: &[u8]) -> Row {
    let head = frame(HEADERS, END_HEADERS, 1, block);
    refused(what, [head, data(END_STREAM, "evil")].concat())
}

/// A good answer with this field beside `:status`.
fn fielded(what: &'static str, name: &[u8], value: &[u8]) -> Row {
    let fields = [(&b":status"[..], &b"200"[..]), (name, value)];
    headed(what, &block(&fields))
}

/// `frames` before any answer.
fn first(what: &'static str, frames: Vec<u8>) -> Row {
    refused(what, [frames, ok(), data(END_STREAM, "evil")].concat())
}

/// `frames` amid an answer.
fn amid(what: &'static str, frames: Vec<u8>) -> Row {
    broken(
        what,
        [ok(), data(0, "ok"), frames, data(END_STREAM, "")].concat(),
    )
}

/// RFC 9113 §8.3, §8.3.2.
fn statuses() -> Vec<Row> {
    let mut rows = vec![
        headed("no status", &field("x", "y")),
        headed("no field at all", &[]),
        headed(
            "two statuses",
            &block(&[(":status", "200"), (":status", "200")]),
        ),
        headed(
            "a status behind a field",
            &block(&[("x", "y"), (":status", "200")]),
        ),
        fielded("an unknown pseudo-header", b":evil", b"y"),
    ];
    for (what, status) in [
        ("status 099", "099"),
        ("status 000", "000"),
        ("status 1000", "1000"),
        ("status 20", "20"),
        ("a negative status", "-200"),
        ("an empty status", ""),
        ("a status with a letter", "2O0"),
        ("a status with a space", "200 "),
        ("status 101", "101"),
    ] {
        rows.push(headed(what, &field(":status", status)));
    }
    rows
}

/// Pseudo-headers that belong elsewhere (RFC 9113 §8.3): h2 lets go of them, so that they reach
/// nobody, and of the answer nothing else is in doubt.
fn misplaced() -> Vec<Row> {
    let beside = |what, name| {
        let head = head(0, 1, &[(":status", "200"), (name, "/evil")]);
        whole(what, [head, data(END_STREAM, "ok")].concat(), 200, "ok")
    };
    let trailers = head(END_STREAM, 1, &[(":status", "500")]);
    vec![
        beside("a path", ":path"),
        beside("a scheme", ":scheme"),
        beside("an authority", ":authority"),
        whole(
            "a status in trailers",
            [ok(), data(0, "ok"), trailers].concat(),
            200,
            "ok",
        ),
    ]
}

/// RFC 9113 §8.2.
fn fields() -> Vec<Row> {
    vec![
        fielded("a name in upper case", b"X-Evil", b"y"),
        fielded("no name", b"", b"y"),
        fielded("a space in a name", b"x y", b"y"),
        fielded("a colon in a name", b"x:y", b"y"),
        fielded("NUL in a name", b"x\0y", b"y"),
        fielded("a quotation mark in a name", b"x\"y", b"y"),
        fielded("CR in a name", b"x\ry", b"y"),
        fielded("a line's end in a name", b"x: y\r\nset-cookie", b"y"),
        fielded("a high byte in a name", b"x\xe4", b"y"),
        fielded("NUL in a value", b"x", b"a\0b"),
        fielded("CR in a value", b"x", b"a\rb"),
        fielded("LF in a value", b"x", b"a\nb"),
        fielded("a line's end in a value", b"x", b"a\r\nset-cookie: b"),
        fielded("ESC in a value", b"x", b"\x1b[2J"),
        fielded("DEL in a value", b"x", b"\x7f"),
        // RFC 9113 §8.2.2; row 8.
        fielded("Connection", b"connection", b"close"),
        fielded("Connection that is no text", b"connection", b"\xff"),
        fielded("Keep-Alive", b"keep-alive", b"timeout=5"),
        fielded("Proxy-Connection", b"proxy-connection", b"keep-alive"),
        fielded("Transfer-Encoding", b"transfer-encoding", b"chunked"),
        fielded("Upgrade", b"upgrade", b"h2c"),
    ]
}

/// RFC 9113 §8.1.1.
fn lengths() -> Vec<Row> {
    let long = |length: &str| head(0, 1, &[(":status", "200"), ("content-length", length)]);
    let ended = |length: &str| {
        let fields = [(":status", "200"), ("content-length", length)];
        head(END_STREAM, 1, &fields)
    };
    vec![
        broken(
            "less than its length",
            [long("9"), data(0, "ok"), data(END_STREAM, "")].concat(),
        ),
        broken(
            "more than its length",
            [long("2"), data(0, "okevil"), data(END_STREAM, "")].concat(),
        ),
        refused("an end before its length", ended("4")),
        fielded("a length that is a word", b"content-length", b"four"),
        fielded("a negative length", b"content-length", b"-4"),
        fielded("a length with a sign", b"content-length", b"+4"),
        fielded("an empty length", b"content-length", b""),
        fielded(
            "a length of 2^64",
            b"content-length",
            b"18446744073709551616",
        ),
        fielded("two lengths in a line", b"content-length", b"4, 4"),
        headed(
            "two lengths",
            &block(&[
                (":status", "200"),
                ("content-length", "4"),
                ("content-length", "5"),
            ]),
        ),
        headed(
            "the same length twice",
            &block(&[
                (":status", "200"),
                ("content-length", "4"),
                ("content-length", "4"),
            ]),
        ),
    ]
}

/// RFC 9113 §8.1: what an answer is made of, in which order.
fn sequences() -> Vec<Row> {
    let trailers = |flags, fields: &[(&str, &str)]| head(flags, 1, fields);
    let ended = [ok(), data(END_STREAM, "ok")].concat();
    vec![
        refused("content before its head", [data(0, "evil"), ok()].concat()),
        refused(
            "an interim answer that ends",
            head(END_STREAM, 1, &[(":status", "100")]),
        ),
        refused(
            "an interim answer with content",
            [head(0, 1, &[(":status", "103")]), data(END_STREAM, "evil")].concat(),
        ),
        amid("trailers that do not end", trailers(0, &[("x", "y")])),
        amid(
            "a name in upper case in trailers",
            trailers(END_STREAM, &[("X-Evil", "y")]),
        ),
        amid(
            "Connection in trailers",
            trailers(END_STREAM, &[("connection", "close")]),
        ),
        amid(
            "an interim answer behind the head",
            head(0, 1, &[(":status", "103")]),
        ),
        whole(
            "content behind the end",
            [ended.clone(), data(END_STREAM, "evil")].concat(),
            200,
            "ok",
        ),
        whole(
            "another head behind the end",
            [ended.clone(), ok(), data(END_STREAM, "evil")].concat(),
            200,
            "ok",
        ),
        // RFC 9110 §9.3.2.
        row(
            "content for HEAD",
            [ok(), data(END_STREAM, "evil")].concat(),
            Gets::Head,
        )
        .to("HEAD"),
    ]
}

/// A fault and its frames.
type Fault = (&'static str, Vec<u8>);

/// Frames where none belong (RFC 9113 §5.1, §6).
fn misplaced_frames() -> Vec<Fault> {
    let ok = [(":status", "200")];
    let promise = [&[0, 0, 0, 2][..], &block(&[(":method", "GET")])].concat();
    let split = [frame(HEADERS, 0, 1, &block(&ok)), data(0, "evil")];
    vec![
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &promise)),
        ("content of the connection", frame(DATA, 0, 0, b"evil")),
        ("a head of the connection", head(0, 0, &ok)),
        ("content of nobody's stream", frame(DATA, 0, 101, b"evil")),
        ("content that was not promised", frame(DATA, 0, 2, b"evil")),
        ("the next request's answer", head(0, 3, &ok)),
        ("a head of a stream of its own", head(0, 2, &ok)),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        (
            "a reset of nobody's stream",
            frame(RST_STREAM, 0, 101, &[0; 4]),
        ),
        (
            "a reset of the connection",
            frame(RST_STREAM, 0, 0, &[0; 4]),
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &field("x", "y")),
        ),
        ("a head that something comes amid", split.concat()),
    ]
}

/// Frames that are too long, too short, or say what may not be said (RFC 9113 §4.2, §6).
fn malformed_frames() -> Vec<Fault> {
    let room = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
    let endless = b"\xff\xff\xff\x00\x00\x00\x00\x00\x01evil".to_vec();
    vec![
        ("a frame over the limit", frame(DATA, 0, 1, &[b'x'; 16_385])),
        ("a frame of 16 MiB", endless),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        (
            "consent with settings",
            frame(SETTINGS, ACK, 0, &[0, 1, 0, 0, 0, 0]),
        ),
        (
            "a window of 2^31",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        ),
        (
            "frames of a byte",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        ),
        (
            "push that is half on",
            frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        ),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("room for nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("room for too much", room.repeat(2)),
        ("room of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("a reset of three bytes", frame(RST_STREAM, 0, 1, &[0; 3])),
        ("a farewell of seven bytes", frame(GOAWAY, 0, 0, &[0; 7])),
        (
            "more padding than frame",
            frame(DATA, PADDED, 1, &[9, b'x']),
        ),
    ]
}

/// Heads that cannot be decoded (RFC 7541 §5, §6; RFC 9113 §4.3).
fn undecodable() -> Vec<Fault> {
    let coded = |block: &[u8]| frame(HEADERS, END_HEADERS, 1, block);
    vec![
        ("an index of 0", coded(&[0x80])),
        ("an index beyond the table", coded(&[0xff, 0x80, 0x01])),
        ("an index without an end", coded(&[0xff; 12])),
        ("a text without an end", coded(&[0, 0x7f, 0xff, 0xff])),
        (
            "a code that is none",
            coded(&[8, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("a table over the limit", coded(&[0x3f, 0xe1, 0xff, 0x7f])),
    ]
}

/// Frames that no connection survives (RFC 9113 §5.4.1), before the answer and amid it.
fn broken_connections() -> Vec<Row> {
    let faults = [misplaced_frames(), malformed_frames(), undecodable()].concat();
    let faults = faults.into_iter();
    let before = faults.clone().map(|(what, frames)| first(what, frames));
    let inside = faults.map(|(what, frames)| amid(what, frames));
    before.chain(inside).collect()
}

/// More than is held of an answer.
fn floods() -> Vec<Row> {
    let many: Vec<u8> = (0..2_000)
        .flat_map(|n| field(format!("x-{n}"), "y"))
        .collect();
    let long = field("x", vec![b'y'; 70_000]);
    let split = |block: &[u8]| {
        let mut frames = frame(HEADERS, 0, 1, &field(":status", "200"));
        for piece in block.chunks(16_000) {
            frames.extend(frame(CONTINUATION, 0, 1, piece));
        }
        frames.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        frames
    };
    // RFC 7541 §6.2.1, §6.1: one entry of 4000 bytes, named over and over by a byte.
    let bomb = [
        field(":status", "200"),
        [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e], &[b'y'; 4000][..]].concat(),
        vec![0xbe; 12_000],
    ];
    let bytes = frame(CONTINUATION, 0, 1, b"");
    vec![
        refused("2,000 fields", split(&many)),
        refused("a value of 70,000 bytes", split(&long)),
        refused(
            "an entry named 12,000 times",
            frame(HEADERS, END_HEADERS, 1, &bomb.concat()),
        ),
        refused("continuations of nothing", {
            let head = frame(HEADERS, 0, 1, &field(":status", "200"));
            [head, bytes.repeat(20_000)].concat()
        }),
        amid("content of nothing", frame(DATA, 0, 1, b"").repeat(60_000)),
    ]
}

/// Holds `row` with the next answer over whichever connection the gateway takes.
async fn hold(room: &Room, row: &Row, number: usize, flow: Flow) -> Result<(), String> {
    let what = row.what;
    let gateway = room.gateway.flows();
    let asking = tokio::spawn(ask(gateway, flow, row.method, "/orders/x".to_owned()));
    let mut poisoned = Frames::of_origin(room.raw.accept().await).await;
    assert_eq!(poisoned.request().await, Some(1), "{what}");
    // The gateway may have seen enough before the end.
    let _ = poisoned.write(&row.said).await;
    let got = within(what, asking).await.unwrap();

    let target = format!("/orders/next-{number}");
    let asking = tokio::spawn(ask(gateway, flow, "GET", target));
    let fresh = tokio::select! {
        biased;
        Some(stream) = poisoned.request() => Err(stream),
        tcp = room.raw.accept_tcp() => Ok(tcp),
    };
    let mut other = None;
    let (serving, stream) = match fresh {
        Err(stream) => (&mut poisoned, stream),
        Ok(tcp) => {
            let wire = room.raw.shake_hands(tcp).await;
            let fresh = other.insert(Frames::of_origin(wire).await);
            let stream = fresh.request().await.unwrap();
            (fresh, stream)
        }
    };
    let fields = [
        (":status", "200".to_owned()),
        ("x-number", number.to_string()),
    ];
    let good = [
        head(0, stream, &fields),
        frame(DATA, END_STREAM, stream, b"good"),
    ];
    serving.write(good.concat()).await.unwrap();
    let next = within("the next answer", asking).await.unwrap();
    for mut frames in [Some(poisoned), other].into_iter().flatten() {
        // The next row has a connection of its own.
        let _ = frames.write(goaway(i32::MAX.unsigned_abs(), 0)).await;
        frames.close().await;
        frames.rest().await;
    }

    let next = next.ok_or(format!("{what}: the next answer broke off"))?;
    assert_eq!(
        (next.status.as_u16(), &*next.text()),
        (200, "good"),
        "{what}"
    );
    assert_eq!(next.field("x-number"), Some(&*number.to_string()), "{what}");
    match row.is_met_by(got.as_ref()) {
        true => Ok(()),
        false => Err(format!("{what}, {:?} over {flow:?}: {got:?}", row.gets)),
    }
}

async fn hold_all(flow: Flow) {
    let room = Room::start(Protocols::Http2).await;
    let rows = [
        statuses(),
        misplaced(),
        fields(),
        lengths(),
        sequences(),
        broken_connections(),
        floods(),
    ]
    .concat();
    let mut faults = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        faults.extend(hold(&room, row, number, flow).await.err());
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(rows.iter().any(|row| matches!(row.gets, Gets::Whole(..))));
    room.gateway.drain().await;
}

#[tokio::test]
async fn no_malformed_answer_of_http2_passes_for_a_good_one_over_http1() {
    // RFC 9113 §8.1.1; protocol.md, line 28 and rows 8 and 9.
    hold_all(Flow::Http1).await;
}

#[tokio::test]
async fn no_malformed_answer_of_http2_passes_for_a_good_one_over_http2() {
    hold_all(Flow::Http2).await;
}
