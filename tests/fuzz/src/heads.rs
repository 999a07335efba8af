//! What of a flow's head may travel, decided from the RFCs and design alone: this shares no code
//! with the gateway.

use http::HeaderMap;

/// RFC 9110 §7.6.1, and what older software took for the same.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What only the gateway says.
const OURS: [&str; 9] = [
    "authorization",
    "connector-id",
    "content-length",
    "forwarded",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "via",
    "x-request-id",
];

/// Whether the name `sent` may reach an origin at all, whose credential is in the field
/// `credential`.
pub fn may_travel(sent: &str, credential: Option<&str>) -> bool {
    let dashed = sent.replace('_', "-");
    !HOP_BY_HOP.contains(&sent)
        && !OURS.contains(&dashed.as_str())
        && !dashed.starts_with("x-forwarded-")
        && credential != Some(dashed.as_str())
}

/// The names that the `Connection` lines of `fields` hold, in lower case.
pub fn named(fields: &HeaderMap) -> Vec<String> {
    let lines = fields.get_all("connection").iter();
    let mut named = Vec::new();
    for line in lines {
        for option in line.as_bytes().split(|byte| *byte == b',') {
            let option = String::from_utf8_lossy(option.trim_ascii());
            named.push(option.to_ascii_lowercase());
        }
    }
    named
}
