//! Proving who an administrator is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use zeroize::Zeroizing;

use super::oidc::{Disbelieved, Identity, Provider};
use super::throttle::{Note, Throttle};
use super::{Actor, Scope, TOKEN_PREFIX, Token};
use crate::clock::{Clock, in_real_time};
use crate::config;
use crate::control::store::{AdminToken, AuditEntry, AuditOutcome, Store};
use crate::logging::with_sources;
use crate::tls::TlsError;

/// Hashes that are computed at once, each in 19 MiB and tens of milliseconds of a core.
const HASHES_MAX: usize = 2;
/// How long a token waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// How long a token that was found good is known again without its hash. What the store says of it
/// is looked at each time all the same.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// The most tokens that are known again.
const KNOWN_MAX: usize = 1_000;
/// How long a client waits where nothing closer is known.
const BRIEFLY: Duration = Duration::from_secs(1);

/// Finds out who asks, by the bearer token of a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authentication(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    provider: Option<Provider>,
    clock: Clock,
    throttle: Throttle,
    hashes: Arc<Semaphore>,
    /// Tokens that were found good, by their marks.
    known: Mutex<HashMap<[u8; 32], Known>>,
}

/// A token that was found good.
#[derive(Debug)]
struct Known {
    /// What it was found to be kept as.
    hash: String,
    /// Until when it is known again.
    until: Duration,
}

/// Why a request is nobody's. It says nothing of why: an unknown token, a wrong, an expired and a
/// revoked one are told the same.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The store or the provider's keys cannot be read now: 503.
    #[error("who this is cannot be found out now")]
    Unavailable,
}

/// Where a request came from, and what is known of who sent it.
struct Attempt<'a> {
    address: IpAddr,
    request_id: &'a str,
    /// The ID of the token that was shown.
    token: Option<&'a str>,
    /// That token as it is kept.
    row: Option<&'a AdminToken>,
}

impl Authentication {
    /// By the tokens in `store` and those of `provider`.
    pub fn new(store: Store, provider: Option<Provider>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            provider,
            throttle: Throttle::new(clock.clone()),
            clock,
            hashes: Arc::new(Semaphore::new(HASHES_MAX)),
            known: Mutex::default(),
        }))
    }

    /// Asks the provider, if there is one, within what `trust` allows from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used; then nothing changed.
    pub fn keep_within(&self, trust: &config::Trust) -> Result<(), TlsError> {
        let provider = self.0.provider.as_ref();
        provider.map_or(Ok(()), |provider| provider.keep_within(trust))
    }

    /// Who sent a request with these `fields` from `address`. Acts on what the store says now: a
    /// token that was revoked a moment ago is refused. Whoever hangs up meanwhile has failed all
    /// the same.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`]; it is in the audit log already, or counted for it.
    pub async fn authenticate(
        &self,
        fields: &HeaderMap,
        address: IpAddr,
        request_id: &str,
    ) -> Result<Actor, Unauthenticated> {
        let shown = bearer(fields)?;
        let shown = Zeroizing::new(shown.unwrap_or_default().to_owned());
        let (inner, id) = (Arc::clone(&self.0), request_id.to_owned());
        let identified = tokio::spawn(async move { inner.identify(&shown, address, &id).await });
        let identified = identified
            .await
            .unwrap_or(Err(Unauthenticated::Unavailable));
        let identity = identified?;
        Ok(Actor {
            name: identity.name,
            title: identity.title,
            role: identity.role,
            scope: identity.scope,
            address,
            request_id: request_id.to_owned(),
        })
    }
}

impl Inner {
    async fn identify(
        &self,
        shown: &str,
        address: IpAddr,
        request_id: &str,
    ) -> Result<Identity, Unauthenticated> {
        let attempt = Attempt {
            address,
            request_id,
            token: None,
            row: None,
        };
        match (&self.provider, shown.starts_with(TOKEN_PREFIX)) {
            (Some(provider), false) => self.believe(provider, shown, attempt).await,
            (None, false) | (_, true) => self.look_up(Token::parse(shown), attempt).await,
        }
    }

    /// Whom one of our own tokens names.
    async fn look_up(
        &self,
        token: Option<Token>,
        mut attempt: Attempt<'_>,
    ) -> Result<Identity, Unauthenticated> {
        let Some(token) = token else {
            self.listen(&attempt)?;
            return Err(self.fail(&attempt, "no token, or a mistyped one").await);
        };
        attempt.token = Some(token.id());
        let mark = token.mark();
        let known = self.known_as(&mark);
        // Who is known is listened to, whatever others at the same address did.
        if known.is_none() {
            self.listen(&attempt)?;
        }
        let row = self.row(token.id()).await?;
        attempt.row = row.as_ref();
        let hash = row.as_ref().map(|row| &row.hash);
        if hash.is_none() || hash != known.as_ref() {
            if !self.verify(&token, hash.cloned()).await? {
                return Err(self.fail(&attempt, "an unknown or wrong token").await);
            }
            hash.into_iter().for_each(|hash| self.remember(mark, hash));
        }
        match row.as_ref() {
            Some(row) if row.revoked_at.is_some() => {
                Err(self.fail(&attempt, "a revoked token").await)
            }
            Some(row) if row.expires_at.is_some_and(|at| at <= self.clock.wall()) => {
                Err(self.fail(&attempt, "an expired token").await)
            }
            Some(row) => Ok(Identity {
                name: format!("token:{}", row.id),
                title: row.name.clone(),
                role: row.role,
                scope: row.scope.clone(),
            }),
            None => Err(self.fail(&attempt, "an unknown token").await),
        }
    }

