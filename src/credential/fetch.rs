//! One fetch of one connector's token: which grant, as whom, counted.
//!
//! # Invariants
//!
//! A refresh token is preferred to sending the password again; one that is refused is forgotten,
//! and the password sent after all, once.
//!
//! Where the secrets before a promotion are kept, a permanent refusal of the new ones is answered by
//! one request with the old, and for [`OLD_FIRST`] the old ones alone are used: a refused secret
//! that is shown again and again may lock an account. When they are not kept any more, they are not
//! used any more.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use super::answer::TokenAnswer;
use super::error::TokenError;
use super::exchange::{Line, Wanted};
use super::login::Login;
use super::oauth::{self, Exchanged};
use super::token::{Moment, Token};
use crate::clock::Clock;
use crate::config::Tokens;
use crate::connector::{ConnectorId, GrantType};
use crate::dial::{AddressPolicy, Dialer};
use crate::logging::with_sources;
use crate::metrics::{FailureClass, TokenMetrics, TokenOutcome};
use crate::secret::Secret;

/// How long new secrets that were refused are left alone while old ones are good: as long as a
/// permanent failure is.
const OLD_FIRST: Duration = Duration::from_secs(300);

/// Everything that fetching one connector's token takes.
pub(super) struct Fetcher {
    pub(super) connector: ConnectorId,
    /// The connector's name in the metrics.
    pub(super) label: Arc<str>,
    pub(super) login: Login,
    /// What it was before new secrets took its place.
    pub(super) old: Option<Box<OldLogin>>,
    pub(super) dialer: Dialer,
    pub(super) policy: AddressPolicy,
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<TokenMetrics>,
    /// What the server gave with an earlier answer to the password grant, in memory only.
    pub(super) refresh_token: Mutex<Option<Secret>>,
}

/// The client and its grant as they were before a promotion.
pub(super) struct OldLogin {
    pub(super) login: Login,
    /// Until when they may be used, on the wall clock.
    pub(super) until: SystemTime,
    /// Until when they are used first, on the monotonic clock.
    pub(super) first_until: Mutex<Duration>,
}

impl Fetcher {
    /// A new token, with the refresh token in memory if there is one.
    ///
    /// # Errors
    ///
    /// [`TokenError`], counted but not logged.
    pub(super) async fn fetch_alone(&self) -> Result<Token, TokenError> {
        let mut refresh_token = self.in_memory().clone();
        let fetched = self.fetch(&mut refresh_token).await;
        *self.in_memory() = refresh_token;
        fetched
    }

    /// A new token, in exchange for `refresh_token` if there is one. What is to be kept of refresh
    /// tokens then stands in its place.
    ///
    /// # Errors
    ///
    /// [`TokenError`], counted but not logged.
    pub(super) async fn fetch(
        &self,
        refresh_token: &mut Option<Secret>,
    ) -> Result<Token, TokenError> {
        let Some(old) = self
            .old
            .as_deref()
            .filter(|old| self.clock.wall() < old.until)
        else {
            return self.fetch_as(&self.login, refresh_token).await;
        };
        if self.clock.monotonic() < *old.first_until() {
            return self.fetch_with_old(old, refresh_token).await;
        }
        match self.fetch_as(&self.login, refresh_token).await {
            Err(refused) if refused.refuses_the_secrets() => {
                *old.first_until() = self.clock.monotonic().saturating_add(OLD_FIRST);
                tracing::warn!(
                    connector = %self.connector,
                    code = refused.code(),
                    error = %with_sources(&refused),
                    "the promoted secrets were refused; trying those before them"
                );
                // With other secrets it is another grant.
                let mut given = None;
                match self.fetch_with_old(old, &mut given).await {
                    Ok(token) => {
                        *refresh_token = given;
                        Ok(token)
                    }
                    // What may pass is tried again soon; otherwise the new secrets are what is wrong.
                    Err(error) => Err(match error.class() {
                        FailureClass::Temporary => error,
                        FailureClass::Permanent => refused,
                    }),
                }
            }
            settled => settled,
        }
    }

