//! What one connector's trouble costs another: `cargo bench --bench isolation`.
//!
//! A gateway runs in this process between two resource domains on loopback. One connector, `good`,
//! gets the same steady load in every round, far below what the machine can carry; in every other
//! round a neighbour is in trouble. Shown are the medians, over all pairs of rounds, of its
//! latencies with the neighbour to those without: a ratio, since figures of two runs do not
//! compare. The first line, a neighbour that does nothing, is how far the machine alone moves them.
//!
//! Load generators and resource domains share the processor with the gateway; the table says what
//! each of them used, for what they take is missing elsewhere.

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

use cpu::Used;
use load::Trouble;
use origins::Origins;

/// Pairs of rounds for each kind of trouble.
const PAIRS: usize = 7;
/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(4);
/// How long everything may calm down between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

const TROUBLES: [(&str, Trouble); 6] = [
    ("nothing", Trouble::None),
    ("its origin hangs", Trouble::Hangs),
    ("its origin floods", Trouble::Floods),
    ("its origin is down", Trouble::IsDown),
    ("its token endpoint hangs", Trouble::NoToken),
    ("it is over its rate", Trouble::OverRate),
];

/// Latencies of one round.
struct Round {
    median: Duration,
    p99: Duration,
    used: Used,
}

fn main() {
    // Whoever lists or runs tests runs this too, without the word that asks for figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let origins = Origins::start();
    let config = Config::parse(&configuration(&origins), Path::new(".")).unwrap();
    let workers = config.workers;
    let gateway = Gateway::start(config, Environment::system()).unwrap();
    let address = gateway.flow_addresses()[0];
    let round = |trouble: Trouble| -> Round {
        let trouble = load::trouble(address, trouble);
        thread::sleep(PAUSE);
        let before = Used::now();
        let (mut took, after) = load::good(address, ROUND);
        let used = after.since(&before);
        drop(trouble);
        thread::sleep(PAUSE);
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        Round {
            median: at(0.5),
            p99: at(0.99),
            used,
        }
    };
    round(Trouble::None);
    println!(
        "{workers} workers, {PAIRS} pairs of rounds of {ROUND:?}, {} requests a second to `good`",
        load::GOOD_PER_SECOND
    );
    println!(
        "| the neighbour | p50 alone | p50 ratio | p99 alone | p99 ratio (least to most) | gateway | load | resource domains |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, trouble) in TROUBLES {
        let pairs: Vec<_> = (0..PAIRS)
            .map(|pair| match pair % 2 {
                0 => (round(Trouble::None), round(trouble)),
                _ => {
                    let with = round(trouble);
                    (round(Trouble::None), with)
                }
            })
            .collect();
        println!("{}", line(name, &pairs));
    }
    gateway.drain();
}

/// A line of the table: medians over all pairs, and the processor's share in the troubled rounds.
fn line(name: &str, pairs: &[(Round, Round)]) -> String {
    let micros = |of: fn(&Round) -> Duration| {
        median(pairs.iter().map(|(alone, _)| of(alone).as_secs_f64() * 1e6))
    };
    let ratios = |of: fn(&Round) -> Duration| -> Vec<f64> {
        let ratio =
            |(alone, with): &(Round, Round)| of(with).as_secs_f64() / of(alone).as_secs_f64();
        pairs.iter().map(ratio).collect()
    };
    let p99 = ratios(|round| round.p99);
    let least = p99.iter().copied().fold(f64::INFINITY, f64::min);
    let most = p99.iter().copied().fold(0.0, f64::max);
    let share = |of: fn(&Used) -> f64| {
        let seconds = median(pairs.iter().map(|(_, with)| of(&with.used)));
        seconds / ROUND.as_secs_f64() * 100.0
    };
    format!(
        "| {name} | {:.0} µs | {:.2} | {:.0} µs | {:.2} ({least:.2} to {most:.2}) | {:.0} % | {:.0} % | {:.0} % |",
        micros(|round| round.median),
        median(ratios(|round| round.median)),
        micros(|round| round.p99),
        median(p99),
        share(|used| used.gateway),
        share(|used| used.load),
        share(|used| used.origins),
    )
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The gateway's configuration: defaults, but for the addresses and the connectors.
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
        "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n".to_owned(),
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
