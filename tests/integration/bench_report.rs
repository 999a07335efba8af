//! What the end-to-end benchmark may say: its figures, goals and report, of invented runs.

#![allow(
    dead_code,
    reason = "the benchmark uses what is not looked at here, and the other way round"
)]

#[path = "../../benches/end_to_end/arguments.rs"]
mod arguments;
#[path = "../../benches/end_to_end/figures.rs"]
mod figures;
#[path = "../../benches/end_to_end/machine.rs"]
mod machine;
#[path = "../../benches/end_to_end/report/mod.rs"]
mod report;

mod asked;
mod documents;
mod goals;
mod kept;
mod pictures;
mod ratios;
mod sample;
