//! Credentials: where they come from and how long they hold.
//!
//! A connector's [`Source`] is made once, when the connector is published: either a credential
//! that never changes or the slot of a token. [`Source::obtain`] is what a request calls.
//!
//! # Invariants
//!
//! A credential leaves this room as a sensitive field value and in no other form; a token request
//! goes to the connector's token endpoint and nowhere else. Everything that decides a token is in
//! its key, so a changed connector never serves an old one. For any number of flows, whether they
//! stay or hang up, one token request runs, on a runtime of its own. A token in use is renewed ahead
//! of its expiry; one that is held is used for as long as it is fresh, whatever the token endpoint
//! does; one that cannot be had is refused at once, not waited for.

use std::fmt;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use http::header::{self, InvalidHeaderValue};
use http::{HeaderName, HeaderValue};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::Tokens;
use crate::connector::{Connector, Fallback, OAuth2, Revision, Scheme};
use crate::dial::{AddressPolicy, Dialer};
use crate::metrics::TokenMetrics;
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, TrustAnchors};

mod answer;
mod assertion;
mod basic;
mod cache;
mod commons;
mod error;
mod exchange;
mod failure;
mod fetch;
mod forms;
mod login;
mod mask;
mod minute;
mod oauth;
mod rejection;
mod renew;
mod report;
mod revoke;
mod shared;
mod sharing;
mod slot;
mod source;
mod state;
mod token;
mod usage;
mod work;
#[doc(hidden)]
pub mod doors;

#[cfg(test)]
mod tests;

pub use crate::metrics::{CacheOutcome, FailureClass};
pub use error::TokenError;
pub use mask::Mask;
#[cfg(test)]
pub(crate) use mask::mask_of;
pub use rejection::Rejection;
pub use shared::{
    Lease, LeaseState, Leased, Row, SharedKey, SharedToken, SharedTokens, Still, Unavailable,
    Unused,
};
pub use slot::TokenSlot;
pub use source::{Credential, Fetched, Obtained, Source, TokenFailure, Unobtained};
pub use state::{Fetching, TokenState};
pub use token::TokenMark;

use cache::{Slots, TokenKey};
use commons::Commons;
use fetch::{Fetcher, OldLogin};
use report::Report;
use sharing::Sharing;
use slot::{Fetch, Revoke, Surroundings};

/// What a configuration says about token requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits and lifetimes.
    pub tokens: Arc<Tokens>,
    /// Where token endpoints may lie.
    pub policy: AddressPolicy,
    /// Whom token endpoints are verified against, beside a connector's own bundle.
    pub anchors: TrustAnchors,
}

/// Makes sources and keeps their tokens; one per process. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    runtime: Handle,
    dialer: Dialer,
    clock: Clock,
    metrics: Arc<TokenMetrics>,
    slots: ArcSwap<Slots>,
    /// Where tokens are shared with other replicas.
    commons: Option<Arc<Commons>>,
    /// The identity without a certificate, shared by all connectors under the same anchors: each
    /// identity has a session store of its own, too large to have one per connector.
    plain: Mutex<Option<(TrustAnchors, ClientTls)>>,
}

impl Credentials {
    /// Credentials whose token requests run on `runtime`, with at most `entries_max` tokens, which
    /// are shared with other replicas through `shared`.
    pub fn new(
        runtime: Handle,
        dialer: Dialer,
        clock: Clock,
        metrics: Arc<TokenMetrics>,
        entries_max: u64,
        shared: Option<Arc<dyn SharedTokens>>,
    ) -> Self {
        let commons = shared.map(|shared| Arc::new(Commons::new(shared, &clock, &metrics)));
        Self(Arc::new(Shared {
            runtime,
            dialer,
            clock,
            metrics,
            slots: ArcSwap::from_pointee(Slots::new(entries_max)),
            commons,
            plain: Mutex::new(None),
        }))
    }

    /// Where `connector`'s credential comes from at `revision`; `label` names it in the metrics.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a certificate, key or anchor of the connector cannot be used.
    pub fn source(
        &self,
        connector: &Connector,
        revision: Revision,
        settings: &Settings,
        label: Arc<str>,
    ) -> Result<Source, TlsError> {
        let fixed = |name, value| Ok(Source::Fixed(fixed(connector, name, value)));
        match connector.kind.scheme() {
            Scheme::None | Scheme::ClientCertificate(_) => Ok(Source::Fixed(Credential::None)),
            Scheme::Basic(basic) => fixed(header::AUTHORIZATION, basic::authorization(basic)),
            Scheme::Header(field) => fixed(field.name.clone(), basic::fixed(field)),
            Scheme::OAuth2(oauth2) => {
                let key = TokenKey::new(connector, revision, oauth2);
                if let Some(slot) = self.0.slots.load().find(&key) {
                    return Ok(Source::Token(slot));
                }
                let slot = self.slot(key, connector, oauth2, (settings, label))?;
                Ok(Source::Token(self.0.slots.load().keep(slot)))
            }
        }
    }

