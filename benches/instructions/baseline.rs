//! What the walks may cost: the baseline that is checked in, and how a run is held against it.
//! No I/O; `tests/integration/instructions.rs` holds the rules.
//!
//! # Invariants
//!
//! A walk that costs more than the tolerance above its baseline fails the run, and so does one that
//! the baseline does not know, or that it knows and nobody counted: a baseline cannot rot in
//! silence. One that costs less by as much passes, and says that the gain should be accepted, for
//! what it gained could otherwise be lost again unseen.
//!
//! Another compiler moves counts by some percent without anybody's fault, so the tolerance is wider
//! under one, and no more than that: a walk that doubles fails under any. Where the processor can do
//! other things (AES, AVX2), other code runs, and counts say nothing about the baseline's; there the
//! lines are shown, and only the bounds hold, which compare walks of one run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The tolerance under another compiler, in percent.
pub(crate) const OTHER_COMPILER_PERCENT: f64 = 10.0;

/// What the walks cost when somebody last accepted it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    pub(crate) tolerance_percent: f64,
    pub(crate) counted_with: Tools,
    pub(crate) walks: Vec<Count>,
}

/// What decides counts beside the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tools {
    /// The compiler that built the gateway.
    pub(crate) rustc: String,
    /// What the processor can do, as far as libraries choose their code by it.
    pub(crate) processor: String,
    /// For the reader; every version counts alike.
    pub(crate) valgrind: String,
}

/// Instructions per request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) walk: String,
    pub(crate) instructions: u64,
}

/// A walk that must not cost more than `percent_max` above another of the same run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) walk: &'static str,
    pub(crate) above: &'static str,
    pub(crate) percent_max: f64,
}

/// How much of all walks a run counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// Those whose names somebody asked for.
    Part,
}

/// How far a run may be held against a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    Same,
    OtherCompiler,
    OtherProcessor,
}

/// A walk's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the tolerance.
    Holds,
    Costlier,
    Cheaper,
    /// The baseline does not know it.
    Unknown,
    /// The baseline knows it, and it was not counted.
    Gone,
}

/// A walk before and now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) walk: String,
    pub(crate) before: Option<u64>,
    pub(crate) now: Option<u64>,
    pub(crate) verdict: Verdict,
}

/// A run held against a baseline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) kinship: Kinship,
    pub(crate) tolerance_percent: f64,
    pub(crate) lines: Vec<Line>,
}

impl Baseline {
    /// How far what `tools` counted may be held against this.
    fn kinship(&self, tools: &Tools) -> Kinship {
        if self.counted_with.processor != tools.processor {
            Kinship::OtherProcessor
        } else if self.counted_with.rustc != tools.rustc {
            Kinship::OtherCompiler
        } else {
            Kinship::Same
        }
    }

    fn before(&self, walk: &str) -> Option<u64> {
        let known = self.walks.iter().find(|count| count.walk == walk);
        known.map(|count| count.instructions)
    }

    /// Holds what `tools` counted, which was `scope`, against this.
    pub(crate) fn compare(&self, counts: &[Count], tools: &Tools, scope: Scope) -> Comparison {
        let kinship = self.kinship(tools);
        let tolerance_percent = match kinship {
            Kinship::Same => self.tolerance_percent,
            Kinship::OtherCompiler | Kinship::OtherProcessor => {
                self.tolerance_percent.max(OTHER_COMPILER_PERCENT)
            }
        };
        let counted = counts.iter().map(|count| {
            let before = self.before(&count.walk);
            let verdict = match before {
                None => Verdict::Unknown,
                Some(before) => verdict(
                    change_percent(before, count.instructions),
                    tolerance_percent,
                ),
            };
            Line {
                walk: count.walk.clone(),
                before,
                now: Some(count.instructions),
                verdict,
            }
        });
        let is_gone = |known: &&Count| {
            scope == Scope::All && !counts.iter().any(|count| count.walk == known.walk)
        };
        let gone = self.walks.iter().filter(is_gone).map(|known| Line {
            walk: known.walk.clone(),
            before: Some(known.instructions),
            now: None,
            verdict: Verdict::Gone,
        });
        Comparison {
            kinship,
            tolerance_percent,
            lines: counted.chain(gone).collect(),
        }
    }

