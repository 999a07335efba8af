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
//! A connection serves one origin under one TLS identity, for ever. Each holds one [`ConnectionPermit`] as long as its
//! task lives, so that `upstream.connections_max` counts what is really open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxBuildHasher;
use tokio::sync::Notify;

use super::connect::{open, open_alone};
use super::lease::{Carrier, Http1, Lease, Shared};
use super::worker::Worker;
use crate::dial::{DialError, Dialed, Protocol};
use crate::directory::{ConnectionPermit, ConnectorState, Entry, PoolId};
use crate::tls::client::ClientTls;

/// The most idle connections a worker keeps; the least recently used goes first.
const IDLE_CONNECTIONS_MAX: usize = 4096;
/// One worker's connections to origins.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    lanes: Mutex<Lanes>,
    idle: AtomicUsize,
    /// Told when a dial that others wait for has ended.
    dialed: Notify,
}

/// Pool IDs are counted up here, by nobody else: a quick hash will do.
type Lanes = HashMap<PoolId, Lane, FxBuildHasher>;

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
pub(super) struct Idle {
    pub(super) http1: Box<Http1>,
    pub(super) since: Duration,
}

impl Idle {
    fn is_usable(&self, now: Duration) -> bool {
        !self.http1.sender.is_closed() && self.http1.link.is_usable(now, self.since)
    }
}

/// Which connections will do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Whatever is there.
    Any,
    /// One that is dialled for it: what lies in the pool has proved dead.
    New,
}

/// Why no connection could be had.
#[derive(Debug)]
pub(crate) enum CheckoutError {
    /// Dialling failed.
    Dial(DialError),
    /// The connector's limit was reached and nothing came free in time.
    NoneFree,
}

/// Lends a connection to `entry`'s origin.
pub(crate) async fn checkout(
    worker: &Arc<Worker>,
    entry: &Entry,
    now: Duration,
) -> Result<Lease, CheckoutError> {
    if let Some(carrier) = find(worker, entry, now) {
        return Ok(Lease::new(carrier, entry, worker, now));
    }
    // Boxed: a request that finds a connection, as nearly all do, need not carry the room that
    // waiting and dialling take.
    let carrier = Box::pin(wait_or_dial(worker, entry)).await?;
    let now = worker.clock().monotonic();
    Ok(Lease::new(carrier, entry, worker, now))
}

/// Dials a connection for `entry`'s origin, whatever lies in the pool.
pub(crate) async fn checkout_new(
    worker: &Arc<Worker>,
    entry: &Entry,
) -> Result<Lease, CheckoutError> {
    let (permit, left) = make_room(worker, entry).await?;
    let carrier = dial(worker, entry, permit, left).await?;
    let now = worker.clock().monotonic();
    Ok(Lease::new(carrier, entry, worker, now))
}

/// Dials a connection for one request alone, over HTTP/1.1 whatever the origin prefers. It is never
/// lent to another request, however this one ends.
pub(crate) async fn checkout_alone(
    worker: &Arc<Worker>,
    entry: &Entry,
) -> Result<Lease, CheckoutError> {
    let (permit, left) = make_room(worker, entry).await?;
    let dialed = reach(worker, entry, &entry.upstream.tls.without_http2(), left).await?;
    let opened = open_alone(worker, entry, dialed, permit).await;
    let opened = opened.map_err(|error| not_spoken(entry, error))?;
    Ok(Lease::alone(opened, entry, worker))
}

/// Waits for the right to open a connection, and says what is left of `upstream.connect` then.
async fn make_room(
    worker: &Arc<Worker>,
    entry: &Entry,
) -> Result<(ConnectionPermit, Duration), CheckoutError> {
    let began = worker.clock().monotonic();
    let limits = &entry.connector.upstream;
    let look = || {
        let permit = entry.state.try_connect(limits.connections_max);
        if permit.is_none() {
            // What lies idle serves others too, but holds a place that is needed now.
            close_idle(worker, entry);
        }
        permit
    };
    let waiting = entry.state.wait_until(look);
    let Ok(permit) = tokio::time::timeout(limits.connect_timeout, waiting).await else {
        return Err(CheckoutError::NoneFree);
    };
    let took = worker.clock().monotonic().saturating_sub(began);
    Ok((permit, limits.connect_timeout.saturating_sub(took)))
}

/// Closes a connection that lies idle on `entry`'s account, if there is one.
fn close_idle(worker: &Arc<Worker>, entry: &Entry) {
    let lane = entry.upstream.pool;
    let closed = worker.pool.close_idle(lane, &entry.state);
    if !closed {
        worker
            .siblings()
            .any(|other| other.pool.close_idle(lane, &entry.state));
    }
}

