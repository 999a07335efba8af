//! The load generator of benches/end_to_end, which is also the tool that `--against` is: what it
//! sends, what it counts, and that it does not leave out what a server that stalls costs.

#[path = "../../../benches/end_to_end/load/mod.rs"]
#[allow(
    dead_code,
    reason = "the harness uses what is not used here, and the reverse"
)]
mod load;

mod against;
mod broken;
mod closed;
mod heads;
mod open;
mod scene;
mod schedule;
