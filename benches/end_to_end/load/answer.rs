//! What came of one request.

use std::io;
use std::time::Duration;

use super::body::ChunkError;
use super::head::HeadError;
use super::refusal::Refused;
use super::request::RequestError;

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of its content.
    pub(crate) bytes: u64,
    /// Where a gateway on the way says that it made the answer itself.
    pub(crate) refused: Option<Refused>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
    #[error("the connection was closed before the answer began")]
    Unanswered,
    #[error("the connection was closed amid the answer")]
    CutOff,
    #[error("the answer's head has more than {0} bytes")]
    HeadTooLong(usize),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error("there are bytes behind the answer's end")]
    Surplus,
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}
