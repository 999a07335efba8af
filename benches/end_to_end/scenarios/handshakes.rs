//! Which share of requests pays for a TLS handshake with the origin where requests are few and
//! workers many.
//!
//! Requests come over connections that wait with all workers, a different one each time. The pool is
//! warm, and as small as it can be: it has the one connection that carried the request by which the
//! gateway was found to be up. A worker that did not ask its neighbours would find nothing.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::{Length, Scene, grouped, small_get};
use crate::figures::Finding;
use crate::load::{self, Pace, Target};
use crate::peers::{self, AttacheExtra, Contender, Kind};
use crate::stage::Stage;

const NAME: &str = "handshakes at low rate";
const WORKERS: [usize; 4] = [1, 2, 8, 16];
/// What the goal is about: so many workers, a request each five seconds, for a minute. No
/// worker is asked twice within the time for which a connection to the origin may be idle.
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
        let lowest = scope.spawn(|| vec![lowest(scene)]);
        let high = &high;
        let others = WORKERS.map(|workers| scope.spawn(move || low_to_high(scene, workers, high)));
        // Told in this order, whoever is ready first.
        for played in [lowest].into_iter().chain(others) {
            let findings = played.join().unwrap_or_default();
            findings.into_iter().for_each(|one| scene.found(one));
        }
    });
}

fn lowest(scene: &Scene<'_>) -> Finding {
    let (stage, contender) = start(scene, GOAL_WORKERS);
    let target = &contender.targets.http1_origin;
    let mut clients = Clients::of(target);
    let counted = clients.ask(scene, &stage, GOAL_INTERVAL, GOAL_REQUESTS);
    counted.finding(&format!("{GOAL_WORKERS} workers, warm pool"))
}

/// At each rate in turn; `high` sees to it that only one of all gateways has much to do.
fn low_to_high(scene: &Scene<'_>, workers: usize, high: &Mutex<()>) -> Vec<Finding> {
    let (stage, contender) = start(scene, workers);
    let target = &contender.targets.http1_origin;
    let mut clients = Clients::of(target);
    let of = match workers {
        1 => "1 worker".to_owned(),
        _ => format!("{workers} workers"),
    };
    let mut findings = Vec::new();
    for (per_second, requests) in LOW {
        let interval = Duration::from_secs(1) / per_second;
        let counted = clients.ask(scene, &stage, interval, requests);
        findings.push(counted.finding(&format!("{per_second} a second, {of}")));
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
    findings.push(counted.finding(&format!("{per_second} a second, {of}")));
    findings
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

/// Connections that are asked in turn; they are opened as their first turn comes, lest they wait
/// for it too long. The gateway gives each to a worker that has fewest.
struct Clients<'a> {
    target: &'a Target,
    open: Vec<Caller>,
}

impl<'a> Clients<'a> {
    fn of(target: &'a Target) -> Self {
        Self {
            target,
            open: Vec::new(),
        }
    }

    fn ask(
        &mut self,
        scene: &Scene<'_>,
        stage: &Stage,
        interval: Duration,
        requests: usize,
    ) -> Counted {
        let (before, begin) = (stage.origin_handshakes(), Instant::now());
        for number in 0..requests {
            scene.in_time();
            let due = begin + interval * (number as u32 + 1);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let turn = number % CLIENTS;
            if turn == self.open.len() {
                self.open.push(Caller::connect(self.target).unwrap());
            }
            self.open[turn].ask_well().unwrap();
        }
        Counted {
            requests: requests as u64,
            handshakes: stage.origin_handshakes() - before,
        }
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
        Finding::new(NAME, what, percent, "%").beside(beside)
    }
}
