//! report.md.

use std::fmt::Write;

use super::super::figures::{FAILED_MAX, Measure, Plan, Results, SPREAD_MAX, Table, names};
use super::super::machine::Machine;
use super::grid::Column::Words;
use super::grid::{Grid, escape};
use super::plots::Picture;
use super::{goals, tables};

/// The whole document. Pictures stand beside it under the names they have.
pub(crate) fn markdown(
    results: &Results,
    machine: &Machine,
    plan: &Plan,
    outcomes: &[goals::Outcome],
    pictures: &[Picture],
) -> String {
    let mut text = String::from("# Attaché beside what users would pick instead\n\n");
    let _ = write!(
        text,
        "{}\n{}",
        circumstances(machine, plan),
        versions(results, machine)
    );
    let _ = write!(text, "\n## Goals\n\n{}", goals::table(outcomes).markdown());
    let _ = write!(text, "\n## Loads\n\n{}", reading(plan));
    // The one that belongs to no load shows them all.
    text.push_str(&images(pictures, ""));
    for table in &results.tables {
        let _ = write!(text, "\n{}", load(table, pictures));
    }
    if !results.findings.is_empty() {
        let findings = tables::findings(&results.findings).markdown();
        let _ = write!(text, "\n## What has no rounds to compare\n\n{findings}");
    }
    text
}

/// What was run, where and when.
fn circumstances(machine: &Machine, plan: &Plan) -> String {
    let mut grid = Grid::new(&[Words("run"), Words("")]);
    let mut line = |what: &str, value: Option<String>| {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        grid.push(vec![what.to_owned(), value]);
    };
    let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    line("date", Some(machine.date.clone()));
    line(
        "rounds",
        Some(format!(
            "{} of {} s each",
            plan.rounds,
            plan.round.as_secs_f64()
        )),
    );
    line("threads of each contender", Some(plan.threads.to_string()));
    line("processor", machine.cpu.clone());
    line("processors", Some(machine.processors.to_string()));
    line("memory", machine.memory_bytes.map(gibibytes));
    line(
        "virtualised",
        Some(
            machine
                .virtualised
                .clone()
                .unwrap_or_else(|| "no".to_owned()),
        ),
    );
    line(
        "frequency governor",
        Some(
            machine
                .governor
                .clone()
                .unwrap_or_else(|| "none".to_owned()),
        ),
    );
    line(
        "load average before",
        machine.load_average.map(|load| format!("{load:.2}")),
    );
    line("system", machine.distribution.clone());
    line("kernel", machine.kernel.clone());
    line("compiler", machine.rustc.clone());
    format!("    {}\n\n{}", plan.command, grid.markdown())
}

fn versions(results: &Results, machine: &Machine) -> String {
    let mut grid = Grid::new(&[Words("contender"), Words("version")]);
    let commit = machine.commit.as_deref().unwrap_or("unknown");
    let attache = format!("{} (commit {commit})", machine.attache);
    grid.push(vec![names::ATTACHE.to_owned(), attache]);
    for version in &results.versions {
        if version.contender != names::ATTACHE {
            grid.push(vec![version.contender.clone(), version.version.clone()]);
        }
    }
    grid.markdown()
}

/// How the tables are to be read.
fn reading(plan: &Plan) -> String {
    format!(
        "Every figure is the median of {} rounds, in brackets its quartiles. The contenders take \
         turns within each round, and a ratio is the median of those of their pairs of rounds. \
         Where a ratio's interquartile range is more than {} % of it, or more than {} % of the \
         requests failed, there is none. CPU is the processor time of the contender's own \
         processes, all threads; \"waited\" is how long they could have run but had no processor, \
         in percent of a round: where it is more than a few percent, other programs ran.\n",
        plan.rounds,
        SPREAD_MAX * 100.0,
        FAILED_MAX * 100.0
    )
}

fn load(table: &Table, pictures: &[Picture]) -> String {
    let mut text = format!("### {}\n\n", escape(&table.title));
    let _ = writeln!(text, "Load `{}`.{}\n", table.load, how(table.measure));
    text.push_str(&tables::load(table).markdown());
    for sentence in tables::doubts(table) {
        let _ = write!(text, "\n{}\n", escape(&sentence));
    }
    text + &images(pictures, &table.load)
}

fn images(pictures: &[Picture], load: &str) -> String {
    let of_load = pictures.iter().filter(|picture| picture.load == load);
    of_load
        .map(|picture| format!("\n![{}]({})\n", escape(&picture.shows), picture.file))
        .collect()
}

fn how(measure: Measure) -> &'static str {
    match measure {
        Measure::CpuPerRequest => "",
        Measure::AddedP99 => {
            " Requests are sent when they are due, answered or not, and their latency counts from \
             then. Added is what lies above calling the origin directly in the same round."
        }
    }
}
