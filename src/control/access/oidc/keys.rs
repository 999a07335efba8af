//! The provider's keys: fetched when they are wanted, kept for a while.
//!
//! # Invariants
//!
//! However many tokens come, with whatever key IDs, the provider is asked once in [`PAUSE`] at
//! most. A set is asked for again after [`FRESH_FOR`]; while that fails it is used until
//! [`USED_FOR`]. Whoever hangs up while keys are fetched cancels nothing. When it changes whom the
//! provider may be, and where, no set of before is used, and the provider may be asked at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::jwt::Shown;
use super::line::{Kept, Line, LineError};
use crate::clock::Clock;
use crate::config;
use crate::connector::{HttpsUrl, SigningAlgorithm};
use crate::logging::with_sources;
use crate::tls::TlsError;

/// How long a set is not asked for again unless a token names a key that is not in it.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// How long a set is used while it cannot be asked for.
const USED_FOR: Duration = Duration::from_secs(3_600);
/// The least time between two questions.
const PAUSE: Duration = Duration::from_secs(30);
/// The most keys of a set.
const KEYS_MAX: usize = 100;

/// The provider's keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    issuer: String,
    jwks_url: Option<HttpsUrl>,
    line: Line,
    clock: Clock,
    held: Mutex<Held>,
    /// Held while the provider is asked.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Held {
    set: Option<(Arc<[Arc<Key>]>, Duration)>,
    asked_at: Option<Duration>,
    /// How often it changed whom the provider may be.
    changes: u64,
}

/// One public key.
pub(super) struct Key {
    kid: Option<String>,
    /// The only algorithm it is for, if it says so (RFC 7517 §4.4).
    algorithm: Option<String>,
    family: Family,
    key: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
}

/// Why there are no keys: the log has it already.
#[derive(Debug)]
pub(super) struct NoKeys;

impl Keys {
    pub(super) fn new(settings: &config::Oidc, line: Line, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            issuer: settings.issuer.clone(),
            jwks_url: settings.jwks_url.clone(),
            line,
            clock,
            held: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Asks the provider of `settings` within what `trust` allows from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used; then nothing changed.
    pub(super) fn keep_within(
        &self,
        settings: &config::Oidc,
        trust: &config::Trust,
    ) -> Result<(), TlsError> {
        match self.0.line.keep_within(settings, trust)? {
            Kept::Same => {}
            Kept::Changed => {
                let mut held = self.0.held();
                *held = Held {
                    changes: held.changes + 1,
                    ..Held::default()
                };
            }
        }
        Ok(())
    }

    /// The key that `kid` names, fit for `algorithm`; a token that names none is of the only key
    /// that fits.
    ///
    /// # Errors
    ///
    /// [`NoKeys`] if there is no set to look in.
    pub(super) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: SigningAlgorithm,
    ) -> Result<Option<Arc<Key>>, NoKeys> {
        let inner = &self.0;
        let now = inner.clock.monotonic();
        let held = inner.held().clone();
        let found = held.look(kid, algorithm, now, FRESH_FOR);
        if let Some(Some(key)) = found {
            return Ok(Some(key));
        }
        // One that is stale but there is better than to wait for another who asks already.
        let stale = held.look(kid, algorithm, now, USED_FOR).flatten();
        if stale.is_none() || inner.asking.try_lock().is_ok() {
            self.refresh().await;
        }
        let now = inner.clock.monotonic();
        let held = inner.held().clone();
        held.look(kid, algorithm, now, USED_FOR).ok_or(NoKeys)
    }

