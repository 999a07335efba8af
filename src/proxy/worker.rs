//! A worker: one thread, one current-thread runtime, its share of the connections.
//!
//! # Shape
//!
//! The listener hands a worker accepted sockets as [`Message`]s. Each becomes a task that finds out
//! the protocol, serves it, and ends when the client, the sweep or the drain says so.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::error::Reason;
use super::io::{Io, Meter, Patience, Signal, Tick};
use super::listener::ClientSlot;
use super::malformed::Malformed;
use super::pool::Pool;
use super::sweep::{SWEEP_INTERVAL, Side, Sweep};
use super::{Plane, serve};
use crate::clock::Clock;
use crate::config::{Limits, Timeouts};
use crate::dial::Dialer;
use crate::directory::{Directory, PoolId, Settings};
use crate::logging::{self, Record};
use crate::metrics::{Series, WorkerCounters};
use crate::tls::server;

/// What begins every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests a client may send side by side on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// What a client may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send ahead on one HTTP/2 connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What is held for a client that reads slowly, per HTTP/2 stream, in bytes.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// The smallest buffer hyper accepts, in bytes.
const BUFFER_BYTES_MIN: usize = 8192;
/// How long an idle connection stays open in a drain, so that a request already on its
/// way is still answered.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// How long connections have to say that the gateway gave up.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A client has connected.
    Connected(StdStream, Open),
    /// No connector uses these pools any more.
    Retired(Arc<[PoolId]>),
    /// Say on every connection that no more requests are welcome.
    Drain,
    /// Close what idles; the listener takes nothing new.
    CloseIdle,
    /// Close everything and end.
    Stop,
}

/// One worker, as its own tasks and its siblings see it.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) pool: Pool,
    pub(crate) sweep: Arc<Sweep>,
    pub(crate) tick: Tick,
    plane: Arc<Plane>,
    /// Weak, or workers would keep each other, and the secrets they can reach, for ever.
    siblings: OnceLock<Box<[Weak<Worker>]>>,
    /// Whether what idles is to be closed.
    closing_idle: watch::Sender<bool>,
    stopping: AtomicBool,
    request_ids: RequestIds,
}

/// Its number alone: workers know their siblings and are known by their connections, so showing
/// what they hold would never end.
impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end of a client connection.
#[derive(Debug)]
pub(crate) struct Caller {
    peer: SocketAddr,
    local: SocketAddr,
    certificate: Option<Box<[u8]>>,
    tls: bool,
}

