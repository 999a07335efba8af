//! A door into the reading of an OpenID provider's tokens and keys, for `tests/fuzz` alone;
//! `crate::credential::doors` says why it is here in every build.

use std::time::SystemTime;

use serde_json::Value;

use super::jwt::{self, Shown};
use super::keys::{self, Key};
use crate::config::Oidc;

/// A provider's keys, as it lists them.
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// The keys of `document` that tokens may be signed with.
    pub fn of(document: &Value) -> Self {
        Self(keys::listed(document).unwrap_or_default())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySet({})", self.0.len())
    }
}

/// Whom `token` names by `keys` at `now`, and of which organization.
///
/// # Errors
///
/// Why it is not believed.
pub fn identify(
    token: &str,
    keys: &KeySet,
    settings: &Oidc,
    now: SystemTime,
) -> Result<(String, String), String> {
    let shown = Shown::read(token, &settings.algorithms)?;
    if !keys.0.iter().any(|key| key.has_signed(&shown)) {
        return Err("its signature is wrong".to_owned());
    }
    jwt::check(&shown.claims, &settings.issuer, &settings.audience, now)?;
    let identity = super::identity(&shown.claims, settings).map_err(|error| error.to_string())?;
    Ok((identity.name, identity.title))
}

/// The same of a token's claims, whoever signed them.
///
/// # Errors
///
/// Why they name nobody.
pub fn identity(
    claims: &Value,
    settings: &Oidc,
    now: SystemTime,
) -> Result<(String, String), String> {
    jwt::check(claims, &settings.issuer, &settings.audience, now)?;
    let identity = super::identity(claims, settings).map_err(|error| error.to_string())?;
    Ok((identity.name, identity.title))
}
