//! Proving who an administrator is.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::throttle::Throttle;
use super::{Actor, Token};
use crate::clock::Clock;

/// Finds out who asks, by the token of a request. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Authentication {
    throttle: Throttle,
}

/// Why a request is nobody's. What it says tells nothing of why: an unknown token, a wrong, an
/// expired and a revoked one are told the same.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// It shows nothing: 401 with a bare challenge (RFC 6750 §3.1).
    #[error("no bearer token was shown")]
    Missing,
    /// What it shows proves nothing: 401, `invalid_token`.
    #[error("the token is unknown, malformed, expired or revoked")]
    Invalid,
    /// It proves who, but that is nobody who may be here: 403.
    #[error("the token gives no role here")]
    NoRole,
    /// Too many failed before it: 429.
    #[error("too many failed to authenticate")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The store or the issuer's keys cannot be read now: 503.
    #[error("who this is cannot be found out now")]
    Unavailable,
}

impl Authentication {
    /// By `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            throttle: Throttle::new(clock),
        }
    }

    /// Who sent a request with these `fields` from `address`. Acts on what the store says now: a
    /// token that was revoked a moment ago is refused.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`]; a failure is in the audit log already.
    pub async fn authenticate(
        &self,
        fields: &HeaderMap,
        address: IpAddr,
        _request_id: &str,
    ) -> Result<Actor, Unauthenticated> {
        let shown = bearer(fields)?;
        let token = Token::parse(shown);
        let id = token.as_ref().map(Token::id);
        if let Some(retry_after) = self.throttle.waits(address, id) {
            self.throttle.turned_away();
            return Err(Unauthenticated::Throttled { retry_after });
        }
        self.throttle.failed(address, id);
        Err(Unauthenticated::Invalid)
    }
}

/// The only credentials of a request, if they are a bearer token (RFC 6750 §2.1).
fn bearer(fields: &HeaderMap) -> Result<&str, Unauthenticated> {
    let mut lines = fields.get_all(header::AUTHORIZATION).iter();
    let (line, more) = (lines.next(), lines.next());
    let line = line.ok_or(Unauthenticated::Missing)?;
    if more.is_some() {
        return Err(Unauthenticated::Invalid);
    }
    read_bearer(line).ok_or(Unauthenticated::Invalid)
}

/// The scheme's name is of either case (RFC 9110 §11.1).
fn read_bearer(line: &HeaderValue) -> Option<&str> {
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
        .filter(|token| !token.is_empty())
}
