//! The head that an origin receives: `proxy::rewrite`.
//!
//! The first line is method, target and version, the others are fields. What may travel is decided
//! anew, from the RFCs; the credential is there once, and nothing else of the gateway's is a flow's.

#![no_main]

use attache::credential::{Credential, Source};
use attache_fuzz::{CANARY, doors, fields, heads, message, snapshot};
use http::{HeaderMap, HeaderValue, Method, Request, Version, request};
use libfuzzer_sys::fuzz_target;

const REQUEST_ID: &str = "00000000-0000-0000-0000-000000000000";

fuzz_target!(|data: &[u8]| {
    let Some(flow) = flow(data) else {
        return;
    };
    let (doors, snapshot) = (doors(), snapshot());
    let Ok(permitted) = doors.permit(&flow, &snapshot) else {
        return;
    };
    let id = permitted.connector().as_str();
    let entry = snapshot.entry(id).expect("a connector");
    let Source::Fixed(obtained) = entry.source.clone() else {
        panic!("no connector here has a token");
    };
    let (name, value) = match &obtained {
        Credential::None => (None, None),
        Credential::Field { name, value, .. } => (Some(name.as_str()), Some(value.clone())),
    };
    let head = doors.head(&flow, &permitted, obtained.clone());

    // What a strict reader would take for another request, or not take at all.
    assert!(head.uri.authority().is_none() && head.uri.scheme().is_none());
    assert_eq!(head.method, flow.method);
    for (name, value) in &head.headers {
        assert!(!name.as_str().contains(|c: char| c.is_ascii_uppercase()));
        let illegal = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        assert!(!value.as_bytes().iter().any(illegal), "{name}: {value:?}");
    }

    // One credential, and no other authentication.
    let sent = |name: &str| {
        head.headers
            .get_all(name)
            .iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    match (name, value) {
        (Some(name), Some(value)) => {
            assert_eq!(sent(name), [value.clone()]);
            assert!(value.is_sensitive());
            let spelled = |other: &str| other.replace('_', "-") == name;
            let spellings = head.headers.keys().filter(|one| spelled(one.as_str()));
            assert_eq!(spellings.count(), 1);
        }
        (_, _) => assert!(sent("authorization").is_empty()),
    }
    if name != Some("authorization") {
        assert!(sent("authorization").is_empty());
    }
    let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).contains(CANARY);
    let showing = head.headers.values().filter(|value| shown(value)).count();
    let said = flow.headers.values().filter(|value| shown(value)).count();
    assert!(showing <= said + 1);

    // What is the gateway's to say is as it says it, whatever `Connection` names.
    assert_eq!(sent("x-request-id"), [REQUEST_ID]);
    let forwarded = sent("forwarded");
    match id {
        "deep" => assert_eq!(forwarded, ["for=192.0.2.7;proto=http"]),
        _ => assert!(forwarded.is_empty()),
    }
    let mark = match flow.version {
        Version::HTTP_10 => format!("1.0 attache-{REQUEST_ID}"),
        Version::HTTP_2 => format!("2 attache-{REQUEST_ID}"),
        _ => format!("1.1 attache-{REQUEST_ID}"),
    };
    let mut via: Vec<_> = flow.headers.get_all("via").iter().cloned().collect();
    via.push(HeaderValue::from_str(&mark).expect("a mark"));
    assert_eq!(sent("via"), via);
    te(&flow, &head.headers);

    let ours = [
        "via",
        "x-request-id",
        "forwarded",
        "te",
        "connection",
        "max-forwards",
        "cookie",
    ];
    let is_ours = |one: &str| ours.contains(&one) || Some(one) == name;
    let lines = head.headers.iter();
    let lines = lines.map(|(name, value)| (name.as_str(), value)).collect();
    // The order counts among lines of one name alone (RFC 9110 §5.3).
    let sorted = |lines: Vec<(&str, &HeaderValue)>| {
        let others = lines.into_iter().filter(|(name, _)| !is_ours(name));
        let mut others: Vec<_> = others
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        others.sort_by(|one, other| one.0.cmp(&other.0));
        others
    };
    let travelled = sorted(lines);
    let expected = sorted(expected(&flow.headers, name));
    assert_eq!(travelled, expected);

    let cookies = flow.headers.get_all("cookie").iter().count();
    let named = heads::named(&flow.headers);
    let pass = id == "deep" && !named.iter().any(|name| name == "cookie");
    assert_eq!(sent("cookie").len(), usize::from(pass && cookies > 0));
});

/// `TE` is said as `trailers`, with `Connection: te`, or not at all (RFC 9110 §10.1.4).
fn te(flow: &request::Parts, head: &HeaderMap) {
    let lines = |name| head.get_all(name).iter().collect::<Vec<_>>();
    let asked = flow.headers.get_all("te").iter().any(|line| {
        let mut codings = line.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    match asked {
        true => {
            assert_eq!(lines("te"), ["trailers"]);
            assert_eq!(lines("connection"), ["te"]);
        }
        false => assert!(lines("te").is_empty() && lines("connection").is_empty()),
    }
}

/// The lines of a flow's head that its origin has to get.
fn expected<'h>(head: &'h HeaderMap, credential: Option<&str>) -> Vec<(&'h str, &'h HeaderValue)> {
    let named = heads::named(head);
    let continues = head.get_all("expect").iter();
    let continues = { continues }.all(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let lines = head.iter().map(|(name, value)| (name.as_str(), value));
    lines
        .filter(|(name, _)| heads::may_travel(name, credential))
        .filter(|(name, _)| !named.iter().any(|option| option == name))
        .filter(|(name, _)| *name != "expect" || !continues)
        .collect()
}

fn flow(data: &[u8]) -> Option<request::Parts> {
    let (lines, _) = message(data);
    let (line, lines) = lines.split_first()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut flow = Request::new(()).into_parts().0;
    flow.method = Method::from_bytes(method).ok()?;
    flow.uri = http::Uri::try_from(target).ok()?;
    flow.version = match words.next() {
        Some(b"1.0") => Version::HTTP_10,
        Some(b"2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    flow.headers = fields(lines);
    if !flow.headers.contains_key("host") && flow.uri.authority().is_none() {
        flow.headers
            .insert("host", HeaderValue::from_static("localhost"));
    }
    Some(flow)
}
