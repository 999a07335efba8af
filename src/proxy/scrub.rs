//! The credential that a request carried is masked in its answer.
//!
//! An origin that repeats what it was sent (an echo, a debug page, an error that quotes the
//! request) would hand the credential to a flow that must not have it.
//!
//! # Invariants
//!
//! A mask is as long as what it covers, so lengths and ranges stay true. A field value stays a
//! legal one. Of a body only what may yet turn out to be the credential is held back, which is
//! less than its longest form; it goes on as soon as it turns out otherwise, or the body ends. What
//! holds no credential passes uncopied.
//!
//! A body that cannot be looked into passes unchanged: one of another type than text, or encoded
//! although identity was asked for. So does what is sent over an upgraded connection. A credential
//! that a range (RFC 9110 §14) cuts in two is not known for one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::connector::{Connector, Scrub};
use crate::credential::{Credential, Mask};

mod text;

#[cfg(test)]
mod tests;

/// Fields that say how long the content is or which part of it it is (RFC 9110 §8.6, §14.4). A
/// credential of digits alone must not break them.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::CONTENT_RANGE];

/// What is to be masked in the answer to a request that carries `credential`, if anything.
pub(crate) fn mask(credential: &Credential, connector: &Connector) -> Option<Arc<Mask>> {
    match (credential, connector.scrub) {
        (Credential::None, _) | (_, Scrub::Off) => None,
        (Credential::Field { mask, .. }, Scrub::Fields | Scrub::All) => {
            (!mask.is_empty()).then(|| Arc::clone(mask))
        }
    }
}

/// Asks for a body that can be looked into, in place of what the flow asked for (RFC 9110
/// §12.5.3).
pub(crate) fn ask_for_identity(headers: &mut HeaderMap, connector: &Connector) {
    if connector.scrub == Scrub::All {
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    }
}

/// An answer's body, on its way through the mask if there is one.
#[derive(Debug)]
pub(crate) struct Scrubbed<B> {
    body: B,
    screen: Option<Screen>,
    /// Secrets masked since this was last asked for.
    masked: u64,
}

/// What stands between an origin's body and the flow.
#[derive(Debug)]
struct Screen {
    mask: Arc<Mask>,
    content: Content,
    /// The end of the content so far, which may be the beginning of something secret.
    held: Vec<u8>,
    /// How much of its beginning belongs to a secret that was found already.
    covered: usize,
    /// Trailers that wait for what was held before them.
    trailers: Option<Box<HeaderMap>>,
}

/// Whether a body is looked into.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    Text,
    Opaque,
}

impl<B: Body<Data = Bytes> + Unpin> Scrubbed<B> {
    /// Masks `fields`, and will mask the body that goes with them as `scrub` says.
    pub(crate) fn new(
        fields: &mut HeaderMap,
        body: B,
        mask: Option<Arc<Mask>>,
        scrub: Scrub,
    ) -> Self {
        let mut masked = 0;
        let screen = mask.and_then(|mask| {
            masked = mask_fields(fields, &mask);
            let content = match scrub == Scrub::All && text::is_readable(fields) {
                true => Content::Text,
                false => Content::Opaque,
            };
            (!body.is_end_stream()).then(|| Screen::new(mask, content))
        });
        Self {
            body,
            screen,
            masked,
        }
    }

    /// How many secrets were masked since this was last asked.
    pub(crate) fn take_masked(&mut self) -> u64 {
        std::mem::take(&mut self.masked)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Scrubbed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(screen) = &mut this.screen else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        if let Some(trailers) = screen.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        // Each round but the last adds to what is held, which is bounded.
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                let rest = screen.rest(&mut this.masked);
                this.screen = None;
                return Poll::Ready(rest.map(|rest| Ok(Frame::data(rest))));
            };
            let passed = match frame?.into_data() {
                Ok(data) if data.is_empty() => Some(Frame::data(data)),
                Ok(data) => {
                    let ended = this.body.is_end_stream();
                    let passed = screen.pass(data, ended, &mut this.masked);
                    Some(passed)
                        .filter(|data| !data.is_empty())
                        .map(Frame::data)
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Some(screen.pass_trailers(trailers, &mut this.masked))
                }
            };
            if let Some(passed) = passed {
                return Poll::Ready(Some(Ok(passed)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held() == 0
            && self
                .screen
                .as_ref()
                .is_none_or(|screen| screen.trailers.is_none())
            && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (coming, held) = (self.body.size_hint(), self.held());
        let mut hint = SizeHint::new();
        hint.set_lower(coming.lower().saturating_add(held));
        if let Some(upper) = coming.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

impl<B> Scrubbed<B> {
    fn held(&self) -> u64 {
        let held = self.screen.as_ref().map_or(0, |screen| screen.held.len());
        u64::try_from(held).unwrap_or(u64::MAX)
    }
}

impl Screen {
    fn new(mask: Arc<Mask>, content: Content) -> Self {
        Self {
            mask,
            content,
            held: Vec::new(),
            covered: 0,
            trailers: None,
        }
    }

    /// What of the content so far may go on; all of it, if this was the last.
    fn pass(&mut self, data: Bytes, ended: bool, masked: &mut u64) -> Bytes {
        if self.content == Content::Opaque {
            return data;
        }
        let text = match self.held.is_empty() {
            true => data,
            false => {
                self.held.extend_from_slice(&data);
                Bytes::from(std::mem::take(&mut self.held))
            }
        };
        let mut open = self.mask.needles().find_open(&text);
        let settled = match ended {
            true => text.len(),
            false => open.live_from,
        };
        // What begins in the held part is found again with what follows it.
        open.spans.retain(|span| span.start < settled);
        let before = self.covered;
        let found = open.spans.iter().filter(|span| span.start >= before);
        *masked += u64::try_from(found.count()).unwrap_or(u64::MAX);
        let end = open
            .spans
            .last()
            .map_or(before, |span| before.max(span.end));
        self.covered = end.saturating_sub(settled);
        self.held = text[settled..].to_vec();
        let passing = text.slice(..settled);
        if before == 0 && open.spans.is_empty() {
            return passing;
        }
        let mut written = passing.to_vec();
        written[..before.min(settled)].fill(b'*');
        for span in open.spans {
            written[span.start..span.end.min(settled)].fill(b'*');
        }
        written.into()
    }

    fn pass_trailers(&mut self, mut trailers: HeaderMap, masked: &mut u64) -> Frame<Bytes> {
        *masked += mask_fields(&mut trailers, &self.mask);
        match self.rest(masked) {
            None => Frame::trailers(trailers),
            Some(rest) => {
                self.trailers = Some(Box::new(trailers));
                Frame::data(rest)
            }
        }
    }

    /// What was held, now that nothing follows: no beginning of something secret any more, but there
    /// may be something shorter in it that is secret too.
    fn rest(&mut self, masked: &mut u64) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.pass(Bytes::new(), true, masked))
    }
}

/// Masks what is secret in the values of `fields`, and says how often.
fn mask_fields(fields: &mut HeaderMap, mask: &Mask) -> u64 {
    let mut masked = 0;
    for (name, value) in fields.iter_mut() {
        if !mask.may_stand_in(value.len()) {
            continue;
        }
        let found = mask.needles().find(value.as_bytes());
        if found.is_empty() || FRAMING.contains(name) {
            continue;
        }
        masked += u64::try_from(found.len()).unwrap_or(u64::MAX);
        let mut written = value.as_bytes().to_vec();
        for span in found {
            written[span].fill(b'*');
        }
        if let Ok(written) = HeaderValue::from_bytes(&written) {
            *value = written;
        }
    }
    masked
}
