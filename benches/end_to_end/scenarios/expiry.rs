//! Tokens that expire under load: whether a flow notices.

use std::time::Duration;

use super::{Scene, grouped, p99, small_get};
use crate::figures::Finding;
use crate::load::{self, Outcome, Target};
use crate::peers::{AttacheExtra, Contender};

const NAME: &str = "token expiry under load";
const SHORT: Duration = Duration::from_secs(2);
/// Longer than any run.
const LONG: Duration = Duration::from_secs(3600);
const CONNECTIONS: usize = 64;

pub(super) fn play(scene: &Scene<'_>) {
    let lasts = scene.pick(Duration::from_secs(10), SHORT);
    let (stage, load) = (scene.stage, small_get(CONNECTIONS));
    let beside = scene.pick(lasts / 2, lasts / 4);
    let run = |target: &Target, lasts| {
        scene.in_time();
        load::run(&load, target, lasts)
    };
    stage.set_token_lifetime(LONG);
    let steady = scene.start(&AttacheExtra::default());
    let steady = token_target(&steady)
        .map(|target| (steady, target))
        .unwrap();
    // It holds its token from here on.
    let before = run(&steady.1, beside);
    stage.set_token_lifetime(SHORT);
    let renewing = scene.start(&AttacheExtra::default());
    let tokens = stage.token_requests();
    let outcome = run(&token_target(&renewing).unwrap(), lasts);
    let tokens = stage.token_requests() - tokens;
    stage.set_token_lifetime(LONG);
    let after = run(&steady.1, beside);
    tell(scene, &outcome, tokens);
    // One run has no pairs that would say how far a ratio spreads: times, then.
    let halves = format!(
        "with a token that lasts {:.2} ms before and {:.2} ms after",
        p99(&before),
        p99(&after)
    );
    scene.found(Finding::new(NAME, "p99", p99(&outcome), "ms").beside(halves));
}

fn tell(scene: &Scene<'_>, outcome: &Outcome, tokens: u64) {
    let all = outcome.requests + outcome.failures;
    let told = outcome.told.join("; ");
    let colon = if told.is_empty() { "" } else { ": " };
    let beside = format!("of {}{colon}{told}", grouped(all as usize));
    let failed = outcome.failures as f64;
    scene.found(Finding::new(NAME, "failed requests", failed, "").beside(beside));
    let beside = format!("in {:.0} s, of {SHORT:?} each", outcome.took.as_secs_f64());
    scene.found(Finding::new(NAME, "token requests", tokens as f64, "").beside(beside));
}

fn token_target(contender: &Contender) -> Option<Target> {
    contender.targets.token.clone()
}
