//! Who calls.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};

use super::caller::Caller;
use super::error::Refusal;
use super::fields::{Field, Fields};
use crate::clock::Clock;
use crate::config::{Browsers, Inbound, InboundKey};
use crate::connector::{self, Organization};
use crate::directory::Settings;
use crate::tls::server::ClientCertificates;

/// The longest key that is looked at, in bytes: whoever shows a longer one has none of ours.
const KEY_BYTES_MAX: usize = 512;

/// A caller as far as the gateway knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal<'a> {
    /// Whoever reaches the listener: it is bound to loopback, or its network is trusted.
    Network,
    /// A holder of a client certificate that holds, where none is listed.
    Certificate,
    /// A holder of a client certificate that is listed.
    Holder(&'a Arc<connector::Principal>),
    /// A holder of a flow runtime's key.
    Key(&'a InboundKey),
}

/// The SHA-256 digest of a key that was shown.
pub(crate) type KeyDigest = [u8; 32];

impl<'a> Principal<'a> {
    /// Whether what belongs to `organization` exists for it. Who is not told apart from anybody else
    /// is everybody's.
    pub(crate) fn reaches(self, organization: &Organization) -> bool {
        self.named()
            .is_none_or(|named| named.organization == *organization)
    }

    /// Who it is, if that is known.
    pub(crate) fn named(self) -> Option<&'a Arc<connector::Principal>> {
        match self {
            Self::Network | Self::Certificate => None,
            Self::Holder(named) => Some(named),
            Self::Key(key) => Some(&key.principal),
        }
    }

    /// The digest of the key it showed, where it is known by one.
    pub(crate) fn key(self) -> Option<&'a KeyDigest> {
        match self {
            Self::Network | Self::Certificate | Self::Holder(_) => None,
            Self::Key(key) => Some(&key.sha256),
        }
    }
}

/// Refuses what a browser sends for some page, so that no page uses the gateway through its visitor:
/// whatever names its origin (RFC 6454 §7) or site (Fetch Metadata), or asks whether it may call
/// (Fetch §4.8). A page that came through the gateway would be of the same site; so not even that
/// passes.
pub(crate) fn refuse_browsers(fields: Fields, inbound: &Inbound) -> Result<(), Refusal> {
    match fields.has(Field::OfBrowser) && inbound.browsers == Browsers::Refuse {
        true => Err(Refusal::BrowserRefused),
        false => Ok(()),
    }
}

/// Finds out who calls at the time `now`. `shown` is asked for a key where keys are listed. Where
/// both certificates and keys are asked for, both are needed; where both have names, the same.
pub(crate) fn identify<'s>(
    caller: &Caller,
    settings: &'s Settings,
    time: (&Clock, Duration),
    shown: impl FnOnce() -> Option<KeyDigest>,
) -> Result<Principal<'s>, Refusal> {
    let certified = by_certificate(caller, settings, time)?;
    let keyed = match &*settings.inbound.keys {
        [] => return Ok(certified),
        keys => shown().and_then(|shown| by_key(&shown, keys)),
    };
    let key = keyed.ok_or(Refusal::KeyUnknown)?;
    match certified
        .named()
        .is_none_or(|named| *named == key.principal)
    {
        true => Ok(Principal::Key(key)),
        false => Err(Refusal::CallerTwofold),
    }
}

fn by_certificate<'s>(
    caller: &Caller,
    settings: &'s Settings,
    time: (&Clock, Duration),
) -> Result<Principal<'s>, Refusal> {
    let asking = settings
        .tls
        .as_ref()
        .filter(|tls| tls.client_certificates() == ClientCertificates::Asked);
    let Some(identity) = asking else {
        return Ok(Principal::Network);
    };
    let certified = caller.certified().ok_or(Refusal::CallerUnknown)?;
    let holder = certified.holder(identity, &settings.inbound.certificates, time)?;
    Ok(match holder {
        None => Principal::Certificate,
        Some(holder) => Principal::Holder(&holder.principal),
    })
}

/// The one of `keys` that was `shown`.
fn by_key<'s>(shown: &KeyDigest, keys: &'s [InboundKey]) -> Option<&'s InboundKey> {
    // All of them, however early one matches: how long it takes tells nothing of any.
    let mut found = None;
    for key in keys {
        if verify_slices_are_equal(&key.sha256, shown).is_ok() {
            found = Some(key);
        }
    }
    found
}

/// The digest of the key that `headers` show as `Authorization: Bearer` (RFC 6750 §2.1). The flow's
/// own `Authorization` never travels on, so nothing else can be meant by it.
pub(crate) fn shown_key(headers: &HeaderMap) -> Option<KeyDigest> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.as_bytes();
    let (scheme, shown) = line.split_at_checked("Bearer ".len())?;
    // Schemes are read in either case (RFC 9110 §11.1).
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || shown.len() > KEY_BYTES_MAX {
        return None;
    }
    let shown = digest(&SHA256, shown.trim_ascii());
    shown.as_ref().try_into().ok()
}
