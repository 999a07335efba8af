//! Access tokens of an OpenID provider, as administrators show them.
//!
//! # Invariants
//!
//! A token is believed for its signature alone, by a key of the provider's own set and one of the
//! configured algorithms; what its head says of where keys are is not read. It names us, is of
//! now, and gives one of the mapped roles; with several, the most powerful. It never gives the
//! scope `*`.

use std::fmt;

use serde_json::Value;

use self::jwt::Shown;
use self::keys::Keys;
use super::{Role, Scope};
use crate::clock::Clock;
use crate::config;
use crate::connector::Organization;
use crate::dial::Dialer;
use crate::tls::TlsError;

mod jwt;
mod keys;
mod line;
#[doc(hidden)]
pub mod doors;

/// The longest subject (OpenID Connect Core 1.0 §2), in bytes.
const SUBJECT_BYTES_MAX: usize = 255;
/// What people read of a name, in bytes.
const TITLE_BYTES_MAX: usize = 255;

/// An OpenID provider whose tokens are believed.
pub struct Provider {
    settings: config::Oidc,
    clock: Clock,
    keys: Keys,
}

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) role: Role,
    pub(super) scope: Scope,
}

/// Why a token names nobody.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disbelieved {
    /// The token is not what it has to be.
    #[error("the provider's token is refused: {0}")]
    Invalid(&'static str),
    /// It is good, but none of its roles is mapped, or its organization is none.
    #[error("the provider's token gives {subject:?} no role here")]
    NoRole {
        /// `oidc:` and the subject.
        subject: String,
    },
    /// The provider's keys are not to be had.
    #[error("the provider's keys are not to be had")]
    NoKeys,
}

impl Provider {
    /// The provider of `settings`, reached as token endpoints are.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used.
    pub fn new(
        settings: &config::Oidc,
        trust: &config::Trust,
        dialer: Dialer,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let line = line::Line::new(dialer, settings, trust)?;
        Ok(Self {
            settings: settings.clone(),
            clock: clock.clone(),
            keys: Keys::new(settings, line, clock),
        })
    }

    /// Asks for keys within what `trust` allows from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used; then nothing changed.
    pub(super) fn keep_within(&self, trust: &config::Trust) -> Result<(), TlsError> {
        self.keys.keep_within(&self.settings, trust)
    }

    /// Whom `token` names.
    ///
    /// # Errors
    ///
    /// [`Disbelieved`].
    pub(super) async fn identify(&self, token: &str) -> Result<Identity, Disbelieved> {
        let shown = Shown::read(token, &self.settings.algorithms).map_err(Disbelieved::Invalid)?;
        let key = self.keys.find(shown.kid.as_deref(), shown.algorithm).await;
        let key = key.map_err(|_| Disbelieved::NoKeys)?;
        let key = key.ok_or(Disbelieved::Invalid("no key of the provider's has its kid"))?;
        if !key.has_signed(&shown) {
            return Err(Disbelieved::Invalid("its signature is wrong"));
        }
        let (issuer, audience) = (&self.settings.issuer, &self.settings.audience);
        jwt::check(&shown.claims, issuer, audience, self.clock.wall())
            .map_err(Disbelieved::Invalid)?;
        identity(&shown.claims, &self.settings)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

fn identity(claims: &Value, settings: &config::Oidc) -> Result<Identity, Disbelieved> {
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .filter(|sub| is_plain(sub, SUBJECT_BYTES_MAX))
        .ok_or(Disbelieved::Invalid("it has no subject"))?;
    let name = format!("oidc:{subject}");
    let title = ["name", "preferred_username", "email"]
        .into_iter()
        .filter_map(|claim| claims.get(claim)?.as_str())
        .find(|title| is_plain(title, TITLE_BYTES_MAX))
        .unwrap_or(subject)
        .to_owned();
    let role = most_powerful(claims, settings);
    let organization = organization(claims, settings);
    match (role, organization) {
        (Some(role), Some(organization)) => Ok(Identity {
            name,
            title,
            role,
            scope: Scope::One(organization),
        }),
        (None, _) | (_, None) => Err(Disbelieved::NoRole { subject: name }),
    }
}

/// Between roles that may do the same the one that stands first among them counts.
fn most_powerful(claims: &Value, settings: &config::Oidc) -> Option<Role> {
    let claim = claim(claims, &settings.role_claim)?;
    let values: Vec<&str> = match claim {
        Value::String(only) => vec![only],
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    let roles = values
        .into_iter()
        .filter_map(|value| settings.roles.get(value).copied());
    let place = |role: &Role| Role::ALL.iter().position(|one| one == role);
    roles.min_by_key(|role| (std::cmp::Reverse(role.access()), place(role)))
}

fn organization(claims: &Value, settings: &config::Oidc) -> Option<Organization> {
    match &settings.organization_claim {
        None => Some(settings.organization.clone()),
        Some(name) => Organization::parse(claim(claims, name)?.as_str()?).ok(),
    }
}

/// A claim by its name, or a nested one by its JSON pointer (RFC 6901).
fn claim<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    match name.starts_with('/') {
        true => claims.pointer(name),
        false => claims.get(name),
    }
}

fn is_plain(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests;
