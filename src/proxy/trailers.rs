//! Trailer fields: which of them may travel.
//!
//! # Invariants
//!
//! A trailer does nothing that a field of the head may not: what frames, routes or authenticates
//! stays behind (RFC 9110 §6.5.1), under either spelling of the credential's name. So does what would
//! change a request that rules judge ([`Overrides`]), and what the head's `Connection` names, which
//! concerns one connection (RFC 9110 §7.6.1).

use http::header::{self, HeaderName};
use http::{HeaderMap, Version, request};

use super::fields::{Field, Fields};
use super::overrides::Overrides;
use super::rewrite;
use crate::credential::{Credential, Source};
use crate::directory::Entry;

/// What one message's trailers may not hold, beside what none may.
#[derive(Debug, Default)]
pub(crate) struct Unfit {
    /// What the head's `Connection` names.
    named: Vec<HeaderName>,
    /// The field that carries the credential.
    ours: Option<HeaderName>,
    overrides: Overrides,
}

impl Unfit {
    /// In a request with this head to the connector of `entry`.
    pub(crate) fn in_request((flow, fields): (&request::Parts, Fields), entry: &Entry) -> Self {
        let is_http2 = flow.version == Version::HTTP_2;
        if !is_http2 && !fields.has(Field::TransferEncoding) {
            // Only chunks and streams end in trailers.
            return Self::default();
        }
        let connection = fields.has(Field::Connection);
        let named = connection.then(|| rewrite::connection_options(&flow.headers));
        let ours = match &entry.source {
            Source::Fixed(Credential::Field { name, .. }) => Some(name.clone()),
            // A token's is `Authorization`, which no trailers hold.
            Source::Fixed(Credential::None) | Source::Token(_) => None,
        };
        Self {
            named: named.unwrap_or_default(),
            ours,
            overrides: Overrides::of(&entry.connector),
        }
    }

    /// In an answer whose `Connection` names `named`.
    pub(crate) fn in_answer(named: Vec<HeaderName>) -> Self {
        Self {
            named,
            ..Self::default()
        }
    }

    /// What of `trailers` may travel.
    pub(crate) fn keep(&self, mut trailers: HeaderMap) -> HeaderMap {
        let named = rewrite::connection_options(&trailers);
        let is_unfit = |name: &HeaderName| {
            let ours = self.ours.as_ref();
            is_unfit_for_any(name)
                || ours.is_some_and(|ours| rewrite::is_spelling_of(name, ours))
                || self.overrides.keep_back(name)
                || self.named.contains(name)
                || named.contains(name)
        };
        let unfit = trailers.keys().filter(|name| is_unfit(name));
        let unfit: Vec<_> = unfit.cloned().collect();
        for name in unfit {
            trailers.remove(name);
        }
        trailers
    }
}

/// Fields that frame, route or authenticate, and what is none.
fn is_unfit_for_any(name: &HeaderName) -> bool {
    rewrite::is_quoted(name)
        || rewrite::is_hop_by_hop(name)
        || rewrite::is_ours(name.as_str())
        || *name == header::CONTENT_LENGTH
        || *name == header::TRAILER
        || *name == header::COOKIE
        || *name == header::SET_COOKIE
        || *name == header::WWW_AUTHENTICATE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::LOCATION
}
