//! Rows: answers of HTTP/1.1 (RFC 9112).

use super::{Flow, Row, Then, broken, hold, refused, whole};

/// What is behind a head that should not be believed.
const BODY: &str = "Content-Length: 4\r\n\r\nevil";

/// An answer that begins with this line.
fn status_line(what: &'static str, line: &[u8]) -> Row {
    refused(what, [line, b"\r\n", BODY.as_bytes()].concat())
}

/// An answer with this line among its fields.
fn field_line(what: &'static str, line: &[u8]) -> Row {
    let head = b"HTTP/1.1 200 OK\r\nX-Good: 1\r\n";
    refused(what, [head, line, b"\r\n", BODY.as_bytes()].concat())
}

/// An answer that is framed by these lines alone.
fn framed(what: &'static str, lines: &str) -> Row {
    refused(what, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nevil"))
}

/// Chunks behind a head that announces them, of which those before the fault are good.
fn chunks(what: &'static str, chunks: &[u8]) -> Row {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    broken(what, [&head[..], chunks].concat())
}

/// RFC 9112 §4, RFC 9110 §15.
fn status_lines() -> Vec<Row> {
    vec![
        refused("HTTP/0.9", "<html>evil</html>").then(Then::Close),
        refused("nothing but an empty line", "\r\n").then(Then::Close),
        status_line("HTTP/2.0", b"HTTP/2.0 200 OK"),
        status_line("HTTP/1.2", b"HTTP/1.2 200 OK"),
        status_line("HTTP/3", b"HTTP/3 200 OK"),
        status_line("a version of two digits", b"HTTP/1.10 200 OK"),
        status_line("a version in lower case", b"http/1.1 200 OK"),
        status_line("another protocol", b"ICY 200 OK"),
        status_line("a mark before the version", b"\xef\xbb\xbfHTTP/1.1 200 OK"),
        status_line("a space before the version", b" HTTP/1.1 200 OK"),
        status_line("no space behind the version", b"HTTP/1.1200 OK"),
        status_line("a tab behind the version", b"HTTP/1.1\t200 OK"),
        status_line("two spaces behind the version", b"HTTP/1.1  200 OK"),
        status_line("no status", b"HTTP/1.1"),
        status_line("status 099", b"HTTP/1.1 099 Odd"),
        status_line("status 000", b"HTTP/1.1 000 Odd"),
        status_line("status 1000", b"HTTP/1.1 1000 Odd"),
        status_line("status 20", b"HTTP/1.1 20 Odd"),
        status_line("a negative status", b"HTTP/1.1 -200 Odd"),
        status_line("a status in hexadecimal", b"HTTP/1.1 0xC8 Odd"),
        status_line("a status with a letter", b"HTTP/1.1 2O0 OK"),
        status_line("no space behind the status", b"HTTP/1.1 200OK"),
        status_line("NUL in the reason", b"HTTP/1.1 200 O\0K"),
        status_line("ESC in the reason", b"HTTP/1.1 200 \x1b[2J"),
        status_line("DEL in the reason", b"HTTP/1.1 200 O\x7fK"),
        status_line("CR in the reason", b"HTTP/1.1 200 O\rK"),
    ]
}

/// RFC 9112 §5, RFC 9110 §5.5.
fn field_lines() -> Vec<Row> {
    vec![
        field_line("a space before the colon", b"X : evil"),
        field_line("a tab before the colon", b"X\t: evil"),
        field_line("a length behind a space", b"Content-Length : 5"),
        field_line("a folded line", b"X: a\r\n evil"),
        field_line("a line folded by a tab", b"X: a\r\n\tevil"),
        field_line("a folded length", b"Content-Length:\r\n 5"),
        refused(
            "a fold before the first field",
            "HTTP/1.1 200 OK\r\n X: evil\r\nContent-Length: 4\r\n\r\nevil",
        ),
        field_line("no name", b": evil"),
        field_line("no colon", b"X"),
        field_line("a space in a name", b"Bad Field: evil"),
        field_line("NUL in a name", b"X\0Y: evil"),
        field_line("a control byte in a name", b"X\x01Y: evil"),
        field_line("a high byte in a name", b"X\xe4: evil"),
        field_line("a separator in a name", b"(X): evil"),
        field_line("NUL in a value", b"X: a\0evil"),
        field_line("SOH in a value", b"X: a\x01evil"),
        field_line("ESC in a value", b"X: \x1b[2Jevil"),
        field_line("DEL in a value", b"X: a\x7fevil"),
        field_line("CR in a value", b"X: a\revil"),
        field_line("two CR before LF", b"X: a\r"),
        field_line("a status line among the fields", b"HTTP/1.1 200 OK"),
    ]
}

/// RFC 9112 §6.3, RFC 9110 §8.6; protocol.md, line 25.
fn lengths() -> Vec<Row> {
    vec![
        framed("a length that is a word", "Content-Length: four"),
        framed("a negative length", "Content-Length: -4"),
        framed("a length with a sign", "Content-Length: +4"),
        framed("a length with a point", "Content-Length: 4.0"),
        framed("a length in hexadecimal", "Content-Length: 0x4"),
        framed("a length of two words", "Content-Length: 4 4"),
        framed("an empty length", "Content-Length:"),
        framed("a length in quotes", "Content-Length: \"4\""),
        framed("a length of other digits", "Content-Length: \u{664}"),
        framed("a length of 2^64", "Content-Length: 18446744073709551616"),
        framed(
            "a length of 2^64 - 1",
            "Content-Length: 18446744073709551615",
        ),
        framed(
            "a length of many digits",
            "Content-Length: 99999999999999999999999",
        ),
        framed("two lengths in a line", "Content-Length: 4, 5"),
        framed("two lengths", "Content-Length: 4\r\nContent-Length: 5"),
        framed(
            "a length and an empty one",
            "Content-Length: 4\r\nContent-Length:",
        ),
        // What may be replaced by one may be refused.
        framed("the same length twice in a line", "Content-Length: 4, 4"),
        framed(
            "the same length twice",
            "Content-Length: 4\r\nContent-Length: 4",
        ),
        framed("a length and a comma", "Content-Length: 4,"),
    ]
}

/// RFC 9112 §6.1, §6.3, §7; protocol.md, line 24.
fn codings() -> Vec<Row> {
    let chunked = "4\r\nevil\r\n0\r\n\r\n";
    let coded = |what, lines| refused(what, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{chunked}"));
    vec![
        coded(
            "a length before chunks",
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
        ),
        coded(
            "a length behind chunks",
            "Transfer-Encoding: chunked\r\nContent-Length: 14",
        ),
        coded(
            "a length beside another coding",
            "Transfer-Encoding: identity\r\nContent-Length: 14",
        ),
        coded("gzip to the end", "Transfer-Encoding: gzip").then(Then::Close),
        coded("gzip in chunks", "Transfer-Encoding: gzip, chunked"),
        coded(
            "gzip in chunks on two lines",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        ),
        coded("chunks in gzip", "Transfer-Encoding: chunked, gzip").then(Then::Close),
        coded("chunks in chunks", "Transfer-Encoding: chunked, chunked"),
        coded(
            "chunks announced twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        coded("an unknown coding", "Transfer-Encoding: xchunked").then(Then::Close),
        coded(
            "a coding with a parameter",
            "Transfer-Encoding: chunked;q=1",
        )
        .then(Then::Close),
        coded("a coding in quotes", "Transfer-Encoding: \"chunked\"").then(Then::Close),
        coded("an empty coding", "Transfer-Encoding:").then(Then::Close),
        coded("chunks behind a comma", "Transfer-Encoding: , chunked"),
        refused(
            "chunks of HTTP/1.0",
            format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        ),
    ]
}

/// RFC 9112 §7.1.
fn chunk_syntax() -> Vec<Row> {
    let long = [b"3;".as_slice(), &[b'x'; 20_000], b"\r\nbad\r\n0\r\n\r\n"].concat();
    let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000));
    vec![
        chunks("a size that is a word", b"three\r\nbad\r\n"),
        chunks("a negative size", b"-3\r\nbad\r\n"),
        chunks("a size with a sign", b"+3\r\nbad\r\n"),
        chunks("a size with 0x", b"0x3\r\nbad\r\n"),
        chunks("a space before a size", b" 3\r\nbad\r\n0\r\n\r\n"),
        chunks("no size", b"\r\nbad\r\n0\r\n\r\n"),
        chunks("a size of 17 digits", b"10000000000000003\r\nbad\r\n"),
        chunks(
            "a size of 2^64 - 1",
            b"FFFFFFFFFFFFFFFF\r\nbad\r\n0\r\n\r\n",
        )
        .then(Then::Close),
        chunks("LF behind a size", b"3\nbad\r\n0\r\n\r\n"),
        chunks("CR behind a size", b"3\rbad\r\n0\r\n\r\n"),
        chunks("LF in an extension", b"3;a\nbad\r\n0\r\n\r\n"),
        chunks("CR in an extension", b"3;a\rbad\r\n0\r\n\r\n"),
        chunks("an extension without an end", &long),
        chunks("no end behind a chunk", b"3\r\nbad0\r\n\r\n"),
        chunks("another end behind a chunk", b"3\r\nbadXX0\r\n\r\n"),
        chunks("LF behind a chunk", b"3\r\nbad\n0\r\n\r\n"),
        chunks("no last chunk", b"3\r\nbad\r\n").then(Then::Close),
        chunks("half a chunk", b"3\r\nba").then(Then::Close),
        chunks("half a size", b"3").then(Then::Close),
        chunks("no end behind the last chunk", b"0\r\n").then(Then::Close),
        chunks("a malformed trailer", b"0\r\nBad Trailer: evil\r\n\r\n"),
        chunks("a trailer without a name", b"0\r\n: evil\r\n\r\n"),
        chunks("NUL in a trailer", b"0\r\nX: a\0evil\r\n\r\n"),
        chunks("a folded trailer", b"0\r\nX: a\r\n evil\r\n\r\n"),
        chunks("a space before a trailer's colon", b"0\r\nX : evil\r\n\r\n"),
        chunks("many trailers", many.as_bytes()),
    ]
}

/// RFC 9112 §8; RFC 8446 §6.1.
fn short() -> Vec<Row> {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour";
    let to_the_end = "HTTP/1.1 200 OK\r\n\r\nto the end";
    vec![
        broken("a byte too few", length).then(Then::Close),
        broken("a byte too few, and no word of it", length).then(Then::Cut),
        broken("an end that is none", to_the_end).then(Then::Cut),
        chunks("chunks that are cut", b"3\r\nbad\r\n").then(Then::Cut),
        refused("half a head", "HTTP/1.1 200 OK\r\nX: ev").then(Then::Close),
        refused("a head without an end", "HTTP/1.1 200 OK\r\nX: evil\r\n").then(Then::Close),
    ]
}

/// Another answer, that nobody asked for.
const ANOTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// RFC 9112 §6.3; protocol.md, line 26 and row 16.
fn behind() -> Vec<Row> {
    let behind = |what, said: &str, more: &str| whole(what, format!("{said}{more}"), 200, "ok");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let empty = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{ANOTHER}");
    vec![
        behind("another answer behind a length", ok, ANOTHER),
        behind("two answers behind a length", ok, &ANOTHER.repeat(2)),
        behind("a byte behind a length", ok, "e"),
        behind("an empty line behind a length", ok, "\r\n"),
        behind("an interim answer behind a length", ok, interim),
        behind("another answer behind chunks", chunked, ANOTHER),
        behind("another chunk behind the last", chunked, "4\r\nevil\r\n"),
        behind("another answer behind close", closing, ANOTHER),
        whole("another answer behind an empty one", empty, 200, ""),
    ]
}

/// RFC 9110 §6.4.1: none of these has content, whatever its head says.
fn without_content() -> Vec<Row> {
    let length = "Content-Length: 4\r\n\r\nevil";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n";
    let no_content = |what, said: &str| {
        let said = format!("HTTP/1.1 204 No Content\r\n{said}");
        whole(what, said, 204, "")
    };
    let head = |what, said: &str| {
        let said = format!("HTTP/1.1 200 OK\r\n{said}");
        whole(what, said, 200, "").to("HEAD")
    };
    let not_modified = format!("HTTP/1.1 304 Not Modified\r\n{length}");
    vec![
        no_content("another answer behind 204", &format!("\r\n{ANOTHER}")),
        no_content("204 with content", length),
        no_content("204 in chunks", chunks),
        whole("304 with content", not_modified, 304, ""),
        head("HEAD with content", length),
        head("HEAD in chunks", chunks),
        head("HEAD and another answer", &format!("\r\n{ANOTHER}")),
    ]
}

/// What a recipient may forgive, and hyper does: the flow gets a canonical answer, and whatever is
/// behind it ends with its connection.
fn forgiven() -> Vec<Row> {
    let whole = |what, said: &str| whole(what, said, 200, "ok").then(Then::Close);
    let length = "Content-Length: 2\r\nConnection: close\r\n\r\nok";
    vec![
        // RFC 9112 §2.2: a single LF as a line's end.
        whole(
            "lines that end in LF",
            "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nok",
        ),
        whole(
            "a line that ends in LF",
            &format!("HTTP/1.1 200 OK\r\nX: a\n{length}"),
        ),
        whole(
            "a head that LF ends, and another answer",
            &format!("HTTP/1.1 200 OK\nContent-Length: 2\n\nok{ANOTHER}"),
        ),
        // RFC 9112 §4: the reason may be empty, and the space before it is missed.
        whole("no reason", &format!("HTTP/1.1 200 \r\n{length}")),
        whole(
            "no space before no reason",
            &format!("HTTP/1.1 200\r\n{length}"),
        ),
        // RFC 9112 §6.3; protocol.md, line 24: read to the end.
        whole(
            "a coding that says nothing",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        ),
        whole("HTTP/1.0 to the end", "HTTP/1.0 200 OK\r\n\r\nok"),
    ]
}

/// RFC 9110 §15.2; protocol.md, line 14.
fn interim() -> Vec<Row> {
    vec![
        refused(
            "101 unasked",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nevil",
        ),
        refused(
            "101 without a protocol",
            "HTTP/1.1 101 Switching Protocols\r\n\r\nevil",
        ),
        refused(
            "101 and an answer",
            "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        refused(
            "100 with content",
            "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevilHTTP/1.1 200 OK\r\n\r\n",
        )
        .then(Then::Close),
        refused(
            "103 with a malformed field",
            "HTTP/1.1 103 Early Hints\r\nLink : </evil>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        refused(
            "100 and garbage",
            "HTTP/1.1 100 Continue\r\n\r\nevil\r\n\r\n",
        ),
    ]
}

/// What `limits` have no key for: an origin's head is bounded by constants.
fn floods() -> Vec<Row> {
    let long = |count: usize| "x".repeat(count);
    let fields = |count: usize| -> String { (0..count).map(|n| format!("X-{n}: y\r\n")).collect() };
    let framed = |fields: String| format!("HTTP/1.1 200 OK\r\n{fields}{BODY}");
    vec![
        refused("101 fields", framed(fields(100))),
        refused("10,000 fields", framed(fields(10_000))),
        refused("10,000 lines of a field", framed("X: y\r\n".repeat(10_000))),
        refused(
            "a value of 70 KiB",
            framed(format!("X: {}\r\n", long(70 * 1024))),
        ),
        refused(
            "a value of 1 MiB",
            framed(format!("X: {}\r\n", long(1024 * 1024))),
        ),
        refused(
            "a name of 70 KiB",
            framed(format!("{}: y\r\n", long(70 * 1024))),
        ),
        refused(
            "a reason of 1 MiB",
            format!("HTTP/1.1 200 {}\r\n{BODY}", long(1024 * 1024)),
        ),
    ]
}

fn all() -> Vec<Row> {
    [
        status_lines(),
        field_lines(),
        lengths(),
        codings(),
        chunk_syntax(),
        short(),
        behind(),
        without_content(),
        forgiven(),
        interim(),
        floods(),
    ]
    .concat()
}

#[tokio::test]
async fn no_malformed_answer_passes_for_a_good_one_or_meets_another_flow_over_http1() {
    // RFC 9112 §6.3: "the response is discarded"; protocol.md, lines 21, 22, 24 to 26 and 28.
    hold(all(), Flow::Http1).await;
}

#[tokio::test]
async fn no_malformed_answer_passes_for_a_good_one_or_meets_another_flow_over_http2() {
    hold(all(), Flow::Http2).await;
}
