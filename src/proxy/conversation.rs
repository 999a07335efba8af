//! A client connection's life: from its first byte over its handshake and its protocol to its end.
//!
//! # Invariants
//!
//! Nothing is set aside for a client that has not spoken. Every wait has a limit, which is the
//! sweep's: the connection's [`Meter`] is in its sight from the start.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::caller::{Caller, Visit};
use super::certified::Certified;
use super::error::Reason;
use super::greeting::{Greeted, Version, greet};
use super::io::Io;
use super::malformed::Malformed;
use super::meter::{Meter, Patience, Signal};
use super::sweep::Side;
use super::worker::{Open, Worker};
use super::{rest, serve};
use crate::config::{Limits, Timeouts};
use crate::directory::Settings;
use crate::logging::{self, Record};
use crate::proxy_protocol::{Ends, Refused};
use crate::tls::server::{self, ServerIdentity};

/// Requests a client may send side by side on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Requests that a client may take back before they were looked at, at once (RFC 9113 §10.5;
/// CVE-2023-44487). One more and its connection ends.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that a client may make the gateway reset, by what it sends on them, in the whole life of
/// a connection (CVE-2025-8671): such a stream is none of the [`STREAMS_MAX`] any more, while its
/// request may still be on its way.
const PROVOKED_RESETS_MAX: usize = 2 * STREAMS_MAX as usize;
/// What a client may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send ahead on one HTTP/2 connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What is held for a client that reads slowly, per HTTP/2 stream, in bytes.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// The smallest buffer hyper accepts, in bytes.
const BUFFER_BYTES_MIN: usize = 8192;

/// One client connection, from its first byte to its last.
///
/// Until the first byte, the task holds the socket and what the sweep needs, and nothing else: each
/// later stage is boxed, for a task is as large as its largest. No `async fn`, which would hold its
/// arguments twice.
pub(super) fn converse(
    worker: &Arc<Worker>,
    socket: TcpStream,
    open: Open,
) -> impl Future<Output = ()> + Send + use<> {
    let settings = Arc::clone(&worker.directory().current().settings);
    // The sweep may have looked long ago, by the clock: a new client's time begins now.
    worker.tick.set(worker.clock().monotonic());
    let meter = Meter::new(worker.tick.clone());
    let patience = patience(&settings.timeouts);
    let watched = worker.sweep.watch(&meter, patience, Side::Client);
    if worker.plane().is_draining() {
        meter.signal(Signal::Drain);
    }
    let conversation = Conversation {
        worker: Arc::clone(worker),
        settings,
        meter,
    };
    async move {
        if conversation.admit(&socket).is_err() {
            return;
        }
        let spoken = poll_fn(|cx| socket.poll_read_ready(cx));
        if while_patient(&conversation.meter, spoken).await.is_err() {
            return;
        }
        conversation.meter.spoke();
        let served = match conversation.settings.inbound.balancers {
            None => Box::pin(conversation.begin(socket, None)).await,
            Some(_) => Box::pin(conversation.begin_behind_balancer(socket)).await,
        };
        if let Ok(served) = served {
            served.await;
        }
        drop((watched, open));
    }
}

/// What a client connection is served with.
struct Conversation {
    worker: Arc<Worker>,
    settings: Arc<Settings>,
    meter: Arc<Meter>,
}

