//! The request goes out: a connection is lent, the request sent, its answer's head awaited.
//!
//! # Invariants
//!
//! Nothing is sent without a [`Permit`]. Here a request is handed to a second connection only if not
//! a byte of it was sent on the first (RFC 9110 §9.2.2); what else is known of one that got no
//! answer is its [`Standing`], which `errand` judges.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::uri::{Parts, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::ahead::Arriving;
use super::alarm::Alarm;
use super::authorize::Permit;
use super::error::Refusal;
use super::lease::Lease;
use super::outbound::{Outbound, Upload, UploadState};
use super::pool::{self, CheckoutError, Supply};
use super::rewrite;
use super::upgrade;
use super::worker::Worker;
use crate::connector::Upstream;
use crate::credential::Mask;
use crate::dial::{DialError, Protocol};
use crate::directory::Entry;
use crate::metrics::RetryCause;

/// How often a request that never left is handed to another connection.
pub(super) const UNSENT_RETRIES_MAX: u32 = 3;

/// An answer's head, with the connection its body comes over.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Arriving>,
    /// `None` once the connection was given back, all of the answer having been read.
    pub(crate) lease: Option<Lease>,
    /// What of it is to be masked: the credential that its request carried.
    pub(crate) mask: Option<Arc<Mask>>,
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) standing: Standing,
}

/// What is known of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The origin says that it did nothing with it (RFC 9113 §8.7).
    Untouched,
    /// A connection that had answered before ended under it without a byte of an answer: likely the
    /// origin closed it just when the request came (RFC 9112 §9.3.1).
    Orphaned,
    /// No connection came about, or a new one ended without a byte of an answer.
    Disconnected,
    /// Whatever it was, it may well happen again, or the origin has begun to answer.
    Final,
}

impl Failure {
    fn last(refusal: Refusal) -> Self {
        Self {
            refusal,
            standing: Standing::Final,
        }
    }
}

/// Sends `request` to the origin that `permit` names, over a connection out of `supply` as it is
/// `now`, and awaits its answer's head.
pub(crate) async fn forward(
    worker: &Arc<Worker>,
    permit: &Permit,
    (supply, now): (Supply, Duration),
    mut request: Request<Outbound>,
) -> Result<Answer, Failure> {
    let entry = permit.entry();
    let upload = request.body().upload().cloned();
    // An upgrade's body would be read twice: as the request's, and as the other protocol's.
    let upgrade = permit.upgrade().filter(|_| request.body().is_end_stream());
    let mut retries = 0;
    loop {
        let lease = match (upgrade, supply) {
            (None, Supply::Any) => pool::checkout(worker, entry, now).await,
            (None, Supply::New) => Box::pin(pool::checkout_new(worker, entry)).await,
            (Some(_), _) => Box::pin(pool::checkout_alone(worker, entry)).await,
        };
        let mut lease = lease.map_err(|error| not_connected(error, entry))?;
        address(&mut request, entry, lease.protocol()).map_err(Failure::last)?;
        if let Some(protocol) = upgrade {
            upgrade::say(request.headers_mut(), protocol).map_err(Failure::last)?;
        }
        let limits = &entry.connector.upstream;
        let read_before = lease.bytes_read();
        let mut alarm = lease.take_alarm(worker.index);
        let sent = send(&mut lease, &mut alarm, request, upload.as_deref(), limits).await;
        lease.give_alarm_back(alarm);
        let sent = sent.map_err(|silent| {
            lease.distrust();
            Failure::last(blame(upload.as_deref(), silent))
        });
        let mut failure = match sent? {
            Ok(response) if upgrade::is_unasked(&response, upgrade) => {
                return Err(Failure::last(Refusal::UnaskedUpgrade));
            }
            Ok(response) => {
                check_head(&response).map_err(Failure::last)?;
                return Ok(Answer {
                    response: response.map(Arriving::new),
                    lease: Some(lease),
                    mask: None,
                });
            }
            Err(failure) => failure,
        };
        match failure.take_message() {
            Some(unsent) if retries < UNSENT_RETRIES_MAX => {
                retries += 1;
                let series = &entry.state.series;
                series.retried(worker.index, RetryCause::Unsent);
                request = unsent;
            }
            Some(_) => return Err(Failure::last(Refusal::Unsent(failure.into_error()))),
            None if lease.was_overdue() => {
                let stalled = Refusal::OriginStalled(limits.stall_timeout);
                return Err(Failure::last(blame(upload.as_deref(), stalled)));
            }
            None => {
                let answered = lease.bytes_read() != read_before;
                let error = failure.into_error();
                return Err(failed(error, &lease, answered, upload.as_deref()));
            }
        }
    }
}

