//! What is counted for one connector, or for those that share a series.
//!
//! # Invariants
//!
//! Each worker counts in a part of its own, made at the worker's first count and never moved: no
//! line of memory is written by two workers, and nothing is allocated after that. A part takes
//! under a kilobyte; its table of refusals, as much again, is made at the first refusal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use http::{Method, StatusCode};

use super::histogram::{Histogram, Totals};
use super::requests::{Answered, Requests};

/// Reasons for a refusal that one worker counts apart; the gateway has fewer.
const REASONS_MAX: usize = 32;

/// What a connection to an origin is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It waits in a pool.
    Idle,
    /// It carries at least one request.
    Busy,
}

/// Why a request was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// Nothing of it had been sent, or the origin said that it did nothing with it.
    Unsent,
    /// Its connection ended, or none came about, before a byte of an answer.
    Connection,
    /// The answer's status may pass.
    Status,
    /// The origin rejected the token.
    Token,
}

/// The names of [`RetryCause`], in its order.
pub(super) const RETRY_CAUSES: [&str; 4] = ["unsent", "connection", "status", "token"];

/// The counters behind one value of the `connector` label.
#[derive(Debug)]
pub struct Series {
    label: Arc<str>,
    parts: Box<[OnceLock<Box<CachePadded<Part>>>]>,
}

/// One worker's share of a series.
#[derive(Debug, Default)]
struct Part {
    requests: Requests,
    total: Histogram,
    upstream: Histogram,
    connections: [AtomicI64; 2],
    requests_in_flight: AtomicI64,
    breakers_open: AtomicI64,
    scrubbed: AtomicU64,
    tunnels: AtomicI64,
    retries: [AtomicU64; RETRY_CAUSES.len()],
    refusals: OnceLock<Box<[Refusals; REASONS_MAX]>>,
}

#[derive(Debug, Default)]
struct Refusals {
    reason: OnceLock<&'static str>,
    count: AtomicU64,
}

/// The sum over all workers, at a moment.
#[derive(Debug, Default)]
pub(super) struct SeriesTotals {
    pub(super) requests: BTreeMap<Answered, u64>,
    pub(super) total: Totals,
    pub(super) upstream: Totals,
    pub(super) idle: i64,
    pub(super) busy: i64,
    pub(super) requests_in_flight: i64,
    pub(super) breakers_open: i64,
    pub(super) scrubbed: u64,
    pub(super) tunnels: i64,
    pub(super) retries: [u64; RETRY_CAUSES.len()],
    pub(super) refused: BTreeMap<&'static str, u64>,
}

