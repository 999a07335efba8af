//! What the control plane refuses beside its API (RFC 9457), and what all of its answers have.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use uuid::Uuid;

use super::api::Reason;

/// The longest request ID that is taken over from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A refusal of what is no API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    CallerUnknown,
    BadHost,
    BrowserRefused,
    NotFound,
    Method,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn reason(self) -> Reason {
        match self {
            Self::CallerUnknown => Reason::CallerUnknown,
            Self::BadHost => Reason::BadHost,
            Self::BrowserRefused => Reason::BrowserRefused,
            Self::NotFound => Reason::NotFound,
            Self::Method => Reason::Method,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::CallerUnknown | Self::BadHost | Self::BrowserRefused => self.reason().when(),
            Self::NotFound => "There is nothing at this path.",
            Self::Method => "Only GET and HEAD are answered here.",
        }
    }

    pub(super) fn response(self, request_id: &str) -> Response<Full<Bytes>> {
        let status = self.reason().status();
        let document = Document {
            kind: format!("urn:attache:problem:{}", self.reason().name()),
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.detail(),
            request_id,
        };
        // Texts and a number; there is nothing in them that could fail to be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = answer(status, "application/problem+json", body);
        let fields = response.headers_mut();
        if self == Self::Method {
            // RFC 9110 §15.5.6.
            fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if let Some(challenge) = self.reason().challenge() {
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// An answer that nobody keeps and no browser takes for something else.
pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    fields.insert("x-content-type-options", nosniff);
    response
}

/// The client's `X-Request-Id` if it is harmless in a log, else a new one.
pub(super) fn request_id(fields: &HeaderMap) -> String {
    let mut lines = fields.get_all("x-request-id").iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().filter(|text| is_sane(text)),
        (Some(_), Some(_)) | (None, _) => None,
    }
    .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn is_sane(text: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_that_could_mislead_are_replaced() {
        let long = "a".repeat(REQUEST_ID_BYTES_MAX + 1);
        for sent in [
            &[][..],
            &[""],
            &["a b"],
            &["a\"b"],
            &["a;b"],
            &["a", "b"],
            &[&long],
        ] {
            let mut fields = HeaderMap::new();
            for id in sent {
                fields.append("x-request-id", HeaderValue::from_str(id).unwrap());
            }

            let id = request_id(&fields);

            assert!(Uuid::parse_str(&id).is_ok(), "{sent:?} gave {id}");
        }
    }

    #[test]
    fn a_sane_request_id_is_taken_over() {
        let fields = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-request-id"),
            HeaderValue::from_static("call-17:a.b_c"),
        )]);

        assert_eq!(request_id(&fields), "call-17:a.b_c");
    }
}
