//! An answer's body, of which the beginning may be read before it is passed on.
//!
//! # Invariants
//!
//! Whoever reads the body gets what the origin sent, in its order, whether it was read ahead or
//! not. What is read ahead is bounded, and copied together: many small pieces take no more room
//! than their bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The most of an answer that is read ahead, in bytes; the last piece may go over it.
pub(crate) const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// The body of an origin's answer.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// Nearly all answers are passed on as they come.
    ahead: Option<Box<Ahead>>,
    rest: Incoming,
}

#[derive(Debug, Default)]
struct Ahead {
    data: BytesMut,
    trailers: Option<HeaderMap>,
    end: Option<End>,
}

/// How the body ended.
#[derive(Debug)]
enum End {
    Whole,
    Broken(hyper::Error),
}

impl Arriving {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            ahead: None,
            rest: body,
        }
    }

    /// Reads ahead to the end of the body, or until [`AHEAD_BYTES_MAX`] is reached.
    ///
    /// Cancel-safe: what was read stays.
    pub(crate) async fn read_ahead(&mut self) {
        let ahead = self.ahead.get_or_insert_default();
        let rest = &mut self.rest;
        poll_fn(|cx| ahead.poll_read(Pin::new(&mut *rest), cx)).await;
    }

    /// The content, if all of it was read ahead.
    pub(crate) fn content(&self) -> Option<&[u8]> {
        let ahead = self.ahead.as_ref()?;
        matches!(ahead.end, Some(End::Whole)).then_some(&ahead.data)
    }

    /// Whether all of the body was read, trailers and all.
    pub(crate) fn is_read(&self) -> bool {
        match &self.ahead {
            Some(ahead) => matches!(ahead.end, Some(End::Whole)),
            None => self.rest.is_end_stream(),
        }
    }
}

impl Ahead {
    fn poll_read(&mut self, mut rest: Pin<&mut Incoming>, cx: &mut Context<'_>) -> Poll<()> {
        while self.end.is_none() && self.data.len() < AHEAD_BYTES_MAX {
            if rest.is_end_stream() {
                self.end = Some(End::Whole);
                break;
            }
            match ready!(rest.as_mut().poll_frame(cx)) {
                None => self.end = Some(End::Whole),
                Some(Err(error)) => self.end = Some(End::Broken(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.data.extend_from_slice(&data),
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.end = Some(End::Whole);
                    }
                },
            }
        }
        Poll::Ready(())
    }

    /// The next of what was read ahead; `None` if that is all.
    fn next(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        if !self.data.is_empty() {
            return Some(Ok(Frame::data(self.data.split().freeze())));
        }
        if let Some(trailers) = self.trailers.take() {
            return Some(Ok(Frame::trailers(trailers)));
        }
        match self.end.take() {
            Some(End::Broken(error)) => Some(Err(error)),
            whole => {
                self.end = whole;
                None
            }
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(ahead) = &mut self.ahead {
            if let Some(frame) = ahead.next() {
                return Poll::Ready(Some(frame));
            }
            if ahead.end.is_some() {
                return Poll::Ready(None);
            }
            self.ahead = None;
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(ahead) => {
                let all_given = ahead.data.is_empty() && ahead.trailers.is_none();
                let ended = matches!(ahead.end, Some(End::Whole)) || self.rest.is_end_stream();
                all_given && ended
            }
            None => self.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.data.len());
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
