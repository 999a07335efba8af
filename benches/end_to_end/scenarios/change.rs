//! One connector among very many is changed: when flows see it, and what the others notice.
//!
//! What changes is the connector's password: the origin answers 200 to requests with the right one
//! and 401 to others, so that a change is seen where it has to arrive. It is published by itself,
//! as part of its whole configuration, and by saving the file that holds that.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::connectors::{self, Scheme};
use super::published::{Published, What};
use super::{Length, Scene, grouped, median, p99, small_get};
use crate::figures::{Finding, Spread};
use crate::load::{self, Target};
use crate::origin;
use crate::peers::AttacheExtra;
use crate::stage::{ORIGIN_NAME, Stage, free_port};

/// The connector that changes.
const ID: &str = "changed";
/// A password that the origin does not take.
const OTHER_PASSWORD: &str = "another password, which is as long as the one that is right";
const CONNECTIONS: usize = 64;
/// How long nothing happens between two changes whose arrival is timed.
const PAUSE: Duration = Duration::from_millis(200);

/// Rounds without and with changes, in turns.
struct Rounds {
    pairs: usize,
    lasts: Duration,
    /// In each round with them, evenly.
    changes: u32,
}

const ONE: Rounds = Rounds {
    pairs: 10,
    lasts: Duration::from_secs(1),
    changes: 10,
};
const WHOLE: Rounds = Rounds {
    pairs: 5,
    lasts: Duration::from_secs(1),
    changes: 2,
};
const SAVED: Rounds = Rounds {
    pairs: 3,
    lasts: Duration::from_secs(4),
    changes: 1,
};

/// What is asked, and what it is called.
struct Change<'a> {
    scene: &'a Scene<'a>,
    name: String,
    /// Leads to the connector that changes.
    changed: Target,
    /// Leads to another.
    other: Target,
}

pub(super) fn play(scene: &Scene<'_>) {
    let number = scene.pick(100_000, 1_000);
    let many = connectors::many(number - 1, Scheme::Basic);
    let extra = AttacheExtra {
        connectors: format!("{}{many}", line(scene.stage, origin::PASSWORD)),
        ..AttacheExtra::default()
    };
    let contender = scene.start(&extra);
    let other = contender.targets.http1_origin.clone();
    let changed = Target {
        prefix: format!("/{ID}"),
        ..other.clone()
    };
    let change = Change {
        scene,
        name: format!("a connector changed among {}", grouped(number)),
        changed,
        other,
    };
    // It stands beside what the gateway says.
    let files = Files::of(scene.stage, contender.log().with_extension("yaml"));
    change.at(free_port()).by_publisher(&files);
    change.by_file(&files);
}

