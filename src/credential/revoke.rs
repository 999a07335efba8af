//! Ends a token at its authorization server when its connector goes (RFC 7009).
//!
//! # Invariants
//!
//! Best effort, once, and bounded in time: nobody waits for it, and what it comes to changes nothing
//! but a count and a line in the log. The token goes to the revocation endpoint and nowhere else. A
//! token that is ended is not attached any more, and one that comes after it is ended too.

use std::sync::{Arc, OnceLock};

use super::exchange::{Line, Wanted};
use super::fetch::Fetcher;
use super::oauth;
use super::slot::TokenSlot;
use super::token::{Moment, Token};
use super::{Credentials, Source, TokenError};
use crate::connector::HttpsUrl;
use crate::logging::with_sources;
use crate::metrics::TokenOutcome;

impl Credentials {
    /// Has the token that `source` holds ended by its authorization server, if that offers it and a
    /// token is held or on its way: for a connector that is deactivated or deleted. Returns at once.
    pub fn revoke(&self, source: &Source) {
        match source {
            Source::Fixed(_) => {}
            Source::Token(slot) => slot.revoke(),
        }
    }
}

impl TokenSlot {
    /// See [`Credentials::revoke`].
    fn revoke(self: &Arc<Self>) {
        let mut work = self.lock();
        work.revoked = true;
        work.stop_timer();
        let held = self.current.swap(None);
        drop(work);
        if let Some(token) = held {
            self.end(token);
        }
    }

    /// Has `token` ended, apart from whoever asks.
    pub(super) fn end(&self, token: Arc<Token>) {
        // One that nobody accepts any more needs no end.
        if token.is_fresh(self.now()) {
            let ending = (self.revoke)(token);
            self.surroundings.runtime.spawn(ending);
        }
    }
}

impl Fetcher {
    /// Asks for the end of `token`, counts and logs what that came to.
    pub(super) async fn revoke(&self, token: &Token) {
        let Some(url) = &self.login.oauth2.revocation_url else {
            return;
        };
        let revoked = self.ask_to_revoke(url, token).await;
        let outcome = match &revoked {
            Ok(()) => TokenOutcome::Ok,
            Err(error) => error.outcome(),
        };
        self.metrics.revocation(outcome);
        let (connector, endpoint) = (&self.connector, url.origin());
        match revoked {
            Ok(()) => tracing::info!(%connector, %endpoint, "the token was revoked"),
            Err(error) => tracing::warn!(
                %connector,
                %endpoint,
                outcome = outcome.name(),
                code = error.code(),
                error = %with_sources(&error),
                "the token could not be revoked; it holds until it expires"
            ),
        }
    }

    async fn ask_to_revoke(&self, url: &HttpsUrl, token: &Token) -> Result<(), TokenError> {
        let login = &self.login;
        oauth::check(&login.oauth2)?;
        let asked = Moment::of(&self.clock);
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
            url,
            wanted: Wanted::Status,
            oauth2: &login.oauth2,
            answered: OnceLock::new(),
        };
        let assertion = assertion.as_ref().map(|assertion| assertion.as_str());
        let revoked = oauth::revoke(&login.oauth2, url, token.access_token(), assertion, &line);
        revoked.await.map_err(|error| {
            let answered = line.answered.get().copied();
            oauth::revocation_failure(error, answered, &login.secrets())
        })
    }
}
