//! One access token and the question whether it may still be used.
//!
//! # Invariants
//!
//! A [`Token`] is used only while *both* clocks say so. The wall clock is what other processes
//! see, and goes on while a machine sleeps; the monotonic one cannot be set. So a wall clock that
//! is set back never lengthens a token's life, and one that is set forward costs one fetch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, header};
use zeroize::Zeroizing;

use super::basic::sensitive;
use super::error::TokenError;
use super::mask::Mask;
use crate::clock::Clock;
use crate::secret::Secret;

/// The most by which a token counts as spent before it expires. Covers flight time and clock skew.
const MARGIN_MAX: Duration = Duration::from_secs(30);
/// The part of a short life that the margin takes at most.
const MARGIN_DIVISOR: u32 = 10;
/// The part of the usable life that a renewal has at least.
const RENEWAL_ROOM_DIVISOR: u32 = 20;
/// The part of a life over which chance spreads renewals.
const JITTER_DIVISOR: u32 = 10;
/// No two renewals follow each other faster. A token whose life leaves no room for that is fetched
/// when a flow needs it.
const RENEWAL_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// No token is kept longer, whatever its server says.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What stands before a token in `Authorization` (RFC 6750 §2.1).
const BEARER: &str = "Bearer ";

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    wall: SystemTime,
    monotonic: Duration,
}

impl Moment {
    /// Now.
    pub(super) fn of(clock: &Clock) -> Self {
        Self {
            wall: clock.wall(),
            monotonic: clock.monotonic(),
        }
    }

    /// Monotonic time since then.
    pub(super) fn elapsed(&self, clock: &Clock) -> Duration {
        clock.monotonic().saturating_sub(self.monotonic)
    }

    /// The monotonic deadline `limit` after this moment.
    pub(super) fn deadline(&self, limit: Duration) -> Duration {
        self.monotonic.saturating_add(limit)
    }

    /// The wall clock's date and time.
    pub(super) fn wall(&self) -> SystemTime {
        self.wall
    }

    /// What deadlines are measured on.
    pub(super) fn monotonic(&self) -> Duration {
        self.monotonic
    }

    /// Both clocks `later` on.
    fn after(&self, later: Duration) -> Self {
        Self {
            wall: self.wall + later,
            monotonic: self.monotonic + later,
        }
    }

    /// Whether either clock has come to `then`.
    fn has_reached(&self, then: &Self) -> bool {
        self.monotonic >= then.monotonic || self.wall >= then.wall
    }
}

/// Names one token without showing it; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenMark(u64);

impl TokenMark {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// A bearer token, ready to be attached.
pub(super) struct Token {
    /// `Bearer …`, sensitive.
    authorization: HeaderValue,
    mask: Arc<Mask>,
    mark: TokenMark,
    /// When it was had, and how much of its life was over then: a token that another replica asked
    /// for may be older than this process, and then no clock of this process shows its beginning.
    had: Moment,
    age: Duration,
    lifetime: Duration,
    /// When it counts as spent, on each clock.
    spent_at: Moment,
    /// When its successor is fetched; `None` if it is spent before that.
    renewed_at: Option<Moment>,
}

impl Token {
    /// A token that was asked for at `asked` and lives for `lifetime` from then.
    ///
    /// # Errors
    ///
    /// [`TokenError::IllegalToken`] if `access_token` holds characters that no bearer token may.
    pub(super) fn bearer(
        access_token: &str,
        lifetime: Duration,
        asked: Moment,
    ) -> Result<Self, TokenError> {
        Self::aged(access_token, lifetime, Duration::ZERO, asked)
    }

