//! The certificate that a client showed: whether it still holds, and whose it is.
//!
//! # Invariants
//!
//! What a handshake found holds under the settings it was made with. Under others the certificate is
//! verified and named anew, once, at the connection's next request: a CA, a revocation list or a
//! name that was taken away lets nobody in who was let in before. So it is when the certificate ends,
//! and from time to time in any case, for what else may have ended. In between a request costs two
//! comparisons. A tunnel, which has no next request, asks again as often.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::Refusal;
use crate::clock::Clock;
use crate::config::InboundCertificate;
use crate::tls::names::AlternativeNames;
use crate::tls::server::{self, Generation, ServerIdentity, Shown, Verified};

/// How long a verdict holds at most: a revocation list may be overdue by then, or an issuer's
/// certificate have ended.
const VERDICT_AGE_MAX: Duration = Duration::from_secs(600);
/// How long one holds of a certificate that is valid and has no time left.
const LAST_SECOND: Duration = Duration::from_secs(1);
/// The least that is told of time: no verdict is over when it is made.
const TICK: Duration = Duration::from_millis(1);
/// Room for a verdict beside the number of a generation.
const VERDICT_BITS: u32 = 16;

/// A client's certificate, and what was found last.
#[derive(Debug)]
pub(crate) struct Certified {
    shown: Shown,
    /// The settings' identity that the handshake was made under.
    under: Generation,
    /// A generation's number, and the verdict under it; 0 where there is none yet.
    found: AtomicU64,
    /// Until when that holds, in milliseconds of the monotonic clock.
    until_ms: AtomicU64,
}

/// Whose a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not hold.
    Ended,
    /// It holds, and is nobody's that is listed.
    Unlisted,
    /// Nobody is listed, and it holds.
    Nameless,
    /// It is the one's that stands here in the list.
    Listed(usize),
}

impl Certified {
    /// What a client `shown` in a handshake `under` an identity.
    pub(super) fn new(shown: Shown, under: Generation) -> Self {
        Self {
            shown,
            under,
            found: AtomicU64::new(0),
            until_ms: AtomicU64::new(0),
        }
    }

    /// The one of `listed` whose certificate it is at the time `now`; `None` if nobody is listed.
    pub(super) fn holder<'s>(
        &self,
        identity: &ServerIdentity,
        listed: &'s [InboundCertificate],
        (clock, now): (&Clock, Duration),
    ) -> Result<Option<&'s InboundCertificate>, Refusal> {
        let generation = identity.generation();
        let known = known(self.found.load(Ordering::Acquire), generation);
        let lasts = ms(now) < self.until_ms.load(Ordering::Acquire);
        let verdict = match known.filter(|_| lasts) {
            Some(verdict) => verdict,
            None => self.judge(identity, listed, (clock, now)),
        };
        match verdict {
            Verdict::Ended => Err(Refusal::CertificateEnded),
            Verdict::Unlisted => Err(Refusal::CertificateUnlisted),
            Verdict::Nameless => Ok(None),
            // Lists are as long as they were: another list comes with another generation.
            Verdict::Listed(index) => match listed.get(index) {
                Some(one) => Ok(Some(one)),
                None => Err(Refusal::CertificateUnlisted),
            },
        }
    }

    /// Until when what was found last holds at the time `now`; `None` if nothing does, as where
    /// nobody asks.
    pub(super) fn holds_until(&self, now: Duration) -> Option<Duration> {
        let until_ms = self.until_ms.load(Ordering::Acquire);
        (until_ms > ms(now)).then(|| Duration::from_millis(until_ms))
    }

    fn judge(
        &self,
        identity: &ServerIdentity,
        listed: &[InboundCertificate],
        (clock, now): (&Clock, Duration),
    ) -> Verdict {
        let wall = clock.wall();
        // The issuers' may end too, but others lead to the same anchor: they are looked at in time.
        let leaf = self.shown.chain.first();
        let valid_for = leaf.and_then(|leaf| server::valid_for(leaf, wall));
        let is_first = self.found.load(Ordering::Acquire) == 0;
        let fresh = is_first
            && self.shown.verified == Verified::Now
            && self.under == identity.generation()
            && valid_for.is_some();
        let verdict = match fresh || identity.still_trusts(&self.shown.chain, wall) {
            true => self.name(listed),
            false => Verdict::Ended,
        };
        // One that ended does not begin again but by a clock that is put right.
        let lasts = match verdict {
            Verdict::Ended => VERDICT_AGE_MAX,
            // Validity is told in whole seconds: in the last one it still is, and has none left.
            Verdict::Unlisted | Verdict::Nameless | Verdict::Listed(_) => {
                let left = valid_for.filter(|left| *left >= TICK);
                VERDICT_AGE_MAX.min(left.unwrap_or(LAST_SECOND))
            }
        };
        self.until_ms.store(ms(now + lasts), Ordering::Release);
        let found = packed(identity.generation(), verdict);
        self.found.store(found, Ordering::Release);
        verdict
    }

    fn name(&self, listed: &[InboundCertificate]) -> Verdict {
        if listed.is_empty() {
            return Verdict::Nameless;
        }
        let leaf = self.shown.chain.first();
        let names = leaf.and_then(|leaf| AlternativeNames::of(leaf));
        let found = names.and_then(|names| listed.iter().position(|one| one.san.matches(&names)));
        found.map_or(Verdict::Unlisted, Verdict::Listed)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn packed(generation: Generation, verdict: Verdict) -> u64 {
    let verdict = match verdict {
        Verdict::Ended => 0,
        Verdict::Unlisted => 1,
        Verdict::Nameless => 2,
        Verdict::Listed(index) => index as u64 + 3,
    };
    generation.number() << VERDICT_BITS | verdict
}

/// The verdict in `found`, if it is one under `generation`.
fn known(found: u64, generation: Generation) -> Option<Verdict> {
    if found >> VERDICT_BITS != generation.number() {
        return None;
    }
    Some(match found & ((1 << VERDICT_BITS) - 1) {
        0 => Verdict::Ended,
        1 => Verdict::Unlisted,
        2 => Verdict::Nameless,
        listed => Verdict::Listed(usize::try_from(listed - 3).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerTls;
    use crate::secret::Secret;
    use crate::tls::server::Protocols;

    fn identity() -> ServerIdentity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = ServerTls {
            certificate_pem: made.cert.pem(),
            private_key_pem: Secret::new(made.signing_key.serialize_pem()),
            client_ca_pem: None,
            client_crl_pem: None,
        };
        ServerIdentity::new(&tls, Protocols::Http11).unwrap()
    }

    #[test]
    fn a_verdict_is_known_under_its_own_generation_alone() {
        let (one, two) = (identity().generation(), identity().generation());
        for verdict in [
            Verdict::Ended,
            Verdict::Unlisted,
            Verdict::Nameless,
            Verdict::Listed(0),
            Verdict::Listed(999),
        ] {
            let found = packed(two, verdict);

            assert_eq!(known(found, two), Some(verdict));
            assert_eq!(known(found, one), None);
            assert_ne!(found, 0);
        }
        assert_eq!(known(0, one), None);
    }
}
