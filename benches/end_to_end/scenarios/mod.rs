//! What has no rounds to compare: memory, start, changes, handshakes, expiry. benches/README.md says
//! how each is measured; the goals know findings by the words that stand here.
//!
//! Invariants: a scenario has its time and ends when that is over, with what it found by then; one
//! that fails costs the others nothing; what it starts ends with it.
//!
//! | file | what is in it |
//! |---|---|
//! | `idle` | memory of client connections that wait |
//! | `connectors` | start and memory with many connectors |
//! | `change` · `published` | one connector among many is changed |
//! | `handshakes` | requests that pay for a TLS handshake where they are few |
//! | `expiry` | tokens that expire under load |
//! | `caller` | one connection, asked by hand |

mod caller;
mod change;
mod connectors;
mod expiry;
mod handshakes;
mod idle;
pub(crate) mod published;

use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::{Finding, Spread};
use crate::load::{Client, Exchange, Load, Outcome, Pace};
use crate::peers::{self, AttacheExtra, Contender, Kind};
use crate::processors::Usage;
use crate::stage::Stage;

/// The word for all of them where loads are chosen.
pub(crate) const WORD: &str = "scenarios";
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;
/// How often memory is looked at that is to come to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Memory is at rest when it differs by less than this part.
const REST: f64 = 0.003;

/// One of them: its name, the time it has, and what it does.
struct Scenario {
    name: &'static str,
    time: Duration,
    play: fn(&Scene<'_>),
}

/// In the order they are played.
const ALL: [Scenario; 5] = [
    Scenario {
        name: "idle client connections",
        time: Duration::from_secs(150),
        play: idle::play,
    },
    Scenario {
        name: "many connectors",
        time: Duration::from_secs(60),
        play: connectors::play,
    },
    Scenario {
        name: "a connector changed among many",
        time: Duration::from_secs(120),
        play: change::play,
    },
    Scenario {
        name: "handshakes at low rate",
        time: Duration::from_secs(90),
        play: handshakes::play,
    },
    Scenario {
        name: "token expiry under load",
        time: Duration::from_secs(45),
        play: expiry::play,
    },
];

/// How much is asked of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Full,
    /// Less of everything, in under ten seconds: shows that it works.
    Quick,
}

/// What a scenario has at hand.
struct Scene<'a> {
    stage: &'a Stage,
    length: Length,
    /// Who may stand beside Attaché.
    peers: &'a [Kind],
    ends: Instant,
    found: Mutex<Vec<Finding>>,
}

/// Plays all scenarios; `peers` are those that may stand beside Attaché. Those that ended early are
/// named to `ended_early`.
pub(crate) fn run_all(
    stage: &Stage,
    length: Length,
    peers: &[Kind],
    mut ended_early: impl FnMut(&'static str),
) -> Vec<Finding> {
    open_as_many_files_as_allowed();
    ALL.iter()
        .flat_map(|scenario| {
            eprintln!("scenario: {}", scenario.name);
            let scene = Scene {
                stage,
                length,
                peers,
                ends: Instant::now() + scenario.time,
                found: Mutex::default(),
            };
            // On a thread of its own: what goes wrong there ends there.
            let played = thread::scope(|scope| scope.spawn(|| (scenario.play)(&scene)).join());
            if played.is_err() {
                eprintln!("scenario: {} ended early", scenario.name);
                ended_early(scenario.name);
            }
            scene.found.into_inner().unwrap()
        })
        .collect()
}

impl Scene<'_> {
    /// One of two, by how much is asked for.
    fn pick<T>(&self, full: T, quick: T) -> T {
        match self.length {
            Length::Full => full,
            Length::Quick => quick,
        }
    }

    /// Ends the scenario where its time is over.
    fn in_time(&self) {
        assert!(Instant::now() < self.ends, "out of time");
    }

    /// Keeps what was found, and tells it.
    fn found(&self, finding: Finding) {
        let Finding {
            scenario,
            what,
            value,
            unit,
            beside,
            spread: _,
        } = &finding;
        let measured = match finding.is_too_noisy() {
            true => "too noisy".to_owned(),
            false => format!("{value:.3} {unit}"),
        };
        let beside = beside.as_ref().map(|beside| format!(" ({beside})"));
        let beside = beside.unwrap_or_default();
        eprintln!("  {scenario}: {what}: {measured}{beside}");
        self.found.lock().unwrap().push(finding);
    }

    /// A gateway on one thread; ends the scenario where Attaché itself does not come up.
    fn start(&self, extra: &AttacheExtra) -> Contender {
        self.in_time();
        peers::start(Kind::Attache, self.stage, 1, extra).unwrap()
    }

    /// Waits for the memory of `contender` to be the same for `still`, at most for `longest`;
    /// returns its bytes.
    fn settled(&self, contender: &Contender, still: Duration, longest: Duration) -> f64 {
        let looks = (still.as_millis() / LOOK_AGAIN.as_millis()) as usize;
        let late = Instant::now() + longest;
        let mut seen: Vec<f64> = Vec::new();
        loop {
            self.in_time();
            seen.push(resident_bytes(contender));
            let recent = &seen[seen.len().saturating_sub(looks + 1)..];
            let least = recent.iter().copied().fold(f64::MAX, f64::min);
            let most = recent.iter().copied().fold(0.0, f64::max);
            let is_still = recent.len() > looks && most - least < most * REST;
            if is_still || Instant::now() > late {
                return seen[seen.len() - 1];
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn resident_bytes(contender: &Contender) -> f64 {
    Usage::of(&contender.pids()).resident_bytes as f64
}

impl Finding {
    /// The same, compared with something or explained.
    fn beside(self, beside: impl Into<String>) -> Self {
        Self {
            beside: Some(beside.into()),
            ..self
        }
    }
}

/// `10,000`.
fn grouped(number: usize) -> String {
    match (number / 1000, number % 1000) {
        (0, units) => units.to_string(),
        (thousands, units) => format!("{thousands},{units:03}"),
    }
}

/// The 99th percentile, in milliseconds.
fn p99(outcome: &Outcome) -> f64 {
    outcome.latencies.value_at_percentile(99.0) as f64 / 1e6
}

/// GET of 100 bytes, one after the other.
fn small_get(connections: usize) -> Load {
    Load {
        name: WORD,
        title: "GET of 100 bytes",
        exchange: Exchange::Get { answer_bytes: 100 },
        client: Client::KeptAlive,
        connections,
        pace: Pace::Closed,
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).unwrap().median
}

/// Lets this process, and those it starts, have as many open files as the system allows; where that
/// cannot be done, there are fewer connections.
fn open_as_many_files_as_allowed() {
    let (_, most) = open_files();
    let done = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--nofile={most}:{most}"))
        .status();
    if !done.is_ok_and(|done| done.success()) {
        eprintln!("prlimit failed: there will be fewer connections");
    }
}

/// How many files this process may have open, and what that may be raised to.
fn open_files() -> (usize, usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut figures = line.unwrap().split_whitespace().map(|word| {
        // "unlimited" is more than anybody needs here.
        word.parse().unwrap_or(usize::MAX)
    });
    (figures.next().unwrap(), figures.next().unwrap())
}
