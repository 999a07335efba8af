//! What the flow receives: the origin's answer, or the gateway's own words.
//!
//! # Invariants
//!
//! An origin's status and body pass through unchanged. [`Relay`] owns everything an exchange holds
//! (the connection, the place in flight, the observation); dropping it settles all of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serde::Serialize;
use url::{Position, Url};

use super::authorize::Permit;
use super::error::{Reason, Refusal, Row};
use super::forward::{Answer, Upload, UploadState, keep_trailers};
use super::lease::Lease;
use super::observe::Observation;
use super::resolve::{self, Addressed};
use super::rewrite;
use super::stall::{Stall, Taking};
use crate::connector::{Connector, Cookies};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

const CARRIED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
const CERTIFICATE_CHALLENGE: HeaderValue = HeaderValue::from_static("Client-Certificate");

/// The body of every answer.
#[derive(Debug)]
pub(crate) struct Relay {
    source: Source,
    observation: Observation,
}

#[derive(Debug)]
enum Source {
    /// The gateway's own words.
    Problem(Option<Bytes>),
    /// The origin's, as they arrive.
    Origin(Box<FromOrigin>),
}

#[derive(Debug)]
struct FromOrigin {
    body: Incoming,
    /// The connection, until the answer is whole.
    lease: Option<Lease>,
    upload: Option<Arc<Upload>>,
    stall: Stall,
    /// On HTTP/2 connections, whether the client takes what it is given.
    taking: Option<Taking>,
}

/// An answer, and what it takes to relay it.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) answer: Answer,
    pub(crate) upload: Option<Arc<Upload>>,
    pub(crate) permit: Permit,
}

/// Why an answer broke off; the client sees its connection or stream end early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The origin's answer broke off or is malformed.
    #[error("the origin's answer broke off")]
    Origin(#[source] hyper::Error),
    /// The origin paused for too long.
    #[error("the origin's answer stalled")]
    Stalled,
}

/// Passes an origin's answer on.
pub(crate) fn relay(
    carried: Carried,
    taking: Option<Taking>,
    observation: Observation,
) -> Response<Relay> {
    let Carried {
        answer: Answer { response, lease },
        upload,
        permit,
    } = carried;
    let connector = &permit.entry().connector;
    let (mut head, body) = response.into_parts();
    clean(&mut head.headers, connector);
    relocate(&mut head.headers, &permit);
    head.version = http::Version::default();
    head.extensions.clear();
    let source = FromOrigin {
        body,
        lease: Some(lease),
        upload,
        stall: Stall::new(connector.upstream.stall_timeout),
        taking,
    };
    let relay = Relay {
        source: Source::Origin(Box::new(source)),
        observation,
    };
    Response::from_parts(head, relay)
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1) and session cookies, which are
/// credentials, unless they are to travel.
fn clean(headers: &mut HeaderMap, connector: &Connector) {
    if headers.contains_key(header::CONNECTION) {
        for name in rewrite::connection_options(headers) {
            headers.remove(name);
        }
    }
    let hop_by_hop: Vec<_> = headers
        .keys()
        .filter(|name| rewrite::is_hop_by_hop(name))
        .cloned()
        .collect();
    for name in hop_by_hop {
        headers.remove(name);
    }
    if connector.cookies == Cookies::Drop {
        headers.remove(header::SET_COOKIE);
    }
}

/// Rewrites a `Location` on the connector's own origin, behind its base path, to the gateway's
/// address. Others pass untouched and are never followed, but for one that a client would resolve
/// against the gateway's address (RFC 9110 §10.2.2) and take for another connector's: that one is
/// written out with its origin.
fn relocate(headers: &mut HeaderMap, permit: &Permit) {
    let location = headers.get(header::LOCATION);
    let Some(text) = location.and_then(|location| location.to_str().ok()) else {
        return;
    };
    let rewritten = on_origin(text, permit)
        .and_then(|path| gateway_address(path, permit))
        .or_else(|| written_out(text, permit));
    if let Some(Ok(rewritten)) = rewritten.map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, rewritten);
    }
}

/// What of `location` stands behind the connector's own origin, if it is written with all of it or
/// with nothing but a path.
fn on_origin<'a>(location: &'a str, permit: &Permit) -> Option<&'a str> {
    let authority = permit.entry().upstream.resource.origin().authority();
    let path_alone =
        || Some(location).filter(|text| text.starts_with('/') && !text.starts_with("//"));
    location
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_prefix(authority))
        .filter(|path| path.is_empty() || path.starts_with(['/', '?']))
        .or_else(path_alone)
}