impl Series {
    pub(super) fn new(label: &str, workers: usize) -> Self {
        Self {
            label: label.into(),
            parts: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The value of the `connector` label.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Counts an answer: `total` from the request's head to the end of the answer, `upstream` from
    /// handing the request over to the head of the origin's answer, if there was one.
    pub fn answered(
        &self,
        worker: usize,
        method: &Method,
        code: StatusCode,
        total: Duration,
        upstream: Option<Duration>,
    ) {
        let part = self.part(worker);
        part.requests.count(method, code);
        part.total.observe(total);
        if let Some(upstream) = upstream {
            part.upstream.observe(upstream);
        }
    }

    /// Counts a refusal under the word that ends its problem's `type`.
    pub fn refused(&self, worker: usize, reason: &'static str) {
        let refusals = self.part(worker).refusals.get_or_init(Box::default);
        let slot = refusals
            .iter()
            .find(|slot| *slot.reason.get_or_init(|| reason) == reason);
        if let Some(slot) = slot {
            slot.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts credentials masked in an answer.
    pub fn scrubbed(&self, worker: usize, count: u64) {
        self.part(worker)
            .scrubbed
            .fetch_add(count, Ordering::Relaxed);
    }

    /// A request was sent again.
    pub fn retried(&self, worker: usize, cause: RetryCause) {
        self.part(worker).retries[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the count of connections in `state` by `delta`.
    pub fn upstream_connection(&self, worker: usize, state: ConnectionState, delta: i64) {
        self.part(worker).connections[state as usize].fetch_add(delta, Ordering::Relaxed);
    }

    /// Moves the count of requests that are being carried by `delta`.
    pub fn request_in_flight(&self, worker: usize, delta: i64) {
        let count = &self.part(worker).requests_in_flight;
        count.fetch_add(delta, Ordering::Relaxed);
    }

    /// Moves the count of breakers that are open by `delta`; of several connectors' where they
    /// share the series. Rare, so that all workers count in the first's part.
    pub fn breaker_open(&self, delta: i64) {
        let count = &self.part(0).breakers_open;
        count.fetch_add(delta, Ordering::Relaxed);
    }

    /// Moves the count of open tunnels by `delta`.
    pub fn tunnel(&self, worker: usize, delta: i64) {
        self.part(worker)
            .tunnels
            .fetch_add(delta, Ordering::Relaxed);
    }

    fn part(&self, worker: usize) -> &Part {
        let part = self.parts.get(worker).unwrap_or(&self.parts[0]);
        part.get_or_init(Default::default)
    }

    /// Sums the workers up; `None` if no worker has counted anything yet.
    pub(super) fn totals(&self) -> Option<SeriesTotals> {
        let mut parts = self.parts.iter().filter_map(OnceLock::get).peekable();
        parts.peek()?;
        let mut totals = SeriesTotals::default();
        for part in parts {
            totals.add(part);
        }
        Some(totals)
    }
}

impl SeriesTotals {
    fn add(&mut self, part: &Part) {
        part.requests
            .read(|answered, count| *self.requests.entry(answered).or_default() += count);
        self.total.add(&part.total);
        self.upstream.add(&part.upstream);
        let connections =
            |state: ConnectionState| part.connections[state as usize].load(Ordering::Relaxed);
        self.idle += connections(ConnectionState::Idle);
        self.busy += connections(ConnectionState::Busy);
        self.requests_in_flight += part.requests_in_flight.load(Ordering::Relaxed);
        self.breakers_open += part.breakers_open.load(Ordering::Relaxed);
        self.scrubbed += part.scrubbed.load(Ordering::Relaxed);
        self.tunnels += part.tunnels.load(Ordering::Relaxed);
        for (total, count) in self.retries.iter_mut().zip(&part.retries) {
            *total += count.load(Ordering::Relaxed);
        }
        for slot in part.refusals.get().into_iter().flat_map(|slots| &**slots) {
            if let Some(reason) = slot.reason.get() {
                *self.refused.entry(reason).or_default() += slot.count.load(Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_counted_nothing_has_no_totals_and_no_parts() {
        let series = Series::new("orders", 4);

        assert!(series.totals().is_none());
        assert!(series.parts.iter().all(|part| part.get().is_none()));
    }

    #[test]
    fn a_part_keeps_within_its_size() {
        assert!(size_of::<CachePadded<Part>>() <= 1024);
        assert!(size_of::<[Refusals; REASONS_MAX]>() <= 1024);
    }

    #[test]
    fn the_workers_add_up() {
        let series = Series::new("orders", 2);
        let took = Duration::from_millis(20);
        series.answered(0, &Method::GET, StatusCode::OK, took, Some(took));
        series.answered(1, &Method::GET, StatusCode::OK, took, None);
        series.refused(0, "busy");
        series.refused(1, "busy");
        series.refused(1, "loop");

        let totals = series.totals().unwrap();

        let ok = Answered {
            method: "GET",
            code: Some(200),
        };
        assert_eq!(totals.requests.get(&ok), Some(&2));
        assert_eq!(totals.total.count(), 2);
        assert_eq!(totals.upstream.count(), 1);
        assert_eq!(totals.refused, BTreeMap::from([("busy", 2), ("loop", 1)]));
    }

    #[test]
    fn a_connection_that_another_worker_lends_back_leaves_no_remainder() {
        let series = Series::new("orders", 2);
        series.upstream_connection(0, ConnectionState::Idle, 1);
        series.upstream_connection(1, ConnectionState::Idle, -1);
        series.upstream_connection(1, ConnectionState::Busy, 1);

        let totals = series.totals().unwrap();

        assert_eq!((totals.idle, totals.busy), (0, 1));
    }

    #[test]
    fn a_worker_that_does_not_exist_is_counted_with_the_first() {
        let series = Series::new("orders", 1);
        series.refused(7, "busy");

        assert_eq!(series.totals().unwrap().refused.get("busy"), Some(&1));
    }
}
