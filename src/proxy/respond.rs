//! What the flow receives: the origin's answer, or the gateway's own words.
//!
//! # Invariants
//!
//! An origin's status passes through unchanged, and so do its fields but for what one connection
//! alone is concerned with, session cookies, a `Location` that leads back to the origin, and the
//! credential that the request carried.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, response};
use http_body::Body;
use serde::Serialize;

use super::authorize::Permit;
use super::error::{Reason, Refusal, Row};
use super::fields::{Field, Fields};
use super::forward::Answer;
use super::location::relocate;
use super::observe::Observation;
use super::outbound::Upload;
use super::relay::{FromOrigin, Relay};
use super::rewrite;
use super::scrub::Scrubbed;
use super::stall::{Stall, Taking};
use super::trailers::Unfit;
use crate::connector::{Connector, Cookies};
use crate::credential::Mask;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

const CARRIED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// RFC 6750 §3.
const KEY_CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"attache\"");
const CERTIFICATE_CHALLENGE: HeaderValue = HeaderValue::from_static("Client-Certificate");

/// An answer, and what it takes to relay it.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) answer: Answer,
    pub(crate) upload: Option<Arc<Upload>>,
    pub(crate) permit: Permit,
}

impl Carried {
    /// Whether both sides leave HTTP: `forward` lets no 101 pass that was not asked for.
    pub(crate) fn switches(&self) -> bool {
        self.answer.response.status() == StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Passes an origin's answer on.
pub(crate) fn relay(
    carried: Carried,
    taking: Option<Taking>,
    observation: Box<Observation>,
) -> Response<Relay> {
    let Carried {
        answer: Answer {
            response,
            lease,
            mask,
        },
        upload,
        permit,
    } = carried;
    let (mut head, body) = response.into_parts();
    let (body, unfit) = pass_on(&mut head, body, mask, &permit, &observation);
    let connector = &permit.entry().connector;
    let source = FromOrigin {
        body,
        unfit,
        lease,
        upload,
        stall: Stall::new(connector.upstream.stall_timeout),
        taking,
        bytes_left: connector.bulkhead.response_body_bytes_max,
    };
    Response::from_parts(head, Relay::of_origin(source, observation))
}

/// Makes an origin's answer fit to be seen by the flow, but for its trailers.
pub(super) fn pass_on<B: Body<Data = Bytes> + Unpin>(
    head: &mut response::Parts,
    body: B,
    mask: Option<Arc<Mask>>,
    permit: &Permit,
    observation: &Observation,
) -> (Scrubbed<B>, Unfit) {
    let connector = &permit.entry().connector;
    let fields = Fields::of(&head.headers);
    let named = clean(&mut head.headers, fields, connector);
    if fields.has(Field::Location) {
        relocate(&mut head.headers, permit);
    }
    let mut body = Scrubbed::new(&mut head.headers, body, mask, connector.scrub);
    observation.masked(body.take_masked());
    head.version = http::Version::default();
    head.extensions.clear();
    (body, Unfit::in_answer(named))
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1) and session cookies, which are
/// credentials, unless they are to travel. Returns the fields that `Connection` names.
fn clean(headers: &mut HeaderMap, fields: Fields, connector: &Connector) -> Vec<HeaderName> {
    let connection = fields.has(Field::Connection);
    let named = connection.then(|| rewrite::connection_options(headers));
    let named = named.unwrap_or_default();
    for name in &named {
        headers.remove(name);
    }
    for (field, name) in rewrite::HOP_BY_HOP {
        if fields.has(field) {
            headers.remove(name);
        }
    }
    if fields.has(Field::SetCookie) && connector.cookies == Cookies::Drop {
        headers.remove(header::SET_COOKIE);
    }
    named
}

/// Answers OPTIONS in the origin's place (RFC 9110 §7.6.2, §9.3.7).
pub(crate) fn last_hop(mut observation: Box<Observation>) -> Response<Relay> {
    observation.answered(StatusCode::NO_CONTENT);
    let mut response = Response::new(Relay::own(None, observation));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::ALLOW, CARRIED_METHODS);
    response
}

/// A problem document (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<&'a str>,
    request_id: &'a str,
    /// Whether the origin may have seen the request, for flows that think of repeating it.
    may_have_reached_origin: bool,
}

/// The text of a problem document (RFC 9457 §3).
pub(crate) fn problem_text(
    row: &Row,
    detail: &str,
    connector: Option<&str>,
    request_id: &str,
    may_have_reached_origin: bool,
) -> Vec<u8> {
    let problem = Problem {
        r#type: format!("urn:attache:problem:{}", row.name),
        title: row.status.canonical_reason().unwrap_or("Refused"),
        status: row.status.as_u16(),
        detail,
        connector,
        request_id,
        may_have_reached_origin,
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// RFC 9110 §15.5.2 wants one. Certificates have no registered scheme (§11.6.1).
fn challenge(refusal: &Refusal) -> HeaderValue {
    match matches!(refusal, Refusal::KeyUnknown) {
        true => KEY_CHALLENGE,
        false => CERTIFICATE_CHALLENGE,
    }
}

/// Says why a request was not carried.
pub(crate) fn refuse(refusal: &Refusal, observation: Box<Observation>) -> Response<Relay> {
    let row = refusal.reason().row();
    let text = problem_text(
        row,
        refusal.detail(),
        observation.connector(),
        observation.request_id(),
        observation.may_have_reached_origin(refusal),
    );
    // RFC 9110 §9.3.2: HEAD is answered without content. hyper sees to that over HTTP/1.1 alone.
    let is_head = observation.method() == Method::HEAD;
    let length = HeaderValue::from(text.len());
    let text = (!is_head).then(|| Bytes::from(text));
    let mut response = Response::new(Relay::own(text, observation));
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    if is_head {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let status = format!("attache; error={}", refusal.proxy_status());
    if let Ok(status) = HeaderValue::try_from(status) {
        headers.insert(PROXY_STATUS, status);
    }
    let reason = refusal.reason();
    if reason == Reason::Method {
        // RFC 9110 §15.5.6 wants the methods named.
        headers.insert(header::ALLOW, CARRIED_METHODS);
    }
    if reason == Reason::CallerUnknown {
        headers.insert(header::WWW_AUTHENTICATE, challenge(refusal));
    }
    if let Some(after) = refusal.retry_after() {
        // RFC 9110 §10.2.3 knows whole seconds.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}
