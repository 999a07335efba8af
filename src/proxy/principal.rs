//! Who calls.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};

use super::caller::Caller;
use super::error::Refusal;
use crate::config::InboundKey;
use crate::connector::Organization;
use crate::directory::Settings;
use crate::tls::server::ClientCertificates;

/// The longest key that is looked at, in bytes: whoever shows a longer one has none of ours.
const KEY_BYTES_MAX: usize = 512;

/// A caller as far as the gateway knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal<'a> {
    /// Whoever reaches the listener: it is bound to loopback, or its network is trusted.
    Network,
    /// A holder of a client certificate that the handshake verified.
    Certificate,
    /// A holder of a flow runtime's key.
    Key(&'a InboundKey),
}

impl Principal<'_> {
    /// Whether what belongs to `organization` exists for it. Who shows no key is not told apart from
    /// anybody else, and is everybody's.
    pub(crate) fn reaches(self, organization: &Organization) -> bool {
        match self {
            Self::Network | Self::Certificate => true,
            Self::Key(key) => key.principal.organization == *organization,
        }
    }
}

/// Finds out who calls. Where both certificates and keys are asked for, both are needed.
pub(crate) fn identify<'s>(
    caller: &Caller,
    headers: &HeaderMap,
    settings: &'s Settings,
) -> Result<Principal<'s>, Refusal> {
    let asked = settings
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_certificates() == ClientCertificates::Asked);
    let principal = match (caller.shows_certificate(), asked) {
        (true, _) => Principal::Certificate,
        (false, false) => Principal::Network,
        (false, true) => return Err(Refusal::CallerUnknown),
    };
    match &*settings.inbound.keys {
        [] => Ok(principal),
        keys => by_key(headers, keys).ok_or(Refusal::KeyUnknown),
    }
}

/// The one of `keys` that `headers` show as `Authorization: Bearer` (RFC 6750 §2.1). The flow's own
/// `Authorization` never travels on, so nothing else can be meant by it.
fn by_key<'s>(headers: &HeaderMap, keys: &'s [InboundKey]) -> Option<Principal<'s>> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (scheme, shown) = line.split_at_checked("Bearer ".len())?;
    // Schemes are read in either case (RFC 9110 §11.1).
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || shown.len() > KEY_BYTES_MAX {
        return None;
    }
    let shown = digest(&SHA256, shown.trim_ascii());
    // All of them, however early one matches: how long it takes tells nothing of any.
    let mut found = None;
    for key in keys {
        if verify_slices_are_equal(&key.sha256, shown.as_ref()).is_ok() {
            found = Some(Principal::Key(key));
        }
    }
    found
}
