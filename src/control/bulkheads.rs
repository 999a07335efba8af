//! What `/readyz?verbose` tells of the connectors that are not at rest: how much of their limits is
//! in use, and how their breakers stand.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::health::date;
use crate::clock::Clock;
use crate::directory::{BreakerStand, Directory, Entry};

/// A connector that is not at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BulkheadReport {
    /// The connector's ID.
    pub connector: String,
    /// How its breaker stands.
    pub breaker: BreakerState,
    /// When an open breaker lets a request probe the origin.
    #[serde(
        serialize_with = "date_or_nothing",
        skip_serializing_if = "Option::is_none"
    )]
    pub breaker_open_until: Option<SystemTime>,
    /// Requests that wait for a connection.
    pub waiting: u32,
    /// Requests in flight, those that wait included.
    pub requests_in_flight: u32,
    /// The most there may be.
    pub requests_in_flight_max: u32,
    /// Connections open, idle ones included.
    pub connections: u32,
    /// The most there may be.
    pub connections_max: u32,
    /// Requests that could begin now, where their rate is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_left: Option<u64>,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Requests pass, or there is none.
    Closed,
    /// One request at a time tries.
    HalfOpen,
    /// None passes.
    Open,
}

fn date_or_nothing<S: serde::Serializer>(
    at: &Option<SystemTime>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => date(at, to),
        None => to.serialize_none(),
    }
}

/// Tells of the connectors in `directory`, whenever it is asked.
pub fn bulkhead_reporter(
    directory: Arc<Directory>,
    clock: Clock,
) -> Box<dyn Fn() -> Vec<BulkheadReport> + Send + Sync> {
    Box::new(move || reports(&directory, &clock))
}

/// Every connector that is not at rest, the one in the worst state first.
fn reports(directory: &Directory, clock: &Clock) -> Vec<BulkheadReport> {
    let entries = directory.current().entries.clone();
    let reports = entries.values().filter_map(|entry| report(entry, clock));
    let mut reports: Vec<_> = reports.collect();
    reports.sort_unstable_by(|one, other| severity(one).cmp(&severity(other)));
    reports
}

/// Sorts the worst first, and by ID those that are equally bad.
fn severity(report: &BulkheadReport) -> impl Ord {
    let load = (
        report.waiting,
        report.requests_in_flight,
        report.connections,
    );
    (Reverse((report.breaker, load)), &report.connector)
}

fn report(entry: &Entry, clock: &Clock) -> Option<BulkheadReport> {
    let limits = &entry.connector.bulkhead;
    let now = clock.monotonic();
    let vitals = entry.state.vitals(limits, now);
    let burst = limits.rate.map(|rate| u64::from(rate.burst));
    let at_rest = vitals.breaker == BreakerStand::Closed
        && vitals.requests_in_flight == 0
        && vitals.connections == 0
        && vitals.burst_left == burst;
    if at_rest {
        return None;
    }
    let (breaker, open_for) = match vitals.breaker {
        BreakerStand::Closed => (BreakerState::Closed, None),
        BreakerStand::HalfOpen => (BreakerState::HalfOpen, None),
        BreakerStand::Open { until } => (BreakerState::Open, Some(until.saturating_sub(now))),
    };
    Some(BulkheadReport {
        connector: entry.connector.id.to_string(),
        breaker,
        breaker_open_until: open_for.map(|open_for| clock.wall() + open_for),
        waiting: vitals.waiting,
        requests_in_flight: vitals.requests_in_flight,
        requests_in_flight_max: limits.requests_in_flight_max,
        connections: vitals.connections,
        connections_max: entry.connector.upstream.connections_max,
        burst_left: vitals.burst_left,
    })
}