    /// A token of which `age` was over at `had`.
    ///
    /// # Errors
    ///
    /// As for [`Token::bearer`].
    pub(super) fn aged(
        access_token: &str,
        lifetime: Duration,
        age: Duration,
        had: Moment,
    ) -> Result<Self, TokenError> {
        if !is_bearer_token(access_token.as_bytes()) {
            return Err(TokenError::IllegalToken);
        }
        let written = Zeroizing::new(format!("{BEARER}{access_token}"));
        let authorization = sensitive(written.as_bytes()).map_err(|_| TokenError::IllegalToken)?;
        let (lifetime, age) = (lifetime.min(LIFETIME_MAX), age.min(LIFETIME_MAX));
        let margin = margin(lifetime);
        Ok(Self {
            mask: Arc::new(Mask::of(&header::AUTHORIZATION, &authorization)),
            authorization,
            mark: TokenMark::next(),
            had,
            age,
            lifetime,
            spent_at: had.after((lifetime - margin).saturating_sub(age)),
            renewed_at: None,
        })
    }

    /// The same, to be renewed when `percent` of its life are over, or somewhat later by chance
    /// (`draw`, from 0 to 1): tokens that were fetched together are not renewed together.
    pub(super) fn renewed_at(self, percent: u32, draw: f64) -> Self {
        let spent = self.lifetime - margin(self.lifetime);
        // However late it is wished for, some time is left for the fetch.
        let wished = self.lifetime * percent.min(100) / 100;
        let earliest = wished.min(spent - spent / RENEWAL_ROOM_DIVISOR);
        let jitter = (self.lifetime / JITTER_DIVISOR).min((spent - earliest) / 2);
        let at = (earliest + jitter.mul_f64(draw)).max(RENEWAL_INTERVAL_MIN);
        let renewed_at = (at < spent).then(|| self.had.after(at.saturating_sub(self.age)));
        Self { renewed_at, ..self }
    }

    /// Whether it may be attached at `now`.
    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        !now.has_reached(&self.spent_at)
    }

    /// Finds it in answers.
    pub(super) fn mask(&self) -> Arc<Mask> {
        Arc::clone(&self.mask)
    }

    /// The value of `Authorization` (RFC 6750 §2.1).
    pub(super) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// What it goes by.
    pub(super) fn mark(&self) -> TokenMark {
        self.mark
    }

    /// When its server stops accepting it.
    pub(super) fn expires_at(&self) -> SystemTime {
        self.had.wall + self.lifetime - self.age
    }

    /// How much of its life is over at `now`.
    pub(super) fn age(&self, now: Moment) -> Duration {
        self.age + now.monotonic.saturating_sub(self.had.monotonic)
    }

    /// The token alone, as its server wrote it.
    pub(super) fn access_token(&self) -> Secret {
        let written = self.authorization.to_str().unwrap_or_default();
        Secret::new(written.strip_prefix(BEARER).unwrap_or_default().to_owned())
    }

    /// Whether both are the same text, whoever asked for it and when.
    pub(super) fn reads_like(&self, other: &Self) -> bool {
        self.authorization == other.authorization
    }

    /// How long it lives in all.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// When to look whether it is to be renewed, on the monotonic clock.
    pub(super) fn renewal(&self) -> Option<Duration> {
        self.renewed_at.map(|at| at.monotonic)
    }

    /// Whether its successor should be fetched at `now`.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.renewed_at.is_some_and(|at| now.has_reached(&at))
    }

    /// How long it may still be attached; zero if it is spent.
    pub(super) fn fresh_for(&self, now: Moment) -> Duration {
        let wall = self.spent_at.wall.duration_since(now.wall);
        let monotonic = self.spent_at.monotonic.saturating_sub(now.monotonic);
        wall.unwrap_or(Duration::ZERO).min(monotonic)
    }
}

/// By how much a token of this lifetime counts as spent before it expires.
fn margin(lifetime: Duration) -> Duration {
    MARGIN_MAX.min(lifetime / MARGIN_DIVISOR)
}

/// Whether `token` is a `b64token` (RFC 6750 §2.1). `!` is let through beside it: Salesforce puts
/// one into every access token, and RFC 6749 Appendix A.12 allows it.
fn is_bearer_token(token: &[u8]) -> bool {
    let unpadded = token
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(&token[..0], |last| &token[..=last]);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/!".contains(byte);
    !unpadded.is_empty() && unpadded.iter().all(legal)
}

#[cfg(test)]
mod tests;
