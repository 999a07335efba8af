//! Whose request it is and what it asks for.

use super::{
    AUTHORITY, Case, Field, Gets, METHOD, PATH, SCHEME, arrives, case, changed, malformed, of,
    plain, refused, with,
};

pub(super) fn all() -> Vec<Case> {
    [
        authorities(),
        pseudo_headers(),
        methods_and_schemes(),
        paths(),
    ]
    .concat()
}

/// Whose request it is (RFC 9113 §8.3.1; protocol.md, line 34).
fn authorities() -> Vec<Case> {
    let without = |fields: &[Field]| of(&[&[METHOD, SCHEME, PATH], fields].concat());
    let mut cases = vec![
        arrives(
            "Host as :authority",
            with(&[(b"host", b"localhost")]),
            &plain(""),
        ),
        arrives(
            "Host alone",
            without(&[(b"host", b"localhost")]),
            &plain(""),
        ),
        refused("neither", without(&[]), 400),
        refused(
            "Host of another name",
            with(&[(b"host", b"evil.example")]),
            400,
        ),
        refused(
            "Host of another port",
            with(&[(b"host", b"localhost:1")]),
            400,
        ),
        refused(
            "Host twice",
            with(&[(b"host", b"localhost"), (b"host", b"localhost")]),
            400,
        ),
        refused("an empty Host", without(&[(b"host", b"")]), 400),
        refused(
            "somebody else",
            changed(b":authority", b"evil.example"),
            400,
        ),
        malformed(
            ":authority twice",
            of(&[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH]),
        ),
    ];
    for authority in [
        "user@localhost",
        "localhost/crm",
        "localhost#x",
        "localhost?x",
        "local host",
        "localhost:80:80",
        "localhost\r\nx: y",
        "localhost, evil.example",
        "evil.example\\localhost",
        "[::1",
        "",
    ] {
        let said = changed(b":authority", authority.as_bytes());
        cases.push(malformed(format!(":authority {authority:?}"), said));
    }
    cases
}

/// RFC 9113 §8.3.
fn pseudo_headers() -> Vec<Case> {
    let all = [METHOD, SCHEME, AUTHORITY, PATH];
    let mut cases = Vec::new();
    for name in [&b":method"[..], b":scheme", b":path"] {
        let shown = String::from_utf8_lossy(name).into_owned();
        let (left, kept): (Vec<Field>, Vec<Field>) =
            all.into_iter().partition(|(known, _)| *known == name);
        let last = [&kept[..], &[(b"x", b"y")], &left[..]].concat();
        cases.push(malformed(format!("no {shown}"), of(&kept)));
        cases.push(malformed(
            format!("{shown} twice"),
            of(&[&all[..], &left].concat()),
        ));
        cases.push(malformed(format!("{shown} behind a field"), of(&last)));
    }
    for (name, value) in [
        (&b":evil"[..], &b"y"[..]),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b":Path", b"/orders/y"),
        (b":host", b"localhost"),
    ] {
        let shown = String::from_utf8_lossy(name).into_owned();
        cases.push(malformed(shown, of(&[&all[..], &[(name, value)]].concat())));
    }
    cases
}

/// RFC 9110 §9.1, RFC 3986 §3.1.
fn methods_and_schemes() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [
        "",
        "GET ",
        " GET",
        "GET /crm/x HTTP/1.1",
        "GET\r\nx: y",
        "G\0T",
        "G:T",
        "\u{e4}",
        "G\tT",
    ] {
        let said = changed(b":method", method.as_bytes());
        cases.push(malformed(format!("the method {method:?}"), said));
    }
    for method in ["TRACE", "CONNECT"] {
        let said = changed(b":method", method.as_bytes());
        cases.push(case(
            method,
            said,
            match method {
                "TRACE" => Gets::Refused(405),
                _ => Gets::Malformed,
            },
        ));
    }
    cases.push(arrives(
        "a method in lower case",
        changed(b":method", b"get"),
        "get /api/x HTTP/1.1\n\n",
    ));
    cases.push(arrives(
        "an unknown method",
        changed(b":method", b"X-ODD!"),
        "X-ODD! /api/x HTTP/1.1\n\n",
    ));
    for scheme in ["ht tp", "http://", "http\r\nx: y", "\u{e4}"] {
        let said = changed(b":scheme", scheme.as_bytes());
        cases.push(malformed(format!("the scheme {scheme:?}"), said));
    }
    for scheme in ["ftp", "1http", ""] {
        let said = changed(b":scheme", scheme.as_bytes());
        cases.push(refused(format!("the scheme {scheme:?}"), said, 400));
    }
    // Which of the two it is decides nothing.
    let secure = changed(b":scheme", b"https");
    cases.push(arrives("another scheme", secure, &plain("")));
    cases
}

/// RFC 9113 §8.3.1: `:path` is path and query.
fn paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "",
        "x",
        "orders/x",
        "?x",
        "*",
        "http://localhost/orders/x",
        "/orders/x y",
        "/orders/x HTTP/1.1\r\nx: y\r\n\r\nGET /crm/x",
        "/orders/x\r\nx: y",
        "/orders/x\n",
        "/orders/x\t",
        "/orders/\0",
        "/orders/\u{7f}",
        "/orders/x?a b",
        "/orders/x\\y",
        "/orders/../crm/x",
        "/orders/%2e%2e/crm/x",
        "/orders/%252e%252e/crm/x",
        "/orders/a%00b",
    ] {
        let said = changed(b":path", path.as_bytes());
        cases.push(malformed(format!("the path {path:?}"), said));
    }
    for path in [&b"/orders/\xff"[..], b"/orders/\xc3", b"/orders/\x80x"] {
        cases.push(malformed(
            format!("the path {path:?}"),
            changed(b":path", path),
        ));
    }
    for (path, target) in [
        ("/orders/", "/api/"),
        ("/orders//evil.example/x", "/api//evil.example/x"),
        ("/orders/x?y=/../z", "/api/x?y=/../z"),
        ("/orders/%41%zz'\"{}|;", "/api/%41%zz'\"{}|;"),
        ("/crm/x", "/x"),
        ("/crm//evil.example/x", "//evil.example/x"),
        ("/crm?x", "/?x"),
    ] {
        let said = changed(b":path", path.as_bytes());
        cases.push(arrives(
            format!("the path {path}"),
            said,
            &format!("GET {target} HTTP/1.1\n\n"),
        ));
    }
    cases.push(refused(
        "nobody's path",
        changed(b":path", b"/nobody/x"),
        404,
    ));
    cases
}
