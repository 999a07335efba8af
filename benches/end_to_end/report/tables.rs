//! From rounds and findings to tables of words.

use std::time::Duration;

use super::super::figures::{
    Finding, Measure, Round, Series, Spread, Table, WAITED_MAX, micros, names,
};
use super::cells;
use super::grid::Column::{Figures, Words};
use super::grid::Grid;

/// A load's table: a row for each contender.
pub(crate) fn load(table: &Table) -> Grid {
    match table.measure {
        Measure::CpuPerRequest => cost(table),
        Measure::AddedP99 => latency(table),
    }
}

fn cost(table: &Table) -> Grid {
    let mut grid = Grid::new(&[
        Words("contender"),
        Figures("CPU µs/request (quartiles)"),
        Figures("of nginx"),
        Figures("of the floor"),
        Figures("requests/s"),
        Figures("p50 µs"),
        Figures("p99 µs"),
        Figures("MiB"),
        Figures("waited"),
    ]);
    for series in &table.series {
        let name = &series.contender;
        grid.push(vec![
            name.clone(),
            cells::spread(series.spread(Round::cpu_per_request)),
            cells::ratio(table.ratio(name, names::NGINX)),
            cells::ratio(table.ratio(name, names::FLOOR)),
            cells::median(series.spread(Round::per_second)),
            cells::median(series.spread(|round| micros(round.p50))),
            cells::median(series.spread(|round| micros(round.p99))),
            mebibytes(series),
            cells::percent(series.spread(Round::waited_percent)),
        ]);
    }
    grid
}

fn latency(table: &Table) -> Grid {
    let mut grid = Grid::new(&[
        Words("contender"),
        Figures("p50 µs"),
        Figures("p99 µs"),
        Figures("added p50 µs (quartiles)"),
        Figures("added p99 µs (quartiles)"),
        Figures("added p99 beside nginx's"),
        Figures("CPU µs/request"),
        Figures("requests/s"),
        Figures("MiB"),
        Figures("waited"),
    ]);
    for series in &table.series {
        grid.push(latency_row(table, series));
    }
    grid
}

fn latency_row(table: &Table, series: &Series) -> Vec<String> {
    let name = &series.contender;
    let is_direct = name == names::DIRECT;
    // Who calls the origin itself adds nothing and is no contender's process.
    let own = |cell: String| match is_direct {
        true => cells::NOTHING.to_owned(),
        false => cell,
    };
    let added =
        |latency: fn(&Round) -> Duration| cells::spread(Spread::of(table.added(series, latency)));
    let beside = match name == names::NGINX {
        true => None,
        false => table.difference(name, names::NGINX),
    };
    vec![
        name.clone(),
        cells::median(series.spread(|round| micros(round.p50))),
        cells::median(series.spread(|round| micros(round.p99))),
        own(added(|round| round.p50)),
        own(added(|round| round.p99)),
        own(cells::difference(beside)),
        own(cells::median(series.spread(Round::cpu_per_request))),
        cells::median(series.spread(Round::per_second)),
        own(mebibytes(series)),
        own(cells::percent(series.spread(Round::waited_percent))),
    ]
}

fn mebibytes(series: &Series) -> String {
    cells::median(series.spread(|round| round.resident_bytes as f64 / f64::from(1 << 20)))
}

/// What there is to be said against a load's figures: answers that were not as expected, and a
/// machine that did something else.
pub(crate) fn doubts(table: &Table) -> Vec<String> {
    let failures = table.series.iter().filter_map(|series| {
        let (failed, all) = series.failures();
        (failed > 0).then(|| {
            format!(
                "{}: {} of {} requests were not answered as expected.",
                series.contender,
                cells::grouped(failed as f64),
                cells::grouped(all as f64)
            )
        })
    });
    failures.chain(unrest(table)).collect()
}

fn unrest(table: &Table) -> Option<String> {
    let contenders = table
        .series
        .iter()
        .filter(|one| one.contender != names::DIRECT);
    let waited = contenders.filter_map(|one| Some(one.spread(Round::waited_percent)?.median));
    let waited = Spread::of(waited)?.median;
    (waited > WAITED_MAX).then(|| {
        format!(
            "Contenders waited for a processor during {waited:.0} % of a round: other programs ran, \
             and figures are worth less."
        )
    })
}

/// What was found without rounds.
pub(crate) fn findings(findings: &[Finding]) -> Grid {
    let mut grid = Grid::new(&[
        Words("scenario"),
        Words("what"),
        Figures("measured"),
        Words("beside"),
    ]);
    for finding in findings {
        grid.push(vec![
            finding.scenario.clone(),
            finding.what.clone(),
            cells::finding(finding),
            finding.beside.clone().unwrap_or_default(),
        ]);
    }
    grid
}
