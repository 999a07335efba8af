//! What Attaché is to reach beside its peers, as data, and whether a run shows that it does.
//!
//! A goal is reached only by a figure that may be shown: where a ratio is too noisy, so is its goal.

mod list;

use serde::Serialize;

use super::super::figures::{Comparison, Finding, Results};
use super::cells;
use super::counts::Counts;
use super::grid::Column::{Figures, Words};
use super::grid::Grid;

/// A bound that one figure is to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// What is measured; of a finding, its scenario and what was found say it.
    what: &'static str,
    pub(crate) figure: Figure,
    /// The figure must not be greater.
    pub(crate) must: Option<f64>,
    /// Better still.
    pub(crate) aim: Option<f64>,
}

/// Where a goal's figure comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// How many times what the other costs, in a load's rounds.
    Ratio {
        load: &'static str,
        contender: &'static str,
        other: &'static str,
    },
    /// Microseconds of added p99 more than the other's, in a load's rounds.
    AddedP99 {
        load: &'static str,
        contender: &'static str,
        other: &'static str,
    },
    /// A finding, in this unit.
    Found {
        scenario: &'static str,
        what: &'static str,
        unit: &'static str,
    },
    /// No figure of this run: how many times the instructions of another walk, as checked in.
    Instructions {
        walk: &'static str,
        other: &'static str,
    },
}

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    AimReached,
    Reached,
    Missed,
    /// Measured, but not so that it could be told.
    Unclear,
    NotMeasured,
}

/// A goal and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) what: String,
    pub(crate) must: String,
    pub(crate) aim: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

impl Goal {
    pub(crate) fn title(&self) -> String {
        match self.figure {
            Figure::Found { scenario, what, .. } => format!("{scenario}: {what}"),
            Figure::Ratio { .. } | Figure::AddedP99 { .. } | Figure::Instructions { .. } => {
                self.what.to_owned()
            }
        }
    }

    /// `≤ 0.90 × nginx`, or nothing.
    fn bound(&self, bound: Option<f64>) -> String {
        let Some(bound) = bound else {
            return String::new();
        };
        match self.figure {
            Figure::Ratio { other, .. } => format!("≤ {bound:.2} × {other}"),
            Figure::AddedP99 { other, .. } => format!("≤ {other}'s"),
            Figure::Found { unit, .. } => format!("≤ {bound} {unit}"),
            Figure::Instructions { .. } => format!("≤ {bound:.2} ×"),
        }
    }

    /// What a run shows of it.
    pub(crate) fn outcome(&self, results: &Results, counts: &Counts) -> Outcome {
        let (value, measured) = match self.figure {
            Figure::Ratio {
                load,
                contender,
                other,
            } => {
                let table = results.table(load);
                let ratio = table.and_then(|table| table.ratio(contender, other));
                (Measured::of(ratio), cells::exact_ratio(ratio))
            }
            Figure::AddedP99 {
                load,
                contender,
                other,
            } => {
                let table = results.table(load);
                let difference = table.and_then(|table| table.difference(contender, other));
                (Measured::of(difference), cells::difference(difference))
            }
            Figure::Found {
                scenario,
                what,
                unit,
            } => match found_in(results, scenario, what, unit) {
                Some((finding, _)) if finding.is_too_noisy() => {
                    (Measured::Unclear, cells::finding(finding))
                }
                Some((_, value)) => (
                    Measured::As(value),
                    format!("{} {unit}", cells::figure(value)),
                ),
                None => (Measured::Not, cells::NOTHING.to_owned()),
            },
            Figure::Instructions { walk, other } => match counts.ratio(walk, other) {
                Some(ratio) => (Measured::As(ratio), format!("{ratio:.3}")),
                None => (Measured::Not, cells::NOTHING.to_owned()),
            },
        };
        Outcome {
            what: self.title(),
            must: self.bound(self.must),
            aim: self.bound(self.aim),
            measured,
            verdict: self.judge(value),
        }
    }

    fn judge(&self, measured: Measured) -> Verdict {
        let keeps = |value: f64, bound: Option<f64>| bound.is_some_and(|bound| value <= bound);
        match measured {
            Measured::Not => Verdict::NotMeasured,
            Measured::Unclear => Verdict::Unclear,
            Measured::As(value) if keeps(value, self.aim) => Verdict::AimReached,
            Measured::As(value) if keeps(value, self.must) => Verdict::Reached,
            Measured::As(_) => Verdict::Missed,
        }
    }
}

/// What is known of a goal's figure.
#[derive(Clone, Copy)]
enum Measured {
    Not,
    Unclear,
    As(f64),
}

impl Measured {
    fn of(comparison: Option<Comparison>) -> Self {
        match comparison {
            None => Self::Not,
            Some(Comparison::Clear(spread)) => Self::As(spread.median),
            Some(Comparison::TooNoisy(_) | Comparison::TooFewRounds | Comparison::Failed) => {
                Self::Unclear
            }
        }
    }
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::AimReached => "aim reached",
            Self::Reached => "reached",
            Self::Missed => "missed",
            Self::Unclear => "unclear",
            Self::NotMeasured => "not measured",
        }
    }
}

/// What a run shows of every goal.
pub(crate) fn outcomes(results: &Results, counts: &Counts) -> Vec<Outcome> {
    list::GOALS
        .iter()
        .map(|goal| goal.outcome(results, counts))
        .collect()
}

/// All goals as a table.
pub(crate) fn table(outcomes: &[Outcome]) -> Grid {
    let mut grid = Grid::new(&[
        Words("goal"),
        Words("must"),
        Words("aim"),
        Figures("measured"),
        Words(""),
    ]);
    for outcome in outcomes {
        grid.push(vec![
            outcome.what.clone(),
            outcome.must.clone(),
            outcome.aim.clone(),
            outcome.measured.clone(),
            outcome.verdict.words().to_owned(),
        ]);
    }
    grid
}

/// A finding, and its value in another unit than its own, if that is of the same kind.
fn found_in<'a>(
    results: &'a Results,
    scenario: &str,
    what: &str,
    unit: &str,
) -> Option<(&'a Finding, f64)> {
    let mut all = results.findings.iter();
    let finding = all.find(|finding| finding.scenario == scenario && finding.what == what)?;
    let ((kind, from), (same, to)) = (size(&finding.unit)?, size(unit)?);
    (kind == same).then(|| (finding, finding.value * from / to))
}

/// What a unit measures, and how many of the smallest one it is.
fn size(unit: &str) -> Option<(&'static str, f64)> {
    Some(match unit {
        "B" => ("bytes", 1.0),
        "KiB" => ("bytes", 1024.0),
        "MiB" => ("bytes", 1024.0 * 1024.0),
        "µs" => ("time", 1.0),
        "ms" => ("time", 1e3),
        "s" => ("time", 1e6),
        "%" => ("part", 1.0),
        "×" => ("ratio", 1.0),
        _ => return None,
    })
}