impl Caller {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn shows_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The element for `Forwarded` (RFC 7239 §4).
    pub(crate) fn forwarded(&self) -> Option<HeaderValue> {
        let proto = if self.tls { "https" } else { "http" };
        let text = match self.peer.ip().to_canonical() {
            std::net::IpAddr::V4(address) => format!("for={address};proto={proto}"),
            std::net::IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

/// Makes request IDs: version 7 UUIDs (RFC 9562 §5.7) from a random start, without a system call
/// for each.
#[derive(Debug)]
struct RequestIds {
    next: AtomicU64,
    fixed: [u8; 2],
}

impl RequestIds {
    fn new() -> Self {
        let random = uuid::Uuid::new_v4().into_bytes();
        let (start, rest) = random.split_at(8);
        Self {
            next: AtomicU64::new(start.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
            fixed: [rest[0], rest[1]],
        }
    }

    fn next(&self, clock: &Clock) -> HeaderValue {
        // An odd constant walks through every value before one comes again.
        let serial = self
            .next
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&serial.to_be_bytes());
        random[8..].copy_from_slice(&self.fixed);
        let since_epoch = clock.wall().duration_since(std::time::UNIX_EPOCH);
        let ms = since_epoch.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let id = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

impl Worker {
    pub(crate) fn new(index: usize, plane: Arc<Plane>) -> Self {
        Self {
            index,
            pool: Pool::default(),
            sweep: Arc::new(Sweep::default()),
            tick: Tick::default(),
            plane,
            siblings: OnceLock::new(),
            closing_idle: watch::Sender::new(false),
            stopping: AtomicBool::new(false),
            request_ids: RequestIds::new(),
        }
    }

    /// Makes the workers known to each other.
    pub(crate) fn introduce(workers: &Arc<[Arc<Self>]>) {
        for worker in workers.iter() {
            worker
                .siblings
                .get_or_init(|| workers.iter().map(Arc::downgrade).collect());
        }
    }

    /// The other workers.
    pub(crate) fn siblings(&self) -> impl Iterator<Item = Arc<Self>> {
        let all = self.siblings.get().into_iter().flatten();
        all.filter_map(Weak::upgrade)
            .filter(|other| other.index != self.index)
    }

    pub(crate) fn plane(&self) -> &Plane {
        &self.plane
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.plane.clock
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.plane.dialer
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.plane.directory
    }

    pub(crate) fn counters(&self) -> &WorkerCounters {
        self.plane.metrics.worker(self.index)
    }

    pub(crate) fn unknown_series(&self) -> Arc<Series> {
        Arc::clone(&self.plane.unknown)
    }

    /// Writes a request down, without waiting for whoever reads the log.
    pub(crate) fn write_record(&self, record: Record) {
        self.plane.access_log.write(record, self.counters());
    }

    pub(crate) fn next_request_id(&self) -> HeaderValue {
        self.request_ids.next(&self.plane.clock)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Serves until told to stop, then until the last connection has ended or `stop` said so.
    pub(crate) async fn run(self: Arc<Self>, mut messages: mpsc::UnboundedReceiver<Message>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = sweep.tick() => {
                    self.look_around();
                    continue;
                }
            };
            match message {
                Some(Message::Connected(socket, open)) => {
                    let worker = Arc::clone(&self);
                    tokio::spawn(async move { worker.converse(socket, open).await });
                }
                Some(Message::Retired(pools)) => self.pool.retire(&pools),
                Some(Message::Drain) => self.sweep.signal_clients(Signal::Drain),
                Some(Message::CloseIdle) => {
                    self.closing_idle.send_replace(true);
                }
                Some(Message::Stop) | None => break,
            }
        }
        self.stopping.store(true, Ordering::Release);
        self.sweep.signal_clients(Signal::Stop);
        // Their tasks have a last word to say before the runtime drops them.
        drop(tokio::time::timeout(LAST_WORDS, self.sweep.emptied()).await);
        self.pool.clear();
    }

    fn look_around(&self) {
        let now = self.clock().monotonic();
        self.tick.set(now);
        self.sweep.run();
        if *self.closing_idle.borrow() {
            self.sweep.close_idle_clients(DRAIN_GRACE);
        }
        self.pool.sweep(now);
    }

    /// One client connection, from its first byte to its last.
    async fn converse(self: Arc<Self>, socket: StdStream, _open: Open) {
        let settings = Arc::clone(&self.directory().current().settings);
        // A connection that cannot even be set up is the client's loss alone, and not an error of
        // ours: it was reset, or never spoke.
        if let Ok((socket, caller)) = prepare(socket) {
            drop(self.shake_hands(socket, caller, &settings).await);
        }
    }

    async fn shake_hands(
        self: &Arc<Self>,
        socket: TcpStream,
        mut caller: Caller,
        settings: &Settings,
    ) -> io::Result<()> {
        let timeouts = &settings.timeouts;
        // Nothing is set aside for a client before it has spoken.
        tokio::select! {
            spoken = tokio::time::timeout(timeouts.head, socket.readable()) => spoken??,
            () = self.grace() => return Ok(()),
        }
        let Some(tls) = &settings.tls else {
            return self.detect(socket, caller, settings).await;
        };
        let stream = tokio::time::timeout(timeouts.handshake, tls.accept(socket)).await??;
        caller.tls = true;
        caller.certificate = server::client_certificate(&stream).map(Into::into);
        if server::chose_http2(&stream) {
            self.speak(stream, Bytes::new(), Version::Http2, caller, settings)
                .await;
            return Ok(());
        }
        self.detect(stream, caller, settings).await
    }

    /// Returns when a connection that has not spoken yet is to be closed.
    async fn grace(&self) {
        let mut closing_idle = self.closing_idle.subscribe();
        // The sender is this worker's own.
        drop(closing_idle.wait_for(|closing| *closing).await);
        tokio::time::sleep(DRAIN_GRACE).await;
    }

    /// Reads just enough to tell HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1.1.
    async fn detect<S>(
        self: &Arc<Self>,
        mut stream: S,
        caller: Caller,
        settings: &Settings,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut start = [0; PREFACE.len()];
        let mut have = 0;
        let reading = async {
            while have < start.len() && start[..have] == PREFACE[..have] {
                match stream.read(&mut start[have..]).await? {
                    0 => break,
                    count => have += count,
                }
            }
            io::Result::Ok(())
        };
        tokio::time::timeout(settings.timeouts.handshake, reading).await??;
        let version = match &start == PREFACE {
            true => Version::Http2,
            false => Version::Http11,
        };
        let replay = Bytes::copy_from_slice(&start[..have]);
        self.speak(stream, replay, version, caller, settings).await;
        Ok(())
    }

    async fn speak<S>(
        self: &Arc<Self>,
        stream: S,
        replay: Bytes,
        version: Version,
        caller: Caller,
        settings: &Settings,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let meter = Meter::new(self.tick.clone());
        let _watched = self
            .sweep
            .watch(&meter, patience(&settings.timeouts), Side::Client);
        if self.plane.is_draining() {
            meter.signal(Signal::Drain);
        }
        let malformed = Arc::new(Malformed::new(self.next_request_id()));
        let mut io = Io::new(stream, replay, Arc::clone(&meter));
        if version == Version::Http11 {
            io = io.of_http1_client(Arc::clone(&malformed));
        }
        let io = TokioIo::new(io);
        let peer = caller.peer();
        let (worker, caller) = (Arc::clone(self), Arc::new(caller));
        let at = Arc::clone(&meter);
        let service = hyper::service::service_fn(move |request| {
            let answer = serve(worker.clone(), caller.clone(), at.clone(), request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let ended = match version {
            Version::Http11 => {
                let connection = http1_builder(&settings.limits).serve_connection(io, service);
                attend(connection, &meter, None).await
            }
            Version::Http2 => {
                let connection = http2_builder(&settings.limits).serve_connection(io, service);
                attend(
                    connection,
                    &meter,
                    Some(http2::Connection::graceful_shutdown),
                )
                .await
            }
        };
        if let Err(error) = ended {
            self.note_malformed(&error, &malformed, peer);
        }
    }

    /// Counts and writes down what hyper refused on its own, before there was a request to observe.
    fn note_malformed(&self, error: &hyper::Error, words: &Malformed, peer: SocketAddr) {
        let reason = match (error.is_parse_too_large(), error.is_parse()) {
            (true, _) => Reason::HeadTooLarge,
            (false, true) => Reason::BadRequest,
            (false, false) => return,
        };
        let row = reason.row();
        self.plane.unknown.refused(self.index, row.name);
        let access = self.directory().current().settings.access;
        if logging::wants(access, row.status, Some(row.name)) {
            self.write_record(Record {
                at: self.clock().wall(),
                request_id: words.request_id().into(),
                connector: "none".into(),
                method: http::Method::default(),
                path: Box::default(),
                status: row.status,
                refusal: Some(row.name),
                cause: Some(logging::with_sources(error).into()),
                duration: Duration::ZERO,
                upstream_duration: None,
                request_bytes: 0,
                response_bytes: 0,
                peer,
                protocol: http::Version::HTTP_11,
            });
        }
    }
}

/// The HTTP version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http11,
    Http2,
}

/// Counts a client connection with its worker as long as it is open, and a panic that ended it.
#[derive(Debug)]
pub(crate) struct Open {
    worker: Arc<Worker>,
    _slot: ClientSlot,
}

impl Open {
    pub(crate) fn new(worker: &Arc<Worker>, slot: ClientSlot) -> Self {
        worker.counters().connection_opened();
        Self {
            worker: Arc::clone(worker),
            _slot: slot,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.counters().connection_closed();
        if std::thread::panicking() {
            self.worker.counters().panicked();
        }
    }
}

fn prepare(socket: StdStream) -> io::Result<(TcpStream, Caller)> {
    socket.set_nodelay(true)?;
    let caller = Caller {
        peer: socket.peer_addr()?,
        local: socket.local_addr()?,
        certificate: None,
        tls: false,
    };
    Ok((TcpStream::from_std(socket)?, caller))
}

fn patience(timeouts: &Timeouts) -> Patience {
    Patience {
        head: timeouts.head,
        idle: timeouts.idle,
        write: timeouts.write,
    }
}

/// Time limits are the sweep's, not hyper's: its header timer also runs on idle connections.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(limits.fields_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max.max(BUFFER_BYTES_MIN));
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(head_bytes_max)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    builder
}

/// Serves a client connection under the sweep's and the drain's orders.
///
/// HTTP/2 says `farewell` (RFC 9113 §6.8) once, when it drains and before it is closed for idling:
/// a request that is on the wire by then is still answered. HTTP/1.1 has none but an answer's
/// `Connection: close`; shutting it down here would drop a request that is on the wire.
async fn attend<C>(
    connection: C,
    meter: &Meter,
    mut farewell: Option<fn(Pin<&mut C>)>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(connection);
    std::future::poll_fn(|cx| {
        match meter.asked(cx) {
            Signal::Close => {
                let idle = meter.carries_nothing();
                if idle && let Some(say) = farewell.take() {
                    say(connection.as_mut());
                    meter.keep_open();
                    return connection.as_mut().poll(cx);
                }
                // What arrived since the sweep looked is a request that must not be lost.
                let polled = connection.as_mut().poll(cx);
                if polled.is_pending() && idle && !meter.carries_nothing() {
                    meter.keep_open();
                    return Poll::Pending;
                }
                return Poll::Ready(Ok(()));
            }
            Signal::Stop => {
                // Requests in flight are answered with 503 in this poll.
                let _answered = connection.as_mut().poll(cx);
                return Poll::Ready(Ok(()));
            }
            Signal::Drain => {
                if let Some(say) = farewell.take() {
                    say(connection.as_mut());
                }
            }
            Signal::None => {}
        }
        connection.as_mut().poll(cx)
    })
    .await
}
