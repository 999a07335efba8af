//! What one connector's trouble costs another: `cargo bench --bench isolation`, or with a part of
//! a row's name behind it (`-- floods`) only the rows that have it. benches/README.md says how it
//! is to be read, and what it showed.
//!
//! A gateway of one worker runs in this process between two resource domains on loopback. One
//! connector, `good`, gets the same steady load in every round, far below what the machine can
//! carry; in every other round a neighbour is in trouble. Rounds are short and many, and follow
//! each other closely, so that what the machine does besides falls on both kinds alike.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here ends the run"
)]

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use attache::config::Config;
use attache::gateway::{Environment, Gateway};

mod cpu;
mod load;
mod origins;
mod threads;

use cpu::Used;
use load::{Pace, Scene, Trouble, Way};
use origins::Origins;

/// Pairs of rounds tried for each kind of trouble, unless `ISOLATION_PAIRS` says otherwise.
const PAIRS: usize = 48;
/// How long a round lasts.
const ROUND: Duration = Duration::from_millis(500);
/// Of how many pairs one is looked at: the one in which the gateway and the good connector's load
/// waited least for their processors, for there the machine did least besides.
const TRIED_FOR_ONE: usize = 4;
/// How long everything may begin, or calm down, before a round is looked at and after it.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the neighbour's trouble has lasted when a round begins: its connections are made.
const SETTLED: Duration = Duration::from_millis(400);

const TROUBLES: [(&str, Trouble); 9] = [
    ("nothing", Trouble::None),
    ("its origin hangs", Trouble::Hangs),
    (
        "its origin floods",
        Trouble::Floods(Pace::Full, Way::Through),
    ),
    (
        "it floods past the gateway",
        Trouble::Floods(Pace::Full, Way::Past),
    ),
    (
        "its origin floods, 64 MiB/s are read",
        Trouble::Floods(Pace::Bounded, Way::Through),
    ),
    (
        "it floods past the gateway, 64 MiB/s are read",
        Trouble::Floods(Pace::Bounded, Way::Past),
    ),
    ("its origin is down", Trouble::IsDown),
    ("its token endpoint hangs", Trouble::NoToken),
    ("it is over its rate", Trouble::OverRate),
];

/// One round.
struct Round {
    /// Latencies in microseconds, in order.
    took: Vec<f64>,
    used: Used,
    /// Bytes of floods that were read.
    flooded: u64,
}

fn main() {
    // Whoever lists or runs tests runs this too, without the word that asks for figures.
    let mut words = std::env::args().skip(1);
    if !words.any(|word| word == "--bench") {
        return;
    }
    let wanted = std::env::args().skip(1).find(|word| word != "--bench");
    let wanted = wanted.unwrap_or_default();
    let pairs = std::env::var("ISOLATION_PAIRS").map_or(PAIRS, |pairs| pairs.parse().unwrap());
    threads::stay_off_the_gateway();
    let origins = Origins::start();
    let config = Config::parse(&configuration(&origins), Path::new(".")).unwrap();
    let gateway = Gateway::start(config, Environment::system()).unwrap();
    threads::place_gateway();
    let scene = Scene {
        gateway: gateway.flow_addresses()[0],
        bad: origins.bad,
        ca_pem: origins.ca_pem.clone(),
    };
    round(&scene, Trouble::None);
    println!(
        "{pairs} pairs of rounds of {ROUND:?}, {} requests a second to `good`",
        load::GOOD_PER_SECOND
    );
    println!(
        "| the neighbour | p50 alone | beside it | ratio | p99 alone | beside it | ratio (quartiles of pairs) | flood | gateway | load | resource domains | waited |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (name, trouble) in TROUBLES {
        if name.contains(&wanted) {
            println!("{}", line(name, &alternate(&scene, trouble, pairs)));
        }
    }
    gateway.drain();
}

/// Rounds without and with the neighbour's trouble, in turns, as (alone, beside it): those that are
/// looked at.
fn alternate(scene: &Scene, trouble: Trouble, pairs: usize) -> Vec<(Round, Round)> {
    let mut tried: Vec<_> = (0..pairs)
        .map(|pair| match pair % 2 {
            0 => (round(scene, Trouble::None), round(scene, trouble)),
            _ => {
                let beside = round(scene, trouble);
                (round(scene, Trouble::None), beside)
            }
        })
        .collect();
    let waited = |(alone, beside): &(Round, Round)| alone.used.waited.max(beside.used.waited);
    tried.sort_by(|one, other| waited(one).total_cmp(&waited(other)));
    tried.truncate(pairs.div_ceil(TRIED_FOR_ONE));
    tried
}

