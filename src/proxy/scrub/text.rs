//! Whether an answer's body is text that can be looked into.

use http::{HeaderMap, HeaderValue, header};

/// Types beside `text/*` whose bodies are text.
const TEXTS: [&str; 16] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json-seq",
    "application/jsonl",
    "application/jwt",
    "application/ndjson",
    "application/toml",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "message/http",
];
/// The same by structured syntax (RFC 6839 §3, RFC 9512 §2.2).
const SUFFIXES: [&str; 3] = ["+json", "+xml", "+yaml"];

/// Whether a body with these fields is text and not encoded. One without a type may be text (RFC
/// 9110 §8.3), and looking does no harm.
pub(super) fn is_readable(fields: &HeaderMap) -> bool {
    let types = fields.get_all(header::CONTENT_TYPE);
    let codings = fields.get_all(header::CONTENT_ENCODING);
    types.iter().all(is_text) && codings.iter().all(is_identity)
}

fn is_text(value: &HeaderValue) -> bool {
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    let Ok(essence) = std::str::from_utf8(essence) else {
        return false;
    };
    // RFC 9110 §8.3.1: without regard to case.
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/")
        || TEXTS.contains(&essence.as_str())
        || SUFFIXES.iter().any(|suffix| essence.ends_with(suffix))
}

/// `identity` is no coding, but servers write it.
fn is_identity(value: &HeaderValue) -> bool {
    let mut codings = value.as_bytes().split(|byte| *byte == b',');
    codings.all(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn fields(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let lines = lines.iter().cloned();
        lines
            .map(|(name, value)| (name, HeaderValue::from_str(value).expect("a legal value")))
            .collect()
    }

    #[test]
    fn types_that_are_no_text_are_not_looked_into() {
        for kind in [
            "image/png",
            "application/octet-stream",
            "application/grpc",
            "application/grpc+proto",
            "application/pdf",
            "application/zip",
            "multipart/byteranges; boundary=x",
            "application/jsonx",
            "textual/plain",
            "",
        ] {
            let fields = fields(&[(header::CONTENT_TYPE, kind)]);

            assert!(!is_readable(&fields), "{kind}");
        }
    }

    #[test]
    fn types_that_are_text_are_looked_into() {
        for kind in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "text/event-stream",
            "application/json",
            "application/json ;charset=utf-8",
            "application/problem+json",
            "application/soap+xml",
            "image/svg+xml",
            "application/x-www-form-urlencoded",
            "application/javascript",
            "application/graphql",
        ] {
            let fields = fields(&[(header::CONTENT_TYPE, kind)]);

            assert!(is_readable(&fields), "{kind}");
        }
        assert!(is_readable(&HeaderMap::new()));
    }

    #[test]
    fn encoded_bodies_are_not_looked_into() {
        for coding in ["gzip", "identity, br", "x-unknown"] {
            let fields = fields(&[
                (header::CONTENT_TYPE, "text/plain"),
                (header::CONTENT_ENCODING, coding),
            ]);

            assert!(!is_readable(&fields), "{coding}");
        }
        for none in ["identity", "", "Identity"] {
            assert!(is_readable(&fields(&[(header::CONTENT_ENCODING, none)])));
        }
    }
}