/// The gateway's address of what is `path` on the origin. Nothing outside the base path has one,
/// and nothing that dot segments could lead outside of it.
fn gateway_address(path: &str, permit: &Permit) -> Option<String> {
    let entry = permit.entry();
    let base = entry.upstream.resource.base_path().trim_end_matches('/');
    let rest = path.strip_prefix(base)?;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) || holds_dots(rest) {
        return None;
    }
    Some(match permit.addressed() {
        Addressed::ByPath => format!("/{}{rest}", entry.connector.id),
        Addressed::ByField if rest.starts_with('/') => rest.to_owned(),
        Addressed::ByField => format!("/{rest}"),
    })
}

/// A relative `location` as the origin means it, where the gateway's address would make something
/// else of it.
fn written_out(location: &str, permit: &Permit) -> Option<String> {
    let resource = &permit.entry().upstream.resource;
    let path = path_of(location);
    let absolute = location.starts_with("//") || path.split('/').next()?.contains(':');
    // Behind `/{connector-id}` alone, the next name would stand in the connector's place.
    let at_base = permit.target().path() == resource.base_path() && !path.is_empty();
    if absolute || !(path.starts_with('/') || at_base || holds_dots(path)) {
        return None;
    }
    let asked = format!("{}{}", resource.origin(), permit.target());
    let meant = Url::parse(&asked).ok()?.join(location).ok()?;
    gateway_address(&meant[Position::BeforePath..], permit).or_else(|| Some(meant.into()))
}

fn holds_dots(reference: &str) -> bool {
    resolve::check_path(path_of(reference)).is_err()
}

fn path_of(reference: &str) -> &str {
    reference.split(['?', '#']).next().unwrap_or_default()
}

/// Answers OPTIONS in the origin's place (RFC 9110 §7.6.2, §9.3.7).
pub(crate) fn last_hop(mut observation: Observation) -> Response<Relay> {
    observation.answered(StatusCode::NO_CONTENT);
    let mut response = Response::new(Relay {
        source: Source::Problem(None),
        observation,
    });
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

/// Says why a request was not carried.
pub(crate) fn refuse(refusal: &Refusal, observation: Observation) -> Response<Relay> {
    let row = refusal.reason().row();
    let text = problem_text(
        row,
        refusal.detail(),
        observation.connector(),
        observation.request_id(),
        refusal.may_have_reached_origin(),
    );
    let mut response = Response::new(Relay {
        source: Source::Problem(Some(Bytes::from(text))),
        observation,
    });
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
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
        // RFC 9110 §15.5.2 wants a challenge; certificates have no registered scheme (§11.6.1).
        headers.insert(header::WWW_AUTHENTICATE, CERTIFICATE_CHALLENGE);
    }
    if let Some(after) = refusal.retry_after() {
        // RFC 9110 §10.2.3 knows whole seconds.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Problem(text) => text.take().map(|text| Ok(Frame::data(text))),
            Source::Origin(origin) => ready!(origin.poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.observation.sent(data.len());
                }
            }
            Some(Err(error)) => this.observation.broke_off(error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Problem(text) => text.is_none(),
            Source::Origin(origin) => origin.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Problem(text) => {
                let bytes = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
            Source::Origin(origin) => origin.body.size_hint(),
        }
    }
}

impl FromOrigin {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(taking) = &self.taking {
            taking.taken();
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.stall.poll_over(cx));
            return Poll::Ready(Some(Err(Broken::Stalled)));
        };
        self.stall.moved();
        Poll::Ready(match frame {
            None => {
                self.release();
                None
            }
            Some(Err(error)) => Some(Err(Broken::Origin(error))),
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => {
                    if let Some(taking) = &self.taking {
                        taking.offered();
                    }
                    if self.body.is_end_stream() {
                        self.release();
                    }
                    Frame::data(data)
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Frame::trailers(keep_trailers(trailers))
                }
            })),
        })
    }

    /// Gives the connection back once the answer is whole. One whose request is not whole yet
    /// is closed instead: the rest of it must not reach the origin as something else.
    fn release(&mut self) {
        let whole = self
            .upload
            .as_ref()
            .is_none_or(|upload| upload.state() == UploadState::Whole);
        if let Some(lease) = self.lease.take() {
            if whole {
                lease.finish();
            } else {
                drop(lease);
            }
        }
    }
}

impl Drop for FromOrigin {
    fn drop(&mut self) {
        // An answer without a body is never polled.
        if self.body.is_end_stream() {
            self.release();
        }
    }
}