/// A connection that speaks HTTP, until it has ended.
type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Conversation {
    /// Lets `socket` in, unless it should come from a balancer and does not.
    fn admit(&self, socket: &TcpStream) -> Result<(), Refused> {
        let doorkeeper = &self.worker.plane().doorkeeper;
        let balancers = self.settings.inbound.balancers.as_ref();
        balancers.map_or(Ok(()), |balancers| doorkeeper.admit(socket, balancers))
    }

    /// From the first byte of a balancer to HTTP with the client behind it.
    async fn begin_behind_balancer(&self, mut socket: TcpStream) -> io::Result<Served> {
        let doorkeeper = &self.worker.plane().doorkeeper;
        let ends = {
            let introduction = pin!(async { Ok(doorkeeper.introduce(&mut socket).await?) });
            while_patient(&self.meter, introduction).await?
        };
        // The balancer has spoken, and not yet the client. What the runtime knows of the socket is
        // that there was something to read, so the socket itself is asked.
        self.meter.shaken();
        {
            let mut first = [0];
            let spoken = pin!(socket.peek(&mut first));
            while_patient(&self.meter, spoken).await?;
        }
        self.meter.spoke();
        Box::pin(self.begin(socket, Some(ends))).await
    }

    /// From the first byte to HTTP; `ends` are the socket's own unless a balancer named others.
    async fn begin(&self, socket: TcpStream, ends: Option<Ends>) -> io::Result<Served> {
        let caller = match ends {
            None => Caller::of(&socket)?,
            Some(ends) => Caller::between(ends),
        };
        match &self.settings.tls {
            None => {
                let greeting = pin!(greet(socket, &self.meter));
                let greeted = while_patient(&self.meter, greeting).await?;
                Ok(self.serve(greeted, caller))
            }
            Some(tls) => Box::pin(self.begin_tls(tls, socket, caller)).await,
        }
    }

    async fn begin_tls(
        &self,
        tls: &ServerIdentity,
        socket: TcpStream,
        caller: Caller,
    ) -> io::Result<Served> {
        let shaken = while_patient(&self.meter, Box::pin(tls.accept(socket))).await;
        let stream = shaken.inspect_err(|error| self.tell(caller.peer(), error))?;
        let shown = server::shown(&stream);
        let certified = shown.map(|shown| Certified::new(shown, tls.generation()));
        let caller = caller.over_tls(certified);
        self.meter.shaken();
        let greeted = match server::chose_http2(&stream) {
            true => Greeted {
                stream,
                replay: Bytes::new(),
                version: Version::Http2,
            },
            false => {
                let greeting = Box::pin(greet(stream, &self.meter));
                while_patient(&self.meter, greeting).await?
            }
        };
        Ok(self.serve(greeted, caller))
    }

    /// Tells of a handshake that failed, if it was not the drain's end that cut it off.
    fn tell(&self, peer: SocketAddr, error: &io::Error) {
        let plane = self.worker.plane();
        if !(plane.is_draining() && error.kind() == io::ErrorKind::TimedOut) {
            plane.doorkeeper.handshake_failed(peer, error);
        }
    }

    fn serve<S>(&self, greeted: Greeted<S>, caller: Caller) -> Served
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.meter.greeted();
        let now = self.worker.clock().monotonic();
        let malformed = Arc::new(Malformed::new(self.worker.next_request_id(now)));
        let visit = Arc::new(Visit {
            worker: Arc::clone(&self.worker),
            caller,
            meter: Arc::clone(&self.meter),
        });
        let io = Io::new(greeted.stream, greeted.replay, Arc::clone(&self.meter));
        let visited = Arc::clone(&visit);
        let service = hyper::service::service_fn(move |request| serve(&visited, request));
        match greeted.version {
            Version::Http11 => {
                let mut io = io.of_http1_client(Arc::clone(&malformed));
                if self.settings.tls.is_none() {
                    io = io.without_encryption();
                }
                let settings = Arc::clone(&self.settings);
                let speak = move |io, service| {
                    let io = TokioIo::new(io);
                    Box::pin(http1_builder(&settings.limits).serve_connection(io, service))
                };
                let connection = speak(io, service);
                Box::pin(async move {
                    let (ended, connection) = rest::serve(connection, speak, &visit.meter).await;
                    let tunnel = visit.caller.take_tunnel();
                    if let (Ok(()), Some(connection), Some(tunnel)) = (&ended, connection, tunnel) {
                        let client = rest::leave_http(connection);
                        // Boxed: nearly all connections never carry one.
                        Box::pin(tunnel.carry(client, &visit)).await;
                    }
                    if let Err(error) = ended {
                        note_malformed(&visit.worker, &error, &malformed, visit.caller.peer());
                    }
                })
            }
            Version::Http2 => {
                let builder = http2_builder(&self.settings.limits);
                let mut connection = Box::pin(builder.serve_connection(TokioIo::new(io), service));
                let farewell = http2::Connection::graceful_shutdown;
                Box::pin(async move {
                    drop(attend(connection.as_mut(), &visit.meter, Some(farewell)).await);
                })
            }
        }
    }
}

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
            texts: logging::Texts::of(words.request_id(), "none", None, ""),
            key: None,
            method: http::Method::default(),
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
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(PROVOKED_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    builder
}

/// Awaits `future`, unless the sweep or the drain ends the connection before.
pub(super) fn while_patient<T>(
    meter: &Meter,
    mut future: impl Future<Output = io::Result<T>> + Unpin,
) -> impl Future<Output = io::Result<T>> {
    poll_fn(move |cx| {
        if let Poll::Ready(outcome) = future.poll_unpin(cx) {
            return Poll::Ready(outcome);
        }
        match meter.asked(cx) {
            Signal::None | Signal::Rest | Signal::Drain => Poll::Pending,
            Signal::Close | Signal::Stop => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    })
}

/// Why a connection is no longer attended to.
#[derive(Debug)]
pub(super) enum Attended {
    /// It has ended.
    Ended(hyper::Result<()>),
    /// Nothing is asked on it, and nothing is left of an earlier request or answer.
    Rests,
}

/// Serves a client connection under the sweep's and the drain's orders.
///
/// HTTP/2 says `farewell` (RFC 9113 §6.8) once, when it drains and before it is closed for idling:
/// a request that is on the wire by then is still answered. HTTP/1.1 has none but an answer's
/// `Connection: close`; shutting it down here would drop a request that is on the wire.
pub(super) async fn attend<C>(
    mut connection: Pin<&mut C>,
    meter: &Meter,
    mut farewell: Option<fn(Pin<&mut C>)>,
) -> Attended
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
                    return connection.as_mut().poll(cx).map(Attended::Ended);
                }
                // What arrived since the sweep looked is a request that must not be lost.
                let polled = connection.as_mut().poll(cx);
                if polled.is_pending() && idle && !meter.carries_nothing() {
                    meter.keep_open();
                    return Poll::Pending;
                }
                return Poll::Ready(Attended::Ended(Ok(())));
            }
            Signal::Stop => {
                // Requests in flight are answered with 503 in this poll.
                let _answered = connection.as_mut().poll(cx);
                return Poll::Ready(Attended::Ended(Ok(())));
            }
            Signal::Rest => {
                // What has arrived since the sweep looked is carried first.
                let polled = connection.as_mut().poll(cx);
                if polled.is_pending() && meter.begin_rest() {
                    return Poll::Ready(Attended::Rests);
                }
                return polled.map(Attended::Ended);
            }
            Signal::Drain => {
                if let Some(say) = farewell.take() {
                    say(connection.as_mut());
                }
            }
            Signal::None => {}
        }
        connection.as_mut().poll(cx).map(Attended::Ended)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of_future<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_has_not_spoken_is_a_small_task() {
        let bytes =
            bytes_of_future(|worker: Arc<Worker>, socket, open| converse(&worker, socket, open));

        assert!(bytes <= 144, "{bytes} bytes");
    }
}
