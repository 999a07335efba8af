//! A request's body of which what was sent is kept, so that it can be sent again.
//!
//! # Shape
//!
//! [`Kept`] holds the flow's body and the beginning of it that went out; each attempt has a
//! [`Sending`], which repeats that beginning and goes on with what arrives. So a body that is still
//! arriving when its request has to be sent again is no matter: the rest follows the repetition.
//!
//! # Invariants
//!
//! What is kept is no more than the limit: a body that grows over it is let go of at once, and its
//! request is not sent again. Only the latest attempt gets anything of the body; an earlier one is
//! told that its body broke off. Bytes from the flow are counted, limited and timed once, where
//! they arrive, however often they are sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::outbound::{BodyCut, Outbound, Streaming, Upload};

/// A flow's body, and what was sent of it.
#[derive(Debug)]
pub(crate) struct Kept {
    upload: Arc<Upload>,
    /// The length that its head gave, if it did.
    length: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streaming: Streaming,
    /// Whether all of the body has arrived, trailers and all.
    ended: bool,
    held: Held,
    trailers: Option<HeaderMap>,
    bytes_max: usize,
    /// Which attempt the body is for.
    attempt: u32,
    /// What this attempt is to repeat before the flow's body goes on.
    repeated: Bytes,
    /// Bytes handed on in this attempt.
    sent: u64,
    trailers_sent: bool,
}

/// The beginning of a body.
#[derive(Debug)]
enum Held {
    /// It was let go of.
    Nothing,
    /// As it came, which is how most bodies come: in one piece.
    Piece(Bytes),
    /// Copied together, so that many small pieces take no more room than their bytes.
    Copied(Vec<u8>),
}

/// The body in one attempt. Small, since a request is moved about with it.
#[derive(Debug)]
pub(crate) struct Sending {
    kept: Arc<Kept>,
    attempt: u32,
}

/// How a request's body can be sent again. Dropping it lets go of what was kept.
#[derive(Debug)]
pub(crate) enum Again {
    /// There is none.
    Empty,
    /// From its beginning, which is kept.
    Kept(Holder),
    /// Not at all.
    Never,
}

/// Whoever may yet ask for the body once more.
#[derive(Debug)]
pub(crate) struct Holder(Arc<Kept>);

impl Again {
    /// Whether another attempt could have the body.
    pub(crate) fn is_possible(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Never => false,
            Self::Kept(Holder(kept)) => !matches!(kept.lock().held, Held::Nothing),
        }
    }

    /// The body for another attempt, which the one before loses.
    pub(crate) fn body(&self) -> Option<Outbound> {
        match self {
            Self::Empty => Some(Outbound::Empty),
            Self::Never => None,
            Self::Kept(Holder(kept)) => {
                let mut state = kept.lock();
                if matches!(state.held, Held::Nothing) || !kept.upload.begin_again() {
                    return None;
                }
                state.attempt += 1;
                // Whoever sends the last attempt's body may wait for more of it, and is to end.
                kept.upload.begun_again();
                state.repeated = state.held.freeze();
                state.sent = 0;
                state.trailers_sent = false;
                Some(Outbound::Kept(Sending {
                    kept: Arc::clone(kept),
                    attempt: state.attempt,
                }))
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.lock().held = Held::Nothing;
    }
}

impl Kept {
    /// The first attempt's view of `streaming`.
    pub(super) fn first(streaming: Streaming, bytes_max: u64) -> Sending {
        let kept = Self {
            upload: Arc::clone(streaming.upload()),
            length: streaming.size_hint().exact(),
            state: Mutex::new(State {
                streaming,
                ended: false,
                held: Held::Piece(Bytes::new()),
                trailers: None,
                bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
                attempt: 0,
                repeated: Bytes::new(),
                sent: 0,
                trailers_sent: false,
            }),
        };
        Sending {
            kept: Arc::new(kept),
            attempt: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.kept.upload
    }

    pub(super) fn again(&self) -> Again {
        Again::Kept(Holder(Arc::clone(&self.kept)))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let mut state = self.kept.lock();
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(BodyCut::superseded())));
        }
        match state.repeat(&self.kept.upload) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if state.ended => Poll::Ready(None),
            None => state.poll_flow(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.kept.lock();
        let trailers_sent = state.trailers.is_none() || state.trailers_sent;
        let ended = state.ended || state.streaming.is_end_stream();
        let current = state.attempt == self.attempt;
        current && state.repeated.is_empty() && ended && trailers_sent
    }

    /// Of the length that the first attempt was framed by, so that all are framed alike.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.kept.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.kept.lock().sent)),
            None => SizeHint::default(),
        }
    }
}

impl State {
    /// The next of what came before this attempt.
    fn repeat(&mut self, upload: &Upload) -> Option<Frame<Bytes>> {
        if !self.repeated.is_empty() {
            let data = std::mem::take(&mut self.repeated);
            self.sent += upload.repeat(data.len());
            if self.is_whole() {
                upload.whole();
            }
            return Some(Frame::data(data));
        }
        if self.ended {
            upload.whole();
        }
        if self.trailers_sent {
            return None;
        }
        let trailers = self.trailers.clone()?;
        self.trailers_sent = true;
        Some(Frame::trailers(trailers))
    }

    /// The next of what the flow sends.
    fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        let frame = ready!(self.streaming.poll_frame(cx));
        match &frame {
            None => self.ended = true,
            Some(Err(_)) => self.held = Held::Nothing,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                    self.sent += u64::try_from(data.len()).unwrap_or(u64::MAX);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                    self.trailers_sent = true;
                    self.ended = true;
                }
            }
        }
        Poll::Ready(frame)
    }

    /// Whether all that the origin was told to expect has arrived.
    fn is_whole(&self) -> bool {
        self.trailers.is_none() && (self.ended || self.streaming.is_whole())
    }

    fn keep(&mut self, data: &Bytes) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        if held.len().saturating_add(data.len()) <= self.bytes_max {
            self.held = held.and(data, self.bytes_max);
        }
    }
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Piece(piece) => piece.len(),
            Self::Copied(copied) => copied.len(),
        }
    }

    /// All of it, in one piece.
    fn freeze(&mut self) -> Bytes {
        let piece = match self {
            Self::Nothing => Bytes::new(),
            Self::Piece(piece) => piece.clone(),
            Self::Copied(copied) => Bytes::from(std::mem::take(copied)),
        };
        *self = Self::Piece(piece.clone());
        piece
    }

    fn and(self, data: &Bytes, bytes_max: usize) -> Self {
        let mut copied = match self {
            Self::Nothing => return Self::Nothing,
            Self::Piece(piece) if piece.is_empty() => return Self::Piece(data.clone()),
            Self::Piece(piece) => Vec::from(piece),
            Self::Copied(copied) => copied,
        };
        let needed = copied.len() + data.len();
        if needed > copied.capacity() {
            let doubled = copied.capacity().saturating_mul(2);
            let room = doubled.clamp(needed, bytes_max.max(needed));
            copied.reserve_exact(room - copied.len());
        }
        copied.extend_from_slice(data);
        Self::Copied(copied)
    }
}
