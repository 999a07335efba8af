//! What carries a request: a connection, lent for one exchange, and what it is.
//!
//! # Invariants
//!
//! A connection goes back to its pool only after a whole request and a whole answer. An HTTP/1.1
//! connection that was given up amid an exchange is closed, so that nothing of it meets another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::alarm::Alarm;
use super::io::Io;
use super::meter::{Meter, Signal};
use super::outbound::Outbound;
use super::pool::Idle;
use super::sweep::Registration;
use super::worker::Worker;
use crate::dial::{Protocol, Stream};
use crate::directory::{ConnectionPermit, ConnectorState, Entry, PoolId, Retired};
use crate::metrics::ConnectionState;

/// Requests sent side by side on one HTTP/2 connection; fewer where the origin says so
/// (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113 §5.1.2, which recommends no fewer than 100).
pub(super) const STREAMS_MAX: usize = 100;

/// A connection, lent to one request.
#[derive(Debug)]
pub(crate) struct Lease {
    carrier: Option<Carrier>,
    /// When it was lent.
    since: Duration,
    /// Where the stream of a connection of its own comes back once both sides have left HTTP.
    alone: Option<Box<oneshot::Receiver<Bare>>>,
    /// Whether the connection had answered other requests when it was lent.
    has_answered: bool,
}

/// A stream to an origin that has left HTTP, and what its connection held.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(super) io: Io<Stream>,
    /// What the origin sent behind its answer's head.
    pub(super) read_ahead: Bytes,
    pub(super) meter: Arc<Meter>,
    pub(super) _held: (ConnectionPermit, Registration),
}

#[derive(Debug)]
pub(super) enum Carrier {
    Http1(Box<Http1>),
    /// With the connector whose request it carries.
    Http2(Arc<Shared>, Arc<ConnectorState>),
}

/// An HTTP/1.1 connection. Boxed where it is held: it goes from the pool to a request and back.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Outbound>,
    pub(super) link: Link,
    /// Counts it; one over HTTP/2 counts itself.
    pub(super) gauge: Gauge,
    /// What limits the wait for an answer's head; gone while a request has it.
    pub(super) alarm: Option<Alarm>,
}

impl Lease {
    /// Lends `carrier` to a request to `entry` at the time `now`.
    pub(super) fn new(
        mut carrier: Carrier,
        entry: &Entry,
        worker: &Arc<Worker>,
        now: Duration,
    ) -> Self {
        let has_answered = match &mut carrier {
            Carrier::Http1(http1) => {
                let busy = ConnectionState::Busy;
                http1.gauge.turn(busy, &entry.state, worker.index);
                // An origin says nothing before it answers, unlike over HTTP/2 (RFC 9113 §3.4).
                http1.link.meter.bytes_read() > 0
            }
            Carrier::Http2(shared, _) => shared.answered.load(Ordering::Acquire),
        };
        Self {
            has_answered,
            carrier: Some(carrier),
            since: now,
            alone: None,
        }
    }

    /// A connection that carries one request and is lent to no other.
    pub(super) fn alone(
        (carrier, bare): (Carrier, oneshot::Receiver<Bare>),
        entry: &Entry,
        worker: &Arc<Worker>,
    ) -> Self {
        let now = worker.clock().monotonic();
        let mut lease = Self::new(carrier, entry, worker, now);
        lease.alone = Some(Box::new(bare));
        lease
    }

    /// The stream, once both sides have left HTTP; `None` if it is gone. The connection counts as
    /// busy until the lease is dropped.
    pub(crate) async fn bare(&mut self) -> Option<Bare> {
        self.alone.take()?.await.ok()
    }

