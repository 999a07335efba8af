//! Connections to origins: kept, lent, borrowed and closed.
//!
//! # Shape
//!
//! Each worker has a [`Pool`] with a lane per [`PoolId`]. A checkout looks in its own lane, then in
//! the other workers' (a fresh TLS handshake costs ten times a proxied request), then dials, then
//! waits for something to come free. What carries a request is a [`Lease`].
//!
//! # Invariants
//!
//! A connection serves one origin under one TLS identity, for ever. It goes back to its pool only
//! after a whole request and a whole answer. Each holds one [`ConnectionPermit`] as long as its
//! task lives, so that `upstream.connections_max` counts what is really open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::forward::Outbound;
use super::io::{Io, Meter, Patience, Signal};
use super::sweep::Side;
use super::worker::Worker;
use crate::dial::{DialError, Dialed, Protocol};
use crate::directory::{ConnectionPermit, ConnectorState, Entry, PoolId, Retired};
use crate::metrics::ConnectionState;

/// The most idle connections a worker keeps; the least recently used goes first.
const IDLE_CONNECTIONS_MAX: usize = 4096;
/// The most fields of an origin's answer.
const ANSWER_FIELDS_MAX: usize = 256;
/// The largest head of an origin's answer, in bytes.
const ANSWER_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// The read and write buffer of an HTTP/1.1 connection, in bytes.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Requests sent side by side on one HTTP/2 connection; fewer where the origin says so
/// (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113 §5.1.2, which recommends no fewer than 100).
const STREAMS_MAX: usize = 100;
/// What an origin may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What an origin may send ahead on one HTTP/2 connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// How often a silent HTTP/2 connection with requests on it is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a ping's answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// One worker's connections to origins.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    lanes: Mutex<HashMap<PoolId, Lane>>,
    idle: AtomicUsize,
    /// Told when a dial that others wait for has ended.
    dialed: Notify,
}

#[derive(Debug, Default)]
struct Lane {
    /// Most recently used last.
    idle: Vec<Idle>,
    shared: Vec<Arc<Shared>>,
    /// Whether the last connection spoke HTTP/2, so that one dial serves all who wait.
    speaks_http2: bool,
    dialing: usize,
}

/// An HTTP/1.1 connection that carries nothing.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Outbound>,
    link: Link,
    since: Duration,
    _gauge: Gauge,
}

/// Counts an HTTP/1.1 connection as idle or busy for as long as it is.
#[derive(Debug)]
struct Gauge {
    counted: ConnectionState,
    state: Arc<ConnectorState>,
    worker: usize,
}

