//! What a handshake failed by, as far as rustls tells it apart.

use std::io;

use rustls::{CertificateError, Error};

/// Who is to blame for a handshake that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other side's certificate: it was not believed.
    Certificate,
    /// The other side's certificate, by what its issuer's revocation list says, or no longer says.
    Revocation,
    /// Something of ours that the other side refused, by an alert (RFC 8446 §6.2).
    Alert,
    /// How the other side speaks TLS, or that it speaks something else.
    Protocol,
}

impl Fault {
    /// What `error` of a handshake says.
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) if is_revocation(error) => Self::Revocation,
            Some(
                Error::InvalidCertificate(_)
                | Error::NoCertificatesPresented
                | Error::UnsupportedNameType,
            ) => Self::Certificate,
            Some(Error::AlertReceived(_)) => Self::Alert,
            // Whoever hangs up amid the handshake speaks no TLS to its end either.
            Some(_) | None => Self::Protocol,
        }
    }
}

fn is_revocation(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertRevocationList(_)
            | Error::InvalidCertificate(
                CertificateError::Revoked
                    | CertificateError::UnknownRevocationStatus
                    | CertificateError::ExpiredRevocationList
                    | CertificateError::ExpiredRevocationListContext { .. }
            )
    )
}
