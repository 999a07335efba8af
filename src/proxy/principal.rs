//! Who calls.

use super::caller::Caller;
use super::error::Refusal;
use crate::directory::Settings;
use crate::tls::server::ClientCertificates;

/// A caller as far as the gateway knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Whoever reaches the listener: it is bound to loopback, or its network is trusted.
    Network,
    /// A holder of a client certificate that the handshake verified.
    Certificate,
}

/// Finds out who calls.
pub(crate) fn identify(caller: &Caller, settings: &Settings) -> Result<Principal, Refusal> {
    let asked = settings
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_certificates() == ClientCertificates::Asked);
    match (caller.shows_certificate(), asked) {
        (true, _) => Ok(Principal::Certificate),
        (false, false) => Ok(Principal::Network),
        (false, true) => Err(Refusal::CallerUnknown),
    }
}