impl Gauge {
    fn new(counted: ConnectionState, state: &Arc<ConnectorState>, worker: usize) -> Self {
        state.series.upstream_connection(worker, counted, 1);
        Self {
            counted,
            state: Arc::clone(state),
            worker,
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        let series = &self.state.series;
        series.upstream_connection(self.worker, self.counted, -1);
    }
}

/// An HTTP/2 connection, which carries several requests.
#[derive(Debug)]
pub(crate) struct Shared {
    sender: http2::SendRequest<Outbound>,
    link: Link,
    streams: AtomicUsize,
    /// How many the origin allows, as its connection's task last saw it.
    streams_allowed: Arc<AtomicUsize>,
    idle_since_ms: AtomicU64,
    /// Whether an origin that went silent makes it unfit for other requests.
    distrusted: AtomicBool,
}

/// What a connection is, whatever it carries.
#[derive(Debug)]
struct Link {
    pool: PoolId,
    retired: Retired,
    /// The connector on whose account it is open; others with the same origin and TLS identity may
    /// use it too.
    owner: Arc<ConnectorState>,
    /// The worker whose runtime drives it.
    home: Arc<Worker>,
    meter: Arc<Meter>,
    task: AbortHandle,
    born: Duration,
    age_max: Duration,
    idle_timeout: Duration,
}

/// Why no connection could be had.
#[derive(Debug)]
pub(crate) enum CheckoutError {
    /// Dialling failed.
    Dial(DialError),
    /// The connector's limit was reached and nothing came free in time.
    NoneFree,
}

/// A connection, lent to one request.
#[derive(Debug)]
pub(crate) struct Lease {
    carrier: Option<Carrier>,
    /// Counts an HTTP/1.1 connection; one over HTTP/2 counts itself.
    busy: Option<Gauge>,
    state: Arc<ConnectorState>,
    worker: usize,
}

#[derive(Debug)]
enum Carrier {
    Http1 {
        sender: http1::SendRequest<Outbound>,
        link: Link,
    },
    Http2(Arc<Shared>),
}

/// Lends a connection to `entry`'s origin.
pub(crate) async fn checkout(worker: &Arc<Worker>, entry: &Entry) -> Result<Lease, CheckoutError> {
    let lane = entry.upstream.pool;
    if let Some(carrier) = find(worker, lane) {
        return Ok(Lease::new(carrier, entry, worker));
    }
    let began = worker.clock().monotonic();
    let limit = entry.connector.upstream.connect_timeout;
    let permit = match tokio::time::timeout(limit, find_or_permit(worker, entry)).await {
        Ok(Ok(carrier)) => return Ok(Lease::new(carrier, entry, worker)),
        Ok(Err(permit)) => permit,
        Err(_) => return Err(CheckoutError::NoneFree),
    };
    let left = limit.saturating_sub(worker.clock().monotonic().saturating_sub(began));
    let carrier = dial(worker, entry, permit, left).await?;
    Ok(Lease::new(carrier, entry, worker))
}

/// What a worker has to offer, its own first.
fn find(worker: &Arc<Worker>, lane: PoolId) -> Option<Carrier> {
    let now = worker.clock().monotonic();
    worker.pool.take(lane, now).or_else(|| {
        worker
            .siblings()
            .find_map(|other| other.pool.take(lane, now))
    })
}

/// What the wait for a connection came to.
enum Found {
    Carrier(Carrier),
    Permit(ConnectionPermit),
    SomeoneDials,
}

/// Waits for a connection that comes free, or for the right to open one.
async fn find_or_permit(worker: &Arc<Worker>, entry: &Entry) -> Result<Carrier, ConnectionPermit> {
    let lane = entry.upstream.pool;
    let connections_max = entry.connector.upstream.connections_max;
    loop {
        let dialed = worker.pool.dialed.notified();
        tokio::pin!(dialed);
        dialed.as_mut().enable();
        let look = || {
            if let Some(carrier) = find(worker, lane) {
                return Some(Found::Carrier(carrier));
            }
            if worker.pool.dial_serves_all(lane) {
                return Some(Found::SomeoneDials);
            }
            let permit = entry.state.try_connect(connections_max);
            permit.map(Found::Permit)
        };
        match entry.state.wait_until(look).await {
            Found::Carrier(carrier) => return Ok(carrier),
            Found::SomeoneDials => dialed.await,
            Found::Permit(permit) => return Err(permit),
        }
    }
}

async fn dial(
    worker: &Arc<Worker>,
    entry: &Entry,
    permit: ConnectionPermit,
    limit: Duration,
) -> Result<Carrier, CheckoutError> {
    let upstream = &entry.upstream;
    let _dialing = Dialing::begin(&worker.pool, upstream.pool);
    let policy = worker.directory().current().settings.policy.clone();
    let dialed = worker
        .dialer()
        .dial(upstream.resource.origin(), &upstream.tls, &policy, limit)
        .await
        .map_err(CheckoutError::Dial)?;
    worker.pool.learn(upstream.pool, dialed.protocol);
    let carrier = open(worker, entry, dialed, permit).await.map_err(|error| {
        CheckoutError::Dial(DialError::Tls {
            host: upstream.resource.origin().host(),
            source: std::io::Error::other(error),
        })
    })?;
    if let Carrier::Http2(shared) = &carrier {
        worker.pool.share(upstream.pool, Arc::clone(shared));
    }
    Ok(carrier)
}

/// Puts HTTP on a stream and starts the task that drives it.
async fn open(
    worker: &Arc<Worker>,
    entry: &Entry,
    dialed: Dialed,
    permit: ConnectionPermit,
) -> hyper::Result<Carrier> {
    let (upstream, limits) = (&entry.upstream, &entry.connector.upstream);
    let meter = Meter::new(worker.tick.clone());
    // Between requests the pool decides how long a connection lives, and the answer's head has
    // an exact limit of its own; only an origin that takes nothing is the sweep's matter.
    let patience = Patience {
        head: Duration::MAX,
        idle: Duration::MAX,
        write: limits.stall_timeout,
    };
    let watch = worker.sweep.watch(&meter, patience, Side::Upstream);
    let io = TokioIo::new(Io::new(dialed.stream, Bytes::new(), Arc::clone(&meter)));
    let link = |task| Link {
        pool: upstream.pool,
        retired: upstream.retired.clone(),
        owner: Arc::clone(&entry.state),
        home: Arc::clone(worker),
        meter: Arc::clone(&meter),
        task,
        born: worker.clock().monotonic(),
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

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PoolId, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection that can carry a request now.
    fn take(&self, lane: PoolId, now: Duration) -> Option<Carrier> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&lane)?;
        let shared = lane.shared.iter().find(|shared| shared.try_join(now));
        if let Some(shared) = shared {
            return Some(Carrier::Http2(Arc::clone(shared)));
        }
        while let Some(idle) = lane.idle.pop() {
            let Idle {
                sender,
                link,
                since,
                ..
            } = idle;
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if !sender.is_closed() && link.is_usable(now, since) {
                return Some(Carrier::Http1 { sender, link });
            }
        }
        None
    }

