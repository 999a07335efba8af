//! Every socket's wrapper, on both sides, and the meter it keeps for the sweep.
//!
//! # Invariants
//!
//! A request costs no timer here, only a store to its connection's [`Meter`].
//!
//! A client that shuts its sending half down behind its request still gets its answer: the end of
//! its stream is kept from hyper until the answer is out. A reset is passed on at once. If the
//! stream ended amid a body, the body's reader finds out: nothing more comes, and it says so.
//!
//! A client that still sends when it is answered for the last time gets that answer whole, and so
//! does one whose origin answers early: the connection is not closed before it (RFC 9112 §9.6), and
//! an origin that takes no more is read to its end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::{LINGER, Linger};
use super::malformed::Malformed;

/// Time in whole milliseconds since the process began, as the sweep last saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick(Arc<AtomicU64>);

impl Tick {
    pub(crate) fn set(&self, now: Duration) {
        let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// The client has not spoken yet, or not since its TLS handshake.
    Silent,
    /// It shakes hands, or begins to say which protocol it speaks.
    Greeting,
    /// The bytes of a head are awaited or arriving.
    Head,
    /// At least one request is being carried.
    Busy,
    /// Nothing is asked.
    Idle,
    /// The last answer is out, and what still comes is thrown away.
    Lingering,
}

/// What the sweep or the drain asks of a connection's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Signal {
    /// Go on.
    None,
    /// Finish what is in flight, take nothing new.
    Drain,
    /// Close now.
    Close,
    /// The gateway ends: give up what is in flight, say so, and close.
    Stop,
}

/// What is known of a connection from outside its task.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) tick: Tick,
    phase: AtomicU8,
    /// When the phase began.
    since_ms: AtomicU64,
    /// When writing began to stall; 0 while it does not.
    blocked_since_ms: AtomicU64,
    in_flight: AtomicU32,
    bytes_read: AtomicU64,
    /// For each HTTP/2 stream with an answer, since when its client takes nothing; 0 while it does.
    pub(crate) untaken_since_ms: Mutex<slab::Slab<Arc<AtomicU64>>>,
    /// Whether the body of the last request has yet to arrive whole.
    body_open: AtomicBool,
    /// Whether the client has shut its sending half down.
    ended: AtomicBool,
    /// Who waits for more of a request's body.
    body_reader: AtomicWaker,
    /// Whether every answer so far was written out.
    all_written: AtomicBool,
    signal: AtomicU8,
    waker: AtomicWaker,
    /// Who reads an HTTP/2 origin's connection, which is another task.
    reader: AtomicWaker,
}

/// The limits the sweep holds a connection to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a handshake, and for as much of a head as tells its protocol.
    pub(crate) handshake: Duration,
    /// For a head, from its first byte.
    pub(crate) head: Duration,
    /// Without a request.
    pub(crate) idle: Duration,
    /// Without the peer taking a byte that waits for it.
    pub(crate) write: Duration,
}

