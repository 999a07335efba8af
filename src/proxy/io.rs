//! Every socket's wrapper, on both sides, which keeps its [`Meter`] for the sweep.
//!
//! # Invariants
//!
//! A client that shuts its sending half down behind its request still gets its answer: the end of
//! its stream is kept from hyper until the answer is out. A reset is passed on at once. If the
//! stream ended amid a body, the body's reader finds out: nothing more comes, and it says so.
//!
//! What an HTTP/1.1 client sends is followed by [`Strict`] on its way to hyper, which gets nothing of
//! it behind the first byte that is refused, and so refuses the message.
//!
//! A client that still sends when it is answered for the last time gets that answer whole, and so
//! does one whose origin answers early: the connection is not closed before it (RFC 9112 §9.6), and
//! an origin that takes no more is read to its end.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::Linger;
use super::malformed::Malformed;
use super::meter::{Meter, Phase};
use super::strict::{POISON, Strict};

/// Up to this many bytes are copied together rather than written as a vector: to the kernel, and to
/// rustls, the way of a vector is the longer one.
const SMALL_BYTES_MAX: usize = 512;

/// How much is read at once of what ends a rest, and what an answer is at least that is read on, in
/// bytes.
const PIECE_BYTES: usize = 4096;
/// How much of an answer is read at once, in bytes.
const BULK_BYTES_MAX: usize = 64 * 1024;

/// A socket that keeps its [`Meter`].
#[derive(Debug)]
pub(crate) struct Io<S> {
    stream: S,
    /// Bytes read while the protocol was found out, to be read again.
    replay: Bytes,
    meter: Arc<Meter>,
    stream_ended: bool,
    /// How the stream broke, behind what was read of it.
    broken: Option<io::Error>,
    /// Whether the end of the stream is the end of the connection, with nothing to be said before.
    is_plain: bool,
    peer: Peer,
    /// What is written instead of hyper's own words.
    own_words: Bytes,
    /// Since the sending half was shut down.
    linger: Option<Linger>,
}

/// Who is at the other end, as far as it makes a difference here.
#[derive(Debug)]
enum Peer {
    /// An HTTP/1.1 client, with what replaces hyper's own words, and how far it was followed.
    Http1Client(Arc<Malformed>, Strict),
    /// An HTTP/1.1 origin.
    Http1Origin,
    /// An HTTP/2 origin. hyper drives it in a task of its own, which ends with the socket.
    Http2Origin,
    /// An HTTP/2 client, or either end of a tunnel.
    Other,
}

