//! A client over HTTP/1.1, made to cost as little as can be: it shares its processor with the
//! origin, and is not what is measured.
//!
//! A request's bytes are written as they were rendered once; an answer is read into one buffer
//! that is used again and again, and looked at as far as its end has to be found. What of a long
//! body need only be counted is not even copied out of the kernel.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{Answer, Fault};
use super::body::Body;
use super::head::{self, Head, Length};
use super::refusal::{PROBLEM_BYTES_MAX, Refused};
use super::request::{Closing, Request};
use super::target::{Stream, Target};

/// What is read at once, and the longest head.
const BUFFER_BYTES: usize = 64 * 1024;
/// How much of a body has to be left for it to be counted in the kernel, and at most how much of it
/// at once.
const COUNTED_BYTES_MIN: u64 = 16 * 1024;
const COUNTED_BYTES_MAX: usize = 1024 * 1024;
/// `recv` drops what it counts (tcp(7)). Other systems have other ideas of it.
const MSG_TRUNC: i32 = 0x20;
/// How long a server that said `close` may take over it.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// One client, and its connection while it has one.
#[derive(Debug)]
pub(crate) struct Http1 {
    target: Arc<Target>,
    closing: Closing,
    /// The request's head.
    head: Vec<u8>,
    body: bytes::Bytes,
    is_head: bool,
    stream: Option<Stream>,
    buffer: Box<[u8]>,
    /// What the kernel is given to count into, and never writes to.
    unwritten: Box<[MaybeUninit<u8>]>,
}

/// How much of a request is written.
#[derive(Debug, Default)]
struct Sent {
    bytes: usize,
    flushed: bool,
    /// Nothing more is taken; there may be an answer that says why.
    broke: Option<io::Error>,
}

/// How much of an answer is read. What was read and not yet looked at is `buffer[from..to]`.
#[derive(Debug, Default)]
struct Read {
    from: usize,
    to: usize,
    head: Option<(Head, Body)>,
    /// Bytes of content.
    bytes: u64,
    /// The content's beginning, kept where a gateway says that it refused.
    kept: Vec<u8>,
}

impl Http1 {
    pub(crate) fn new(target: Arc<Target>, request: &Request, closing: Closing) -> Self {
        Self {
            target,
            closing,
            head: request.http1(closing),
            body: request.body.clone(),
            is_head: request.is_head(),
            stream: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            unwritten: Box::new_uninit_slice(COUNTED_BYTES_MAX),
        }
    }

    /// Sends the request and reads the answer, over a new connection if there is none.
    pub(crate) async fn exchange(&mut self) -> Result<Answer, Fault> {
        if !poll_fn(|cx| Poll::Ready(self.is_open(cx))).await {
            self.stream = None;
        }
        if self.stream.is_none() {
            let stream = self.target.connect().await.map_err(Fault::Connect)?;
            self.stream = Some(stream);
        }
        let (mut sent, mut read) = (Sent::default(), Read::default());
        let outcome = poll_fn(|cx| self.poll_exchange(cx, &mut sent, &mut read)).await;
        let whole = sent.flushed && read.from == read.to && outcome.is_ok();
        let closes = read.head.as_ref().is_none_or(|(head, _)| head.closes);
        match self.closing {
            Closing::Kept if whole && !closes => {}
            // It is waited for in `part`.
            Closing::Closed if whole && closes => {}
            Closing::Kept | Closing::Closed => self.stream = None,
        }
        outcome
    }

