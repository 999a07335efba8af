//! What stands in fields.

use super::{
    AUTHORITY, Case, Field, METHOD, SCHEME, arrives, begun, data, malformed, of, plain, refused,
    with,
};
use crate::support::frames::END_STREAM;

pub(super) fn all() -> Vec<Case> {
    [
        bytes_of_fields(),
        connection_fields(),
        own_fields(),
        other_fields(),
    ]
    .concat()
}

/// Bytes that no field holds (RFC 9113 §8.2.1; protocol.md, line 31).
fn bytes_of_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in *b"\0\t\n\r \"(),/:;<=>?@AZ[\\]{}\x7f\x80\xff" {
        let name = [b"x", &[byte][..], b"y"].concat();
        let what = format!("{:?} in a name", char::from(byte));
        cases.push(malformed(what, with(&[(&name, b"z")])));
    }
    for byte in *b"\0\n\r\x01\x08\x0b\x1b\x1f\x7f" {
        let value = [b"a", &[byte][..], b"b"].concat();
        let what = format!("{:?} in a value", char::from(byte));
        cases.push(malformed(what, with(&[(b"x-odd", &value)])));
    }
    for (what, name, value) in [
        ("no name", &b""[..], &b"y"[..]),
        ("a name that is a colon", b":", b"y"),
        ("a field in a name", b"x: y\r\nz", b"y"),
        ("a field in a value", b"x", b"y\r\nContent-Length: 5"),
        (
            "a request in a value",
            b"x",
            b"y\r\n\r\nGET /crm/x HTTP/1.1\r\n\r\n",
        ),
        ("LF and a field in a value", b"x", b"y\nz: 1"),
    ] {
        cases.push(malformed(what, with(&[(name, value)])));
    }
    cases.push(arrives(
        "a tab, quotes and bytes beyond ASCII in a value",
        with(&[(b"x-odd", b"a\tb \"c\" \xe4\xff;,")]),
        &plain("x-odd: a\tb \"c\" \u{e4}\u{ff};,\n"),
    ));
    cases.push(arrives(
        "no value",
        with(&[(b"x-odd", b"")]),
        &plain("x-odd: \n"),
    ));
    cases
}

/// Fields of a connection that HTTP/2 has not (RFC 9113 §8.2.2; protocol.md, line 32).
fn connection_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value) in [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "authorization, host, content-length"),
        ("connection", "x-hop"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "gzip, chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
        ("te", "chunked"),
    ] {
        let said = with(&[(name.as_bytes(), value.as_bytes())]);
        cases.push(malformed(format!("{name}: {value}"), said));
        let head = begun(&[(name.as_bytes(), value.as_bytes())]);
        let said = [head, data(END_STREAM, b"5\r\nhello\r\n0\r\n\r\n")].concat();
        cases.push(malformed(format!("{name}: {value}, with content"), said));
    }
    cases.push(arrives(
        "te: trailers",
        with(&[(b"te", b"trailers")]),
        &plain("te: trailers\nconnection: te\n"),
    ));
    cases.push(arrives(
        "http2-settings, which means nothing here",
        with(&[(b"http2-settings", b"AAMAAABkAAQAAP__")]),
        &plain(""),
    ));
    cases
}

/// Fields that only the gateway sets (protocol.md, rows 32 to 34), and how connectors are addressed.
fn own_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in [
        "authorization",
        "proxy-authorization",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x_forwarded_user",
        "proxy_authorization",
        "authorization_",
        "x_request_id",
        "transfer_encoding",
        "content_length",
        "connector_id",
        "cookie",
    ] {
        let said = with(&[(name.as_bytes(), b"flows-own")]);
        let stays = match name {
            "authorization_" => plain("authorization_: flows-own\n"),
            _ => plain(""),
        };
        cases.push(arrives(format!("{name} of a flow's own"), said, &stays));
    }
    let crm = |name: &[u8]| {
        of(&[
            METHOD,
            SCHEME,
            AUTHORITY,
            (b":path", b"/crm/x"),
            (name, b"flows-own"),
        ])
    };
    for name in ["x-api-key", "x_api_key", "x-api_key"] {
        cases.push(arrives(
            format!("{name} of a flow's own"),
            crm(name.as_bytes()),
            "GET /x HTTP/1.1\n\n",
        ));
    }
    cases
}

/// How connectors are addressed, and what becomes of other fields.
fn other_fields() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(arrives(
        "Connector-Id",
        with(&[(b"connector-id", b"crm")]),
        "GET /orders/x HTTP/1.1\n\n",
    ));
    let twice: [Field; 2] = [(b"connector-id", b"crm"), (b"connector-id", b"orders")];
    cases.push(refused("Connector-Id twice", with(&twice), 400));
    cases.push(refused(
        "an empty Connector-Id",
        with(&[(b"connector-id", b"")]),
        400,
    ));
    cases.push(arrives(
        "an expectation",
        with(&[(b"expect", b"100-continue")]),
        &plain(""),
    ));
    let crumbs: [Field; 3] = [(b"cookie", b"a=1"), (b"x-odd", b"y"), (b"cookie", b"b=2")];
    cases.push(arrives(
        "crumbs of cookies",
        with(&crumbs),
        &plain("x-odd: y\n"),
    ));
    let lines: [Field; 3] = [(b"x-odd", b"1"), (b"x-other", b"2"), (b"x-odd", b"3")];
    cases.push(arrives(
        "two lines of a name",
        with(&lines),
        &plain("x-odd: 1\nx-odd: 3\nx-other: 2\n"),
    ));
    cases
}
