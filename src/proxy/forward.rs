//! The request goes out: a connection is lent, the request sent, its answer's head awaited.
//!
//! # Invariants
//!
//! Nothing is sent without a [`Permit`]. A request is sent a second time only if not a byte of it
//! was handed to a connection the first time (RFC 9110 §9.2.2).

use std::sync::Arc;

use http::uri::{Parts, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::authorize::Permit;
use super::error::Refusal;
use super::lease::Lease;
use super::outbound::{Outbound, Upload, UploadState};
use super::pool::{self, CheckoutError};
use super::rewrite;
use super::upgrade;
use super::worker::Worker;
use crate::connector::Upstream;
use crate::dial::Protocol;
use crate::directory::Entry;

/// How often a request that never left is handed to another connection.
const UNSENT_RETRIES_MAX: u32 = 3;

/// An answer's head, with the connection its body comes over.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// Sends `request` to the origin that `permit` names and awaits its answer's head.
pub(crate) async fn forward(
    worker: &Arc<Worker>,
    permit: &Permit,
    mut request: Request<Outbound>,
) -> Result<Answer, Refusal> {
    let entry = permit.entry();
    let upload = request.body().upload().cloned();
    // An upgrade's body would be read twice: as the request's, and as the other protocol's.
    let upgrade = permit.upgrade().filter(|_| request.body().is_end_stream());
    let mut retries = 0;
    loop {
        let lease = match upgrade {
            None => pool::checkout(worker, entry).await,
            Some(_) => Box::pin(pool::checkout_alone(worker, entry)).await,
        };
        let mut lease = lease.map_err(|error| not_connected(error, entry))?;
        address(&mut request, entry, lease.protocol())?;
        if let Some(protocol) = upgrade {
            upgrade::say(request.headers_mut(), protocol)?;
        }
        let limits = &entry.connector.upstream;
        let read_before = lease.bytes_read();
        let sent = send(&mut lease, request, upload.as_deref(), limits).await;
        let sent = sent.map_err(|silent| {
            lease.distrust();
            blame(upload.as_deref(), silent)
        });
        let mut failure = match sent? {
            Ok(response) if upgrade::is_unasked(&response, upgrade) => {
                return Err(Refusal::UnaskedUpgrade);
            }
            Ok(response) => return Ok(Answer { response, lease }),
            Err(failure) => failure,
        };
        match failure.take_message() {
            Some(unsent) if retries < UNSENT_RETRIES_MAX => {
                retries += 1;
                request = unsent;
            }
            Some(_) | None if lease.was_overdue() => {
                let stalled = Refusal::OriginStalled(limits.stall_timeout);
                return Err(blame(upload.as_deref(), stalled));
            }
            Some(_) | None => {
                let answered = lease.bytes_read() != read_before;
                return Err(failed(failure.into_error(), answered, upload.as_deref()));
            }
        }
    }
}

/// Sends a request and awaits its answer's head. While the body is on its way only the origin's
/// pauses in taking it are limited; the wait for the head begins when all of it is out.
async fn send(
    lease: &mut Lease,
    request: Request<Outbound>,
    upload: Option<&Upload>,
    limits: &Upstream,
) -> Result<Result<Response<Incoming>, TrySendError<Request<Outbound>>>, Refusal> {
    let sending = lease.send(request);
    tokio::pin!(sending);
    while let Some(upload) = upload {
        let taken_before = upload.bytes();
        let sent_or_over = async {
            tokio::select! {
                biased;
                sent = &mut sending => Some(sent),
                () = upload.over() => None,
            }
        };
        match tokio::time::timeout(limits.stall_timeout, sent_or_over).await {
            Ok(Some(sent)) => return Ok(sent),
            Ok(None) => break,
            // The flow's own pauses have a limit of their own.
            Err(_) if upload.awaits_flow() || upload.bytes() != taken_before => {}
            Err(_) => return Err(Refusal::OriginStalled(limits.stall_timeout)),
        }
    }
    let limit = limits.response_head_timeout;
    let sent = tokio::time::timeout(limit, sending).await;
    sent.map_err(|_| Refusal::OriginSilent(limit))
}

fn not_connected(error: CheckoutError, entry: &Entry) -> Refusal {
    match error {
        CheckoutError::Dial(error) => Refusal::Unreachable(error),
        CheckoutError::NoneFree => {
            Refusal::NoConnectionFree(entry.connector.upstream.connections_max)
        }
    }
}

fn failed(error: hyper::Error, answered: bool, upload: Option<&Upload>) -> Refusal {
    let refusal = if error.is_parse() || error.is_parse_too_large() || answered {
        Refusal::OriginProtocol(error)
    } else {
        Refusal::Disconnected(error)
    };
    blame(upload, refusal)
}

/// Says whose fault a failed exchange was: the request's body's, if something is known of it.
fn blame(upload: Option<&Upload>, otherwise: Refusal) -> Refusal {
    match upload.map(Upload::state) {
        Some(UploadState::TooLarge(limit)) => Refusal::BodyGrewTooLarge(limit),
        Some(UploadState::Stalled(limit)) => Refusal::ClientTimeout(limit),
        Some(UploadState::Broken) => Refusal::BadBody,
        Some(UploadState::Arriving | UploadState::Whole) | None => otherwise,
    }
}

/// Addresses `request` the way `protocol` wants it: origin-form and `Host` (RFC 9112 §3.2.1), or
/// `:scheme` and `:authority` (RFC 9113 §8.3.1).
fn address(
    request: &mut Request<Outbound>,
    entry: &Entry,
    protocol: Protocol,
) -> Result<(), Refusal> {
    let mut parts = Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    match protocol {
        Protocol::Http11 => {
            *request.version_mut() = http::Version::HTTP_11;
            let host = entry.upstream.host.clone();
            request.headers_mut().insert(header::HOST, host);
            rewrite::say_te(request.headers_mut());
            frame(request);
        }
        Protocol::Http2 => {
            *request.version_mut() = http::Version::HTTP_2;
            // What a first, unsent try over HTTP/1.1 may have left.
            for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
            parts.scheme = Some(Scheme::HTTPS);
            parts.authority = Some(entry.upstream.authority.clone());
        }
    }
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|error| Refusal::Unbuildable(error.into()))?;
    Ok(())
}

/// Says how long the body is where hyper would not: it takes GET to have none, and says nothing of
/// an empty one, for which servers answer POST with 411 (RFC 9110 §8.6).
fn frame(request: &mut Request<Outbound>) {
    let expects_content = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    let length = request.body().size_hint().exact();
    let headers = request.headers_mut();
    match length {
        Some(0) if expects_content => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(_) => {}
        None => {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
    }
}
