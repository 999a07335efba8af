//! What a client reads whose request hyper refuses to parse.
//!
//! hyper answers those on its own, with a status and nothing else. Its words are replaced by a
//! problem document like every other refusal's, so that flows can always tell who spoke.

use bytes::Bytes;
use http::HeaderValue;

use super::error::Reason;
use super::respond::problem_text;

/// Replaces hyper's own words on one connection.
#[derive(Debug)]
pub(crate) struct Malformed {
    request_id: HeaderValue,
}

impl Malformed {
    /// Words that will carry `request_id`.
    pub(crate) fn new(request_id: HeaderValue) -> Self {
        Self { request_id }
    }

    /// The request ID a refusal on this connection carries.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What is written instead of `head`, if that is an answer of hyper's own.
    pub(crate) fn instead_of(&self, head: &[u8]) -> Option<Bytes> {
        let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        let (reason, detail) = match status {
            b"400" => (Reason::BadRequest, "The request is not valid HTTP/1.1."),
            b"414" | b"431" => (
                Reason::HeadTooLarge,
                "The request's head is larger than this gateway reads.",
            ),
            _other => return None,
        };
        let row = reason.row();
        let text = problem_text(row, detail, None, self.request_id(), false);
        let title = row.status.canonical_reason().unwrap_or("Refused");
        let mut answer = format!(
            "HTTP/1.1 {} {title}\r\ncontent-type: application/problem+json\r\n\
             cache-control: no-store\r\nproxy-status: attache; error={}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            row.status.as_u16(),
            row.proxy_status,
            text.len(),
        )
        .into_bytes();
        answer.extend_from_slice(&text);
        Some(Bytes::from(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_too_large_is_told_as_a_problem() {
        let words = Malformed::new(HeaderValue::from_static("r1"));

        let answer = words.instead_of(b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n");

        let answer = answer.map(|answer| String::from_utf8_lossy(&answer).into_owned());
        let answer = answer.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(
            answer.contains("urn:attache:problem:head-too-large"),
            "{answer}"
        );
        assert!(answer.contains("\"request_id\":\"r1\""), "{answer}");
    }

    #[test]
    fn an_interim_answer_is_left_alone() {
        let words = Malformed::new(HeaderValue::from_static("r1"));

        assert!(words.instead_of(b"HTTP/1.1 100 Continue\r\n\r\n").is_none());
    }
}
