//! Whether an answer says that the token which the request carried is not accepted any more.
//!
//! # Invariants
//!
//! A body is looked into only where the connector has a rule for it, and then at most
//! [`AHEAD_BYTES_MAX`] of it; what is passed on is what came. An answer without an end in sight
//! (server-sent events, a large one) is not held back for it.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use serde_json::Value;

use super::ahead::{AHEAD_BYTES_MAX, Arriving};
use crate::connector::{BodySign, ExpiredOn};

/// Whether the answer, by its head, says so or may say so.
pub(crate) fn may_say_so(response: &Response<Arriving>, expired_on: &ExpiredOn) -> bool {
    let status = response.status();
    expired_on.statuses.contains(&status)
        || (expired_on.body.is_some() && status == StatusCode::OK && may_be_read(response))
}

/// Whether the answer says so. Holds it back while its body is read, no longer than for `limit`.
pub(crate) async fn says_so(
    response: &mut Response<Arriving>,
    expired_on: &ExpiredOn,
    limit: Duration,
) -> bool {
    if !may_say_so(response, expired_on) {
        return false;
    }
    match &expired_on.body {
        Some(sign) if response.status() == StatusCode::OK => {
            let body = response.body_mut();
            // Whether it came in time is told by what there is.
            let _elapsed = tokio::time::timeout(limit, body.read_ahead()).await;
            body.content().is_some_and(|text| bears(text, sign))
        }
        Some(_) | None => true,
    }
}

fn may_be_read(response: &Response<Arriving>) -> bool {
    let body = response.body();
    let too_long = body.size_hint().lower() > u64::try_from(AHEAD_BYTES_MAX).unwrap_or(u64::MAX);
    is_plain_json(response.headers()) && !too_long && !body.is_end_stream()
}

/// Whether the content is JSON (RFC 8259, RFC 6839 §3.1) and under no coding.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let coded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(Ok(media_type)) = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str())
    else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    !coded && (essence == "application/json" || essence.ends_with("+json"))
}

fn bears(text: &[u8], sign: &BodySign) -> bool {
    // The parser bounds how deep a document nests.
    let document: Option<Value> = serde_json::from_slice(text).ok();
    let found = document.as_ref().and_then(|it| it.pointer(&sign.pointer));
    match found {
        Some(Value::String(text)) => *text == sign.equals,
        Some(Value::Number(number)) => number.to_string() == sign.equals,
        Some(Value::Bool(yes)) => yes.to_string() == sign.equals,
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn sign(pointer: &str, equals: &str) -> BodySign {
        BodySign {
            pointer: pointer.into(),
            equals: equals.into(),
        }
    }

    #[test]
    fn strings_numbers_and_booleans_are_compared_as_json_writes_them() {
        let text = br#"{"errcode": "190", "e": {"code": 190, "fatal": true}, "a": [{"b": 1.5}]}"#;
        for (pointer, equals) in [
            ("/errcode", "190"),
            ("/e/code", "190"),
            ("/e/fatal", "true"),
            ("/a/0/b", "1.5"),
        ] {
            assert!(bears(text, &sign(pointer, equals)), "{pointer}");
        }
    }

    #[test]
    fn what_is_not_there_or_no_such_value_is_no_sign() {
        let deep = "[".repeat(100_000);
        let text = r#"{"errcode": 190, "none": null, "list": [190], "in": {"errcode": "191"}}"#;
        for (text, pointer, equals) in [
            (text, "/errcode", "19"),
            (text, "/none", "null"),
            (text, "/list", "[190]"),
            (text, "/in/errcode", "190"),
            (text, "/absent", ""),
            ("errcode=190", "/errcode", "190"),
            (r#"{"errcode": "190""#, "/errcode", "190"),
            ("", "/errcode", "190"),
            (&deep, "/0", "190"),
        ] {
            assert!(!bears(text.as_bytes(), &sign(pointer, equals)), "{pointer}");
        }
    }

    #[test]
    fn only_plain_json_is_looked_into() {
        for (media_type, coding, plain) in [
            ("application/json", None, true),
            ("Application/JSON; charset=utf-8", Some("identity"), true),
            ("application/problem+json", None, true),
            ("application/json", Some("gzip"), false),
            ("text/event-stream", None, false),
            ("application/jsonl", None, false),
            ("text/plain; a=application/json", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            if let Some(coding) = coding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(is_plain_json(&headers), plain, "{media_type} {coding:?}");
        }
    }
}