/// Sends a request and awaits its answer's head. While the body is on its way only the origin's
/// pauses in taking it are limited; the wait for the head begins when all of it is out.
async fn send(
    lease: &mut Lease,
    alarm: &mut Option<Alarm>,
    request: Request<Outbound>,
    upload: Option<&Upload>,
    limits: &Upstream,
) -> Result<Result<Response<Incoming>, TrySendError<Request<Outbound>>>, Refusal> {
    let sending = lease.send(request);
    tokio::pin!(sending);
    while let Some(upload) = upload {
        let taken_before = upload.handed_on();
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
            Err(_) if upload.awaits_flow() || upload.handed_on() != taken_before => {}
            Err(_) => return Err(Refusal::OriginStalled(limits.stall_timeout)),
        }
    }
    let limit = limits.response_head_timeout;
    let Some(alarm) = alarm else {
        let sent = tokio::time::timeout(limit, sending).await;
        return sent.map_err(|_| Refusal::OriginSilent(limit));
    };
    alarm.set(limit);
    poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Ready(sent) => Poll::Ready(Ok(sent)),
        Poll::Pending => alarm
            .poll_over(cx)
            .map(|()| Err(Refusal::OriginSilent(limit))),
    })
    .await
}

fn not_connected(error: CheckoutError, entry: &Entry) -> Failure {
    let error = match error {
        CheckoutError::Dial(error) => error,
        CheckoutError::NoneFree => {
            let connections_max = entry.connector.upstream.connections_max;
            return Failure::last(Refusal::NoConnectionFree(connections_max));
        }
    };
    let standing = match &error {
        DialError::Resolve { .. } | DialError::Connect { .. } | DialError::TimedOut { .. } => {
            Standing::Disconnected
        }
        DialError::AddressRefused { .. } | DialError::Tls { .. } => Standing::Final,
    };
    Failure {
        refusal: Refusal::Unreachable(error),
        standing,
    }
}

fn failed(error: hyper::Error, lease: &Lease, answered: bool, upload: Option<&Upload>) -> Failure {
    if upload.is_some_and(|upload| upload.state().is_cut()) {
        return Failure::last(blame(upload, Refusal::Disconnected(error)));
    }
    let of_stream = error.source().and_then(|source| source.downcast_ref());
    let ended = match of_stream {
        Some(error) if is_untouched(error) => Standing::Untouched,
        Some(_) => Standing::Final,
        None if error.is_parse() || error.is_parse_too_large() => Standing::Final,
        None if answered && lease.protocol() == Protocol::Http11 => Standing::Final,
        // Over HTTP/2, what was read was for other requests: an answer to this one would be here.
        None => Standing::Disconnected,
    };
    match ended {
        Standing::Untouched => Failure {
            refusal: Refusal::Unsent(error),
            standing: ended,
        },
        Standing::Disconnected | Standing::Orphaned => Failure {
            refusal: Refusal::Disconnected(error),
            standing: match lease.has_answered() {
                true => Standing::Orphaned,
                false => Standing::Disconnected,
            },
        },
        Standing::Final => Failure::last(Refusal::OriginProtocol(error)),
    }
}

/// Whether the origin says that it did nothing with a request (RFC 9113 §8.7): it refused the
/// stream, or went away and named a stream before this one as its last. Of a connection that went
/// away, h2 ends only the streams behind that one with the origin's GOAWAY.
fn is_untouched(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// Refuses an answer with a name that is none (RFC 9113 §8.2.1), one whose length can be read in two
/// ways, and one whose content is hidden in a transfer coding that nobody asked for (RFC 9112 §6.1,
/// §6.3). `identity`, which once was one, says nothing: such an answer ends with its connection.
fn check_head(response: &Response<Incoming>) -> Result<(), Refusal> {
    let headers = response.headers();
    let is_http2 = response.version() == http::Version::HTTP_2;
    if is_http2 && headers.keys().any(rewrite::is_quoted) {
        return Err(Refusal::OriginHead("a field's name holds a quotation mark"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let is_number = |length: &HeaderValue| {
        !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
    };
    if lengths.next().is_some() || !length.is_none_or(is_number) {
        return Err(Refusal::OriginHead("its length is not one number"));
    }
    // Where a length was settled on, or there is no content, no coding had a say.
    if response.body().size_hint().exact().is_some() {
        return Ok(());
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next().map(HeaderValue::as_bytes) else {
        return Ok(());
    };
    if length.is_some() {
        return Err(Refusal::OriginHead("it has a length and a coding"));
    }
    let is_known =
        coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity");
    match is_known && codings.next().is_none() {
        true => Ok(()),
        false => Err(Refusal::OriginHead("its coding is not known")),
    }
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
    match protocol {
        Protocol::Http11 => {
            let host = entry.upstream.resource.origin().host_field().clone();
            request.headers_mut().insert(header::HOST, host);
            frame(request);
            // Only a first, unsent try over HTTP/2 leaves an absolute target.
            if request.uri().scheme().is_none() {
                return Ok(());
            }
            *request.version_mut() = http::Version::HTTP_11;
            rewrite::say_te(request.headers_mut());
        }
        Protocol::Http2 => {
            *request.version_mut() = http::Version::HTTP_2;
            // What a first, unsent try over HTTP/1.1 may have left.
            for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
        }
    }
    let mut parts = Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    if protocol == Protocol::Http2 {
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(entry.upstream.resource.origin().authority_part().clone());
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