    fn give_back(&self, idle: Idle) {
        let mut lanes = self.lock();
        // Asked under the lock: whoever retires a pool marks it first and empties its lane then.
        if idle.link.retired.is_retired() {
            return;
        }
        if self.idle.fetch_add(1, Ordering::Relaxed) >= IDLE_CONNECTIONS_MAX {
            self.drop_oldest(&mut lanes);
        }
        lanes.entry(idle.link.pool).or_default().idle.push(idle);
    }

    /// Makes room: the connection that lay idle longest goes.
    fn drop_oldest(&self, lanes: &mut HashMap<PoolId, Lane>) {
        let oldest = lanes
            .values_mut()
            .filter(|lane| !lane.idle.is_empty())
            .min_by_key(|lane| lane.idle.first().map(|idle| idle.since));
        if let Some(lane) = oldest {
            lane.idle.remove(0);
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn share(&self, lane: PoolId, shared: Arc<Shared>) {
        self.lock().entry(lane).or_default().shared.push(shared);
    }

    fn learn(&self, lane: PoolId, protocol: Protocol) {
        self.lock().entry(lane).or_default().speaks_http2 = protocol == Protocol::Http2;
    }

    /// Whether a dial is under way whose connection will carry other requests too.
    fn dial_serves_all(&self, lane: PoolId) -> bool {
        let lanes = self.lock();
        lanes
            .get(&lane)
            .is_some_and(|lane| lane.speaks_http2 && lane.dialing > 0 && lane.shares_widely())
    }

    /// Closes what lay idle or lived too long.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut lanes = self.lock();
        lanes.retain(|_, lane| {
            let before = lane.idle.len();
            lane.idle
                .retain(|idle| !idle.sender.is_closed() && idle.link.is_usable(now, idle.since));
            self.idle
                .fetch_sub(before - lane.idle.len(), Ordering::Relaxed);
            lane.shared.retain(|shared| !shared.is_over(now));
            lane.dialing > 0 || !lane.idle.is_empty() || !lane.shared.is_empty()
        });
    }

    /// Closes everything that carries nothing.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Closes the idle connections of pools that no connector uses any more; those that carry a
    /// request close when it is done.
    pub(crate) fn retire(&self, retired: &[PoolId]) {
        let mut lanes = self.lock();
        for pool in retired {
            if let Some(lane) = lanes.remove(pool) {
                self.idle.fetch_sub(lane.idle.len(), Ordering::Relaxed);
            }
        }
    }
}

impl Lane {
    /// Whether a connection to this origin carries several requests, as far as is known.
    fn shares_widely(&self) -> bool {
        self.shared.iter().all(|shared| shared.streams_max() > 1)
    }
}

/// Counts a dial, whatever becomes of it.
struct Dialing<'a> {
    pool: &'a Pool,
    lane: PoolId,
}

impl<'a> Dialing<'a> {
    fn begin(pool: &'a Pool, lane: PoolId) -> Self {
        pool.lock().entry(lane).or_default().dialing += 1;
        Self { pool, lane }
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.pool.lock().get_mut(&self.lane) {
            lane.dialing = lane.dialing.saturating_sub(1);
        }
        self.pool.dialed.notify_waiters();
    }
}

impl Link {
    fn is_usable(&self, now: Duration, idle_since: Duration) -> bool {
        !self.retired.is_retired()
            && now.saturating_sub(self.born) < self.age_max
            && now.saturating_sub(idle_since) < self.idle_timeout
    }
}

impl Shared {
    fn with_one_stream(
        sender: http2::SendRequest<Outbound>,
        link: Link,
        streams_allowed: Arc<AtomicUsize>,
    ) -> Self {
        let shared = Self {
            sender,
            link,
            streams: AtomicUsize::new(1),
            streams_allowed,
            idle_since_ms: AtomicU64::new(0),
            distrusted: AtomicBool::new(false),
        };
        shared.count(ConnectionState::Busy, 1);
        shared
    }