    fn slot(
        &self,
        key: TokenKey,
        connector: &Connector,
        oauth2: &Arc<OAuth2>,
        (settings, label): (&Settings, Arc<str>),
    ) -> Result<TokenSlot, TlsError> {
        let report = Report {
            connector: connector.id.clone(),
            label: Arc::clone(&label),
            endpoint: oauth2.token_url.origin().clone(),
            metrics: Arc::clone(&self.0.metrics),
        };
        let stored = connector.stored.as_deref();
        let fallback = stored.and_then(|stored| stored.fallback.as_ref());
        let fetcher = Arc::new(self.fetcher(connector, oauth2, settings, label, fallback)?);
        let revoke: Revoke = Box::new({
            let fetcher = Arc::clone(&fetcher);
            move |token| {
                let fetcher = Arc::clone(&fetcher);
                Box::pin(async move { fetcher.revoke(&token).await })
            }
        });
        let commons = self.0.commons.as_ref();
        let sharing = commons.map(|commons| Arc::new(Sharing::new(commons, connector, oauth2)));
        let fetch: Fetch = Box::new({
            let sharing = sharing.clone();
            move || {
                let (fetcher, sharing) = (Arc::clone(&fetcher), sharing.clone());
                Box::pin(async move {
                    match sharing {
                        None => fetcher.fetch_alone().await,
                        Some(sharing) => sharing.obtain(&fetcher).await,
                    }
                })
            }
        });
        let surroundings = Surroundings {
            runtime: self.0.runtime.clone(),
            clock: self.0.clock.clone(),
            tokens: Arc::clone(&settings.tokens),
            draw: renew::draw,
        };
        let ways = (fetch, revoke);
        Ok(TokenSlot::new(key, ways, sharing, surroundings, report))
    }

    /// Holds the tokens of `sources` and no others, and at most `entries_max` from now on.
    pub fn hold<'a>(&self, entries_max: u64, sources: impl IntoIterator<Item = &'a Source>) {
        let slots = Slots::new(entries_max);
        for source in sources {
            match source {
                Source::Fixed(_) => {}
                Source::Token(slot) => slots.hold(Arc::clone(slot)),
            }
        }
        self.0.slots.store(Arc::new(slots));
    }

    /// Lets go of what `source` holds, once its connector was replaced or removed. Requests that
    /// still hold it are served to their end.
    pub fn retire(&self, source: &Source) {
        match source {
            Source::Fixed(_) => {}
            Source::Token(slot) => {
                self.0.slots.load().remove(slot.key());
                slot.retire();
            }
        }
    }

    /// Obtains the tokens of `sources` before any flow asks. Returns at once.
    pub fn warm(&self, sources: Vec<Source>) {
        if !sources.is_empty() {
            self.0.runtime.spawn(renew::warm(sources));
        }
    }

    /// Makes one token request for `connector`, apart from every slot, and gives its token; `None`
    /// where no token is involved. For validation: a [`TokenError::Dial`] names
    /// the leg that failed, any other error is the token endpoint's answer.
    ///
    /// # Errors
    ///
    /// [`TokenError`], which is counted but not logged.
    pub async fn fetch_once(
        &self,
        connector: &Connector,
        settings: &Settings,
        label: Arc<str>,
    ) -> Result<Option<Fetched>, TokenError> {
        let Scheme::OAuth2(oauth2) = connector.kind.scheme() else {
            return Ok(None);
        };
        // What is kept to fall back on would hide what is wrong.
        let fetcher = self
            .fetcher(connector, oauth2, settings, label, None)
            .map_err(TokenError::Identity)?;
        let token = fetcher.fetch_alone().await?;
        Ok(Some(Fetched {
            credential: Obtained::token(&token, CacheOutcome::Miss).credential,
            expires_at: token.expires_at(),
        }))
    }

    fn fetcher(
        &self,
        connector: &Connector,
        oauth2: &Arc<OAuth2>,
        settings: &Settings,
        label: Arc<str>,
        fallback: Option<&Fallback>,
    ) -> Result<Fetcher, TlsError> {
        let old = match fallback {
            None => None,
            Some(Fallback { oauth2, until }) => Some(Box::new(OldLogin {
                login: self.login(connector, oauth2, settings)?,
                until: *until,
                first_until: Mutex::default(),
            })),
        };
        Ok(Fetcher {
            connector: connector.id.clone(),
            label,
            login: self.login(connector, oauth2, settings)?,
            old,
            dialer: self.0.dialer.clone(),
            policy: settings.policy.clone(),
            tokens: Arc::clone(&settings.tokens),
            clock: self.0.clock.clone(),
            metrics: Arc::clone(&self.0.metrics),
            refresh_token: Mutex::new(None),
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("shared", &self.0.commons.is_some())
            .finish_non_exhaustive()
    }
}

/// A credential that never changes. Configuration has checked that the value is a legal one; if
/// it is not, the request goes out with an empty value, which opens nothing.
fn fixed(
    connector: &Connector,
    name: HeaderName,
    value: Result<HeaderValue, InvalidHeaderValue>,
) -> Credential {
    let value = value.unwrap_or_else(|_| {
        tracing::error!(connector = %connector.id, "the credential is no legal field value");
        HeaderValue::from_static("")
    });
    let mask = Arc::new(Mask::of(&name, &value));
    Credential::Field { name, value, mask }
}
