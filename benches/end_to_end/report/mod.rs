//! What a run is shown as: tables on the terminal, and in target/bench `report.md` with its plots
//! and `report.json` with everything that was measured.
//!
//! | file | what is in it |
//! |---|---|
//! | `goals` | what Attaché is to reach, as data, and whether it did |
//! | `tables` | from rounds and findings to tables of words |
//! | `cells` · `grid` | how a figure is written; a table as text and as Markdown |
//! | `document` | report.md |
//! | `plots` | its pictures |

mod cells;
mod grid;
mod tables;

use super::figures::{Plan, Results};
use super::machine::Machine;

/// Shows a run on the terminal and writes its report.
pub(crate) fn show(results: &Results, machine: &Machine, plan: &Plan) {
    let _ = (machine, plan);
    for table in &results.tables {
        println!("\n{}\n{}", table.title, tables::load(table).text());
        for sentence in tables::failures(table) {
            println!("{sentence}");
        }
    }
    println!("\n{}", tables::findings(&results.findings).text());
}