/// Gets a connection that is not there yet, within `upstream.connect` in all.
async fn wait_or_dial(worker: &Arc<Worker>, entry: &Entry) -> Result<Carrier, CheckoutError> {
    let began = worker.clock().monotonic();
    let limit = entry.connector.upstream.connect_timeout;
    let permit = match tokio::time::timeout(limit, find_or_permit(worker, entry)).await {
        Ok(Ok(carrier)) => return Ok(carrier),
        Ok(Err(permit)) => permit,
        Err(_) => return Err(CheckoutError::NoneFree),
    };
    let left = limit.saturating_sub(worker.clock().monotonic().saturating_sub(began));
    dial(worker, entry, permit, left).await
}

/// What a worker has to offer, its own first.
fn find(worker: &Arc<Worker>, entry: &Entry, now: Duration) -> Option<Carrier> {
    worker.pool.take(entry, now).or_else(|| {
        worker
            .siblings()
            .find_map(|other| other.pool.take(entry, now))
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
            if let Some(carrier) = find(worker, entry, worker.clock().monotonic()) {
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
    let dialed = reach(worker, entry, &upstream.tls, limit).await?;
    worker.pool.learn(upstream.pool, dialed.protocol);
    let opened = open(worker, entry, dialed, permit).await;
    let carrier = opened.map_err(|error| not_spoken(entry, error))?;
    if let Carrier::Http2(shared, _) = &carrier {
        worker.pool.share(upstream.pool, Arc::clone(shared));
    }
    Ok(carrier)
}

/// Dials `entry`'s origin under the address rules of this moment.
async fn reach(
    worker: &Arc<Worker>,
    entry: &Entry,
    tls: &ClientTls,
    limit: Duration,
) -> Result<Dialed, CheckoutError> {
    let policy = worker.directory().current().settings.policy.clone();
    let dialing = worker
        .dialer()
        .dial(entry.upstream.resource.origin(), tls, &policy, limit);
    dialing.await.map_err(CheckoutError::Dial)
}

fn not_spoken(entry: &Entry, error: hyper::Error) -> CheckoutError {
    CheckoutError::Dial(DialError::Tls {
        host: entry.upstream.resource.origin().host(),
        source: std::io::Error::other(error),
    })
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection that can carry a request now.
    fn take(&self, entry: &Entry, now: Duration) -> Option<Carrier> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&entry.upstream.pool)?;
        let shared = lane.shared.iter().find(|shared| shared.try_join(now));
        if let Some(shared) = shared {
            let shared = Arc::clone(shared);
            return Some(Carrier::Http2(shared, Arc::clone(&entry.state)));
        }
        while let Some(idle) = lane.idle.pop() {
            self.idle.fetch_sub(1, Ordering::Relaxed);
            if idle.is_usable(now) {
                return Some(Carrier::Http1(idle.http1));
            }
        }
        None
    }

    pub(super) fn give_back(&self, idle: Idle) {
        let mut lanes = self.lock();
        // Asked under the lock: whoever retires a pool marks it first and empties its lane then.
        if idle.http1.link.retired.is_retired() {
            return;
        }
        if self.idle.fetch_add(1, Ordering::Relaxed) >= IDLE_CONNECTIONS_MAX {
            self.drop_oldest(&mut lanes);
        }
        lanes
            .entry(idle.http1.link.pool)
            .or_default()
            .idle
            .push(idle);
    }

    /// Closes a connection of `lane` that lies idle on `owner`'s account, if there is one: over
    /// HTTP/1.1 the one that does so longest.
    fn close_idle(&self, lane: PoolId, owner: &Arc<ConnectorState>) -> bool {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&lane) else {
            return false;
        };
        let owned = |idle: &Idle| Arc::ptr_eq(&idle.http1.link.owner, owner);
        if let Some(oldest) = lane.idle.iter().position(owned) {
            lane.idle.remove(oldest);
            self.idle.fetch_sub(1, Ordering::Relaxed);
            return true;
        }
        // Under the lock nothing joins it any more.
        let unused = |shared: &Arc<Shared>| shared.is_unused_by(owner);
        let unused = lane.shared.iter().position(unused);
        unused.is_some_and(|unused| {
            lane.shared.remove(unused);
            true
        })
    }

    /// Makes room: the connection that lay idle longest goes.
    fn drop_oldest(&self, lanes: &mut Lanes) {
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
            lane.idle.retain(|idle| idle.is_usable(now));
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
