//! One fetch of one connector's token: which grant, counted.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::clock::Clock;
use crate::config::Tokens;
use crate::connector::{ClientAuthentication, ConnectorId, GrantType, OAuth2};
use crate::dial::{AddressPolicy, Dialer};
use crate::metrics::{TokenMetrics, TokenOutcome};
use crate::secret::Secret;
use crate::tls::client::ClientTls;

use super::assertion::Signer;
use super::error::TokenError;
use super::exchange::Line;
use super::oauth::{self, Exchanged};
use super::token::{Moment, Token};

/// Everything that fetching one connector's token takes.
pub(super) struct Fetcher {
    pub(super) connector: ConnectorId,
    /// The connector's name in the metrics.
    pub(super) label: Arc<str>,
    pub(super) oauth2: Arc<OAuth2>,
    /// Signs the client assertion, where that is how the client authenticates.
    pub(super) signer: Option<Box<Signer>>,
    /// The identity shown to the token endpoint.
    pub(super) tls: ClientTls,
    pub(super) dialer: Dialer,
    pub(super) policy: AddressPolicy,
    pub(super) tokens: Arc<Tokens>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<TokenMetrics>,
    /// What the server gave with an earlier answer to the password grant. Memory only.
    pub(super) refresh_token: Mutex<Option<Secret>>,
}

impl Fetcher {
    /// A new token. A refresh token is preferred to sending the password again; one that is refused
    /// is forgotten, and the password sent after all, once.
    ///
    /// # Errors
    ///
    /// [`TokenError`], counted but not logged.
    pub(super) async fn fetch(&self) -> Result<Token, TokenError> {
        oauth::check(&self.oauth2)?;
        if let Some(held) = self.held_refresh_token() {
            match self.request(Exchanged::RefreshToken(&held)).await {
                Err(error) if error.refuses_the_grant() => {
                    tracing::debug!(connector = %self.connector, "the refresh token was refused");
                    self.hold_refresh_token(None);
                }
                settled => return settled,
            }
        }
        self.request(Exchanged::Grant).await
    }

    /// One token request, counted.
    async fn request(&self, exchanged: Exchanged<'_>) -> Result<Token, TokenError> {
        let asked = Moment::of(&self.clock);
        let answered = self.ask(exchanged, asked).await;
        let outcome = match &answered {
            Ok(_) => TokenOutcome::Ok,
            Err(error) => error.outcome(),
        };
        let took = asked.elapsed(&self.clock);
        self.metrics.request(&self.label, outcome, took);
        if let Ok(token) = &answered {
            self.metrics.expiry(&self.label, token.expires_at());
        }
        answered
    }

    async fn ask(&self, exchanged: Exchanged<'_>, asked: Moment) -> Result<Token, TokenError> {
        let assertion = match &self.signer {
            Some(signer) => Some(signer.sign(&self.oauth2.client_id, asked)?),
            None => None,
        };
        let line = Line {
            dialer: &self.dialer,
            tls: &self.tls,
            policy: &self.policy,
            clock: &self.clock,
            tokens: &self.tokens,
            oauth2: &self.oauth2,
            answered: OnceLock::new(),
        };
        let assertion = assertion.as_ref().map(|assertion| assertion.as_str());
        let mut answer = oauth::request(&self.oauth2, exchanged, assertion, &line)
            .await
            .map_err(|error| {
                let answered = line.answered.get().copied();
                oauth::failure(error, answered, &self.secrets(exchanged))
            })?;
        let lifetime = answer.lifetime().unwrap_or(self.tokens.default_lifetime);
        let token = Token::bearer(answer.bearer()?, lifetime, asked)?;
        self.keep_refresh_token(answer.take_refresh_token());
        Ok(token)
    }

    /// A refresh token replaces the one before it (RFC 6749 §6). One that comes with a
    /// client-credentials answer is ignored (§4.4.3).
    fn keep_refresh_token(&self, given: Option<Secret>) {
        let password = matches!(self.oauth2.grant, GrantType::Password { .. });
        if password && given.is_some() {
            self.hold_refresh_token(given);
        }
    }

    fn held_refresh_token(&self) -> Option<Secret> {
        let held = self.refresh_token.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold_refresh_token(&self, token: Option<Secret>) {
        let held = self.refresh_token.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// What a careless server might echo.
    fn secrets<'a>(&'a self, exchanged: Exchanged<'a>) -> Vec<&'a str> {
        let mut secrets = Vec::new();
        if let Exchanged::RefreshToken(token) = exchanged {
            secrets.push(token.expose());
        }
        if let GrantType::Password { password, .. } = &self.oauth2.grant {
            secrets.push(password.expose());
        }
        match &self.oauth2.client_authentication {
            ClientAuthentication::ClientSecretBasic(secret)
            | ClientAuthentication::ClientSecretPost(secret) => secrets.push(secret.expose()),
            ClientAuthentication::None
            | ClientAuthentication::PrivateKeyJwt { .. }
            | ClientAuthentication::TlsClientAuth(_)
            | ClientAuthentication::SelfSignedTlsClientAuth(_) => {}
        }
        secrets.extend(self.oauth2.token_parameters.values().map(Secret::expose));
        let fields = self.oauth2.token_headers.iter();
        secrets.extend(fields.map(|field| field.value.expose()));
        secrets
    }
}
