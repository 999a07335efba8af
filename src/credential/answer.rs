//! What token endpoints answer.
//!
//! The `oauth2` crate refuses answers that real servers send; [`TokenAnswer`] takes those.
//!
//! # Invariants
//!
//! What is dangerous is refused: another type of token than Bearer, JSON that nests deeply, a
//! member that is there twice, anything behind the object. No answer is shown by `Debug` or written
//! anywhere.

use std::fmt;
use std::time::Duration;

use oauth2::{AccessToken, ErrorResponse, RefreshToken, Scope, TokenResponse, TokenType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroize;

use super::error::TokenError;
use super::token::LIFETIME_MAX;
use crate::secret::Secret;

/// The deepest an answer may nest. A token response has no need to nest at all.
const LEVELS_MAX: usize = 32;

/// Refuses JSON that nests too deeply, before any parser walks it (CVE-2026-48042 is what happens
/// otherwise), and anything behind the first object, which the crate would not look at.
///
/// # Errors
///
/// [`TokenError::TooDeep`] or [`TokenError::NotATokenResponse`].
pub(super) fn check_shape(json: &[u8]) -> Result<(), TokenError> {
    let (mut level, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => level += 1,
            b']' | b'}' if !in_text => {
                level = level.saturating_sub(1);
                if level == 0 {
                    return check_end(json, at + 1);
                }
            }
            _ => {}
        }
        if level > LEVELS_MAX {
            return Err(TokenError::TooDeep {
                levels_max: LEVELS_MAX,
            });
        }
    }
    Ok(())
}

fn check_end(json: &[u8], end: usize) -> Result<(), TokenError> {
    match json[end..].trim_ascii().is_empty() {
        true => Ok(()),
        false => {
            let mut lines = json[..end].split(|byte| *byte == b'\n');
            let column = lines.next_back().map_or(0, <[u8]>::len);
            Err(TokenError::NotATokenResponse {
                line: lines.count() + 1,
                column: column + 1,
            })
        }
    }
}

/// A successful answer (RFC 6749 §5.1). Unknown members are ignored, a repeated one is refused.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: AccessToken,
    #[serde(default)]
    token_type: TokenKind,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

impl TokenAnswer {
    /// The refresh token in it, if it holds one.
    pub(super) fn take_refresh_token(&mut self) -> Option<Secret> {
        let token = self.refresh_token.take().map(RefreshToken::into_secret);
        token.filter(|token| !token.is_empty()).map(Secret::new)
    }

    /// The token, if it is one that the gateway knows how to use.
    ///
    /// # Errors
    ///
    /// [`TokenError::ForeignTokenType`] (RFC 6749 §7.1).
    pub(super) fn bearer(&self) -> Result<&str, TokenError> {
        match self.token_type {
            TokenKind::Bearer => Ok(self.access_token.secret()),
            TokenKind::Foreign => Err(TokenError::ForeignTokenType),
        }
    }

    /// How long the token lives, where the server said it.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.expires_in
    }
}

/// Its token goes into the credential; what the parser made of it is overwritten.
impl Drop for TokenAnswer {
    fn drop(&mut self) {
        let empty = AccessToken::new(String::new());
        std::mem::replace(&mut self.access_token, empty)
            .into_secret()
            .zeroize();
        drop(self.take_refresh_token());
    }
}

/// `token_type`, compared without regard to case (RFC 6749 §5.1). Some servers leave it out; what
/// they issue is a bearer token.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) enum TokenKind {
    #[default]
    Bearer,
    Foreign,
}

impl<'de> Deserialize<'de> for TokenKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Option::<String>::deserialize(deserializer)?;
        match written {
            Some(name) if !name.eq_ignore_ascii_case("bearer") => Ok(Self::Foreign),
            Some(_) | None => Ok(Self::Bearer),
        }
    }
}

impl TokenType for TokenKind {}

/// `expires_in` as servers write it: `3600`, `3600.0`, `"3600"`, `null`. A negative life is none.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }
    let seconds = match Option::<Written>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(Written::Number(seconds)) => Some(seconds),
        Some(Written::Text(text)) => text.trim().parse().ok(),
    };
    let finite = seconds.filter(|seconds| seconds.is_finite());
    let seconds = finite.ok_or_else(|| serde::de::Error::custom("not a number of seconds"))?;
    let bounded = seconds.clamp(0.0, LIFETIME_MAX.as_secs_f64());
    Ok(Some(Duration::from_secs_f64(bounded)))
}

impl TokenResponse for TokenAnswer {
    type TokenType = TokenKind;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &TokenKind {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").finish_non_exhaustive()
    }
}

/// The crate asks for it; a token answer is never written anywhere.
impl Serialize for TokenAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// An error answer (RFC 6749 §5.2). Servers put all kinds of JSON here; only texts are kept.
#[derive(Deserialize)]
pub(super) struct ErrorAnswer {
    #[serde(default)]
    pub(super) error: Option<Value>,
    #[serde(default)]
    pub(super) error_description: Option<Value>,
}

impl ErrorResponse for ErrorAnswer {}

impl fmt::Debug for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorAnswer").finish_non_exhaustive()
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token endpoint refused")
    }
}

/// As for [`TokenAnswer`].
impl Serialize for ErrorAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}
