//! A client connection's life: from its first byte over its handshake and its protocol to its end.
//!
//! # Invariants
//!
//! Nothing is set aside for a client that has not spoken. Every wait has a limit: until HTTP is
//! spoken a timer's, from then on the sweep's, through the connection's [`Meter`].

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use super::caller::Caller;
use super::error::Reason;
use super::io::{Io, Meter, Patience, Signal};
use super::malformed::Malformed;
use super::serve;
use super::sweep::Side;
use super::worker::{Open, Worker};
use crate::config::{Limits, Timeouts};
use crate::directory::Settings;
use crate::logging::{self, Record};
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

/// One client connection, from its first byte to its last.
pub(super) async fn converse(worker: Arc<Worker>, socket: StdStream, _open: Open) {
    let settings = Arc::clone(&worker.directory().current().settings);
    // A connection that cannot even be set up is the client's loss alone, and not an error of
    // ours: it was reset, or never spoke.
    if let Ok((socket, caller)) = prepare(socket) {
        drop(shake_hands(&worker, socket, caller, &settings).await);
    }
}

async fn shake_hands(
    worker: &Arc<Worker>,
    socket: TcpStream,
    caller: Caller,
    settings: &Settings,
) -> io::Result<()> {
    let timeouts = &settings.timeouts;
    // Nothing is set aside for a client before it has spoken.
    tokio::select! {
        spoken = tokio::time::timeout(timeouts.head, socket.readable()) => spoken??,
        () = worker.grace() => return Ok(()),
    }
    let Some(tls) = &settings.tls else {
        return detect(worker, socket, caller, settings).await;
    };
    let stream = tokio::time::timeout(timeouts.handshake, tls.accept(socket)).await??;
    let caller = caller.over_tls(server::client_certificate(&stream));
    if server::chose_http2(&stream) {
        speak(
            worker,
            stream,
            Bytes::new(),
            Version::Http2,
            caller,
            settings,
        )
        .await;
        return Ok(());
    }
    detect(worker, stream, caller, settings).await
}

/// Reads just enough to tell HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1.1.
async fn detect<S>(
    worker: &Arc<Worker>,
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
    speak(worker, stream, replay, version, caller, settings).await;
    Ok(())
}

async fn speak<S>(
    worker: &Arc<Worker>,
    stream: S,
    replay: Bytes,
    version: Version,
    caller: Caller,
    settings: &Settings,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let meter = Meter::new(worker.tick.clone());
    let _watched = worker
        .sweep
        .watch(&meter, patience(&settings.timeouts), Side::Client);
    if worker.plane().is_draining() {
        meter.signal(Signal::Drain);
    }
    let malformed = Arc::new(Malformed::new(worker.next_request_id()));
    let mut io = Io::new(stream, replay, Arc::clone(&meter));
    if version == Version::Http11 {
        io = io.of_http1_client(Arc::clone(&malformed));
    }
    let io = TokioIo::new(io);
    let peer = caller.peer();
    let (at, caller) = (Arc::clone(&meter), Arc::new(caller));
    let server = Arc::clone(worker);
    let service = hyper::service::service_fn(move |request| {
        let answer = serve(server.clone(), caller.clone(), at.clone(), request);
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
        note_malformed(worker, &error, &malformed, peer);
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

/// The HTTP version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http11,
    Http2,
}

fn prepare(socket: StdStream) -> io::Result<(TcpStream, Caller)> {
    socket.set_nodelay(true)?;
    let caller = Caller::of(&socket)?;
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