    async fn fetch_with_old(
        &self,
        old: &OldLogin,
        refresh_token: &mut Option<Secret>,
    ) -> Result<Token, TokenError> {
        let fetched = self.fetch_as(&old.login, refresh_token).await;
        match &fetched {
            Ok(_) => self.metrics.fell_back(&self.label),
            // Neither is good: whichever is mended first is to be found out.
            Err(error) if error.class() == FailureClass::Permanent => {
                *old.first_until() = Duration::ZERO;
            }
            Err(_) => {}
        }
        fetched
    }

    async fn fetch_as(
        &self,
        login: &Login,
        refresh_token: &mut Option<Secret>,
    ) -> Result<Token, TokenError> {
        oauth::check(&login.oauth2)?;
        if let Some(held) = refresh_token.clone() {
            let exchanged = Exchanged::RefreshToken(&held);
            match self.request(login, exchanged, refresh_token).await {
                Err(error) if error.refuses_the_grant() => {
                    tracing::debug!(connector = %self.connector, "the refresh token was refused");
                    *refresh_token = None;
                }
                settled => return settled,
            }
        }
        self.request(login, Exchanged::Grant, refresh_token).await
    }

    /// One token request, counted.
    async fn request(
        &self,
        login: &Login,
        exchanged: Exchanged<'_>,
        refresh_token: &mut Option<Secret>,
    ) -> Result<Token, TokenError> {
        let asked = Moment::of(&self.clock);
        let answered = self.ask(login, exchanged, asked).await;
        let outcome = match &answered {
            Ok(_) => TokenOutcome::Ok,
            Err(error) => error.outcome(),
        };
        let took = asked.elapsed(&self.clock);
        self.metrics.request(&self.label, outcome, took);
        let (token, given) = answered?;
        self.metrics.expiry(&self.label, token.expires_at());
        // A refresh token replaces the one before it (RFC 6749 §6). One that comes with a
        // client-credentials answer is ignored (§4.4.3).
        let password = matches!(login.oauth2.grant, GrantType::Password { .. });
        if password && given.is_some() {
            *refresh_token = given;
        }
        Ok(token)
    }

    async fn ask(
        &self,
        login: &Login,
        exchanged: Exchanged<'_>,
        asked: Moment,
    ) -> Result<(Token, Option<Secret>), TokenError> {
        let assertion = match &login.signer {
            Some(signer) => Some(signer.sign(&login.oauth2.client_id, asked)?),
            None => None,
        };
        let line = Line {
            dialer: &self.dialer,
            tls: &login.tls,
            policy: &self.policy,
            clock: &self.clock,
            tokens: &self.tokens,
            url: &login.oauth2.token_url,
            wanted: Wanted::Body,
            oauth2: &login.oauth2,
            answered: OnceLock::new(),
        };
        let assertion = assertion.as_ref().map(|assertion| assertion.as_str());
        let mut answer = oauth::request(&login.oauth2, exchanged, assertion, &line)
            .await
            .map_err(|error| {
                let mut secrets = login.secrets();
                if let Exchanged::RefreshToken(token) = exchanged {
                    secrets.push(token.expose());
                }
                oauth::failure(error, line.answered.get().copied(), &secrets)
            })?;
        let token = token(&answer, self.tokens.default_lifetime, asked)?;
        Ok((token, answer.take_refresh_token()))
    }

    /// Another replica fetched `token`.
    pub(super) fn took(&self, token: &Token) {
        self.metrics.expiry(&self.label, token.expires_at());
    }

    /// The refresh token in memory.
    pub(super) fn in_memory(&self) -> MutexGuard<'_, Option<Secret>> {
        let held = self.refresh_token.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}

impl OldLogin {
    fn first_until(&self) -> MutexGuard<'_, Duration> {
        let until = self.first_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token that `answer` to a request of the time `asked` holds.
///
/// # Errors
///
/// [`TokenError`] if it is none that may be used.
pub(super) fn token(
    answer: &TokenAnswer,
    default_lifetime: Duration,
    asked: Moment,
) -> Result<Token, TokenError> {
    let lifetime = answer.lifetime().unwrap_or(default_lifetime);
    Token::bearer(answer.bearer()?, lifetime, asked)
}
