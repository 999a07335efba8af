//! Open loops: what is due is sent, and counts from when it was due.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::answer::Answer;
use crate::support::exchange::Exchange as Asked;
use crate::support::origin::{Handler, scripted};
use crate::support::stage::Stage;

use super::load::{Client, Exchange, Load, Outcome, Pace, Target, run};
use super::scene::Scene;

const LASTS: Duration = Duration::from_secs(1);
const PER_SECOND: u32 = 400;
const STALL: Duration = Duration::from_millis(500);
/// Which of the requests an origin stalls at.
const STALLS_AT: usize = 20;

/// An origin that stalls once, for [`STALL`]: nothing that comes meanwhile is answered before it
/// goes on. Time passing is what the origin is about, so it cannot be turned here.
fn stalling() -> Handler {
    let goes_on: Arc<OnceLock<Instant>> = Arc::default();
    let asked = Arc::new(AtomicUsize::new(0));
    scripted(move |mut exchange: Asked| {
        let (goes_on, asked) = (Arc::clone(&goes_on), Arc::clone(&asked));
        async move {
            exchange.finish().await;
            let number = asked.fetch_add(1, Ordering::Relaxed);
            if number == STALLS_AT {
                goes_on.get_or_init(|| Instant::now() + STALL);
            }
            if let Some(goes_on) = goes_on.get() {
                tokio::time::sleep_until((*goes_on).into()).await;
            }
            Answer::text("ok")
        }
    })
}

fn load(client: Client, connections: usize) -> Load {
    Load {
        name: "test",
        title: "a test",
        exchange: Exchange::Get { answer_bytes: 2 },
        client,
        connections,
        pace: Pace::Open {
            per_second: PER_SECOND,
        },
    }
}

async fn sent(load: Load, target: Target) -> Outcome {
    let running = tokio::task::spawn_blocking(move || run(&load, &target, LASTS));
    running.await.unwrap()
}

#[tokio::test]
async fn a_server_that_stalls_once_shows_in_all_requests_that_were_due_meanwhile() {
    for (client, connections) in [(Client::KeptAlive, 2), (Client::Http2 { streams: 2 }, 1)] {
        let scene = Scene::with(Stage::new(), stalling(), "").await;

        let outcome = sent(load(client, connections), scene.through()).await;

        // Two requests were under way when it stalled. Two hundred were due while it did, of which
        // those of the first half waited for half of it at least.
        let half = STALL / 2;
        let least = (half.as_secs_f64() * f64::from(PER_SECOND)) as u64 - 1;
        let slow = outcome
            .latencies
            .count_between(half.as_nanos() as u64, u64::MAX);
        assert!(slow >= least, "{client:?}: {slow} of {least}");
        let p99 = outcome.latencies.value_at_quantile(0.99);
        assert!(p99 >= half.as_nanos() as u64, "{client:?}: {p99} ns");
        // On a machine that is late itself, some may be left when the run is over.
        let (late, unsent) = (outcome.late, outcome.unsent);
        assert!(late + unsent >= least, "{client:?}: {late}, {unsent}");
    }
}

#[tokio::test]
async fn every_request_that_was_due_is_accounted_for() {
    let all = u64::from(PER_SECOND);
    for client in [
        Client::KeptAlive,
        Client::NewEach,
        Client::Http2 { streams: 4 },
    ] {
        let scene = Scene::with(Stage::new(), stalling(), "").await;

        let outcome = sent(load(client, 8), scene.through()).await;

        let what = format!("{client:?}: {outcome:?}");
        assert_eq!(outcome.requests + outcome.failures, all, "{what}");
        assert_eq!(outcome.failures, outcome.unsent, "{what}");
        assert_eq!(outcome.latencies.len(), all, "{what}");
    }
}