    /// The version the connection speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match &self.carrier {
            Some(Carrier::Http2(..)) => Protocol::Http2,
            Some(Carrier::Http1(_)) | None => Protocol::Http11,
        }
    }

    /// The connection's own timer for `worker`, which is to be given back; over HTTP/2 it has none.
    pub(super) fn take_alarm(&mut self, worker: usize) -> Option<Alarm> {
        match &mut self.carrier {
            Some(Carrier::Http1(http1)) => Some(Alarm::of(worker, http1.alarm.take())),
            Some(Carrier::Http2(..)) | None => None,
        }
    }

    pub(super) fn give_alarm_back(&mut self, alarm: Option<Alarm>) {
        if let Some(Carrier::Http1(http1)) = &mut self.carrier {
            http1.alarm = alarm;
        }
    }

    /// Whether the connection had answered other requests when it was lent.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Bytes the origin has sent on this connection.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.carrier {
            Some(Carrier::Http1(http1)) => http1.link.meter.bytes_read(),
            Some(Carrier::Http2(shared, _)) => shared.link.meter.bytes_read(),
            None => 0,
        }
    }

    /// Lends the connection to nobody else: its origin went silent, and may have for good, or takes
    /// no more of a request that it has answered. HTTP/1.1 connections are never lent again after an
    /// exchange that was given up.
    pub(crate) fn distrust(&self) {
        if let Some(Carrier::Http2(shared, _)) = &self.carrier {
            shared.distrusted.store(true, Ordering::Release);
        }
    }

    /// Whether the connection was closed because the origin took nothing for too long.
    pub(crate) fn was_overdue(&self) -> bool {
        match &self.carrier {
            Some(Carrier::Http1(http1)) => http1.link.meter.is_closing(),
            Some(Carrier::Http2(shared, _)) => shared.link.meter.is_closing(),
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
            Some(Carrier::Http1(http1)) => {
                let sender = &mut http1.sender;
                // The last answer's end may not have reached the connection's task yet. If it
                // never does, sending says so and gives the request back.
                if !sender.is_ready() {
                    drop(sender.ready().await);
                }
                sender.try_send_request(request).await
            }
            Some(Carrier::Http2(shared, _)) => {
                let mut sender = shared.sender.clone();
                sender.try_send_request(request).await
            }
            None => std::future::pending().await,
        }
    }

    /// Gives the connection back: its request and its answer are whole. One whose origin has yet to
    /// take the end of the request is closed: that must not travel on with another one.
    pub(crate) fn finish(mut self) {
        if let Some(Carrier::Http1(http1)) = &self.carrier
            && http1.link.meter.is_blocked()
        {
            return;
        }
        match self.carrier.take() {
            Some(Carrier::Http1(mut http1)) => {
                let home = Arc::clone(&http1.link.home);
                let user = Arc::clone(http1.gauge.state());
                let shared = self.alone.is_none();
                if shared && !http1.sender.is_closed() && !home.is_stopping() {
                    http1.gauge.idle();
                    // As near as the sweep tells: no request reads the clock for it.
                    let since = self.since.max(home.tick.now());
                    let owner = Arc::clone(&http1.link.owner);
                    home.pool.give_back(Idle { http1, since });
                    // It may wait for this connection, which others used on its account.
                    owner.tell_freed();
                }
                user.tell_freed();
            }
            Some(Carrier::Http2(shared, user)) => {
                shared.answered.store(true, Ordering::Release);
                shared.leave(shared.link.home.clock().monotonic());
                user.tell_freed();
            }
            None => {}
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.carrier.take() {
            // Given up amid an exchange: nothing of it may meet another request.
            Some(Carrier::Http1(http1)) => {
                http1.link.task.abort();
                http1.gauge.state().tell_freed();
            }
            Some(Carrier::Http2(shared, user)) => {
                shared.leave(shared.link.home.clock().monotonic());
                user.tell_freed();
            }
            None => {}
        }
    }
}

/// An HTTP/2 connection, which carries several requests.
#[derive(Debug)]
pub(super) struct Shared {
    sender: http2::SendRequest<Outbound>,
    link: Link,
    streams: AtomicUsize,
    /// How many the origin allows, as its connection's task last saw it.
    streams_allowed: Arc<AtomicUsize>,
    idle_since_ms: AtomicU64,
    /// Whether it has answered a request, to its end.
    answered: AtomicBool,
    /// Whether an origin that went silent makes it unfit for other requests.
    distrusted: AtomicBool,
}

