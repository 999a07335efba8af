//! Bodies that stand-ins send: known beforehand, or written by the test piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::within;

/// A body on its way out.
pub(crate) enum Outgoing {
    /// All of it; framed by its length.
    Whole(Option<Bytes>),
    /// What a [`Pen`] writes; of unknown length.
    Streamed(mpsc::Receiver<Part>),
}

/// A piece of a streamed body.
pub(crate) enum Part {
    /// Content.
    Data(Bytes),
    /// The trailer section.
    Trailers(HeaderMap),
    /// The sender dies here.
    Failure,
}

/// Writes a streamed body. Dropping it ends the body properly.
pub(crate) struct Pen(mpsc::Sender<Part>);

impl Outgoing {
    /// A body and the pen that writes it. At most one piece waits between the two, so
    /// [`Pen::write`] feels back-pressure.
    pub(crate) fn streamed() -> (Pen, Self) {
        let (pen, parts) = mpsc::channel(1);
        (Pen(pen), Self::Streamed(parts))
    }
}

impl<T: Into<Bytes>> From<T> for Outgoing {
    fn from(bytes: T) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl Pen {
    /// Hands over a piece once the one before was taken; false once nobody takes any more.
    pub(crate) async fn write(&self, bytes: impl Into<Bytes>) -> bool {
        let sending = self.0.send(Part::Data(bytes.into()));
        within("a piece of a body to be taken", sending)
            .await
            .is_ok()
    }

    /// Hands over a piece if the one before was taken already.
    pub(crate) fn try_write(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.try_send(Part::Data(bytes.into())).is_ok()
    }

    /// Ends the body with trailer fields.
    pub(crate) async fn trailers(self, fields: &[(&'static str, &'static str)]) {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        assert!(self.0.send(Part::Trailers(map)).await.is_ok());
    }

    /// Dies within the body: the other side must see that something is missing.
    pub(crate) async fn fail(self) {
        // Nobody there to see it is fine too.
        let _ = self.0.send(Part::Failure).await;
    }

    /// Waits until nobody takes what this pen writes: the exchange was given up.
    pub(crate) async fn given_up(&self) {
        within("a body to be given up", self.0.closed()).await;
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Streamed(parts) => parts.poll_recv(cx).map(|part| {
                part.map(|part| match part {
                    Part::Data(bytes) => Ok(Frame::data(bytes)),
                    Part::Trailers(fields) => Ok(Frame::trailers(fields)),
                    Part::Failure => Err(io::Error::other("the test ends it here")),
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(_) => SizeHint::new(),
        }
    }
}
