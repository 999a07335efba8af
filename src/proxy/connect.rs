//! HTTP on a new stream to an origin, and the task that drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::AbortHandle;

use super::io::{Io, Meter, Patience, Signal};
use super::lease::{Carrier, Link, STREAMS_MAX, Shared};
use super::sweep::Side;
use super::worker::Worker;
use crate::connector::Upstream;
use crate::dial::{Dialed, Protocol};
use crate::directory::{ConnectionPermit, Entry};

/// The most fields of an origin's answer.
const ANSWER_FIELDS_MAX: usize = 256;
/// The largest head of an origin's answer, in bytes.
const ANSWER_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// The read and write buffer of an HTTP/1.1 connection, in bytes.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// What an origin may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What an origin may send ahead on one HTTP/2 connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
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
    let (upstream, limits) = (&entry.upstream, &entry.connector.upstream);
    let meter = Meter::new(worker.tick.clone());
    let watch = worker.sweep.watch(&meter, patience(limits), Side::Upstream);
    let io = TokioIo::new(Io::new(dialed.stream, Bytes::new(), Arc::clone(&meter)));
    let born = birth(
        dialed.resolved_at,
        worker.clock().monotonic(),
        limits.age_max,
    );
    let link = |task| Link {
        pool: upstream.pool,
        retired: upstream.retired.clone(),
        owner: Arc::clone(&entry.state),
        home: Arc::clone(worker),
        meter: Arc::clone(&meter),
        task,
        born,
        age_max: limits.age_max,
        idle_timeout: limits.idle_timeout,
    };
    match dialed.protocol {
        Protocol::Http11 => {
            let (sender, connection) = http1::Builder::new()
                .max_headers(ANSWER_FIELDS_MAX)
                .max_header_size(ANSWER_HEAD_BYTES_MAX as usize)
                .max_buf_size(BUFFER_BYTES_MAX)
                .handshake(io)
                .await?;
            let task = drive(connection, &meter, |_| {}, (permit, watch));
            Ok(Carrier::Http1 {
                sender,
                link: link(task),
            })
        }
        Protocol::Http2 => {
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
            Ok(Carrier::Http2(Arc::new(shared)))
        }
    }
}

/// Between requests the pool decides how long a connection lives, and the answer's head has an exact
/// limit of its own; only an origin that takes nothing is the sweep's matter.
fn patience(limits: &Upstream) -> Patience {
    Patience {
        handshake: Duration::MAX,
        head: Duration::MAX,
        idle: Duration::MAX,
        write: limits.stall_timeout,
    }
}

/// From when a connection's age counts: from the look-up of its address, so that a change of address
/// is followed within `age_max`; but not by more than half of it, lest an old answer make every
/// connection a short one.
fn birth(resolved_at: Duration, now: Duration, age_max: Duration) -> Duration {
    resolved_at.max(now.saturating_sub(age_max / 2))
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
        std::future::poll_fn(|cx| match meter.asked(cx) {
            Signal::Close | Signal::Stop => std::task::Poll::Ready(()),
            // How a connection ended is told to the request it carried, if it carried one.
            Signal::None | Signal::Drain => {
                let polled = connection.as_mut().poll(cx).map(drop);
                note(&connection);
                polled
            }
        })
        .await;
    });
    task.abort_handle()
}
