//! A request's target, as far as the path on the origin: `proxy::resolve`.
//!
//! The first line is the target, the others are fields. Whatever is let through stands behind the
//! base path of the connector that was named, byte for byte, under every reading of it.

#![no_main]

use attache_fuzz::{decode, doors, fields, message, snapshot};
use http::{Request, Version, request};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|data: &[u8]| {
    let Some((flow, sent)) = flow(data) else {
        return;
    };
    let Ok(permitted) = doors().permit(&flow, &snapshot()) else {
        return;
    };
    let (id, rest) = addressed(&flow, &sent);
    assert_eq!(permitted.connector().as_str(), id);
    let base = match id {
        "bare" => "",
        "base" => "/api",
        "deep" => "/api/data/v9.2",
        other => panic!("{other:?} is no connector"),
    };
    let target = permitted.target().as_str();

    // RFC 9110 §7.7: what came is what goes, behind the base path.
    let path = rest.split('?').next().unwrap_or_default();
    let base_alone = match id {
        "bare" => "/",
        "base" => "/api",
        _ => "/api/data/v9.2/",
    };
    let base = if path.is_empty() { base_alone } else { base };
    assert_eq!(target, format!("{base}{rest}"));
    assert!(target.starts_with('/') && !target.contains(['#', ' ']));

    // No reader of paths that decodes what it should not comes out of the base path.
    assert!(!decode::climbs(path.as_bytes()), "{target:?}");
    // Nor does the one of browsers (WHATWG URL §4.4), which also knows other dots.
    let read = Url::parse(&format!("https://origin.example{target}")).expect("a URL");
    assert_eq!(read.host_str(), Some("origin.example"));
    assert!(read.path().starts_with(base_alone.trim_end_matches('/')));
    let slashes = |path: &str| path.bytes().filter(|byte| *byte == b'/').count();
    assert_eq!(slashes(read.path()), slashes(permitted.target().path()));
});

/// A GET of the first line, if it can be a request's target, and that line.
fn flow(data: &[u8]) -> Option<(request::Parts, String)> {
    let (lines, _) = message(data);
    let (target, lines) = lines.split_first()?;
    let mut flow = Request::new(()).into_parts().0;
    flow.uri = http::Uri::try_from(*target).ok()?;
    flow.version = Version::HTTP_11;
    flow.headers = fields(lines);
    if !flow.headers.contains_key("host") && flow.uri.authority().is_none() {
        flow.headers.insert("host", "localhost".parse().ok()?);
    }
    // What a fragment is cut off from is refused by the parser of requests, which is not here.
    let sent = flow.uri.path_and_query().map_or("/", |both| both.as_str());
    let sent = sent.to_owned();
    Some((flow, sent))
}

/// The connector's ID and what stands behind it.
fn addressed<'a>(flow: &'a request::Parts, sent: &'a str) -> (&'a str, &'a str) {
    if let Some(id) = flow.headers.get("connector-id") {
        return (id.to_str().expect("an ID"), sent);
    }
    let named = sent.strip_prefix('/').expect("a slash");
    let end = named.find(['/', '?']).unwrap_or(named.len());
    named.split_at(end)
}
