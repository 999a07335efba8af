//! The demonstration's resource domain: a small piece of a CRM's REST API under four base paths,
//! each of which demands another credential.
//!
//! # Invariants
//!
//! Nothing but 401 is said without the base path's own credential. What a request carried is
//! echoed by names and values, but of a credential only its scheme.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::authority::{CERTIFICATE_CLIENT, PASSWORD_CLIENT, SECRET_CLIENT};
use super::pki::thumbprint;
use super::records;
use super::server::{Answer, StandIn, empty, json};
use super::tokens::Tokens;
use crate::secret::Secret;

/// The base path that demands Basic authentication.
pub(super) const BASIC_BASE: &str = "/basic";
/// The base path that demands a token of the client with a secret.
pub(super) const SECRET_BASE: &str = "/client-secret";
/// The base path that demands a token bound to the certificate in the handshake.
pub(super) const CERTIFICATE_BASE: &str = "/certificate";
/// The base path that demands a token of the password grant.
pub(super) const PASSWORD_BASE: &str = "/password";

/// The user of the base path with Basic authentication.
pub(super) const BASIC_USERNAME: &str = "demo-flow";

/// The resource domain.
#[derive(Debug)]
pub(super) struct Resource {
    basic_password: Secret,
    tokens: Arc<Tokens>,
}

/// What a base path demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Basic,
    TokenOf(&'static str),
    CertificateBoundTokenOf(&'static str),
}

/// How a credential falls short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortfall {
    Missing,
    Wrong,
}

impl Resource {
    pub(super) fn new(basic_password: Secret, tokens: Arc<Tokens>) -> Self {
        Self {
            basic_password,
            tokens,
        }
    }

    /// The demand of the base path that `path` is under, and what stands behind it.
    fn demand(path: &str) -> Option<(Demand, &str)> {
        [
            (BASIC_BASE, Demand::Basic),
            (SECRET_BASE, Demand::TokenOf(SECRET_CLIENT)),
            (
                CERTIFICATE_BASE,
                Demand::CertificateBoundTokenOf(CERTIFICATE_CLIENT),
            ),
            (PASSWORD_BASE, Demand::TokenOf(PASSWORD_CLIENT)),
        ]
        .into_iter()
        .find_map(|(base, demand)| {
            let rest = path.strip_prefix(base)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((demand, rest))
        })
    }

    fn check(
        &self,
        demand: Demand,
        request: &Request<Bytes>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<(), Shortfall> {
        let mut fields = request.headers().get_all(AUTHORIZATION).iter();
        let field = fields.next().ok_or(Shortfall::Missing)?;
        let (scheme, value) = field
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or(Shortfall::Wrong)?;
        let good = match demand {
            Demand::Basic => scheme.eq_ignore_ascii_case("basic") && value == self.expected_basic(),
            Demand::TokenOf(client) | Demand::CertificateBoundTokenOf(client) => {
                let granted = scheme
                    .eq_ignore_ascii_case("bearer")
                    .then(|| self.tokens.introspect(value))
                    .flatten()
                    .filter(|granted| granted.client_id == client)
                    .ok_or(Shortfall::Wrong)?;
                // RFC 8705 §3: the certificate shown here must be the one the token is bound to.
                let bound_to = granted.certificate_thumbprint;
                let shown = certificate.map(|der| thumbprint(der));
                match demand {
                    Demand::CertificateBoundTokenOf(_) => bound_to.is_some() && bound_to == shown,
                    Demand::Basic | Demand::TokenOf(_) => bound_to.is_none(),
                }
            }
        };
        // Two of them could be read in two ways (RFC 9110 §5.3).
        match good && fields.next().is_none() {
            true => Ok(()),
            false => Err(Shortfall::Wrong),
        }
    }

    fn expected_basic(&self) -> String {
        // RFC 7617 §2.
        STANDARD.encode(format!("{BASIC_USERNAME}:{}", self.basic_password.expose()))
    }
}

impl StandIn for Resource {
    fn answer(&self, request: &Request<Bytes>, certificate: Option<&CertificateDer<'_>>) -> Answer {
        let Some((demand, path)) = Self::demand(request.uri().path()) else {
            return not_found();
        };
        match self.check(demand, request, certificate) {
            Ok(()) => route(request, path, certificate),
            Err(shortfall) => challenge(demand, shortfall),
        }
    }
}

fn route(request: &Request<Bytes>, path: &str, certificate: Option<&CertificateDer<'_>>) -> Answer {
    if path == "/echo" || path.starts_with("/echo/") {
        return json(StatusCode::OK, &echo(request, certificate));
    }
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["services", "data", version, "query"]) => soql(request, version),
        (&Method::PATCH, ["services", "data", _, "sobjects", "Case", id])
            if records::is_case(id) =>
        {
            update(request.body())
        }
        (_, _) => not_found(),
    }
}

fn soql(request: &Request<Bytes>, version: &str) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let soql = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "q")
        .map(|(_, value)| value)
        .unwrap_or_default();
    match records::query(&soql, &format!("/services/data/{version}")) {
        Ok(found) => json(StatusCode::OK, &found),
        Err(bad) => failed(StatusCode::BAD_REQUEST, bad.code(), &bad.to_string()),
    }
}

fn update(body: &Bytes) -> Answer {
    match serde_json::from_slice::<serde_json::Map<String, Value>>(body) {
        Ok(_) => empty(StatusCode::NO_CONTENT),
        Err(_) => failed(
            StatusCode::BAD_REQUEST,
            "JSON_PARSER_ERROR",
            "the body is not a JSON object",
        ),
    }
}

/// What arrived, without the credential itself.
fn echo(request: &Request<Bytes>, certificate: Option<&CertificateDer<'_>>) -> Value {
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = match *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
                true => format!(
                    "{} (not shown)",
                    value.split(' ').next().unwrap_or_default()
                ),
                false if *name == COOKIE => "(not shown)".to_owned(),
                false => value.into_owned(),
            };
            json!([name.as_str(), shown])
        })
        .collect();
    json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "fields": fields,
        "body_bytes": request.body().len(),
        "client_certificate": certificate.is_some(),
    })
}

/// A 401 that names what is demanded (RFC 9110 §11.6.1).
fn challenge(demand: Demand, shortfall: Shortfall) -> Answer {
    let challenge = match (demand, shortfall) {
        (Demand::Basic, Shortfall::Missing | Shortfall::Wrong) => {
            "Basic realm=\"attache demo\", charset=\"UTF-8\""
        }
        // RFC 6750 §3.1: no error code where the request carried no credential at all.
        (Demand::TokenOf(_) | Demand::CertificateBoundTokenOf(_), Shortfall::Missing) => {
            "Bearer realm=\"attache demo\""
        }
        (Demand::TokenOf(_) | Demand::CertificateBoundTokenOf(_), Shortfall::Wrong) => {
            "Bearer realm=\"attache demo\", error=\"invalid_token\""
        }
    };
    let mut answer = failed(
        StatusCode::UNAUTHORIZED,
        "INVALID_SESSION_ID",
        "this base path demands a credential that the request does not carry",
    );
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

fn not_found() -> Answer {
    failed(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "The requested resource does not exist",
    )
}

/// An error in the shape of Salesforce's REST API: an array.
fn failed(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &json!([{ "message": message, "errorCode": code }]))
}

#[cfg(test)]
mod tests;
