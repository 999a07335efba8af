//! Why there is no token.
//!
//! # Invariants
//!
//! Nothing here holds a secret, a token or an answer's body. What an authorization server wrote is
//! kept only as [`Rejection`]: a status, a code of harmless characters, and a description for the
//! log alone, from which anything that looks like one of our secrets was removed.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use url::form_urlencoded;

use crate::dial::DialError;
use crate::metrics::TokenOutcome;
use crate::tls::TlsError;

/// The longest error code that is believed, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest part of a description that is logged, in characters.
const DESCRIPTION_CHARS_MAX: usize = 256;

/// Why a token could not be obtained.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The connector's certificate, key or trust anchors cannot be used.
    #[error("the identity shown to the token endpoint cannot be used")]
    Identity(#[source] TlsError),
    /// The key did not sign.
    #[error("the client assertion could not be signed")]
    Assertion(#[source] jsonwebtoken::errors::Error),
    /// A configured parameter repeats one of the gateway's own (RFC 6749 §3.2).
    #[error("the token parameter {name} is set by the gateway itself")]
    ReservedParameter {
        /// The parameter.
        name: String,
    },
    /// A configured field would be a second `Authorization` (RFC 6749 §2.3) or break the message's
    /// framing.
    #[error("the token header {name} is set by the gateway itself")]
    ReservedField {
        /// The field.
        name: String,
    },
    /// A parameter or field cannot be written.
    #[error("the token request could not be written")]
    Unwritable,
    /// The token endpoint was not reached.
    #[error("the token endpoint was not reached")]
    Dial(#[source] DialError),
    /// The connection broke before the answer was whole.
    #[error("the connection to the token endpoint broke")]
    Broken(#[source] hyper::Error),
    /// The time for the whole exchange ran out.
    #[error("no whole answer within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A redirect, which is never followed: it would carry credentials to another place.
    #[error("the token endpoint answered with a redirect ({status})")]
    Redirected {
        /// The answer's status.
        status: StatusCode,
    },
    /// An error answer (RFC 6749 §5.2).
    #[error("the token endpoint refused: {0}")]
    Rejected(Rejection),
    /// Neither success nor error.
    #[error("the token endpoint answered with status {status}")]
    UnexpectedStatus {
        /// The answer's status.
        status: StatusCode,
    },
    /// The answer is no HTTP, or its head is too large.
    #[error("the token endpoint's answer is no well-formed HTTP")]
    NotHttp(#[source] hyper::Error),
    /// The answer is encoded although none was asked for. It is not decoded: it may be a bomb.
    #[error("the token endpoint's answer has a content encoding")]
    Encoded,
    /// The answer is too long.
    #[error("the token endpoint's answer has {bytes_max} bytes or more")]
    TooLong {
        /// The first length that is refused.
        bytes_max: usize,
    },
    /// The answer's JSON nests too deeply.
    #[error("the token endpoint's answer nests deeper than {levels_max} levels")]
    TooDeep {
        /// The most levels.
        levels_max: usize,
    },
    /// The answer has no body.
    #[error("the token endpoint's answer is empty")]
    Empty,
    /// The answer is no token response. Its text is not kept: it may hold the token.
    #[error("the answer is no token response (at line {line}, column {column})")]
    NotATokenResponse {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// A type of token that the gateway does not know how to use (RFC 6749 §7.1).
    #[error("the token is of another type than Bearer")]
    ForeignTokenType,
    /// The token holds characters that no bearer token may (RFC 6750 §2.1).
    #[error("the token holds characters that no bearer token may")]
    IllegalToken,
    /// A flow waited as long as it may; the fetch goes on.
    #[error("no token within {limit:?}; the token request goes on")]
    StillFetching {
        /// The limit.
        limit: Duration,
    },
    /// The fetch ended without a result: the gateway stops, or it has a bug.
    #[error("the token request was abandoned")]
    Abandoned,
}

impl TokenError {
    /// What the metrics call it.
    pub fn outcome(&self) -> TokenOutcome {
        match self {
            Self::Redirected { .. } | Self::Rejected(_) => TokenOutcome::Rejected,
            Self::TimedOut { .. }
            | Self::StillFetching { .. }
            | Self::Dial(DialError::TimedOut { .. }) => TokenOutcome::Timeout,
            Self::Identity(_)
            | Self::Assertion(_)
            | Self::ReservedParameter { .. }
            | Self::ReservedField { .. }
            | Self::Unwritable
            | Self::Dial(_)
            | Self::Broken(_)
            | Self::Abandoned => TokenOutcome::Unreachable,
            Self::UnexpectedStatus { .. }
            | Self::NotHttp(_)
            | Self::Encoded
            | Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::Empty
            | Self::NotATokenResponse { .. }
            | Self::ForeignTokenType
            | Self::IllegalToken => TokenOutcome::Malformed,
        }
    }

    /// The error code, where the server gave a well-formed one (RFC 6749 §5.2).
    pub fn code(&self) -> Option<&str> {
        self.rejection().and_then(Rejection::code)
    }

    /// What the server said about it, for the log.
    pub(super) fn description(&self) -> Option<&str> {
        self.rejection()
            .and_then(|rejection| rejection.description.as_deref())
    }

    /// How long a flow should wait before it asks again.
    pub fn retry_after(&self) -> Duration {
        match self.outcome() {
            TokenOutcome::Ok | TokenOutcome::Timeout | TokenOutcome::Unreachable => {
                Duration::from_secs(1)
            }
            TokenOutcome::Rejected | TokenOutcome::Malformed => Duration::from_secs(5),
        }
    }

    /// Whether the server refused the refresh token itself, so that another try with it is vain
    /// (RFC 6749 §5.2). A busy server or a refused client says nothing about the token.
    pub(super) fn refuses_the_grant(&self) -> bool {
        self.rejection().is_some_and(|rejection| {
            rejection.status.is_client_error()
                && rejection.status != StatusCode::TOO_MANY_REQUESTS
                && !matches!(rejection.code(), Some("invalid_client"))
        })
    }

    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Identity(_)
            | Self::Assertion(_)
            | Self::ReservedParameter { .. }
            | Self::ReservedField { .. }
            | Self::Unwritable
            | Self::Dial(_)
            | Self::Broken(_)
            | Self::TimedOut { .. }
            | Self::Redirected { .. }
            | Self::UnexpectedStatus { .. }
            | Self::NotHttp(_)
            | Self::Encoded
            | Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::Empty
            | Self::NotATokenResponse { .. }
            | Self::ForeignTokenType
            | Self::IllegalToken
            | Self::StillFetching { .. }
            | Self::Abandoned => None,
        }
    }
}

/// What an error answer said (RFC 6749 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    code: Option<String>,
    description: Option<String>,
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
        }
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
            || within_base64(secret).any(|encoded| text.contains(&encoded))
            || within_base64(&form).any(|encoded| text.contains(&encoded))
    };
    text.contains("eyJ")
        || text.contains("Basic ")
        || secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .any(shows)
}

/// What of the base64 of a text holds `secret` alone, at each of the three places within a group
/// where it may begin: the client's identifier stands before it (RFC 6749 §2.3.1). A secret too
/// short to fill a group has none.
fn within_base64(secret: &str) -> impl Iterator<Item = String> {
    (0..3_usize).filter_map(move |before| {
        let shifted = [&[0; 2][..before], secret.as_bytes()].concat();
        let first = (before * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        let encoded = STANDARD.encode(shifted);
        let alone = encoded.get(first..end)?;
        (alone.len() >= 4).then(|| alone.to_owned())
    })
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

    #[test]
    fn only_a_refused_grant_spends_a_refresh_token() {
        let refused = |status: u16, code: Option<&str>| {
            let status = StatusCode::from_u16(status).expect("a status");
            TokenError::Rejected(Rejection::new(status, code, None, &[])).refuses_the_grant()
        };

        assert!(refused(400, Some("invalid_grant")));
        assert!(refused(400, None));
        assert!(!refused(401, Some("invalid_client")));
        assert!(!refused(429, None));
        assert!(!refused(503, None));
        assert!(!TokenError::Empty.refuses_the_grant());
    }
}
