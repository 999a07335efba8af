//! Which share of requests pays for a TLS handshake with the origin where requests are few and
//! workers many.
//!
//! Requests come over connections that wait with all workers, a different one each time. Before
//! they are counted each has carried one request, one after the other, so that the pool is warm,
//! and as small as it can be: a worker that did not ask its neighbours would find nothing.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::{Length, Scene, finding, grouped, small_get};
use crate::figures::Finding;
use crate::load::{self, Pace, Target};
use crate::peers::{self, AttacheExtra, Contender, Kind};
use crate::stage::Stage;

const NAME: &str = "handshakes at low rate";
const WORKERS: [usize; 4] = [1, 2, 8, 16];
/// What the goal is about: so many workers, a request each five seconds, for a minute. No
/// connection of the pool is used twice within its idle time, unless workers share them.
const GOAL_WORKERS: usize = 16;
const GOAL_INTERVAL: Duration = Duration::from_secs(5);
const GOAL_REQUESTS: usize = 12;
/// Connections of clients: each worker has at least two.
const CLIENTS: usize = 32;
/// Requests a second that are sent one at a time, and how many.
const LOW: [(u32, usize); 2] = [(1, 20), (10, 60)];
/// Those that may be under way side by side, and for how long.
const HIGH: (u32, Duration) = (1_000, Duration::from_secs(2));

/// Handshakes that some requests took.
struct Counted {
    requests: u64,
    handshakes: u64,
}

pub(super) fn play(scene: &Scene<'_>) {
    if scene.length == Length::Quick {
        eprintln!("  not in a quick run");
        return;
    }
    let high = Mutex::new(());
    thread::scope(|scope| {
        scope.spawn(|| lowest(scene));
        for workers in WORKERS {
            let high = &high;
            scope.spawn(move || low_to_high(scene, workers, high));
        }
    });
}

fn lowest(scene: &Scene<'_>) {
    let (stage, contender) = start(scene, GOAL_WORKERS);
    let target = &contender.targets.http1_origin;
    let counted = by_hand(scene, &stage, target, GOAL_INTERVAL, GOAL_REQUESTS);
    scene.found(counted.finding(&format!("{GOAL_WORKERS} workers, warm pool")));
}

/// At each rate in turn; `high` sees to it that only one of all gateways has much to do.
fn low_to_high(scene: &Scene<'_>, workers: usize, high: &Mutex<()>) {
    let (stage, contender) = start(scene, workers);
    let target = &contender.targets.http1_origin;
    let of = match workers {
        1 => "1 worker".to_owned(),
        _ => format!("{workers} workers"),
    };
    for (per_second, requests) in LOW {
        let interval = Duration::from_secs(1) / per_second;
        let counted = by_hand(scene, &stage, target, interval, requests);
        scene.found(counted.finding(&format!("{per_second} a second, {of}")));
    }
    let _alone = high.lock().unwrap_or_else(PoisonError::into_inner);
    let (per_second, lasts) = HIGH;
    let mut load = small_get(CLIENTS);
    load.pace = Pace::Open { per_second };
    let mut before = 0;
    let outcome = load::run_observed(&load, target, lasts, || before = stage.origin_handshakes());
    let counted = Counted {
        requests: outcome.requests,
        handshakes: stage.origin_handshakes() - before,
    };
    let per_second = grouped(per_second as usize);
    scene.found(counted.finding(&format!("{per_second} a second, {of}")));
}

/// Each gateway has an origin to itself, which counts for it.
fn start(scene: &Scene<'_>, workers: usize) -> (Stage, Contender) {
    let stage = Stage::start(&scene.stage.processors);
    let extra = AttacheExtra {
        workers: Some(workers),
        ..AttacheExtra::default()
    };
    let contender = peers::start(Kind::Attache, &stage, 1, &extra).unwrap();
    (stage, contender)
}

fn by_hand(
    scene: &Scene<'_>,
    stage: &Stage,
    target: &Target,
    interval: Duration,
    requests: usize,
) -> Counted {
    let mut callers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut caller = Caller::connect(target).unwrap();
            caller.ask_well().unwrap();
            caller
        })
        .collect();
    let (before, begin) = (stage.origin_handshakes(), Instant::now());
    for number in 0..requests {
        scene.in_time();
        let due = begin + interval * (number as u32 + 1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        callers[number % CLIENTS].ask_well().unwrap();
    }
    Counted {
        requests: requests as u64,
        handshakes: stage.origin_handshakes() - before,
    }
}

impl Counted {
    fn finding(&self, what: &str) -> Finding {
        let Self {
            requests,
            handshakes,
        } = self;
        let percent = *handshakes as f64 / *requests as f64 * 100.0;
        let beside = format!("{handshakes} in {requests} requests");
        finding(NAME, what, percent, "%").beside(beside)
    }
}