    /// Whom a token of the provider names.
    async fn believe(
        &self,
        provider: &Provider,
        shown: &str,
        attempt: Attempt<'_>,
    ) -> Result<Identity, Unauthenticated> {
        self.listen(&attempt)?;
        match provider.identify(shown).await {
            Ok(identity) => Ok(identity),
            Err(Disbelieved::Invalid(why)) => Err(self.fail(&attempt, why).await),
            Err(Disbelieved::NoKeys) => Err(Unauthenticated::Unavailable),
            Err(Disbelieved::NoRole { subject }) => {
                let why = "none of its roles is mapped, or its organization is none";
                let refused = AuditOutcome::Refused("forbidden".to_owned());
                let note = self.throttle.refused();
                self.write(note, &attempt, (subject, refused), why).await;
                Err(Unauthenticated::NoRole)
            }
        }
    }

    async fn row(&self, id: &str) -> Result<Option<AdminToken>, Unauthenticated> {
        self.store.admin_token(id).await.map_err(|error| {
            let error = with_sources(&error);
            tracing::warn!(error, "an administrator's token was not looked up");
            Unauthenticated::Unavailable
        })
    }

    /// Whether the attempt is listened to at all.
    fn listen(&self, attempt: &Attempt<'_>) -> Result<(), Unauthenticated> {
        match self.throttle.waits(attempt.address, attempt.token) {
            None => Ok(()),
            Some(retry_after) => {
                self.throttle.turned_away();
                Err(Unauthenticated::Throttled { retry_after })
            }
        }
    }

    /// Whether `token` is the one that is kept as `hash`; as long without a hash as with one.
    async fn verify(&self, token: &Token, hash: Option<String>) -> Result<bool, Unauthenticated> {
        let turn = Arc::clone(&self.hashes).acquire_owned();
        let Ok(Ok(turn)) = timeout_at(in_real_time(TURN), turn).await else {
            return Err(Unauthenticated::Throttled {
                retry_after: BRIEFLY,
            });
        };
        let token = token.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let verified = token.is_kept_as(hash.as_deref());
            // The turn ends with the work, whoever still waits for it.
            drop(turn);
            verified
        });
        verified.await.map_err(|_| Unauthenticated::Unavailable)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the token with `mark` was found to be kept as a while ago.
    fn known_as(&self, mark: &[u8; 32]) -> Option<String> {
        let now = self.clock.monotonic();
        let known = self.known();
        let found = known.get(mark).filter(|known| now < known.until)?;
        Some(found.hash.clone())
    }

    fn remember(&self, mark: [u8; 32], hash: &str) {
        let now = self.clock.monotonic();
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| now < known.until);
        }
        if known.len() >= KNOWN_MAX {
            let first = known.iter().min_by_key(|(_, known)| known.until);
            if let Some(first) = first.map(|(mark, _)| *mark) {
                known.remove(&first);
            }
        }
        let hash = hash.to_owned();
        let until = now + KNOWN_FOR;
        known.insert(mark, Known { hash, until });
    }

    /// Counts and writes down a failure.
    async fn fail(&self, attempt: &Attempt<'_>, why: &'static str) -> Unauthenticated {
        let note = self.throttle.failed(attempt.address, attempt.token);
        let who = match attempt.token {
            Some(id) => format!("token:{id}"),
            None => "unknown".to_owned(),
        };
        let refused = AuditOutcome::Refused("unauthenticated".to_owned());
        self.write(note, attempt, (who, refused), why).await;
        Unauthenticated::Invalid
    }

    /// Writes into the audit log what was refused, if it is not merely to be counted.
    async fn write(
        &self,
        note: Note,
        attempt: &Attempt<'_>,
        (actor, outcome): (String, AuditOutcome),
        why: &'static str,
    ) {
        let Note::Write { omitted } = note else {
            return;
        };
        let scope = attempt.row.map(|row| &row.scope);
        let organization = match scope {
            Some(Scope::One(organization)) => Some(organization.clone()),
            Some(Scope::All) | None => None,
        };
        let entry = AuditEntry {
            id: 0,
            at: self.clock.wall(),
            target: actor.clone(),
            actor,
            role: None,
            organization,
            action: "authenticate".to_owned(),
            outcome,
            address: attempt.address.to_string(),
            request_id: attempt.request_id.to_owned(),
            before: None,
            // What was shown is not repeated: it may be a good token with a slip in it.
            after: Some(json!({ "why": why, "omitted_before": omitted })),
        };
        if let Err(error) = self.store.note(&entry).await {
            let error = with_sources(&error);
            tracing::warn!(
                error,
                "a failure to authenticate was not written into the audit log"
            );
        }
    }
}

/// The only credentials of a request (RFC 6750 §2.1); nothing if they are no bearer token.
fn bearer(fields: &HeaderMap) -> Result<Option<&str>, Unauthenticated> {
    let mut lines = fields.get_all(header::AUTHORIZATION).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Err(Unauthenticated::Missing),
        (Some(_), Some(_)) => Ok(None),
        (Some(line), None) => Ok(read_bearer(line)),
    }
}

/// The scheme's name is of either case (RFC 9110 §11.1).
fn read_bearer(line: &HeaderValue) -> Option<&str> {
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
        .filter(|token| !token.is_empty())
}
