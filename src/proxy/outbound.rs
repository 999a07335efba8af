//! A request's body on its way to the origin: counted, timed, its trailers filtered.
//!
//! # Invariants
//!
//! What both sides of an exchange need to know of the body is in its [`Upload`], which outlives it.
//! A body that ends early is an error to whoever sends it, and its reason is in the [`Upload`].

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::kept::{Again, Kept, Sending};
use super::meter::Meter;
use super::stall::Stall;
use super::trailers::Unfit;

/// How long the rest of a body may take once its client has shut its sending half down: all of it
/// has been read from the network by then, and is only to be handed over.
const ENDED_GRACE: Duration = Duration::from_secs(1);

/// The body of a request to an origin.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// There is none.
    Empty,
    /// The flow's, as it arrives.
    Streaming(Box<Streaming>),
    /// The same, while what was sent of it is kept to be sent again.
    Kept(Sending),
}

/// A flow's body on its way: counted, timed, its trailers filtered.
#[derive(Debug)]
pub(crate) struct Streaming {
    stall: Stall,
    /// Whether the client is known to send nothing more.
    ended: bool,
    unfit: Unfit,
    upload: Arc<Upload>,
}

/// What both sides of an exchange need to know of the request's body.
#[derive(Debug)]
pub(crate) struct Upload {
    /// As it arrives, until nobody wants the rest of it. Here, and not with whoever sends it: over
    /// HTTP/2, hyper does not look at a body while its stream's window is shut (RFC 9113 §5.2).
    body: Mutex<Option<Incoming>>,
    state: AtomicU8,
    bytes: AtomicU64,
    /// Bytes handed to an origin beside those that had just been received.
    repeated: AtomicU64,
    body_bytes_max: u64,
    stall_limit: Duration,
    /// Whether the flow has yet to send what was asked for.
    awaits_flow: AtomicBool,
    /// Told when nothing more of the body will come.
    over: Notify,
    /// Whether nobody wants the rest of it, and who is to learn that.
    abandoned: AtomicBool,
    reader: AtomicWaker,
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

impl UploadState {
    /// Whether the body ended early, which no other attempt would change.
    pub(crate) fn is_cut(self) -> bool {
        match self {
            Self::TooLarge(_) | Self::Stalled(_) | Self::Broken => true,
            Self::Arriving | Self::Whole => false,
        }
    }
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

    /// Bytes handed on so far, those of every attempt: equal before and after means that the origin
    /// took nothing.
    pub(crate) fn handed_on(&self) -> u64 {
        self.bytes() + self.repeated.load(Ordering::Relaxed)
    }

    /// `count` bytes, which it returns, were handed on that were received before.
    pub(super) fn repeat(&self, count: usize) -> u64 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.awaits_flow.store(false, Ordering::Relaxed);
        self.repeated.fetch_add(count, Ordering::Relaxed);
        count
    }

    /// Begins again, for another attempt; false if the body is known to be unfit for one.
    pub(super) fn begin_again(&self) -> bool {
        if self.state().is_cut() {
            return false;
        }
        self.state.store(ARRIVING, Ordering::Release);
        // What the last attempt may have been told and nobody heard.
        let _stale: Option<()> = self.over.notified().now_or_never();
        true
    }

    /// Wakes whoever reads the body for an attempt that has lost it.
    pub(super) fn begun_again(&self) {
        self.reader.wake();
    }

    /// All of the body was handed on, in this attempt.
    pub(super) fn whole(&self) {
        self.note(WHOLE);
    }

    /// Whether the flow has yet to send what was asked for.
    pub(crate) fn awaits_flow(&self) -> bool {
        self.awaits_flow.load(Ordering::Relaxed)
    }

    /// Returns when nothing more of the body will come.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    /// Nobody wants the rest any more: the answer is whole.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.reader.wake();
        let body = self.lock().take();
        // Its client's side of the connection looks at it no longer.
        drop(body);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        if state == WHOLE {
            self.meter.body_arrived();
        }
        self.over.notify_one();
    }
}

/// Why a request's body ended early. The reason is in its [`Upload`]; what hyper said of it lets an
/// HTTP/2 origin hear the flow's own reason (RFC 9113 §7), CANCEL for instance.
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(crate) struct BodyCut(#[source] Option<hyper::Error>);

impl BodyCut {
    /// What an attempt is told whose body another one has now.
    pub(super) fn superseded() -> Self {
        Self(None)
    }
}

impl Outbound {
    /// The body of a request that arrives on the connection of `meter`, less its `unfit` trailers.
    /// What is sent of it is kept, to be sent again, while it is no more than `kept_bytes_max`.
    pub(crate) fn new(
        (body, unfit): (Incoming, Unfit),
        body_bytes_max: u64,
        kept_bytes_max: u64,
        stall_limit: Duration,
        meter: &Arc<Meter>,
    ) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let keeps = kept_bytes_max > 0 && body.size_hint().lower() <= kept_bytes_max;
        let streaming = Streaming {
            stall: Stall::new(stall_limit),
            ended: false,
            unfit,
            upload: Arc::new(Upload {
                body: Mutex::new(Some(body)),
                state: AtomicU8::new(ARRIVING),
                bytes: AtomicU64::new(0),
                repeated: AtomicU64::new(0),
                body_bytes_max,
                stall_limit,
                awaits_flow: AtomicBool::new(false),
                over: Notify::new(),
                abandoned: AtomicBool::new(false),
                reader: AtomicWaker::new(),
                meter: Arc::clone(meter),
            }),
        };
        match keeps {
            true => Self::Kept(Kept::first(streaming, kept_bytes_max)),
            false => Self::Streaming(Box::new(streaming)),
        }
    }

    /// How the body can be sent again.
    pub(crate) fn again(&self) -> Again {
        match self {
            Self::Empty => Again::Empty,
            Self::Streaming(_) => Again::Never,
            Self::Kept(sending) => sending.again(),
        }
    }

    /// What is known of the body, if there is one.
    pub(crate) fn upload(&self) -> Option<&Arc<Upload>> {
        match self {
            Self::Empty => None,
            Self::Streaming(streaming) => Some(&streaming.upload),
            Self::Kept(sending) => Some(sending.upload()),
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
            Self::Kept(sending) => sending.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.is_end_stream(),
            Self::Kept(sending) => sending.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.size_hint(),
            Self::Kept(sending) => sending.size_hint(),
        }
    }
}

impl Streaming {
    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }

    /// Of a body that was abandoned, nobody may believe that it was whole.
    pub(super) fn is_end_stream(&self) -> bool {
        let body = self.upload.lock();
        body.as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let body = self.upload.lock();
        body.as_ref().map(Body::size_hint).unwrap_or_default()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let polled = match &mut *self.upload.lock() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => return Poll::Ready(Some(Err(BodyCut(None)))),
        };
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
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.upload.note(BROKEN);
                return Poll::Ready(Some(Err(BodyCut(Some(error)))));
            }
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
                Poll::Ready(Some(Ok(Frame::trailers(self.unfit.keep(trailers)))))
            }
        }
    }

    /// Whether the origin has been given all it was told to expect. An HTTP/2 client may say so
    /// only in a later, empty frame (RFC 9113 §8.1), for which nobody asks once the length is
    /// reached.
    pub(super) fn is_whole(&self) -> bool {
        self.is_end_stream() || self.size_hint().exact() == Some(0)
    }

    /// Nothing of the body is there: it is still coming, or stalls, or will never come.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        self.upload.reader.register(cx.waker());
        if self.upload.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err(BodyCut(None))));
        }
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
        Poll::Ready(Some(Err(BodyCut(None))))
    }
}
