//! What a request costs in instructions, held against a baseline: `cargo bench --bench
//! instructions`. benches/README.md says how it is to be read; valgrind must be there.
//!
//! The release binary runs under callgrind, between a sender and an origin in this process, which
//! valgrind does not see. One connection sends one request after the other. What a request costs
//! then does not depend on what else the machine does: rounds differ by a thousandth where times
//! differ by a half, so a regression of a few percent shows on any machine, a busy one too.
//!
//! | file | what is in it |
//! |---|---|
//! | `arguments` | what may be asked for |
//! | `walks` | the kinds of requests, and the gateways they go through |
//! | `callgrind` | the gateway under valgrind, counted |
//! | `sender` · `origin` | the two ends |
//! | `tools` | what counts depend on beside the source |
//! | `baseline` | what the walks may cost |
//!
//! It ends with 0 if every walk holds, 1 if one does not, 2 if it was asked for what does not exist
//! or the baseline cannot be read, 3 if nothing could be counted; a panic on the way ends it, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here ends the run"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

mod arguments;
mod baseline;
mod callgrind;
mod origin;
mod sender;
mod tools;
mod walks;

use arguments::{Arguments, Asked};
use baseline::{Baseline, Count, Scope, Tools};
use origin::Origin;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const NOT_COUNTED: u8 = 3;

fn main() -> ExitCode {
    let code = match arguments::read(std::env::args().skip(1)) {
        Asked::Nothing => 0,
        Asked::Counts(arguments) => count(&arguments),
        Asked::Unknown(word) => {
            eprintln!(
                "{word} is no option here, or lacks its value.\n{}",
                arguments::USAGE
            );
            MISUSED
        }
    };
    ExitCode::from(code)
}

/// Counts what was asked for and says what came of it.
fn count(arguments: &Arguments) -> u8 {
    let built = Path::new(env!("CARGO_BIN_EXE_attache"));
    let attache = arguments.binary.as_deref().unwrap_or(built);
    let baseline = match read_baseline() {
        Ok(baseline) => baseline,
        Err(error) => {
            eprintln!("{} cannot be read: {error}", baseline_path().display());
            return MISUSED;
        }
    };
    let Some(valgrind) = callgrind::version() else {
        eprintln!(
            "Nothing was counted: valgrind (with vgdb) is not here. On Debian: apt install valgrind"
        );
        return NOT_COUNTED;
    };
    let tools = tools::of(attache, valgrind);
    println!("{}", attache.display());
    println!(
        "rustc {} · {} · {}",
        tools.rustc, tools.processor, tools.valgrind
    );
    let counts = count_walks(attache, arguments.only.as_deref().unwrap_or_default());
    let scope = match arguments.only {
        Some(_) => Scope::Part,
        None => Scope::All,
    };
    match counts.is_empty() {
        true => {
            eprintln!("Nothing was counted: no walk has such a name.");
            MISUSED
        }
        false if arguments.accept => accept(&baseline, counts, tools, scope),
        false => judge(&baseline, &counts, &tools, scope),
    }
}

/// Counts all walks whose names have `part` in them.
fn count_walks(attache: &Path, part: &str) -> Vec<Count> {
    let origin = Origin::start();
    let mut counts = Vec::new();
    let rooms = walks::all().into_iter().filter_map(|room| room.only(part));
    for counted in rooms.flat_map(|room| room.count(attache, &origin)) {
        let mut rounds = counted.rounds;
        rounds.sort_unstable();
        println!("{}: {rounds:?}", counted.walk);
        counts.push(Count {
            walk: counted.walk.to_owned(),
            instructions: rounds[rounds.len() / 2],
        });
    }
    counts
}

/// Says how the run stands to the baseline, and whether it passes.
fn judge(baseline: &Baseline, counts: &[Count], tools: &Tools, scope: Scope) -> u8 {
    let comparison = baseline.compare(counts, tools, scope);
    println!("\nInstructions per request\n\n{comparison}");
    let broken = baseline::broken(&walks::BOUNDS, counts);
    for sentence in &broken {
        println!("{sentence}.");
    }
    if comparison.gains() {
        println!("What was gained is not held yet. {HOW_TO_ACCEPT}");
    }
    if comparison.passes() && broken.is_empty() {
        return 0;
    }
    eprintln!("The walks are not what the baseline says. Where that is meant: {HOW_TO_ACCEPT}");
    FAILED
}

const HOW_TO_ACCEPT: &str = "`cargo bench --bench instructions -- --accept` writes the baseline anew; commit it with its reason.";

/// Writes the baseline.
fn accept(baseline: &Baseline, counts: Vec<Count>, tools: Tools, scope: Scope) -> u8 {
    let Some(accepted) = baseline.accept(counts, tools, scope) else {
        eprintln!(
            "Other tools counted the rest of the baseline: accept all walks, without --only."
        );
        return MISUSED;
    };
    let text = serde_json::to_string_pretty(&accepted).unwrap() + "\n";
    std::fs::write(baseline_path(), text).unwrap();
    println!("Written to {}", baseline_path().display());
    0
}

fn read_baseline() -> Result<Baseline, Box<dyn std::error::Error>> {
    Ok(serde_json::from_str(&std::fs::read_to_string(
        baseline_path(),
    )?)?)
}

fn baseline_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.json")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
