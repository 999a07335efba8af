//! Where one connector's credential comes from, and what asking for it comes to.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

use super::error::TokenError;
use super::mask::Mask;
use super::slot::TokenSlot;
use super::state::TokenState;
use super::token::{Token, TokenMark};
use crate::metrics::{CacheOutcome, FailureClass};

/// What one request carries beside what the flow sent.
#[derive(Clone)]
pub enum Credential {
    /// Nothing in the head: the origin asks for nothing, or for a client certificate alone.
    None,
    /// One field.
    Field {
        /// The field's name.
        name: HeaderName,
        /// The field's value, marked sensitive.
        value: HeaderValue,
        /// Finds it in the origin's answer.
        mask: Arc<Mask>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Field { name, .. } => write!(f, "Field({name}: …)"),
        }
    }
}

/// A credential that was asked for.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// What the request carries.
    pub credential: Credential,
    /// How the token was found; `None` where no token is involved.
    pub cache: Option<CacheOutcome>,
    /// Which token it is, for [`Source::reject`]; `None` where no token is involved.
    pub token: Option<TokenMark>,
}

impl Obtained {
    pub(super) fn token(token: &Token, cache: CacheOutcome) -> Self {
        Self {
            credential: Credential::Field {
                name: http::header::AUTHORIZATION,
                value: token.authorization(),
                mask: token.mask(),
            },
            cache: Some(cache),
            token: Some(token.mark()),
        }
    }
}

/// A token that was fetched for one use.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What a request carries.
    pub credential: Credential,
    /// When it expires, by its server's word.
    pub expires_at: SystemTime,
}

/// Why there is no credential, shared among all who waited for it.
#[derive(Clone, Debug)]
pub struct Unobtained {
    /// What went wrong.
    pub reason: Arc<TokenError>,
    /// How long a flow should wait before it asks again: until the next attempt.
    pub retry_after: Duration,
    /// Whether this request started the fetch that failed, joined it, or was turned away because
    /// of one before it.
    pub cache: CacheOutcome,
}

/// A connector's token requests fail: how, since when, and what comes next. Never shows a secret.
#[derive(Clone, Debug)]
pub struct TokenFailure {
    /// Whether it may pass by itself.
    pub class: FailureClass,
    /// What went wrong last.
    pub reason: Arc<TokenError>,
    /// When the first attempt failed.
    pub since: SystemTime,
    /// How many failed since then.
    pub attempts: u32,
    /// When the next attempt may go out; in the past if nobody has asked lately.
    pub next_attempt_at: SystemTime,
}

/// Where one connector's credential comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The same with every request.
    Fixed(Credential),
    /// A token.
    Token(Arc<TokenSlot>),
}

impl Source {
    /// The credential for one request. Where a fresh token is held, this does not wait.
    ///
    /// Cancel-safe: a caller that goes away cancels no fetch.
    ///
    /// # Errors
    ///
    /// [`Unobtained`] if the token request failed, or took longer than `tokens.wait`, or, at once,
    /// if one failed before and no other may go out yet.
    pub async fn obtain(&self) -> Result<Obtained, Unobtained> {
        match self {
            Self::Fixed(credential) => Ok(Obtained {
                credential: credential.clone(),
                cache: None,
                token: None,
            }),
            Self::Token(slot) => slot.obtain().await,
        }
    }

    /// The origin rejected the token `mark`: it is dropped if it is still the current one; a late
    /// word about an old token drops nothing.
    ///
    /// Returns true if another token may be obtained now; false if none can be, because token
    /// requests fail or this connector's tokens were rejected too often in the last minute. Then
    /// the token is kept: an origin that rejects every token, or takes 401 for 403, causes no storm.
    pub fn reject(&self, mark: TokenMark) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Token(slot) => slot.reject(mark),
        }
    }

    /// A request was rejected with a new token as it was with the one before, so that it is not the
    /// token that the origin minds: for a while none is dropped for the origin's word. One resource
    /// that nobody may see must not cost all other flows their token.
    pub fn replaced_in_vain(&self) {
        match self {
            Self::Fixed(_) => {}
            Self::Token(slot) => slot.replaced_in_vain(),
        }
    }

    /// What the token slot holds; `None` where no token is involved.
    pub fn state(&self) -> Option<TokenState> {
        match self {
            Self::Fixed(_) => None,
            Self::Token(slot) => Some(slot.state()),
        }
    }

    /// How token requests fail, while they do.
    pub fn failure(&self) -> Option<TokenFailure> {
        match self {
            Self::Fixed(_) => None,
            Self::Token(slot) => slot.failure(),
        }
    }
}
