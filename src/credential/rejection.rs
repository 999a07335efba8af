//! What an authorization server wrote when it refused.
//!
//! # Invariants
//!
//! Of its answer only this is kept: a status, a code of harmless characters, how long to wait, and
//! a description for the log alone, from which anything that looks like one of our secrets was
//! removed.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use url::form_urlencoded;

use super::forms::within_base64;
use crate::metrics::FailureClass;

/// The longest error code that is believed, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest part of a description that is logged, in characters.
const DESCRIPTION_CHARS_MAX: usize = 256;

/// What an error answer said (RFC 6749 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    code: Option<String>,
    description: Option<String>,
    retry_after: Option<Duration>,
}

impl Rejection {
    /// Keeps of an error answer what may be shown; `secrets` are those of the request.
    pub(super) fn new(
        status: StatusCode,
        code: Option<&str>,
        description: Option<&str>,
        secrets: &[&str],
    ) -> Self {
        let harmless = |text: &&str| !shows_a_secret(text, secrets);
        Self {
            status,
            code: code
                .filter(|code| is_code(code))
                .filter(harmless)
                .map(str::to_owned),
            description: description.filter(harmless).map(plain),
            retry_after: None,
        }
    }

    /// The same, from a server that asked us to wait for `retry_after`.
    pub(super) fn asking_for(self, retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..self
        }
    }

    /// A busy or failing server says nothing about the request, whatever else its answer says. Nor
    /// does one that did not get it in time (RFC 9110 §15.5.9), would not take it so early (RFC 8470
    /// §5.2) or had too many (RFC 6585 §4).
    pub(super) fn is_about_the_request(&self) -> bool {
        let says_nothing = [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        self.status.is_client_error() && !says_nothing.contains(&self.status)
    }

    /// Whether the client and its grant have to change before another request can succeed.
    pub(super) fn class(&self) -> FailureClass {
        match self.code() {
            Some(
                "invalid_client"
                | "invalid_grant"
                | "invalid_scope"
                | "unauthorized_client"
                | "unsupported_grant_type",
            ) if self.is_about_the_request() => FailureClass::Permanent,
            Some(_) | None => FailureClass::Temporary,
        }
    }

    /// How long the server asked us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the server said about it, for the log.
    pub(super) fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The error code, where the server gave a well-formed one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        self.code()
            .map_or(Ok(()), |code| write!(f, ", error {code}"))
    }
}

/// Every registered code is written in these characters; RFC 6749 §5.2 would allow more.
fn is_code(code: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(legal)
}

/// Whether `text` repeats a secret, plainly or in an encoding it was sent in. Servers echo what
/// they could not accept. Anything like a JWT counts: it may be our assertion.
fn shows_a_secret(text: &str, secrets: &[&str]) -> bool {
    let shows = |secret: &&str| {
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text.contains(*secret)
            || text.contains(&form)
            || text.contains(&form.replace('+', "%20"))
            || within_base64(secret.as_bytes()).any(|encoded| text.contains(&*encoded))
            || within_base64(form.as_bytes()).any(|encoded| text.contains(&*encoded))
    };
    text.contains("eyJ")
        || text.contains("Basic ")
        || secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .any(shows)
}

/// The beginning of `text` in the characters RFC 6749 §5.2 allows.
fn plain(text: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    text.chars()
        .take(DESCRIPTION_CHARS_MAX)
        .map(|c| if allowed(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(code: &str, description: &str, secrets: &[&str]) -> Rejection {
        Rejection::new(
            StatusCode::BAD_REQUEST,
            Some(code),
            Some(description),
            secrets,
        )
    }

    #[test]
    fn a_code_of_other_characters_is_not_believed() {
        // RFC 6749 §5.2.
        for bad in ["", "a b", "a\"b", "a\nb", "é", "<script>", &"a".repeat(65)] {
            assert_eq!(rejection(bad, "", &[]).code(), None, "{bad:?}");
        }
        assert_eq!(
            rejection("invalid_client", "", &[]).code(),
            Some("invalid_client")
        );
    }

    #[test]
    fn an_answer_that_echoes_a_secret_is_not_repeated() {
        let secret = "a:b%/+é ";
        for echo in [
            "bad secret a:b%/+é !",
            "bad secret a%3Ab%25%2F%2B%C3%A9+",
            "bad secret a%3Ab%25%2F%2B%C3%A9%20",
            "bad secret YTpiJS8rw6kg",
            "bad assertion eyJhbGciOi",
            "bad Basic YWJjOmRlZg==",
            // client:a%3Ab%25%2F%2B%C3%A9+, as client_secret_basic sends it.
            "bad Y2xpZW50OmElM0FiJTI1JTJGJTJCJUMzJUE5Kw==",
            "bad eDphOmIlLyvDqSA=",
            "bad eHg6YTpiJS8rw6kg",
            "bad Y2M6YTpiJS8rw6kgIQ==",
        ] {
            let rejection = rejection("invalid_client", echo, &["", secret]);

            assert_eq!(rejection.description, None, "{echo}");
        }
        assert_eq!(rejection("hunter2", "", &["hunter2"]).code(), None);
    }

    #[test]
    fn a_description_is_cut_and_holds_no_control_characters() {
        let written = format!("no\r\nlogin\x1b[31m\"\\é{}", "x".repeat(10_000));

        let kept = rejection("invalid_grant", &written, &["hunter2"]).description;

        let kept = kept.expect("it is harmless");
        assert!(kept.starts_with("no??login?[31m???xxx"), "{kept}");
        assert_eq!(kept.len(), DESCRIPTION_CHARS_MAX);
    }
}
