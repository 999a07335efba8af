//! A client connection's life: from its first byte over its handshake and its protocol to its end.
//!
//! # Invariants
//!
//! Nothing is set aside for a client that has not spoken. Every wait has a limit, which is the
//! sweep's: the connection's [`Meter`] is in its sight from the start.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::caller::{Caller, Visit};
use super::error::Reason;
use super::greeting::{Greeted, Version, greet};
use super::io::Io;
use super::malformed::Malformed;
use super::meter::{Meter, Patience, Signal};
use super::serve;
use super::sweep::Side;
use super::worker::{Open, Worker};
use crate::config::{Limits, Timeouts};
use crate::directory::Settings;
use crate::logging::{self, Record};
use crate::tls::server::{self, ServerIdentity};

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

/// One client connection, from its first byte to its last.
pub(super) async fn converse(worker: Arc<Worker>, socket: StdStream, _open: Open) {
    let settings = Arc::clone(&worker.directory().current().settings);
    // The sweep may have looked long ago, by the clock: a new client's time begins now.
    worker.tick.set(worker.clock().monotonic());
    let meter = Meter::new(worker.tick.clone());
    let patience = patience(&settings.timeouts);
    let _watched = worker.sweep.watch(&meter, patience, Side::Client);
    if worker.plane().is_draining() {
        meter.signal(Signal::Drain);
    }
    let conversation = Conversation {
        worker,
        settings,
        meter,
    };
    // A connection that cannot even be set up is the client's loss alone, and not an error of
    // ours: it was reset, or never spoke.
    if let Ok((socket, caller)) = prepare(socket) {
        drop(conversation.hold(socket, caller).await);
    }
}

/// What a client connection is served with.
struct Conversation {
    worker: Arc<Worker>,
    settings: Arc<Settings>,
    meter: Arc<Meter>,
}

impl Conversation {
    /// Each stage is boxed: a task is as large as its largest, and most slow clients never leave
    /// the first.
    async fn hold(&self, socket: TcpStream, caller: Caller) -> io::Result<()> {
        self.while_patient(socket.readable()).await?;
        self.meter.spoke();
        let peer = caller.peer();
        let malformed = Arc::new(Malformed::new(
            self.worker.next_request_id(self.worker.clock().monotonic()),
        ));
        let served = match &self.settings.tls {
            None => {
                let greeted = Box::pin(self.while_patient(greet(socket, &self.meter))).await?;
                self.serve(greeted, caller, &malformed)
            }
            Some(tls) => Box::pin(self.hold_tls(tls, socket, caller, &malformed)).await?,
        };
        if let Err(error) = served.await {
            note_malformed(&self.worker, &error, &malformed, peer);
        }
        Ok(())
    }

    async fn hold_tls(
        &self,
        tls: &ServerIdentity,
        socket: TcpStream,
        caller: Caller,
        malformed: &Arc<Malformed>,
    ) -> io::Result<Served> {
        let stream = Box::pin(self.while_patient(tls.accept(socket))).await?;
        let caller = caller.over_tls(server::client_certificate(&stream));
        self.meter.shaken();
        let greeted = match server::chose_http2(&stream) {
            true => Greeted {
                stream,
                replay: Bytes::new(),
                version: Version::Http2,
            },
            false => Box::pin(self.while_patient(greet(stream, &self.meter))).await?,
        };
        Ok(self.serve(greeted, caller, malformed))
    }

    /// Awaits `future`, unless the sweep or the drain ends the connection before.
    async fn while_patient<T>(&self, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            match self.meter.asked(cx) {
                Signal::None | Signal::Drain => Poll::Pending,
                Signal::Close | Signal::Stop => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        })
        .await
    }

    fn serve<S>(
        &self,
        Greeted {
            stream,
            replay,
            version,
        }: Greeted<S>,
        caller: Caller,
        malformed: &Arc<Malformed>,
    ) -> Served
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.meter.greeted();
        let limits = &self.settings.limits;
        let visit = Arc::new(Visit {
            worker: Arc::clone(&self.worker),
            caller,
            meter: Arc::clone(&self.meter),
        });
        let visited = Arc::clone(&visit);
        let service = hyper::service::service_fn(move |request| serve(&visited, request));
        let io = Io::new(stream, replay, Arc::clone(&self.meter));
        match version {
            Version::Http11 => {
                let io = TokioIo::new(io.of_http1_client(Arc::clone(malformed)));
                let mut connection = Box::pin(http1_builder(limits).serve_connection(io, service));
                Box::pin(async move {
                    let ended = attend(connection.as_mut(), &visit.meter, None).await;
                    let tunnel = visit.caller.take_tunnel();
                    if let (Ok(()), Some(tunnel)) = (&ended, tunnel) {
                        let parts = Pin::into_inner(connection).into_parts();
                        let client = parts.io.into_inner().into_tunnel(parts.read_buf);
                        // Boxed: nearly all connections never carry one.
                        Box::pin(tunnel.carry(&visit.worker, client, &visit.meter)).await;
                    }
                    ended
                })
            }
            Version::Http2 => {
                let io = TokioIo::new(io);
                let mut connection = Box::pin(http2_builder(limits).serve_connection(io, service));
                let farewell = http2::Connection::graceful_shutdown;
                Box::pin(
                    async move { attend(connection.as_mut(), &visit.meter, Some(farewell)).await },
                )
            }
        }
    }
}

/// A connection that speaks HTTP, until it has ended.
type Served = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Counts and writes down what hyper refused on its own, before there was a request to observe.
fn note_malformed(worker: &Worker, error: &hyper::Error, words: &Malformed, peer: SocketAddr) {
    let reason = match (error.is_parse_too_large(), error.is_parse()) {
        (true, _) => Reason::HeadTooLarge,
        (false, true) => Reason::BadRequest,
        (false, false) => return,
    };
    let row = reason.row();
    worker.plane().unknown.refused(worker.index, row.name);
    let access = worker.directory().current().settings.access;
    if logging::wants(access, row.status, Some(row.name)) {
        worker.write_record(Record {
            at: worker.clock().wall(),
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

fn prepare(socket: StdStream) -> io::Result<(TcpStream, Caller)> {
    socket.set_nodelay(true)?;
    let caller = Caller::of(&socket)?;
    Ok((TcpStream::from_std(socket)?, caller))
}

fn patience(timeouts: &Timeouts) -> Patience {
    Patience {
        handshake: timeouts.handshake,
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
    mut connection: Pin<&mut C>,
    meter: &Meter,
    mut farewell: Option<fn(Pin<&mut C>)>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    poll_fn(|cx| {
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
