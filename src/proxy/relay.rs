//! The body of what the flow receives, as it streams.
//!
//! # Invariants
//!
//! An origin's body passes through unchanged, but for a credential that is masked. [`Relay`] owns
//! everything an exchange holds (the connection, the place in flight, the observation); dropping it
//! settles all of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ahead::Arriving;
use super::lease::Lease;
use super::observe::Observation;
use super::outbound::{Upload, UploadState};
use super::scrub::Scrubbed;
use super::stall::{Stall, Taking};
use super::trailers::Unfit;

/// The body of every answer.
#[derive(Debug)]
pub(crate) struct Relay {
    source: Source,
    /// Of a request that both sides left HTTP with, the tunnel has it.
    observation: Option<Box<Observation>>,
}

#[derive(Debug)]
enum Source {
    /// The gateway's own words.
    Problem(Option<Bytes>),
    /// The origin's, as they arrive.
    Origin(Box<FromOrigin>),
}

/// An answer's body and what it holds.
#[derive(Debug)]
pub(crate) struct FromOrigin {
    pub(crate) body: Scrubbed<Arriving>,
    pub(crate) unfit: Unfit,
    /// The connection, until the answer is whole.
    pub(crate) lease: Option<Lease>,
    pub(crate) upload: Option<Arc<Upload>>,
    pub(crate) stall: Stall,
    /// On HTTP/2 connections, whether the client takes what it is given.
    pub(crate) taking: Option<Taking>,
    /// What the body may still be, where the connector says how large it may be at most.
    pub(crate) bytes_left: Option<u64>,
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
    /// It grew over the connector's limit.
    #[error("the origin's answer grew over response_body_bytes_max")]
    TooLarge,
}

impl Relay {
    /// The gateway's own words, if it has any.
    pub(crate) fn own(text: Option<Bytes>, observation: Box<Observation>) -> Self {
        Self {
            source: Source::Problem(text),
            observation: Some(observation),
        }
    }

    /// Nothing: what follows is no body.
    pub(crate) fn nothing() -> Self {
        Self {
            source: Source::Problem(None),
            observation: None,
        }
    }

    /// What the origin sends.
    pub(crate) fn of_origin(origin: FromOrigin, observation: Box<Observation>) -> Self {
        Self {
            source: Source::Origin(Box::new(origin)),
            observation: Some(observation),
        }
    }
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
            Source::Origin(origin) => {
                let frame = ready!(origin.poll_frame(cx));
                if let Some(observation) = &this.observation {
                    observation.masked(origin.body.take_masked());
                }
                frame
            }
        };
        if let (Some(frame), Some(observation)) = (&frame, &mut this.observation) {
            match frame {
                Ok(frame) => observation.sent(frame.data_ref().map_or(0, Bytes::len)),
                Err(error) => observation.broke_off(error),
            }
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
                    if !self.fits(data.len()) {
                        return Poll::Ready(Some(Err(Broken::TooLarge)));
                    }
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
                    Frame::trailers(self.unfit.keep(trailers))
                }
            })),
        })
    }

    /// Whether `count` more bytes are within the limit.
    fn fits(&mut self, count: usize) -> bool {
        let Some(left) = &mut self.bytes_left else {
            return true;
        };
        let rest = u64::try_from(count)
            .ok()
            .and_then(|count| left.checked_sub(count));
        *left = rest.unwrap_or_default();
        rest.is_some()
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
                if let Some(upload) = &self.upload {
                    if !upload.awaits_flow() {
                        // Over HTTP/2, a stream whose window is shut would stay for ever.
                        lease.distrust();
                    }
                    upload.abandon();
                }
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