impl<S> Io<S> {
    pub(crate) fn new(stream: S, replay: Bytes, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            replay,
            meter,
            stream_ended: false,
            broken: None,
            is_plain: false,
            peer: Peer::Other,
            own_words: Bytes::new(),
            linger: None,
        }
    }

    /// Makes this an HTTP/1.1 client's: `malformed` speaks in hyper's place, the end of the
    /// client's stream waits for the answer, and bytes after an answer begin another head.
    pub(crate) fn of_http1_client(mut self, malformed: Arc<Malformed>) -> Self {
        self.peer = Peer::Http1Client(malformed, Strict::default());
        self
    }

    /// Makes this a stream whose end TLS does not announce.
    pub(crate) fn without_encryption(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// Makes this one side of a tunnel, in which `read_ahead` comes first: what was read while
    /// HTTP was spoken and is none. The end of the stream is told as it comes.
    pub(crate) fn into_tunnel(mut self, read_ahead: Bytes) -> Self {
        self.peer = Peer::Other;
        self.read_again(read_ahead);
        self
    }

    /// Has `read_ahead` read once more, before anything else. An empty one is let go: it may be the
    /// end of a large buffer.
    pub(crate) fn read_again(&mut self, read_ahead: Bytes) {
        if read_ahead.is_empty() {
            return;
        }
        if let Peer::Http1Client(_, strict) = &mut self.peer {
            strict.begin_again();
        }
        self.replay = match self.replay.is_empty() {
            true => read_ahead,
            false => [read_ahead, std::mem::take(&mut self.replay)]
                .concat()
                .into(),
        };
    }

    /// Makes this an HTTP/1.1 origin's, which may answer early and take no more of the request:
    /// what it said is read first.
    pub(crate) fn of_http1_origin(mut self) -> Self {
        self.peer = Peer::Http1Origin;
        self
    }

    /// Makes this an HTTP/2 origin's, which is at its end once the connection is told to close:
    /// a stream that the origin never ends would keep it open otherwise.
    pub(crate) fn of_http2_origin(mut self) -> Self {
        self.peer = Peer::Http2Origin;
        self
    }

    fn is_of_http1_client(&self) -> bool {
        matches!(self.peer, Peer::Http1Client(..))
    }

    /// Whether `buf` holds words of hyper's own, which are then replaced: nothing else is written
    /// while no request is in flight and every answer is out.
    fn replaces(&mut self, buf: &[u8]) -> bool {
        let speaks = self.meter.carries_nothing()
            && self.meter.all_written.load(Ordering::Acquire)
            && self.own_words.is_empty();
        let Peer::Http1Client(malformed, _) = &self.peer else {
            return false;
        };
        let words = malformed.instead_of(buf).filter(|_| speaks);
        self.own_words = words.unwrap_or_default();
        let replaced = !self.own_words.is_empty();
        if replaced {
            // Nobody knows what the rest of it would have been.
            self.meter.expect_body(true);
        }
        replaced
    }

    /// Reads more of a large answer while it is there: TLS gives a record at a time, and what is
    /// read at once is written at once.
    fn read_on(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>, mut before: usize)
    where
        S: AsyncRead + Unpin,
    {
        let room = BULK_BYTES_MAX.min(buf.filled().len() + buf.remaining());
        while buf.filled().len() - before >= PIECE_BYTES && buf.filled().len() < room {
            before = buf.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => self.stream_ended = buf.filled().len() == before,
                // It is told when what came before it was taken.
                Poll::Ready(Err(error)) => self.broken = Some(error),
                Poll::Pending => {}
            }
        }
    }

    /// Follows what was read of a client behind `before`, and takes back what hyper is not to have.
    fn follow(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Peer::Http1Client(_, strict) = &mut self.peer else {
            return;
        };
        let read = &buf.filled()[before..];
        let passes = strict.follow(read);
        if passes == read.len() {
            return;
        }
        self.replay = match strict.is_held() {
            true => [&read[passes..], &self.replay].concat().into(),
            false => Bytes::from_static(POISON),
        };
        buf.set_filled(before + passes);
        if passes == 0 {
            // Nothing at all would be the end of the stream.
            self.put_replay(buf);
        }
    }

    fn put_replay(&mut self, buf: &mut ReadBuf<'_>) -> usize {
        let count = self.replay.remaining().min(buf.remaining());
        buf.put_slice(&self.replay.split_to(count));
        count
    }

    /// Whether what hyper has of the client ends with what it refuses.
    fn is_refused(&self) -> bool {
        matches!(&self.peer, Peer::Http1Client(_, strict) if strict.is_refused())
    }

    /// Whether what the client sent behind its request waits for the answer.
    fn is_held(&mut self) -> bool {
        let Peer::Http1Client(_, strict) = &mut self.peer else {
            return false;
        };
        if strict.is_held() && self.meter.carries_nothing() {
            strict.go_on();
        }
        strict.is_held()
    }

    fn read_some(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.meter.bytes_read.fetch_add(count, Ordering::AcqRel);
        // On HTTP/2, what comes may be no request at all: a ping, or room for more of an answer.
        if self.is_of_http1_client() && self.meter.is(Phase::Idle) {
            self.meter.enter(Phase::Head);
        }
    }

    fn write_outcome<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let refused = matches!(outcome, Poll::Ready(Err(_)));
        let outcome = match refused && matches!(self.peer, Peer::Http1Origin) {
            // Reading wakes the task, and tells of the answer or of the end.
            true => Poll::Pending,
            false => outcome,
        };
        self.note_blocked(outcome.is_pending());
        outcome
    }

    fn note_blocked(&self, is_blocked: bool) {
        let since_ms = &self.meter.blocked_since_ms;
        if !is_blocked {
            since_ms.store(0, Ordering::Relaxed);
        } else if since_ms.load(Ordering::Relaxed) == 0 {
            since_ms.store(self.meter.tick.now_ms().max(1), Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> Io<S> {
    /// Looks for what the client sends while it is to wait for an answer: that of one piece is kept,
    /// and its going away is noticed. Ready at the end of its stream.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.meter.wake_when_over();
        if self.replay.has_remaining() {
            return Poll::Pending;
        }
        ready!(self.poll_spoken(cx))?;
        match self.stream_ended {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Ready when there is something to read: the client's next bytes, which are kept, or the end
    /// of its stream. Holds nothing until then.
    pub(crate) fn poll_spoken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.replay.has_remaining() || self.stream_ended {
            return Poll::Ready(Ok(()));
        }
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.stream_ended = piece.filled().is_empty();
        self.replay = Bytes::copy_from_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let held = self.is_held();
        if self.replay.has_remaining() && !held {
            let before = buf.filled().len();
            let count = self.put_replay(buf);
            self.read_some(count);
            if !self.is_refused() {
                self.follow(buf, before);
            }
            return Poll::Ready(Ok(()));
        }
        if held && !self.stream_ended {
            ready!(self.poll_held(cx))?;
        }
        if matches!(self.peer, Peer::Http2Origin) && self.meter.is_closing_reader(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        if !self.stream_ended && !self.is_refused() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.stream_ended = buf.filled().len() == before && buf.remaining() > 0;
            if matches!(self.peer, Peer::Http1Origin) {
                self.read_on(cx, buf, before);
            }
            // Also of what came with the end: who judges how a connection ended asks for it.
            if buf.filled().len() > before {
                self.read_some(buf.filled().len() - before);
                self.follow(buf, before);
            }
        }
        if self.stream_ended || self.is_refused() && buf.filled().len() == before {
            // HTTP/2 has no half-closed connections (RFC 9113 §5.1 closes streams, not these).
            if !self.is_of_http1_client() || self.meter.carries_nothing() {
                return Poll::Ready(Ok(()));
            }
            // `Meter::request_ended` has hyper read again when the answer is out.
            if self.stream_ended {
                self.meter.ended.store(true, Ordering::Release);
                self.meter.body_reader.wake();
            }
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Io<S> {
    /// Writes what is said in hyper's place.
    fn poll_own_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.own_words.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.own_words))?;
            self.own_words.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Returns when the connection can be closed without a reset, or nobody minds.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()>
    where
        S: AsyncRead,
    {
        let may_send = self.meter.body_open.load(Ordering::Acquire) && !self.stream_ended;
        if !self.is_of_http1_client() || !may_send {
            return Poll::Ready(());
        }
        if self.linger.is_none() {
            self.meter.enter(Phase::Lingering);
        }
        let linger = self.linger.get_or_insert_with(Linger::new);
        linger.poll_over(&mut self.stream, cx)
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own_words(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.meter.carries_nothing() {
            self.meter.all_written.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

/// All of `bufs` in one piece, if they are small; `joined` is where they are copied to, if they are
/// several.
fn join<'a>(bufs: &'a [io::IoSlice<'_>], joined: &'a mut [u8]) -> Option<&'a [u8]> {
    if let [one] = bufs {
        return Some(one);
    }
    let mut end = 0;
    for buf in bufs {
        let room = joined.get_mut(end..end + buf.len())?;
        room.copy_from_slice(buf);
        end += buf.len();
    }
    Some(&joined[..end])
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.write_outcome(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = self.poll_flush_all(cx);
        self.write_outcome(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own_words(cx))?;
        // A client that has ended its half is told of the end of ours by closing, which follows.
        let is_told_by_closing = self.is_plain && self.stream_ended && self.is_of_http1_client();
        if self.linger.is_none() && !is_told_by_closing {
            let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.note_blocked(outcome.is_pending());
            ready!(outcome)?;
        }
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if let Some(first) = first
            && self.replaces(first)
        {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let mut joined = [0; SMALL_BYTES_MAX];
        let outcome = match join(bufs, &mut joined) {
            Some(joined) => Pin::new(&mut self.stream).poll_write(cx, joined),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.write_outcome(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