impl Meter {
    pub(crate) fn new(tick: Tick) -> Arc<Self> {
        let now_ms = tick.now_ms();
        Arc::new(Self {
            tick,
            phase: AtomicU8::new(Phase::Silent as u8),
            since_ms: AtomicU64::new(now_ms),
            blocked_since_ms: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            bytes_read: AtomicU64::new(0),
            untaken_since_ms: Mutex::default(),
            body_open: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            body_reader: AtomicWaker::new(),
            all_written: AtomicBool::new(true),
            signal: AtomicU8::new(Signal::None as u8),
            waker: AtomicWaker::new(),
            reader: AtomicWaker::new(),
        })
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(self.tick.now_ms(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    /// The client has sent its first bytes.
    pub(crate) fn spoke(&self) {
        if self.is(Phase::Silent) {
            self.enter(Phase::Greeting);
        }
    }

    /// The TLS handshake is done, and HTTP is awaited.
    pub(crate) fn shaken(&self) {
        self.enter(Phase::Silent);
    }

    /// The protocol is known. What told it is part of a head, whose time has begun with it.
    pub(crate) fn greeted(&self) {
        self.phase.store(Phase::Head as u8, Ordering::Release);
    }

    /// Lets a client that has not spoken yet begin anew.
    pub(crate) fn await_anew_if_silent(&self) {
        if self.is(Phase::Silent) {
            self.enter(Phase::Silent);
        }
    }

    /// A request has arrived.
    pub(crate) fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.all_written.store(false, Ordering::Release);
        self.enter(Phase::Busy);
    }

    /// The request that has arrived has a body, or has none.
    pub(crate) fn expect_body(&self, has_body: bool) {
        self.body_open.store(has_body, Ordering::Release);
    }

    /// All of the request's body has arrived.
    pub(crate) fn body_arrived(&self) {
        self.body_open.store(false, Ordering::Release);
    }

    /// Whether bytes wait for the peer to take them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since_ms.load(Ordering::Acquire) > 0
    }

    /// Whether the client will send nothing more. If not yet, `context` is woken when it is so.
    pub(crate) fn has_ended(&self, context: &Context<'_>) -> bool {
        self.body_reader.register(context.waker());
        self.ended.load(Ordering::Acquire)
    }

    /// A request's answer is out, or given up.
    pub(crate) fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.enter(Phase::Idle);
            if self.ended.load(Ordering::Acquire) {
                // The end of the stream was kept from hyper, which waits for a word of the socket.
                self.waker.wake();
            }
        }
    }

    pub(crate) fn carries_nothing(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// Bytes read so far: equal before and after means that nothing was answered.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Acquire)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        self.waker.wake();
        self.reader.wake();
    }

    /// Whether the connection was told to close.
    pub(crate) fn is_closing(&self) -> bool {
        self.signal.load(Ordering::Acquire) >= Signal::Close as u8
    }

    /// The same for whoever reads the connection, and is woken (by `context`) when it is so.
    pub(crate) fn is_closing_reader(&self, context: &Context<'_>) -> bool {
        self.reader.register(context.waker());
        self.is_closing()
    }

    /// Whether what is in flight is to be given up.
    pub(crate) fn gives_up(&self) -> bool {
        self.signal.load(Ordering::Acquire) == Signal::Stop as u8
    }

    /// Takes a request to close back, for a connection that was idle when it was made and has read
    /// a request since.
    pub(crate) fn keep_open(&self) {
        self.signal.store(Signal::None as u8, Ordering::Release);
    }

    /// What is asked of the task, which is woken (by `context`) when that changes.
    pub(crate) fn asked(&self, context: &Context<'_>) -> Signal {
        self.waker.register(context.waker());
        match self.signal.load(Ordering::Acquire) {
            drain if drain == Signal::Drain as u8 => Signal::Drain,
            close if close == Signal::Close as u8 => Signal::Close,
            stop if stop == Signal::Stop as u8 => Signal::Stop,
            _none => Signal::None,
        }
    }

    /// Whether `patience` with this connection has run out.
    pub(crate) fn is_overdue(&self, patience: &Patience) -> bool {
        let over = |since_ms: u64, limit: Duration| {
            let waited_ms = self.tick.now_ms().saturating_sub(since_ms);
            Duration::from_millis(waited_ms) >= limit
        };
        let blocked_since_ms = self.blocked_since_ms.load(Ordering::Relaxed);
        if blocked_since_ms > 0 && over(blocked_since_ms, patience.write) {
            return true;
        }
        let streams = self.untaken_since_ms.lock();
        let streams = streams.unwrap_or_else(PoisonError::into_inner);
        let untaken = |(_, since_ms): (usize, &Arc<AtomicU64>)| {
            let since_ms = since_ms.load(Ordering::Relaxed);
            since_ms > 0 && over(since_ms, patience.write)
        };
        if streams.iter().any(untaken) {
            return true;
        }
        let since_ms = self.since_ms.load(Ordering::Relaxed);
        let limit = match self.phase.load(Ordering::Acquire) {
            silent if silent == Phase::Silent as u8 => patience.head,
            greeting if greeting == Phase::Greeting as u8 => patience.handshake,
            head if head == Phase::Head as u8 => patience.head,
            idle if idle == Phase::Idle as u8 => patience.idle,
            lingering if lingering == Phase::Lingering as u8 => LINGER,
            _busy => return false,
        };
        over(since_ms, limit)
    }

    pub(crate) fn is_idle_for(&self, grace: Duration) -> bool {
        let waited_ms = self
            .tick
            .now_ms()
            .saturating_sub(self.since_ms.load(Ordering::Relaxed));
        let idles = self.is(Phase::Idle) || self.is(Phase::Silent);
        idles && Duration::from_millis(waited_ms) >= grace
    }
}

/// A socket that keeps its [`Meter`].
#[derive(Debug)]
pub(crate) struct Io<S> {
    stream: S,
    /// Bytes read while the protocol was found out, to be read again.
    replay: Bytes,
    meter: Arc<Meter>,
    stream_ended: bool,
    peer: Peer,
    /// What is written instead of hyper's own words.
    own_words: Bytes,
    /// Since the sending half was shut down.
    linger: Option<Linger>,
}

