//! Whose a connector is.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::is_label;

/// The longest name of an organization, in bytes.
pub const ORGANIZATION_BYTES_MAX: usize = 64;

/// To whom connectors, inbound keys and administrators belong: `[a-z0-9][a-z0-9-]{0,63}`. What
/// belongs to one organization does not exist for another. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Organization(Arc<str>);

/// Why a text names no organization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an organization is 1 to {ORGANIZATION_BYTES_MAX} of a-z, 0-9 and '-', and does not begin with '-'"
)]
pub struct InvalidOrganization;

impl Organization {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`InvalidOrganization`] if `text` is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, InvalidOrganization> {
        if text.len() <= ORGANIZATION_BYTES_MAX && is_label(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidOrganization)
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `default`: whose everything is that names no other.
impl Default for Organization {
    fn default() -> Self {
        static DEFAULT: OnceLock<Organization> = OnceLock::new();
        DEFAULT.get_or_init(|| Self("default".into())).clone()
    }
}

impl fmt::Display for Organization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        for bad in ["", "-a", "A", "a_b", "a/b", "*", "ä", &"a".repeat(65)] {
            assert_eq!(
                Organization::parse(bad),
                Err(InvalidOrganization),
                "{bad:?}"
            );
        }
        assert_eq!(Organization::parse("default"), Ok(Organization::default()));
    }
}
