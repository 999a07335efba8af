//! What a run is shown as: tables on the terminal, and in target/bench `report.md` with its plots
//! and `report.json` with everything that was measured.
//!
//! | file | what is in it |
//! |---|---|
//! | `goals/` · `counts` | what Attaché is to reach, as data, and whether it did; instruction counts |
//! | `tables` | from rounds and findings to tables of words |
//! | `cells` · `grid` | how a figure is written; a table as text and as Markdown |
//! | `document` | report.md |
//! | `plots/` · `canvas` | its pictures; what they are drawn with |
//! | `keep` | the last report, copied to where it is checked in |

pub(crate) mod canvas;
pub(crate) mod cells;
pub(crate) mod counts;
mod document;
pub(crate) mod goals;
pub(crate) mod grid;
pub(crate) mod keep;
pub(crate) mod plots;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::figures::{Plan, Results};
use super::machine::Machine;
use counts::Counts;
use goals::Outcome;

/// What `report.json` says it is. It grows when a field goes or changes its meaning, not when one
/// is added.
const SCHEMA: u32 = 1;

/// All of `report.json`.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    machine: &'a Machine,
    plan: &'a Plan,
    #[serde(flatten)]
    results: &'a Results,
    goals: &'a [Outcome],
}

/// Shows a run on the terminal and writes its report to target/bench.
pub(crate) fn show(results: &Results, machine: &Machine, plan: &Plan) {
    let outcomes = goals::outcomes(results, &Counts::checked_in());
    print!("{}", terminal(results, &outcomes));
    let folder = folder();
    write(&folder, results, &outcomes, machine, plan);
    println!(
        "\nreport.md with its plots, and report.json: {}",
        folder.display()
    );
}

/// What is shown on the terminal.
pub(crate) fn terminal(results: &Results, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut section = |title: &str, body: &str| {
        text.push_str(&format!("\n{title}\n\n{body}"));
    };
    for table in &results.tables {
        let doubts: String = tables::doubts(table)
            .into_iter()
            .map(|sentence| sentence + "\n")
            .collect();
        let body = tables::load(table).text() + &doubts;
        section(&format!("{} ({})", table.title, table.load), &body);
    }
    if !results.findings.is_empty() {
        section(
            "What has no rounds to compare",
            &tables::findings(&results.findings).text(),
        );
    }
    section("Goals", &goals::table(outcomes).text());
    text
}

/// Writes `report.md`, its plots and `report.json` to `folder`, and takes away what an earlier run
/// left there.
pub(crate) fn write(
    folder: &Path,
    results: &Results,
    outcomes: &[Outcome],
    machine: &Machine,
    plan: &Plan,
) {
    fs::create_dir_all(folder).expect("target/bench can be made");
    keep::clear(folder);
    let loads = results.tables.iter().filter_map(plots::picture);
    let pictures: Vec<_> = plots::overview(results).into_iter().chain(loads).collect();
    for picture in &pictures {
        fs::write(folder.join(&picture.file), &picture.svg).expect("a plot is written");
    }
    let document = document::markdown(results, machine, plan, outcomes, &pictures);
    fs::write(folder.join("report.md"), document).expect("report.md is written");
    let report = Report {
        schema: SCHEMA,
        machine,
        plan,
        results,
        goals: outcomes,
    };
    let json = serde_json::to_string_pretty(&report).expect("figures are data");
    fs::write(folder.join("report.json"), json + "\n").expect("report.json is written");
}

/// target/bench, wherever Cargo was told that target is.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}