    /// Asks for the set, unless that was done a moment ago.
    async fn refresh(&self) {
        let keys = self.clone();
        // A task of its own: it ends, whoever waits for it.
        let asked = tokio::spawn(async move { keys.0.refresh().await });
        let _asked = asked.await;
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(&self) {
        let _alone = self.asking.lock().await;
        let now = self.clock.monotonic();
        let Some(changes) = self.held().may_ask(now) else {
            return;
        };
        match self.fetch().await {
            Ok(set) => {
                let mut held = self.held();
                // Whom it asked may be nobody to ask by now.
                if held.changes == changes {
                    held.set = Some((set, now));
                }
            }
            Err(error) => {
                let error = with_sources(&error);
                tracing::warn!(
                    issuer = self.issuer,
                    error,
                    "the OpenID provider's keys were not fetched"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Arc<[Arc<Key>]>, LineError> {
        let discovered;
        let url = match &self.jwks_url {
            Some(url) => url,
            None => {
                discovered = self.discover().await?;
                &discovered
            }
        };
        let document = self.line.fetch(url).await?;
        let keys = listed(&document).ok_or(LineError::Unfit("has no list of keys"))?;
        Ok(keys.into_iter().map(Arc::new).collect())
    }

    /// Where the keys are, as OpenID Connect Discovery 1.0 §4 has it.
    async fn discover(&self) -> Result<HttpsUrl, LineError> {
        let issuer = self.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let url = HttpsUrl::parse(&url).map_err(LineError::Url)?;
        let document = self.line.fetch(&url).await?;
        // §4.3: the very issuer that was asked for.
        if document.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(LineError::Unfit("names another issuer"));
        }
        let url = document.get("jwks_uri").and_then(Value::as_str);
        let url = url.ok_or(LineError::Unfit("names no jwks_uri"))?;
        HttpsUrl::parse(url).map_err(LineError::Url)
    }
}

impl Held {
    /// Notes that the provider is asked at the time `now`, and says after how many changes; nothing
    /// if it was asked a moment ago.
    fn may_ask(&mut self, now: Duration) -> Option<u64> {
        if self.asked_at.is_some_and(|at| now < at + PAUSE) {
            return None;
        }
        self.asked_at = Some(now);
        Some(self.changes)
    }

    /// What a set not older than `age` says of a key; nothing if there is no such set.
    fn look(
        &self,
        kid: Option<&str>,
        algorithm: SigningAlgorithm,
        now: Duration,
        age: Duration,
    ) -> Option<Option<Arc<Key>>> {
        let (set, at) = self.set.as_ref()?;
        if now >= *at + age {
            return None;
        }
        let mut fit = set.iter().filter(|key| {
            key.fits(algorithm) && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        });
        Some(match (fit.next(), fit.next()) {
            (Some(only), None) => Some(Arc::clone(only)),
            (None, _) | (Some(_), Some(_)) => None,
        })
    }
}

impl Key {
    fn fits(&self, algorithm: SigningAlgorithm) -> bool {
        let (family, name) = match algorithm {
            SigningAlgorithm::Rs256 => (Family::Rsa, "RS256"),
            SigningAlgorithm::Ps256 => (Family::Rsa, "PS256"),
            SigningAlgorithm::Es256 => (Family::P256, "ES256"),
        };
        self.family == family && self.algorithm.as_deref().is_none_or(|only| only == name)
    }

    /// Whether the signature of `shown` is this key's.
    pub(super) fn has_signed(&self, shown: &Shown<'_>) -> bool {
        let algorithm = match shown.algorithm {
            SigningAlgorithm::Rs256 => Algorithm::RS256,
            SigningAlgorithm::Ps256 => Algorithm::PS256,
            SigningAlgorithm::Es256 => Algorithm::ES256,
        };
        let signed = shown.signed.as_bytes();
        self.fits(shown.algorithm)
            && jsonwebtoken::crypto::verify(shown.signature, signed, &self.key, algorithm)
                .unwrap_or(false)
    }
}

/// The keys of a set that tokens may be signed with; `None` if it is no set.
pub(super) fn listed(document: &Value) -> Option<Vec<Key>> {
    let listed = document.get("keys").and_then(Value::as_array)?;
    // Keys of other kinds and purposes may stand beside ours (RFC 7517 §5).
    Some(listed.iter().filter_map(key).take(KEYS_MAX).collect())
}

/// Reads one key of a set, if it is one that tokens may be signed with.
fn key(value: &Value) -> Option<Key> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let (family, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (
            Family::Rsa,
            DecodingKey::from_rsa_components(text("n")?, text("e")?),
        ),
        ("EC", Some("P-256")) => (
            Family::P256,
            DecodingKey::from_ec_components(text("x")?, text("y")?),
        ),
        _ => return None,
    };
    Some(Key {
        kid: text("kid").map(str::to_owned),
        algorithm: text("alg").map(str::to_owned),
        family,
        key: key.ok()?,
    })
}
