//! What to look at where a leg failed.

use http::StatusCode;

use crate::credential::{Rejection, TokenError};
use crate::dial::{DialError, Leg};
use crate::tls::fault::Fault;

/// For an origin that refuses the handshake's client.
pub(super) const CLIENT_CERTIFICATE: &str =
    "does the resource domain demand a client certificate, and accept this connector's?";
/// For what a connector brings to the handshake.
pub(super) const IDENTITY: &str = "check the connector's certificate, key, ca_bundle and crl";
/// For a username and a password that nobody tries.
pub(super) const NO_VALIDATION_URL: &str = "there is no validation_url";
/// For a way that ends before the API itself.
pub(super) const NO_PROBE: &str = "there is no probe";
/// For a way that takes too long.
pub(super) const SLOW: &str = "does whoever is asked there answer others faster?";
/// For a probe that does not answer as HTTP.
pub(super) const PROBE: &str = "is probe a request path that answers GET requests?";
/// For a validation URL that does not answer as HTTP.
pub(super) const VALIDATION: &str = "is validation_url an https URL that answers GET requests?";

const TOKEN_URL: &str = "is token_url the token endpoint itself, and not a page beside it?";

/// Where a dial was to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The connector's resource domain, or a URL on it.
    ResourceDomain,
    /// Its authorization server.
    TokenEndpoint,
}

/// What to look at where nobody was reached.
pub(super) fn dial(error: &DialError, place: Place) -> &'static str {
    if let DialError::AddressRefused { .. } = error {
        return match place {
            Place::ResourceDomain => {
                "if it is meant to be there, list its range under trust.allow_addresses"
            }
            Place::TokenEndpoint => {
                "if it is meant to be there, list its range under trust.token_endpoint_allow_addresses"
            }
        };
    }
    if let DialError::Tls { source, .. } = error {
        return handshake(Fault::of(source));
    }
    match error.leg() {
        Leg::Resolve => "is the name right, and does this machine resolve it?",
        Leg::Connect => "does anything listen there, and may this machine connect to it?",
        Leg::Tls => SLOW,
    }
}

/// What to look at where no handshake came about.
fn handshake(fault: Fault) -> &'static str {
    match fault {
        Fault::Certificate => {
            "does its certificate carry this name, is it valid today, and is its CA known to the system, trust.ca_bundles or the connector's ca_bundle?"
        }
        Fault::Revocation => {
            "the connector's crl revokes its certificate or a CA's above it, is overdue, or was not signed by its CA: is there a newer list?"
        }
        Fault::Alert => {
            "does it demand a client certificate, accept this connector's, and speak TLS 1.2 or 1.3?"
        }
        Fault::Protocol => "does it speak TLS on this port, 1.2 or 1.3?",
    }
}

/// What to look at where there is no token.
pub(super) fn token(error: &TokenError) -> &'static str {
    match error {
        TokenError::Dial(error) => dial(error, Place::TokenEndpoint),
        TokenError::Rejected(rejection) => rejected(rejection),
        TokenError::Redirected { .. } => {
            "token_url must be the token endpoint itself; redirects are not followed"
        }
        TokenError::TimedOut { .. } | TokenError::StillFetching { .. } => {
            "does the authorization server answer others faster, or is tokens.fetch too short?"
        }
        TokenError::Broken(_) => {
            "is token_url the token endpoint, and does it accept this connector's client certificate?"
        }
        TokenError::NotHttp(_)
        | TokenError::UnexpectedStatus { .. }
        | TokenError::Encoded
        | TokenError::TooLong { .. }
        | TokenError::TooDeep { .. }
        | TokenError::Empty
        | TokenError::NotATokenResponse { .. } => TOKEN_URL,
        TokenError::ForeignTokenType | TokenError::IllegalToken => {
            "only bearer tokens can be carried (RFC 6750)"
        }
        TokenError::Identity(_) | TokenError::Assertion(_) => {
            "check client_certificate and assertion"
        }
        TokenError::ReservedParameter { .. }
        | TokenError::ReservedField { .. }
        | TokenError::Unwritable => "check token_parameters and token_headers",
        TokenError::Abandoned => "run this check again",
    }
}

/// The codes of RFC 6749 §5.2.
fn rejected(rejection: &Rejection) -> &'static str {
    match rejection.code() {
        Some("invalid_client") => {
            "check client_id, client_authentication and what it proves the client with"
        }
        Some("invalid_grant") => "check username and password",
        Some("invalid_scope") => "check scope",
        Some("unauthorized_client" | "unsupported_grant_type") => {
            "the authorization server does not allow this client this grant"
        }
        Some(_) | None => "the authorization server's own log says more",
    }
}

/// What to look at where the validation URL refused.
pub(super) fn validation_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "check username and password",
        StatusCode::FORBIDDEN => "check username and password, and whether they may call this URL",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => VALIDATION,
        _ => "the resource domain's own log says more",
    }
}

/// What to look at where the probe was refused.
pub(super) fn probe_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "the credential was not accepted",
        StatusCode::FORBIDDEN => "the credential was not accepted, or may not call this path",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => PROBE,
        _ => "the resource domain's own log says more",
    }
}