    /// Takes a stream, if the connection is fit for another.
    fn try_join(&self, now: Duration) -> bool {
        if self.is_unfit() || !self.link.is_usable(now, now) {
            return false;
        }
        let streams_max = self.streams_max();
        let before = self
            .streams
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |streams| {
                (streams < streams_max).then_some(streams + 1)
            });
        if before == Ok(0) {
            self.count(ConnectionState::Idle, -1);
            self.count(ConnectionState::Busy, 1);
        }
        before.is_ok()
    }

    fn leave(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.idle_since_ms.store(now_ms, Ordering::Release);
        if self.streams.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.count(ConnectionState::Busy, -1);
            self.count(ConnectionState::Idle, 1);
        }
        self.link.owner.tell_freed();
    }

    /// How many requests it may carry side by side.
    fn streams_max(&self) -> usize {
        let allowed = self.streams_allowed.load(Ordering::Acquire);
        allowed.min(STREAMS_MAX)
    }

    /// One connection is one, however many requests it carries.
    fn count(&self, state: ConnectionState, delta: i64) {
        let series = &self.link.owner.series;
        series.upstream_connection(self.link.home.index, state, delta);
    }

    fn is_over(&self, now: Duration) -> bool {
        let idle_since = Duration::from_millis(self.idle_since_ms.load(Ordering::Acquire));
        let carries_nothing = self.streams.load(Ordering::Acquire) == 0;
        self.sender.is_closed()
            || (carries_nothing && (self.is_unfit() || !self.link.is_usable(now, idle_since)))
    }

    fn is_unfit(&self) -> bool {
        self.sender.is_closed() || self.distrusted.load(Ordering::Acquire)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let idle = *self.streams.get_mut() == 0;
        let state = match idle {
            true => ConnectionState::Idle,
            false => ConnectionState::Busy,
        };
        self.count(state, -1);
    }
}

impl Lease {
    fn new(carrier: Carrier, entry: &Entry, worker: &Arc<Worker>) -> Self {
        let state = Arc::clone(&entry.state);
        let busy = matches!(carrier, Carrier::Http1 { .. })
            .then(|| Gauge::new(ConnectionState::Busy, &state, worker.index));
        Self {
            carrier: Some(carrier),
            busy,
            state,
            worker: worker.index,
        }
    }

    /// The version the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match &self.carrier {
            Some(Carrier::Http2(_)) => Protocol::Http2,
            Some(Carrier::Http1 { .. }) | None => Protocol::Http11,
        }
    }

    /// Bytes the origin has sent on this connection.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.carrier {
            Some(Carrier::Http1 { link, .. }) => link.meter.bytes_read(),
            Some(Carrier::Http2(shared)) => shared.link.meter.bytes_read(),
            None => 0,
        }
    }

    /// Lends the connection to nobody else: its origin went silent, and may have for good. HTTP/1.1
    /// connections are never lent again after an exchange that was given up.
    pub(crate) fn distrust(&self) {
        if let Some(Carrier::Http2(shared)) = &self.carrier {
            shared.distrusted.store(true, Ordering::Release);
        }
    }

    /// Whether the connection was closed because the origin took nothing for too long.
    pub(crate) fn was_overdue(&self) -> bool {
        match &self.carrier {
            Some(Carrier::Http1 { link, .. }) => link.meter.is_closing(),
            Some(Carrier::Http2(shared)) => shared.link.meter.is_closing(),
            None => false,
        }
    }

    /// Sends a request and returns the answer's head. A request that was not sent at all comes
    /// back with the error.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outbound>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outbound>>> {
        match self.carrier.as_mut() {
            Some(Carrier::Http1 { sender, .. }) => {
                // The last answer's end may not have reached the connection's task yet. If it
                // never does, sending says so and gives the request back.
                if !sender.is_ready() {
                    drop(sender.ready().await);
                }
                sender.try_send_request(request).await
            }
            Some(Carrier::Http2(shared)) => {
                let mut sender = shared.sender.clone();
                sender.try_send_request(request).await
            }
            None => std::future::pending().await,
        }
    }

    /// Gives the connection back: its request and its answer are whole.
    pub(crate) fn finish(mut self) {
        match self.carrier.take() {
            Some(Carrier::Http1 { sender, link }) => {
                let home = Arc::clone(&link.home);
                if !sender.is_closed() && !home.is_stopping() {
                    self.busy = None;
                    let gauge = Gauge::new(ConnectionState::Idle, &self.state, self.worker);
                    let since = home.clock().monotonic();
                    let owner = Arc::clone(&link.owner);
                    home.pool.give_back(Idle {
                        sender,
                        link,
                        since,
                        _gauge: gauge,
                    });
                    // It may wait for this connection, which others used on its account.
                    owner.tell_freed();
                }
            }
            Some(Carrier::Http2(shared)) => shared.leave(shared.link.home.clock().monotonic()),
            None => return,
        }
        self.state.tell_freed();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.carrier.take() {
            // Given up amid an exchange: nothing of it may meet another request.
            Some(Carrier::Http1 { link, .. }) => link.task.abort(),
            Some(Carrier::Http2(shared)) => shared.leave(shared.link.home.clock().monotonic()),
            None => return,
        }
        self.state.tell_freed();
    }
}