fn round(scene: &Scene, trouble: Trouble) -> Round {
    let trouble = load::trouble(scene, trouble);
    thread::sleep(SETTLED);
    let (before, read_before) = (Used::now(), trouble.bytes_read());
    let (took, after) = load::good(scene.gateway, ROUND);
    let flooded = trouble.bytes_read() - read_before;
    drop(trouble);
    thread::sleep(PAUSE);
    let mut took: Vec<_> = took.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    took.sort_unstable_by(f64::total_cmp);
    Round {
        took,
        used: after.since(&before),
        flooded,
    }
}

/// A line of the table: medians over all pairs, and the processor's share in the troubled rounds.
fn line(name: &str, pairs: &[(Round, Round)]) -> String {
    let figures = |part: f64| {
        let alone = sorted(pairs.iter().map(|(alone, _)| at(&alone.took, part)));
        let beside = sorted(pairs.iter().map(|(_, beside)| at(&beside.took, part)));
        let ratio =
            |(alone, beside): &(Round, Round)| at(&beside.took, part) / at(&alone.took, part);
        let ratios = sorted(pairs.iter().map(ratio));
        (at(&alone, 0.5), at(&beside, 0.5), ratios)
    };
    let (p50_alone, p50_beside, p50_ratios) = figures(0.5);
    let (p99_alone, p99_beside, p99_ratios) = figures(0.99);
    let share = |of: fn(&Used) -> f64| {
        let seconds = at(
            &sorted(pairs.iter().map(|(_, beside)| of(&beside.used))),
            0.5,
        );
        seconds / ROUND.as_secs_f64() * 100.0
    };
    let flooded = sorted(pairs.iter().map(|(_, beside)| beside.flooded as f64));
    format!(
        "| {name} | {p50_alone:.0} µs | {p50_beside:.0} µs | {:.2} | {p99_alone:.0} µs | {p99_beside:.0} µs | {:.2} ({:.2} to {:.2}) | {:.0} MiB/s | {:.0} % | {:.0} % | {:.0} % | {:.0} % |",
        at(&p50_ratios, 0.5),
        at(&p99_ratios, 0.5),
        at(&p99_ratios, 0.25),
        at(&p99_ratios, 0.75),
        at(&flooded, 0.5) / ROUND.as_secs_f64() / f64::from(1024 * 1024),
        share(|used| used.gateway),
        share(|used| used.load),
        share(|used| used.origins),
        share(|used| used.waited),
    )
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// What `part` of `sorted` is at most.
fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// The gateway's configuration: defaults, but for the addresses, the connectors and one worker, so
/// that nothing the neighbour does can be left to another.
fn configuration(origins: &Origins) -> String {
    let (good, bad, down) = (origins.good, origins.bad, origins.down);
    let ca = serde_json::to_string(&origins.ca_pem).unwrap();
    let connector = |id: &str, url: &str, more: &str| {
        format!("  - {{ id: {id}, name: {id}, resource_domain: \"https://{url}\", {more} }}\n")
    };
    let token = format!(
        "auth: {{ oauth2: {{ token_url: \"https://{bad}/hang\", client_id: a, client_secret: b }} }}"
    );
    let rate = "auth: none, requests_per_second: { rate: 50, burst: 100 }";
    [
        "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nworkers: 1\n".to_owned(),
        "timeouts: { drain_delay: 0s, drain: 1s }\n".to_owned(),
        format!("trust: {{ ca_bundles: [{ca}], allow_addresses: [127.0.0.0/8] }}\n"),
        "connectors:\n".to_owned(),
        connector("good", &good.to_string(), "auth: none"),
        connector("hangs", &format!("{bad}/hang"), "auth: none"),
        connector("floods", &format!("{bad}/flood"), "auth: none"),
        connector("down", &down.to_string(), "auth: none"),
        connector("tokenless", &bad.to_string(), &token),
        connector("over", &bad.to_string(), rate),
    ]
    .concat()
}

/// The date certificates are made for.
fn today() -> SystemTime {
    SystemTime::now()
}
