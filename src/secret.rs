//! Text that must not leave the process by accident.
//!
//! # Invariants
//!
//! A [`Secret`] has no `Display`, no `Serialize` and a `Debug` that shows nothing; its memory is
//! overwritten when it is dropped. The only way to read it is [`Secret::expose`], so a search for
//! that word finds every place where a secret is used.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A password, client secret, API key or PEM private key at rest in memory.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The secret itself. Callers keep the result out of logs, errors and labels.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Two configurations are compared to see whether a connector changed; both sides are ours, so
/// this comparison needs no constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_it() {
        let secret = Secret::new("hunter2".to_owned());

        let shown = format!("{secret:?} {:#?}", Some(&secret));

        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }
}
