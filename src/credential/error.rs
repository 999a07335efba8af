//! Why there is no token.
//!
//! # Invariants
//!
//! Nothing here holds a secret, a token or an answer's body. What an authorization server wrote is
//! kept only as [`Rejection`].

use std::time::Duration;

use http::StatusCode;

use crate::dial::DialError;
use crate::metrics::{FailureClass, TokenOutcome};
use crate::tls::TlsError;

use super::rejection::Rejection;

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
        self.rejection().and_then(Rejection::description)
    }

    /// Whether another attempt is likely to fail the same way: the codes of RFC 6749 §5.2 that
    /// speak of the client and its grant, and what the gateway could not even send.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Rejected(rejection) => rejection.class(),
            Self::Identity(_)
            | Self::Assertion(_)
            | Self::ReservedParameter { .. }
            | Self::ReservedField { .. }
            | Self::Unwritable => FailureClass::Permanent,
            Self::Dial(_)
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
            | Self::Abandoned => FailureClass::Temporary,
        }
    }

    /// How long the server asked us to wait (RFC 9110 §10.2.3), if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.rejection()
            .and_then(|rejection| rejection.retry_after())
    }

    /// Whether the server refused the refresh token itself, so that another try with it is vain
    /// (RFC 6749 §5.2). A busy server or a refused client says nothing about the token.
    pub(super) fn refuses_the_grant(&self) -> bool {
        self.rejection().is_some_and(|rejection| {
            rejection.is_about_the_request() && !matches!(rejection.code(), Some("invalid_client"))
        })
    }

    /// Whether the server refused who asked or what was shown for it (RFC 6749 §5.2), as it does
    /// where a secret is wrong.
    pub(super) fn refuses_the_secrets(&self) -> bool {
        self.rejection().is_some_and(|rejection| {
            let code = rejection.code();
            let codes = ["invalid_client", "invalid_grant", "unauthorized_client"];
            rejection.is_about_the_request() && code.is_some_and(|code| codes.contains(&code))
        })
    }

    fn rejection(&self) -> Option<&Rejection> {
        if let Self::Rejected(rejection) = self {
            return Some(rejection);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_of_the_client_or_its_grant_is_permanent() {
        // RFC 6749 §5.2.
        let class = |status: u16, code: Option<&str>| {
            let status = StatusCode::from_u16(status).expect("a status");
            TokenError::Rejected(Rejection::new(status, code, None, &[])).class()
        };

        for code in [
            "invalid_client",
            "invalid_grant",
            "invalid_scope",
            "unauthorized_client",
            "unsupported_grant_type",
        ] {
            assert_eq!(class(400, Some(code)), FailureClass::Permanent, "{code}");
            assert_eq!(class(401, Some(code)), FailureClass::Permanent, "{code}");
            assert_eq!(class(429, Some(code)), FailureClass::Temporary, "{code}");
            assert_eq!(class(503, Some(code)), FailureClass::Temporary, "{code}");
        }
        for code in [Some("invalid_request"), Some("slow_down"), None] {
            assert_eq!(class(400, code), FailureClass::Temporary, "{code:?}");
        }
        assert_eq!(TokenError::Unwritable.class(), FailureClass::Permanent);
        assert_eq!(TokenError::Empty.class(), FailureClass::Temporary);
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
        for says_nothing in [408, 425, 429, 503] {
            for code in [None, Some("invalid_grant")] {
                assert!(!refused(says_nothing, code), "{says_nothing} {code:?}");
            }
        }
        assert!(!TokenError::Empty.refuses_the_grant());
    }
}