    /// The baseline after `counts` were accepted; `None` if they would stand beside others that
    /// cannot be compared with them.
    pub(crate) fn accept(&self, counts: Vec<Count>, tools: Tools, scope: Scope) -> Option<Self> {
        let mut walks = match (scope, self.kinship(&tools)) {
            (Scope::All, _) => Vec::new(),
            (Scope::Part, Kinship::Same) => self.walks.clone(),
            (Scope::Part, Kinship::OtherCompiler | Kinship::OtherProcessor) => return None,
        };
        for count in counts {
            match walks.iter_mut().find(|known| known.walk == count.walk) {
                Some(known) => *known = count,
                None => walks.push(count),
            }
        }
        Some(Self {
            tolerance_percent: self.tolerance_percent,
            counted_with: tools,
            walks,
        })
    }
}

impl Comparison {
    /// Whether the run passes.
    pub(crate) fn passes(&self) -> bool {
        self.lines.iter().all(|line| match line.verdict {
            Verdict::Holds | Verdict::Cheaper => true,
            Verdict::Costlier => self.kinship == Kinship::OtherProcessor,
            Verdict::Unknown | Verdict::Gone => false,
        })
    }

    /// Whether something should be accepted that nothing forces anybody to.
    pub(crate) fn gains(&self) -> bool {
        let gain = |line: &Line| line.verdict == Verdict::Cheaper;
        self.kinship == Kinship::Same && self.lines.iter().any(gain)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| walk | before | now | change | |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for line in &self.lines {
            let figure =
                |count: Option<u64>| count.map_or("–".to_owned(), |count| count.to_string());
            let change = line
                .before
                .zip(line.now)
                .map_or("–".to_owned(), |(before, now)| {
                    format!("{:+.1} %", change_percent(before, now))
                });
            let verdict = match line.verdict {
                Verdict::Holds => "",
                Verdict::Costlier => "COSTLIER",
                Verdict::Cheaper => "cheaper",
                Verdict::Unknown => "NOT IN THE BASELINE",
                Verdict::Gone => "NOT COUNTED",
            };
            let (before, now) = (figure(line.before), figure(line.now));
            writeln!(
                f,
                "| {} | {before} | {now} | {change} | {verdict} |",
                line.walk
            )?;
        }
        let why = match self.kinship {
            Kinship::Same => "",
            Kinship::OtherCompiler => ": wider, as the baseline was counted under another compiler",
            Kinship::OtherProcessor => {
                "; not held, as the baseline was counted on a processor that can do other things"
            }
        };
        writeln!(f, "Tolerance {} %{why}.", self.tolerance_percent)
    }
}

fn verdict(change_percent: f64, tolerance_percent: f64) -> Verdict {
    if change_percent > tolerance_percent {
        Verdict::Costlier
    } else if change_percent < -tolerance_percent {
        Verdict::Cheaper
    } else {
        Verdict::Holds
    }
}

fn change_percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

/// What `bounds` say of `counts`: a sentence for each that is broken. Bounds on walks that were not
/// counted say nothing.
pub(crate) fn broken(bounds: &[Bound], counts: &[Count]) -> Vec<String> {
    let count = |walk: &str| {
        let counted = counts.iter().find(|count| count.walk == walk);
        counted.map(|count| count.instructions)
    };
    let sentence = |bound: &Bound| {
        let (base, now) = count(bound.above).zip(count(bound.walk))?;
        let above = change_percent(base, now);
        (above > bound.percent_max).then(|| {
            format!(
                "{}: {now} instructions, {above:.1} % above those of {} ({base}); {} % are allowed",
                bound.walk, bound.above, bound.percent_max
            )
        })
    };
    bounds.iter().filter_map(sentence).collect()
}