    /// Ends a connection that was to end behind its answer. The server closes first where it said
    /// it would, so that the ports of connections that are past are kept by it and not by us: the
    /// kernel gives them out again to whoever connects. Says whether there was one.
    pub(crate) async fn part(&mut self) -> bool {
        let Some(mut stream) = self.stream.take_if(|_| self.closing == Closing::Closed) else {
            return false;
        };
        let mut rest = ReadBuf::new(&mut self.buffer);
        let end = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut rest));
        // Whichever way it ends, it is over.
        let _closed = timeout(CLOSE_WAIT, end).await;
        true
    }

    /// Leaves the connection with what is under way on it.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// Whether the connection is still good for a request: a server may close it at any time while
    /// nothing is under way (RFC 9112 §9.5).
    fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        // Costs no system call where nothing has come.
        let mut rest = ReadBuf::new(&mut self.buffer);
        Pin::new(stream).poll_read(cx, &mut rest).is_pending()
    }

    /// Both ways at once: an answer may come before the request is written, and a server that
    /// answers with what it reads takes no more of the one while nobody reads the other.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        sent: &mut Sent,
        read: &mut Read,
    ) -> Poll<Result<Answer, Fault>> {
        self.poll_send(cx, sent);
        loop {
            if let Some(answer) = self.look(read)? {
                return Poll::Ready(Ok(answer));
            }
            match ready!(self.poll_more(cx, read)) {
                Ok(0) => return Poll::Ready(read.at_end(sent)),
                Ok(_) => {}
                Err(error) => {
                    return Poll::Ready(Err(Fault::Io(sent.broke.take().unwrap_or(error))));
                }
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, sent: &mut Sent) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        while !sent.flushed && sent.broke.is_none() {
            let head = self.head.get(sent.bytes..).unwrap_or_default();
            let written = if !head.is_empty() && self.body.is_empty() {
                Pin::new(&mut *stream).poll_write(cx, head)
            } else if !head.is_empty() {
                let pieces = [IoSlice::new(head), IoSlice::new(&self.body)];
                Pin::new(&mut *stream).poll_write_vectored(cx, &pieces)
            } else if let rest @ [_, ..] = &self.body[sent.bytes - self.head.len()..] {
                Pin::new(&mut *stream).poll_write(cx, rest)
            } else {
                let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(cx) else {
                    return;
                };
                sent.flushed = flushed.is_ok();
                sent.broke = flushed.err();
                return;
            };
            match written {
                Poll::Ready(Ok(bytes)) => sent.bytes += bytes,
                Poll::Ready(Err(error)) => sent.broke = Some(error),
                Poll::Pending => return,
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, read: &mut Read) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        if let (Stream::Plain(tcp), Some(left)) = (&*stream, read.uncounted()) {
            let bytes = ready!(poll_count(tcp, cx, &mut self.unwritten, *left))?;
            *left -= bytes as u64;
            read.bytes += bytes as u64;
            return Poll::Ready(Ok(bytes));
        }
        let mut room = ReadBuf::new(&mut self.buffer[read.to..]);
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let bytes = room.filled().len();
        read.to += bytes;
        Poll::Ready(Ok(bytes))
    }

    /// Looks at what was read; the answer once it is whole.
    fn look(&mut self, read: &mut Read) -> Result<Option<Answer>, Fault> {
        while read.head.is_none() {
            let Some(head) = head::scan(&self.buffer[read.from..read.to])? else {
                self.buffer.copy_within(read.from..read.to, 0);
                (read.from, read.to) = (0, read.to - read.from);
                return match read.to < self.buffer.len() {
                    true => Ok(None),
                    false => Err(Fault::HeadTooLong(self.buffer.len())),
                };
            };
            read.from += head.bytes;
            // What comes before the answer (RFC 9110 §15.2).
            if !(100..=199).contains(&head.status) {
                let length = if self.is_head {
                    Length::Bytes(0)
                } else {
                    head.length
                };
                read.head = Some((head, Body::new(length)));
            }
        }
        let Some((head, body)) = &mut read.head else {
            return Ok(None);
        };
        let is_kept = head.proxy_status.is_some();
        read.from += body.read(&self.buffer[read.from..read.to], |content| {
            read.bytes += content.len() as u64;
            if is_kept {
                let room = PROBLEM_BYTES_MAX.saturating_sub(read.kept.len());
                let start = &content[..content.len().min(room)];
                read.kept.extend_from_slice(start);
            }
        })?;
        if !body.is_whole() {
            (read.from, read.to) = (0, 0);
            return Ok(None);
        }
        match read.from == read.to {
            true => Ok(Some(read.answer())),
            false => Err(Fault::Surplus),
        }
    }
}

/// Reads at most `left` bytes and drops them.
fn poll_count(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    unwritten: &mut [MaybeUninit<u8>],
    left: u64,
) -> Poll<io::Result<usize>> {
    let most = usize::try_from(left).unwrap_or(usize::MAX);
    let most = most.min(unwritten.len());
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let count = || SockRef::from(tcp).recv_with_flags(&mut unwritten[..most], MSG_TRUNC);
        match tcp.try_io(Interest::READABLE, count) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            counted => return Poll::Ready(counted),
        }
    }
}

impl Read {
    /// How much of the body is left, where it need only be counted and is worth it.
    fn uncounted(&mut self) -> Option<&mut u64> {
        let Some((head, Body::Counted(left))) = &mut self.head else {
            return None;
        };
        let is_worth_it = *left >= COUNTED_BYTES_MIN && head.proxy_status.is_none();
        (cfg!(target_os = "linux") && is_worth_it).then_some(left)
    }

    /// Where the connection has ended.
    fn at_end(&mut self, sent: &mut Sent) -> Result<Answer, Fault> {
        match &self.head {
            Some((_, Body::ToEnd)) => Ok(self.answer()),
            Some(_) => Err(Fault::CutOff),
            None if self.to > 0 => Err(Fault::CutOff),
            None => Err(sent.broke.take().map_or(Fault::Unanswered, Fault::Io)),
        }
    }

    fn answer(&self) -> Answer {
        let head = self.head.as_ref().map(|(head, _)| head);
        let proxy_status = head.and_then(|head| head.proxy_status.as_deref());
        Answer {
            status: head.map_or(0, |head| head.status),
            bytes: self.bytes,
            refused: proxy_status.and_then(|status| Refused::read(status, &self.kept)),
        }
    }
}
