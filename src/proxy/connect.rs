//! HTTP on a new stream to an origin, and the task that drives it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::io::Io;
use super::lease::{Bare, Carrier, Gauge, Http1, Link, STREAMS_MAX, Shared};
use super::meter::{Meter, Patience, Signal};
use super::sweep::{Registration, Side};
use super::worker::Worker;
use crate::dial::{Dialed, Protocol};
use crate::directory::{ConnectionPermit, Entry};

/// The most fields of an origin's answer: as many as hyper reads without memory of its own for them.
const ANSWER_FIELDS_MAX: usize = 100;
/// The largest head of an origin's answer, in bytes.
const ANSWER_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// The read and write buffer of an HTTP/1.1 connection, in bytes.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// What an origin may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What an origin may send ahead on one HTTP/2 connection, in bytes: as much as on all its streams
/// together, or a few clients that take nothing would keep it from the others (RFC 9113 §5.2.2).
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX as u32 * STREAM_WINDOW_BYTES;
/// How often a silent HTTP/2 connection with requests on it is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a ping's answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts HTTP on a stream and starts the task that drives it.
pub(super) async fn open(
    worker: &Arc<Worker>,
    entry: &Entry,
    dialed: Dialed,
    permit: ConnectionPermit,
) -> hyper::Result<Carrier> {
    let (meter, watch) = watch(worker, entry);
    let resolved_at = dialed.resolved_at;
    let io = Io::new(dialed.stream, Bytes::new(), Arc::clone(&meter));
    let link = |task| link(worker, entry, &meter, (task, resolved_at));
    match dialed.protocol {
        Protocol::Http11 => {
            let io = TokioIo::new(io.of_http1_origin());
            let (sender, connection) = http1_builder().handshake(io).await?;
            let task = drive(connection, &meter, |_| {}, (permit, watch));
            Ok(Carrier::Http1(Box::new(Http1 {
                sender,
                link: link(task),
                gauge: Gauge::new(&entry.state, worker.index),
                alarm: None,
            })))
        }
        Protocol::Http2 => {
            let io = TokioIo::new(io.of_http2_origin());
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(ANSWER_HEAD_BYTES_MAX)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(io)
                .await?;
            let streams_allowed = Arc::new(AtomicUsize::new(STREAMS_MAX));
            let allowed = Arc::clone(&streams_allowed);
            let note = move |connection: &http2::Connection<_, _, _>| {
                allowed.store(connection.current_max_send_streams(), Ordering::Release);
            };
            let task = drive(connection, &meter, note, (permit, watch));
            let shared = Shared::with_one_stream(sender, link(task), streams_allowed);
            let shared = Arc::new(shared);
            Ok(Carrier::Http2(shared, Arc::clone(&entry.state)))
        }
    }
}

/// From when a connection's age counts: from the look-up of its address, so that a change of address
/// is followed within `age_max`; but not by more than half of it, lest an old answer make every
/// connection a short one.
fn birth(resolved_at: Duration, now: Duration, age_max: Duration) -> Duration {
    resolved_at.max(now.saturating_sub(age_max / 2))
}

/// Puts HTTP/1.1 on a stream for one request alone. If both sides leave HTTP with it, the stream
/// comes back through the receiver.
pub(super) async fn open_alone(
    worker: &Arc<Worker>,
    entry: &Entry,
    dialed: Dialed,
    permit: ConnectionPermit,
) -> hyper::Result<(Carrier, oneshot::Receiver<Bare>)> {
    let (meter, watch) = watch(worker, entry);
    let io = Io::new(dialed.stream, Bytes::new(), Arc::clone(&meter)).of_http1_origin();
    let io = TokioIo::new(io);
    let (sender, mut connection) = http1_builder().handshake(io).await?;
    let (give, bare) = oneshot::channel();
    let task = {
        let meter = Arc::clone(&meter);
        tokio::spawn(async move {
            let ended = poll_fn(|cx| match meter.asked(cx) {
                Signal::Close | Signal::Stop => Poll::Ready(false),
                Signal::None | Signal::Rest | Signal::Drain => {
                    Pin::new(&mut connection).poll(cx).map(|end| end.is_ok())
                }
            });
            // hyper forgets what it has not written yet when it gives a stream back.
            if ended.await && !meter.is_blocked() {
                let parts = connection.into_parts();
                // Nobody takes it where HTTP was spoken to the end.
                drop(give.send(Bare {
                    io: parts.io.into_inner(),
                    read_ahead: parts.read_buf,
                    meter,
                    _held: (permit, watch),
                }));
            }
        })
    };
    let link = link(
        worker,
        entry,
        &meter,
        (task.abort_handle(), dialed.resolved_at),
    );
    let gauge = Gauge::new(&entry.state, worker.index);
    let http1 = Http1 {
        sender,
        link,
        gauge,
        alarm: None,
    };
    Ok((Carrier::Http1(Box::new(http1)), bare))
}

/// A new connection's meter, in the sweep.
///
/// Between requests the pool decides how long a connection lives, and the answer's head has an
/// exact limit of its own; only an origin that takes nothing is the sweep's matter.
fn watch(worker: &Arc<Worker>, entry: &Entry) -> (Arc<Meter>, Registration) {
    let meter = Meter::new(worker.tick.clone());
    let patience = Patience {
        handshake: Duration::MAX,
        head: Duration::MAX,
        idle: Duration::MAX,
        write: entry.connector.upstream.stall_timeout,
    };
    let watch = worker.sweep.watch(&meter, patience, Side::Upstream);
    (meter, watch)
}

/// What a new connection is, driven by `task` since its origin's name was looked up.
fn link(
    worker: &Arc<Worker>,
    entry: &Entry,
    meter: &Arc<Meter>,
    (task, resolved_at): (AbortHandle, Duration),
) -> Link {
    let limits = &entry.connector.upstream;
    let now = worker.clock().monotonic();
    Link {
        pool: entry.upstream.pool,
        retired: entry.upstream.retired.clone(),
        owner: Arc::clone(&entry.state),
        home: Arc::clone(worker),
        meter: Arc::clone(meter),
        task,
        born: birth(resolved_at, now, limits.age_max),
        age_max: limits.age_max,
        idle_timeout: limits.idle_timeout,
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(ANSWER_FIELDS_MAX)
        .max_header_size(ANSWER_HEAD_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// Drives `connection` until it ends or the sweep says so, and lets `note` look at it each time it
/// has moved; `held` is given up with it.
fn drive<C, H>(
    connection: C,
    meter: &Arc<Meter>,
    note: impl Fn(&C) + Send + Sync + 'static,
    held: H,
) -> AbortHandle
where
    C: Future<Output = hyper::Result<()>> + Send + 'static,
    H: Send + 'static,
{
    let meter = Arc::clone(meter);
    let task = tokio::spawn(async move {
        let _held = held;
        tokio::pin!(connection);
        poll_fn(|cx| match meter.asked(cx) {
            Signal::Close | Signal::Stop => Poll::Ready(()),
            // How a connection ended is told to the request it carried, if it carried one.
            Signal::None | Signal::Rest | Signal::Drain => {
                let polled = connection.as_mut().poll(cx).map(drop);
                note(&connection);
                polled
            }
        })
        .await;
    });
    task.abort_handle()
}