impl Change<'_> {
    /// The same, where another gateway listens.
    fn at(&self, port: u16) -> Self {
        let at = |target: &Target| {
            let address = SocketAddr::new(target.address.ip(), port);
            Target {
                address,
                host: address.to_string(),
                ..target.clone()
            }
        };
        Self {
            scene: self.scene,
            name: self.name.clone(),
            changed: at(&self.changed),
            other: at(&self.other),
        }
    }

    fn found(&self, what: &str, value: f64, unit: &str, beside: impl Into<String>) {
        let finding = Finding::new(&self.name, what, value, unit);
        self.scene.found(finding.beside(beside));
    }

    fn found_ratio(&self, what: &str, rounds: &Rounds, ratios: Spread) {
        let finding =
            Finding::new(&self.name, what, ratios.median, "×").beside(rounds.words(&ratios));
        self.scene.found(Finding {
            spread: Some(ratios),
            ..finding
        });
    }

    fn by_file(&self, files: &Files) {
        let mut turns = files.turns();
        let times = self.scene.pick(5, 2);
        let took = self.visible(times, || turns.next().unwrap().save(files));
        self.found("visible from the saved file", took, "ms", median_of(times));
        if self.scene.length == Length::Full {
            let ratios = self.rounds(&SAVED, || turns.next().unwrap().save(files));
            let what = "p99 beside no changes, the file saved";
            self.found_ratio(what, &SAVED, ratios);
        }
    }

    fn by_publisher(&self, files: &Files) {
        let both = files.listening_on(self.changed.address);
        for (what, rounds, called) in [
            (What::One, ONE, ""),
            (What::Whole, WHOLE, ", the whole configuration published"),
        ] {
            let mut published = Published::start(self.scene.stage, &both, (ID, what));
            let times = self.scene.pick(21, 3);
            let took = self.visible(times, || published.publish());
            (0..times).for_each(|_| published.wait());
            self.found(&format!("visible{called}"), took, "ms", median_of(times));
            if self.scene.length == Length::Full {
                let ratios = self.rounds(&rounds, || {
                    published.publish();
                    published.wait();
                });
                let what = format!("p99 beside no changes{called}");
                self.found_ratio(&what, &rounds, ratios);
            }
        }
    }

    /// Milliseconds from a change to the first request that shows it, the median of some.
    fn visible(&self, times: usize, mut change: impl FnMut()) -> f64 {
        let mut caller = Caller::connect(&self.changed).unwrap();
        let one = |_| {
            thread::sleep(PAUSE);
            let before = caller.ask().unwrap();
            let begin = Instant::now();
            change();
            while caller.ask().unwrap() == before {
                self.scene.in_time();
            }
            begin.elapsed().as_secs_f64() * 1e3
        };
        median((0..times).map(one))
    }

    /// How many times the p99 of rounds without changes that of rounds with them is.
    fn rounds(&self, rounds: &Rounds, mut change: impl FnMut() + Send) -> Spread {
        let load = small_get(CONNECTIONS);
        let run = || {
            self.scene.in_time();
            let outcome = load::run(&load, &self.other, rounds.lasts);
            if outcome.failures > 0 {
                eprintln!("{} failed: {:?}", outcome.failures, outcome.told);
            }
            p99(&outcome)
        };
        let mut with_changes = || {
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..rounds.changes {
                        change();
                        thread::sleep(rounds.lasts / (rounds.changes + 1));
                    }
                });
                run()
            })
        };
        // Who is first changes.
        let pair = |number| match number % 2 {
            0 => {
                let alone = run();
                with_changes() / alone
            }
            _ => with_changes() / run(),
        };
        Spread::of((0..rounds.pairs).map(pair)).unwrap()
    }
}

impl Rounds {
    fn words(&self, ratios: &Spread) -> String {
        format!(
            "quartiles {:.2} to {:.2}; {} pairs of rounds of {:?} with no and {} changes",
            ratios.lower_quartile, ratios.upper_quartile, self.pairs, self.lasts, self.changes
        )
    }
}

fn median_of(times: usize) -> String {
    format!("the median of {times}")
}

/// The connector, as a list entry of YAML.
fn line(stage: &Stage, password: &str) -> String {
    let (user, port) = (origin::USERNAME, stage.origin.port());
    format!(
        "  - {{ id: {ID}, name: {ID}, resource_domain: \"https://{ORIGIN_NAME}:{port}\", \
         auth: {{ basic: {{ username: {user}, password: \"{password}\" }} }} }}\n"
    )
}

/// A configuration in its two forms.
struct Files {
    /// What the gateway reads.
    served: PathBuf,
    right: String,
    wrong: String,
}

/// Which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Password {
    Right,
    Other,
}

impl Files {
    fn of(stage: &Stage, served: PathBuf) -> Self {
        let right = fs::read_to_string(&served).unwrap();
        let (one, another) = (line(stage, origin::PASSWORD), line(stage, OTHER_PASSWORD));
        assert!(right.contains(&one), "the connector is there");
        Self {
            served,
            wrong: right.replace(&one, &another),
            right,
        }
    }

    /// The same for another gateway, both forms.
    fn listening_on(&self, address: SocketAddr) -> [PathBuf; 2] {
        let write = |text: &str, name| {
            let (first, rest) = text.split_once('\n').unwrap();
            assert!(first.starts_with("listen:"), "{first}");
            let file = self.served.with_extension(name);
            fs::write(&file, format!("listen: {address}\n{rest}")).unwrap();
            file
        };
        [
            write(&self.right, "right.yaml"),
            write(&self.wrong, "wrong.yaml"),
        ]
    }

    /// What is saved next, after the right one.
    fn turns(&self) -> impl Iterator<Item = Password> + use<> {
        [Password::Other, Password::Right].into_iter().cycle()
    }
}

impl Password {
    /// As editors do: a file that takes the other's place.
    fn save(self, files: &Files) {
        let new = files.served.with_extension("new.yaml");
        let text = match self {
            Self::Right => &files.right,
            Self::Other => &files.wrong,
        };
        fs::write(&new, text).unwrap();
        fs::rename(new, &files.served).unwrap();
    }
}
