//! The demonstration's authorization server: one token endpoint that demands of each client its
//! own way of proving itself.
//!
//! # Invariants
//!
//! A client gets a token by its registered client authentication and grant and by no other
//! (RFC 6749 §3.2.1). Every request to the endpoint is counted, the refused ones too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use url::form_urlencoded;

use super::pki::{CLIENT_COMMON_NAME, thumbprint};
use super::server::{Answer, StandIn, empty, json};
use super::tokens::{Granted, LIFETIME, Tokens};
use crate::secret::Secret;

/// Where the token endpoint is.
pub(super) const TOKEN_PATH: &str = "/oauth/token";

/// The client of the client-secret connector.
pub(super) const SECRET_CLIENT: &str = "demo-client-secret";
/// The client of the certificate connector.
pub(super) const CERTIFICATE_CLIENT: &str = CLIENT_COMMON_NAME;
/// The client of the password connector.
pub(super) const PASSWORD_CLIENT: &str = "demo-password";
/// The resource owner of the password connector.
pub(super) const USERNAME: &str = "agent@demo.example";

/// What the clients registered here prove themselves with.
#[derive(Debug)]
pub(super) struct Registered {
    /// Of [`SECRET_CLIENT`].
    pub(super) client_secret: Secret,
    /// Of [`PASSWORD_CLIENT`].
    pub(super) password_client_secret: Secret,
    /// Of [`USERNAME`].
    pub(super) password: Secret,
}

/// The authorization server.
#[derive(Debug)]
pub(super) struct Authority {
    registered: Registered,
    tokens: Arc<Tokens>,
    token_requests: AtomicU64,
}

/// A refused token request: the `error` of RFC 6749 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
}

/// What a client's request says, each parameter once (RFC 6749 §3.2).
type Parameters = BTreeMap<String, Secret>;

impl Authority {
    pub(super) fn new(registered: Registered, tokens: Arc<Tokens>) -> Self {
        Self {
            registered,
            tokens,
            token_requests: AtomicU64::new(0),
        }
    }

    /// Requests to the token endpoint so far, good and bad.
    pub(super) fn token_requests(&self) -> u64 {
        self.token_requests.load(Ordering::Relaxed)
    }

    fn grant(
        &self,
        request: &Request<Bytes>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<Granted, Refused> {
        let parameters = parameters(request)?;
        let client_id = self.authenticate(request, &parameters, certificate)?;
        let grant_type = parameters
            .get("grant_type")
            .ok_or(Refused::InvalidRequest)?
            .expose();
        match (client_id, grant_type) {
            (PASSWORD_CLIENT, "password") => self.check_owner(&parameters)?,
            (PASSWORD_CLIENT, "client_credentials") | (_, "password") => {
                return Err(Refused::UnauthorizedClient);
            }
            (_, "client_credentials") => {}
            (_, _) => return Err(Refused::UnsupportedGrantType),
        }
        Ok(Granted {
            client_id,
            certificate_thumbprint: (client_id == CERTIFICATE_CLIENT)
                .then(|| certificate.map(|der| thumbprint(der)))
                .flatten(),
        })
    }

    /// The client, proven by its certificate (RFC 8705 §2.1: chain checked in the handshake,
    /// subject and `client_id` here) or by its secret in Basic (RFC 6749 §2.3.1).
    fn authenticate(
        &self,
        request: &Request<Bytes>,
        parameters: &Parameters,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<&'static str, Refused> {
        let stated = parameters.get("client_id").map(Secret::expose);
        match (basic(request), certificate) {
            (Some((id, secret)), _) => match id.as_str() {
                SECRET_CLIENT if secret == self.registered.client_secret => Ok(SECRET_CLIENT),
                PASSWORD_CLIENT if secret == self.registered.password_client_secret => {
                    Ok(PASSWORD_CLIENT)
                }
                _ => Err(Refused::InvalidClient),
            },
            (None, Some(der)) if stated == Some(CERTIFICATE_CLIENT) && is_the_clients(der) => {
                Ok(CERTIFICATE_CLIENT)
            }
            (None, _) => Err(Refused::InvalidClient),
        }
    }

    fn check_owner(&self, parameters: &Parameters) -> Result<(), Refused> {
        let given = |name| parameters.get(name).map(Secret::expose);
        match (given("username"), given("password")) {
            (Some(USERNAME), Some(password)) if password == self.registered.password.expose() => {
                Ok(())
            }
            (Some(_), Some(_)) => Err(Refused::InvalidGrant),
            (None, _) | (_, None) => Err(Refused::InvalidRequest),
        }
    }
}

impl StandIn for Authority {
    fn answer(&self, request: &Request<Bytes>, certificate: Option<&CertificateDer<'_>>) -> Answer {
        if request.uri().path() != TOKEN_PATH {
            return empty(StatusCode::NOT_FOUND);
        }
        self.token_requests.fetch_add(1, Ordering::Relaxed);
        if request.method() != Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let mut answer = match self.grant(request, certificate) {
            Ok(grant) => json(
                StatusCode::OK,
                &json!({
                    "access_token": self.tokens.issue(grant).expose(),
                    "token_type": "Bearer",
                    "expires_in": LIFETIME.as_secs(),
                }),
            ),
            Err(refused) => refused.answer(),
        };
        // RFC 6749 §5.1: an answer with a token in it must not be stored.
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

impl Refused {
    fn answer(self) -> Answer {
        let (status, error) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnauthorizedClient => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        };
        let mut answer = json(status, &json!({ "error": error }));
        if self == Self::InvalidClient {
            answer.headers_mut().insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"attache demo token endpoint\""),
            );
        }
        answer
    }
}

/// The form's parameters; one that comes twice is refused (RFC 6749 §3.2).
fn parameters(request: &Request<Bytes>) -> Result<Parameters, Refused> {
    let is_form = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if !is_form {
        return Err(Refused::InvalidRequest);
    }
    let mut parameters = Parameters::new();
    for (name, value) in form_urlencoded::parse(request.body()).into_owned() {
        if parameters.insert(name, Secret::new(value)).is_some() {
            return Err(Refused::InvalidRequest);
        }
    }
    Ok(parameters)
}

/// Both halves of `Authorization: Basic`, form-decoded (RFC 6749 §2.3.1).
fn basic(request: &Request<Bytes>) -> Option<(String, Secret)> {
    let (scheme, encoded) = request
        .headers()
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |half: &str| {
        percent_decode_str(&half.replace('+', " "))
            .decode_utf8()
            .ok()
            .map(|text| text.into_owned())
    };
    Some((plain(id)?, Secret::new(plain(secret)?)))
}

/// Whether the certificate's subject is the registered one (RFC 8705 §2.1.2).
fn is_the_clients(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| parsed.subject().to_string() == format!("CN={CLIENT_COMMON_NAME}"))
}

#[cfg(test)]
mod tests;