/// Who is at the other end, as far as it makes a difference here.
#[derive(Debug)]
enum Peer {
    /// An HTTP/1.1 client, with what replaces hyper's own words.
    Http1Client(Arc<Malformed>),
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
            peer: Peer::Other,
            own_words: Bytes::new(),
            linger: None,
        }
    }

    /// Makes this an HTTP/1.1 client's: `malformed` speaks in hyper's place, the end of the
    /// client's stream waits for the answer, and bytes after an answer begin another head.
    pub(crate) fn of_http1_client(mut self, malformed: Arc<Malformed>) -> Self {
        self.peer = Peer::Http1Client(malformed);
        self
    }

    /// Makes this one side of a tunnel, in which `read_ahead` comes first: what was read while
    /// HTTP was spoken and is none. The end of the stream is told as it comes.
    pub(crate) fn into_tunnel(mut self, read_ahead: Bytes) -> Self {
        self.peer = Peer::Other;
        self.replay = match self.replay.is_empty() {
            true => read_ahead,
            false => [read_ahead, self.replay].concat().into(),
        };
        self
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
        matches!(self.peer, Peer::Http1Client(_))
    }

    /// Whether `buf` holds words of hyper's own, which are then replaced: nothing else is written
    /// while no request is in flight and every answer is out.
    fn replaces(&mut self, buf: &[u8]) -> bool {
        let speaks = self.meter.carries_nothing()
            && self.meter.all_written.load(Ordering::Acquire)
            && self.own_words.is_empty();
        let Peer::Http1Client(malformed) = &self.peer else {
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

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replay.has_remaining() {
            let count = self.replay.remaining().min(buf.remaining());
            buf.put_slice(&self.replay.split_to(count));
            self.read_some(count);
            return Poll::Ready(Ok(()));
        }
        if matches!(self.peer, Peer::Http2Origin) && self.meter.is_closing_reader(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        if !self.stream_ended {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.stream_ended = buf.filled().len() == before && buf.remaining() > 0;
        }
        if self.stream_ended {
            // HTTP/2 has no half-closed connections (RFC 9113 §5.1 closes streams, not these).
            if !self.is_of_http1_client() || self.meter.carries_nothing() {
                return Poll::Ready(Ok(()));
            }
            // `Meter::request_ended` has hyper read again when the answer is out.
            self.meter.ended.store(true, Ordering::Release);
            self.meter.body_reader.wake();
            return Poll::Pending;
        }
        self.read_some(buf.filled().len() - before);
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
        if self.linger.is_none() {
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
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.write_outcome(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::stall::Taking;

    const PATIENCE: Patience = Patience {
        handshake: Duration::from_secs(5),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    #[test]
    fn a_head_that_never_ends_is_overdue_and_a_busy_connection_never_is() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        tick.set(Duration::from_secs(9));
        assert!(!meter.is_overdue(&PATIENCE));
        tick.set(Duration::from_secs(10));
        assert!(meter.is_overdue(&PATIENCE));

        meter.request_began();
        tick.set(Duration::from_secs(1000));

        assert!(!meter.is_overdue(&PATIENCE));
    }

    #[test]
    fn one_untaken_stream_makes_its_connection_overdue() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        meter.request_began();
        let taking = Taking::new(&meter);
        taking.offered();
        tick.set(Duration::from_secs(31));
        assert!(meter.is_overdue(&PATIENCE));

        taking.taken();

        assert!(!meter.is_overdue(&PATIENCE));
    }

    #[test]
    fn an_idle_connection_is_overdue_after_the_idle_limit() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        meter.request_began();
        meter.request_ended();
        tick.set(Duration::from_secs(74));
        assert!(!meter.is_overdue(&PATIENCE));

        tick.set(Duration::from_secs(75));

        assert!(meter.is_overdue(&PATIENCE));
    }

    #[tokio::test]
    async fn the_end_of_the_stream_waits_until_the_answer_is_out() {
        use tokio::io::AsyncReadExt;
        let meter = Meter::new(Tick::default());
        let malformed = Arc::new(Malformed::new(http::HeaderValue::from_static("r1")));
        let mut io = Io::new(tokio::io::empty(), Bytes::new(), Arc::clone(&meter))
            .of_http1_client(malformed);
        meter.request_began();
        let mut buffer = [0; 8];

        let before = {
            let reading = std::pin::pin!(io.read(&mut buffer));
            reading.poll(&mut Context::from_waker(std::task::Waker::noop()))
        };
        meter.request_ended();
        let after = io.read(&mut buffer).await;

        assert!(before.is_pending());
        assert!(matches!(after, Ok(0)));
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_read_again() {
        use tokio::io::AsyncReadExt;
        let meter = Meter::new(Tick::default());
        let mut io = Io::new(&b"lo"[..], Bytes::from_static(b"hel"), Arc::clone(&meter));
        let mut text = String::new();

        let read = io.read_to_string(&mut text).await;

        assert!(read.is_ok());
        assert_eq!(text, "hello");
        assert_eq!(meter.bytes_read(), 5);
    }
}
