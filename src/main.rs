//! The `attache` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    attache::cli::confine();
    attache::cli::run(std::env::args_os()).into()
}
