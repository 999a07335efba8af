//! The request goes out: a connection is lent, the request sent, its answer's head awaited.
//!
//! # Invariants
//!
//! Nothing is sent without a [`Permit`]. A request is sent a second time only if not a byte of it
//! was handed to a connection the first time (RFC 9110 §9.2.2).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Parts, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::sync::Notify;

use super::authorize::Permit;
use super::error::Refusal;
use super::io::Meter;
use super::lease::Lease;
use super::pool::{self, CheckoutError};
use super::rewrite;
use super::stall::Stall;
use super::worker::Worker;
use crate::connector::Upstream;
use crate::dial::Protocol;
use crate::directory::Entry;

/// How long the rest of a body may take once its client has shut its sending half down: all of it
/// has been read from the network by then, and is only to be handed over.
const ENDED_GRACE: Duration = Duration::from_secs(1);
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
    let mut retries = 0;
    loop {
        let mut lease = pool::checkout(worker, entry)
            .await
            .map_err(|error| not_connected(error, entry))?;
        address(&mut request, entry, lease.protocol())?;
        let limits = &entry.connector.upstream;
        let read_before = lease.bytes_read();
        let sent = send(&mut lease, request, upload.as_deref(), limits).await;
        let sent = sent.map_err(|silent| {
            lease.distrust();
            blame(upload.as_deref(), silent)
        });
        let mut failure = match sent? {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
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
                () = upload.over.notified() => None,
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

/// The body of a request to an origin.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// There is none.
    Empty,
    /// The flow's, as it arrives.
    Streaming(Box<Streaming>),
}

/// A flow's body on its way: counted, timed, its trailers filtered.
#[derive(Debug)]
pub(crate) struct Streaming {
    body: Incoming,
    stall: Stall,
    /// Whether the client is known to send nothing more.
    ended: bool,
    upload: Arc<Upload>,
}

/// What both sides of an exchange need to know of the request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    state: AtomicU8,
    bytes: AtomicU64,
    body_bytes_max: u64,
    stall_limit: Duration,
    /// Whether the flow has yet to send what was asked for.
    awaits_flow: AtomicBool,
    /// Told when nothing more of the body will come.
    over: Notify,
    meter: Arc<Meter>,
}

/// How far a request's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadState {
    /// It is on its way.
    Arriving,
    /// All of it was handed on.
    Whole,
    /// It is over the limit, in bytes.
    TooLarge(u64),
    /// The client paused for longer than this.
    Stalled(Duration),
    /// It broke off, or its framing is malformed.
    Broken,
}

const ARRIVING: u8 = 0;
const WHOLE: u8 = 1;
const TOO_LARGE: u8 = 2;
const STALLED: u8 = 3;
const BROKEN: u8 = 4;

impl Upload {
    /// How far the body has come.
    pub(crate) fn state(&self) -> UploadState {
        match self.state.load(Ordering::Acquire) {
            WHOLE => UploadState::Whole,
            TOO_LARGE => UploadState::TooLarge(self.body_bytes_max),
            STALLED => UploadState::Stalled(self.stall_limit),
            BROKEN => UploadState::Broken,
            _arriving => UploadState::Arriving,
        }
    }

    /// Bytes received so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn awaits_flow(&self) -> bool {
        self.awaits_flow.load(Ordering::Relaxed)
    }

    fn note(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.over.notify_one();
    }
}

/// Why a request's body ended early. The reason is in its [`Upload`].
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(crate) struct BodyCut;

impl Outbound {
    /// The body of a request that arrives on the connection of `meter`.
    pub(crate) fn new(
        body: Incoming,
        body_bytes_max: u64,
        stall_limit: Duration,
        meter: &Arc<Meter>,
    ) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        Self::Streaming(Box::new(Streaming {
            body,
            stall: Stall::new(stall_limit),
            ended: false,
            upload: Arc::new(Upload {
                state: AtomicU8::new(ARRIVING),
                bytes: AtomicU64::new(0),
                body_bytes_max,
                stall_limit,
                awaits_flow: AtomicBool::new(false),
                over: Notify::new(),
                meter: Arc::clone(meter),
            }),
        }))
    }

    /// What is known of the body, if there is one.
    pub(crate) fn upload(&self) -> Option<&Arc<Upload>> {
        match self {
            Self::Empty => None,
            Self::Streaming(streaming) => Some(&streaming.upload),
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => streaming.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.body.size_hint(),
        }
    }
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let awaits_flow = &self.upload.awaits_flow;
        awaits_flow.store(polled.is_pending(), Ordering::Relaxed);
        let Poll::Ready(frame) = polled else {
            return self.poll_pause(cx);
        };
        self.stall.moved();
        let Some(frame) = frame else {
            self.upload.note(WHOLE);
            return Poll::Ready(None);
        };
        let Ok(frame) = frame else {
            return self.cut(BROKEN);
        };
        match frame.into_data() {
            Ok(data) => {
                let count = u64::try_from(data.len()).unwrap_or(u64::MAX);
                let before = self.upload.bytes.fetch_add(count, Ordering::Relaxed);
                if before.saturating_add(count) > self.upload.body_bytes_max {
                    return self.cut(TOO_LARGE);
                }
                if self.is_whole() {
                    self.upload.note(WHOLE);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                self.upload.note(WHOLE);
                let trailers = frame.into_trailers().unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::trailers(keep_trailers(trailers)))))
            }
        }
    }

    /// Whether the origin has been given all it was told to expect. An HTTP/2 client may say so
    /// only in a later, empty frame (RFC 9113 §8.1), for which nobody asks once the length is
    /// reached.
    fn is_whole(&self) -> bool {
        self.body.is_end_stream() || self.body.size_hint().exact() == Some(0)
    }

    /// Nothing of the body is there: it is still coming, or stalls, or will never come.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        if !self.upload.meter.has_ended(cx) {
            ready!(self.stall.poll_over(cx));
            return self.cut(STALLED);
        }
        if !self.ended {
            self.ended = true;
            self.stall.moved();
        }
        ready!(self.stall.poll_over_within(ENDED_GRACE, cx));
        self.cut(BROKEN)
    }

    fn cut(&self, state: u8) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        self.upload.note(state);
        Poll::Ready(Some(Err(BodyCut)))
    }
}

/// Trailers that may travel: none that frames, routes or authenticates (RFC 9110 §6.5.1).
pub(crate) fn keep_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let named = rewrite::connection_options(&trailers);
    let refused: Vec<_> = trailers
        .keys()
        .filter(|name| rewrite::is_unfit_for_trailer(name) || named.contains(name))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
    trailers
}
