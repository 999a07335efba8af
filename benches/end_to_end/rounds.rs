//! Rounds of every load with every contender.
//!
//! Invariants: the n-th rounds of all contenders with a load run one after the other, so that what
//! the machine does besides falls on all alike; who is first changes from one round to the next;
//! processor time counts from when connections are open and have carried a request each; a contender
//! whose answers are wrong has no figures.

use std::time::Duration;

use crate::figures::{FAILED_MAX, PERCENTILES, Plan, Round, Series, Table, names};
use crate::load::{self, Outcome, Target};
use crate::loads::{Trial, Way};
use crate::peers::{Contender, Kind};
use crate::processors::{Times, Usage};
use crate::stage::Stage;

/// The least and the most that a contender is warmed up with a load.
const WARM_UP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// More of a round's requests that pay for a handshake with the origin are told of.
const HANDSHAKES_MAX: f64 = 0.01;

/// One way through one contender, or past all of them.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) name: String,
    /// Whose processor time counts.
    pub(crate) pids: Vec<u32>,
    pub(crate) target: Target,
}

impl Lane {
    /// That way through `contender`, if it has one.
    pub(crate) fn through(contender: &Contender, way: Way) -> Option<Self> {
        let targets = &contender.targets;
        let target = match way {
            Way::Http1 => Some(&targets.http1_origin),
            Way::Http1NewEach if contender.kind == Kind::HaproxyTcp => None,
            Way::Http1NewEach => Some(&targets.http1_origin),
            Way::Http2To1 => targets.http2_clients.as_ref(),
            Way::Http2 => targets.http2_origin.as_ref(),
        };
        Some(Self {
            name: contender.name.clone(),
            pids: contender.pids(),
            target: target?.clone(),
        })
    }

    /// The way that takes a token from the cache.
    pub(crate) fn with_token(contender: &Contender, name: &str) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            pids: contender.pids(),
            target: contender.targets.token.clone()?,
        })
    }
}

/// Loads each lane in turn, `plan.rounds` times.
pub(crate) fn run(stage: &Stage, trial: &Trial, mut lanes: Vec<Lane>, plan: &Plan) -> Table {
    eprintln!(
        "{}: {} rounds of {:?}, {} contenders",
        trial.load.name,
        plan.rounds,
        plan.round,
        lanes.len()
    );
    let warm_up = (plan.round / 2).clamp(WARM_UP.0, WARM_UP.1);
    // Handshakes belong here: this is what it is for.
    lanes.retain(|lane| go_round(trial, lane, warm_up).is_some());
    let mut series: Vec<_> = lanes
        .iter()
        .map(|lane| {
            Some(Series {
                contender: lane.name.clone(),
                rounds: Vec::with_capacity(plan.rounds),
            })
        })
        .collect();
    for round in 0..plan.rounds {
        for turn in 0..lanes.len() {
            let place = (turn + round) % lanes.len();
            let handshakes = stage.origin_handshakes();
            if let Some(mut so_far) = series[place].take()
                && let Some(round) = go_round(trial, &lanes[place], plan.round)
            {
                let handshakes = stage.origin_handshakes() - handshakes;
                tell_of_handshakes(trial, &lanes[place], handshakes, round.requests);
                so_far.rounds.push(round);
                series[place] = Some(so_far);
            }
        }
    }
    Table {
        load: trial.load.name.to_owned(),
        title: trial.load.title.to_owned(),
        measure: trial.measure,
        series: series.into_iter().flatten().collect(),
    }
}

/// A contender that keeps its connections to the origin pays for next to no handshake once it is
/// warm: its configuration is not what it should be, or the warm-up was too short. The relay that
/// does not read HTTP has one for each of the round's connections, before the clock starts.
fn tell_of_handshakes(trial: &Trial, lane: &Lane, handshakes: u64, requests: u64) {
    let connections = match lane.name == names::FLOOR {
        true => trial.load.connections as u64,
        false => 0,
    };
    let paid = handshakes.saturating_sub(connections);
    if paid as f64 > requests as f64 * HANDSHAKES_MAX {
        eprintln!(
            "{}: {} paid for {paid} TLS handshakes in {requests} requests",
            trial.load.name, lane.name
        );
    }
}

/// One round; `None`, with a word on standard error, if the answers were not those expected.
fn go_round(trial: &Trial, lane: &Lane, lasts: Duration) -> Option<Round> {
    let mut before = Usage::default();
    let outcome = load::run_observed(&trial.load, &lane.target, lasts, || {
        before = Usage::time_of(&lane.pids)
    });
    let after = Usage::of(&lane.pids);
    let failures = wrong(&outcome);
    let all = outcome.requests + failures;
    if outcome.requests == 0 || failures as f64 > all as f64 * FAILED_MAX {
        eprintln!(
            "{}: {} is left out: {failures} of {all} requests failed: {}",
            trial.load.name,
            lane.name,
            outcome.told.join("; ")
        );
        return None;
    }
    Some(Round::of(
        &outcome,
        &after.since(&before),
        after.resident_bytes,
    ))
}

/// Requests that were sent and not answered as expected. Those of an open loop that could not be
/// sent by the round's end are not among them: they count where they belong, with the latency they
/// had by then.
fn wrong(outcome: &Outcome) -> u64 {
    outcome.failures - outcome.unsent
}

impl Round {
    fn of(outcome: &Outcome, used: &Times, resident_bytes: u64) -> Self {
        let at =
            |percentile| Duration::from_nanos(outcome.latencies.value_at_percentile(percentile));
        Self {
            requests: outcome.requests,
            failures: wrong(outcome),
            took: outcome.took,
            cpu: used.cpu,
            waited: used.waited,
            resident_bytes,
            p50: at(50.0),
            p99: at(99.0),
            percentiles: PERCENTILES.map(at).to_vec(),
        }
    }
}
