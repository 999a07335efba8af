//! Attaché beside what users would pick instead: `cargo bench --bench end_to_end`.
//! benches/README.md says how it is run, how it is to be read, and what it showed.
//!
//! | file | what is in it |
//! |---|---|
//! | `arguments` | what may be asked of a run |
//! | `figures` | what was measured, as data; the rule about noise |
//! | `machine` | what it was measured on |
//! | `processors` | who runs where; processor time and memory of a process |
//! | `stage` · `origin` | certificates, the origin and the token endpoint, in a process of their own |
//! | `peers/` | the contenders: found, configured alike, started |
//! | `load/` | what is sent: closed and open loops, HTTP/1.1 and HTTP/2 |
//! | `rounds` | interleaved rounds of every load with every contender |
//! | `scenarios/` | what has no rounds to compare: memory, start, handshakes, expiry |
//! | `report/` | the table on the terminal, `report.md` with its plots, JSON |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here ends the run"
)]

#[allow(dead_code, reason = "the rounds that use it are not there yet")]
mod arguments;
#[allow(dead_code, reason = "the rounds that use it are not there yet")]
mod figures;
mod load;
#[allow(dead_code, reason = "the rounds that use it are not there yet")]
mod machine;
#[allow(dead_code, reason = "the rounds that use it are not there yet")]
mod report;

fn main() {}
