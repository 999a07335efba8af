//! The tokens that the demonstration's authorization server issued: what its resource domain asks
//! to learn whether a token is good (the introspection of RFC 7662, without the wire).
//!
//! # Invariants
//!
//! At most [`TOKENS_MAX`] tokens are kept; the oldest goes first. A token past its expiry is
//! unknown.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pki::random_secret;
use crate::clock::Clock;
use crate::secret::Secret;

/// Tokens kept at once.
const TOKENS_MAX: usize = 1024;
/// How long a token holds: `expires_in`.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// The tokens that are out.
#[derive(Debug)]
pub(super) struct Tokens {
    clock: Clock,
    issued: Mutex<VecDeque<Issued>>,
}

#[derive(Debug)]
struct Issued {
    token: Secret,
    grant: Granted,
    expires_at: Duration,
}

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// The client it was issued to.
    pub(super) client_id: &'static str,
    /// The certificate it is bound to, by its thumbprint: `cnf` / `x5t#S256` (RFC 8705 §3.1).
    pub(super) certificate_thumbprint: Option<String>,
}

impl Tokens {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            issued: Mutex::new(VecDeque::new()),
        }
    }

    /// Makes a token for `grant`.
    pub(super) fn issue(&self, grant: Granted) -> Secret {
        let token = random_secret();
        let mut issued = self.lock();
        if issued.len() == TOKENS_MAX {
            issued.pop_front();
        }
        issued.push_back(Issued {
            token: token.clone(),
            grant,
            expires_at: self.clock.monotonic() + LIFETIME,
        });
        token
    }

    /// What `token` stands for, unless it is unknown or expired.
    pub(super) fn introspect(&self, token: &str) -> Option<Granted> {
        let now = self.clock.monotonic();
        self.lock()
            .iter()
            .find(|issued| issued.token.expose() == token && now < issued.expires_at)
            .map(|issued| issued.grant.clone())
    }

    /// A panic while the lock was held leaves a list that is still whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Issued>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Turned;

    fn grant() -> Granted {
        Granted {
            client_id: "demo",
            certificate_thumbprint: None,
        }
    }

    #[test]
    fn a_token_of_nobody_stands_for_nothing() {
        let tokens = Tokens::new(Clock::system());
        tokens.issue(grant());

        assert_eq!(tokens.introspect(""), None);
        assert_eq!(tokens.introspect(random_secret().expose()), None);
    }

    #[test]
    fn a_token_is_good_until_its_expiry_and_not_at_it() {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        let tokens = Tokens::new(Clock::turned(&turned));
        let token = tokens.issue(grant());

        turned.advance(LIFETIME - Duration::from_millis(1));
        assert_eq!(tokens.introspect(token.expose()), Some(grant()));
        turned.advance(Duration::from_millis(1));
        assert_eq!(tokens.introspect(token.expose()), None);
    }

    #[test]
    fn the_oldest_token_goes_when_there_are_too_many() {
        let tokens = Tokens::new(Clock::system());
        let first = tokens.issue(grant());
        let second = tokens.issue(grant());

        for _ in 1..TOKENS_MAX {
            tokens.issue(grant());
        }

        assert_eq!(tokens.introspect(first.expose()), None);
        assert_eq!(tokens.introspect(second.expose()), Some(grant()));
    }
}
