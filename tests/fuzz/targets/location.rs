//! Where an answer's `Location` leads: `proxy::location`.
//!
//! The first line is a request's target, the second the origin's `Location`. Whoever follows what
//! the gateway makes of it comes where the origin meant, or back through the same connector.

#![no_main]

use attache_fuzz::{decode, doors, snapshot};
use http::{HeaderMap, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use url::{Position, Url};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(target), Some(location)) = (lines.next(), lines.next()) else {
        return;
    };
    let mut flow = Request::new(()).into_parts().0;
    let (Ok(target), Ok(location)) = (
        http::Uri::try_from(target),
        HeaderValue::from_bytes(location.trim_ascii()),
    ) else {
        return;
    };
    flow.uri = target;
    flow.headers
        .insert("host", HeaderValue::from_static("localhost"));
    if flow.uri.authority().is_some() {
        return;
    }
    let Ok(permitted) = doors().permit(&flow, &snapshot()) else {
        return;
    };
    let mut answer = HeaderMap::new();
    answer.insert("location", location.clone());
    permitted.relocate(&mut answer);
    let mut made = answer.get_all("location").iter();
    let (Some(made), None) = (made.next(), made.next()) else {
        panic!("there is one");
    };
    // What is no text is passed on as it is.
    let (Ok(meant), Ok(made)) = (location.to_str(), made.to_str()) else {
        assert_eq!(location, made);
        return;
    };
    let (origin, base) = match permitted.connector().as_str() {
        "bare" => ("https://origin.example", ""),
        "base" => ("https://origin.example", "/api"),
        _ => ("https://origin.example:8443", "/api/data/v9.2"),
    };
    let asked = Url::parse(&format!("{origin}{}", permitted.target())).expect("a URL");
    let sent = Url::parse(&format!("https://gateway.example{}", flow.uri)).expect("a URL");
    let (Ok(meant), Ok(followed)) = (asked.join(meant), sent.join(made)) else {
        // What cannot be followed leads nowhere, and has to stay so.
        assert_eq!(
            asked.join(meant).is_err(),
            sent.join(made).is_err(),
            "{meant:?} {made:?}"
        );
        return;
    };
    if followed.origin() != sent.origin() {
        assert_eq!(followed, meant);
        return;
    }
    if meant.origin() == sent.origin() {
        return;
    }
    let path = &followed[Position::BeforePath..];
    let behind = path.strip_prefix(&format!("/{}", permitted.connector()));
    let behind = behind.unwrap_or_else(|| panic!("{made:?} leads to another connector: {path:?}"));
    assert!(
        behind.is_empty() || behind.starts_with(['/', '?', '#']),
        "{made:?}"
    );
    assert_eq!(meant.origin(), asked.origin(), "{made:?}");
    let wanted = &meant[Position::BeforePath..];
    let reached = format!("{base}{behind}");
    let same = reached == wanted
        || (reached.is_empty() && wanted == "/")
        || reached
            .strip_prefix(base)
            .is_some_and(|rest| wanted == format!("{base}/{rest}"));
    assert!(same, "{made:?}: {reached:?} instead of {wanted:?}");
    let end = behind.find(['?', '#']).unwrap_or(behind.len());
    assert!(!decode::climbs(behind[..end].as_bytes()) || behind[..end].contains('%'));
});