/// What a connection is, whatever it carries.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) pool: PoolId,
    pub(super) retired: Retired,
    /// The connector on whose account it is open; others with the same origin and TLS identity may
    /// use it too.
    pub(super) owner: Arc<ConnectorState>,
    /// The worker whose runtime drives it.
    pub(super) home: Arc<Worker>,
    pub(super) meter: Arc<Meter>,
    pub(super) task: AbortHandle,
    pub(super) born: Duration,
    pub(super) age_max: Duration,
    pub(super) idle_timeout: Duration,
}

impl Link {
    pub(super) fn is_usable(&self, now: Duration, idle_since: Duration) -> bool {
        !self.retired.is_retired()
            && now.saturating_sub(self.born) < self.age_max
            && now.saturating_sub(idle_since) < self.idle_timeout
    }
}

impl Shared {
    pub(super) fn with_one_stream(
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
            answered: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
        };
        shared.count(ConnectionState::Busy, 1);
        shared
    }

    /// Takes a stream, if the connection is fit for another.
    pub(super) fn try_join(&self, now: Duration) -> bool {
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
    pub(super) fn streams_max(&self) -> usize {
        let allowed = self.streams_allowed.load(Ordering::Acquire);
        allowed.min(STREAMS_MAX)
    }

    /// One connection is one, however many requests it carries.
    fn count(&self, state: ConnectionState, delta: i64) {
        let series = &self.link.owner.series;
        series.upstream_connection(self.link.home.index, state, delta);
    }

    pub(super) fn is_over(&self, now: Duration) -> bool {
        let idle_since = Duration::from_millis(self.idle_since_ms.load(Ordering::Acquire));
        self.sender.is_closed()
            || (self.carries_nothing()
                && (self.is_unfit() || !self.link.is_usable(now, idle_since)))
    }

    /// Whether it is open on `owner`'s account and carries nothing.
    pub(super) fn is_unused_by(&self, owner: &Arc<ConnectorState>) -> bool {
        Arc::ptr_eq(&self.link.owner, owner) && self.carries_nothing()
    }

    fn carries_nothing(&self) -> bool {
        self.streams.load(Ordering::Acquire) == 0
    }

    fn is_unfit(&self) -> bool {
        self.sender.is_closed() || self.distrusted.load(Ordering::Acquire)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.distrusted.get_mut() {
            // A stream that its origin does not end would keep it open.
            self.link.meter.signal(Signal::Close);
        }
        let idle = *self.streams.get_mut() == 0;
        let state = match idle {
            true => ConnectionState::Idle,
            false => ConnectionState::Busy,
        };
        self.count(state, -1);
    }
}

/// Counts an HTTP/1.1 connection as idle or busy for as long as it is.
#[derive(Debug)]
pub(super) struct Gauge {
    counted: ConnectionState,
    state: Arc<ConnectorState>,
    worker: usize,
}

impl Gauge {
    /// Counts a connection of `state`'s as idle.
    pub(super) fn new(state: &Arc<ConnectorState>, worker: usize) -> Self {
        let counted = ConnectionState::Idle;
        state.series.upstream_connection(worker, counted, 1);
        Self {
            counted,
            state: Arc::clone(state),
            worker,
        }
    }

    /// The connector whose request the connection carries, or carried last.
    fn state(&self) -> &Arc<ConnectorState> {
        &self.state
    }

    /// Counts it as `counted`, with `state`'s and by `worker`.
    fn turn(&mut self, counted: ConnectionState, state: &Arc<ConnectorState>, worker: usize) {
        self.forget();
        self.counted = counted;
        if !Arc::ptr_eq(&self.state, state) {
            self.state = Arc::clone(state);
        }
        self.worker = worker;
        self.state.series.upstream_connection(worker, counted, 1);
    }

    fn idle(&mut self) {
        self.forget();
        self.counted = ConnectionState::Idle;
        let series = &self.state.series;
        series.upstream_connection(self.worker, self.counted, 1);
    }

    fn forget(&self) {
        let series = &self.state.series;
        series.upstream_connection(self.worker, self.counted, -1);
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.forget();
    }
}
