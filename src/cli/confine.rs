//! What the process holds stays in the process, whatever becomes of it.
//!
//! # Invariants
//!
//! Before a secret is read the process is made one that the system shows to nobody but root: no core
//! is dumped, and no other process of the same user reads its memory, its environment or its open
//! files (prctl(2), `PR_SET_DUMPABLE`; proc(5)). A panic tells where it was and nothing else: what
//! it says of itself may quote what it was about. Programs that it starts are not confined: `execve`
//! makes them as they would be, but for the limit.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No byte of a core, nor can the process ask for more.
const NO_CORE: Rlimit = Rlimit {
    current: Some(0),
    maximum: Some(0),
};

/// Confines the process: the first thing that is done. `exposures` finds what did not work.
pub fn confine() {
    panic::set_hook(Box::new(|panic| {
        let _told = writeln!(io::stderr(), "{}", sentence(panic));
    }));
    // Asked for again below, as it is what came of it that counts.
    let _limited = setrlimit(Resource::Core, NO_CORE);
    #[cfg(target_os = "linux")]
    let _hidden =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// What may show the memory of this process to others, one sentence each; none if it is confined.
pub(super) fn exposures() -> impl Iterator<Item = &'static str> {
    let core = getrlimit(Resource::Core) != NO_CORE;
    let core = core.then_some("the limit on core dumps is not 0: one would hold every secret");
    let readable = is_readable();
    let readable = readable.then_some(
        "other processes of this user can read the memory and the environment of this one",
    );
    core.into_iter().chain(readable)
}

#[cfg(target_os = "linux")]
fn is_readable() -> bool {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    // Root's alone is as good: sysctl fs.suid_dumpable may have made it so.
    !matches!(
        dumpable_behavior(),
        Ok(DumpableBehavior::NotDumpable | DumpableBehavior::DumpableReadableOnlyByRoot)
    )
}

/// Elsewhere there is no such switch; who may look is the system's own affair.
#[cfg(not(target_os = "linux"))]
fn is_readable() -> bool {
    false
}

/// What is told of a panic where there is no log (yet).
fn sentence(panic: &PanicHookInfo<'_>) -> String {
    match panic.location() {
        Some(place) => format!("attache: a defect: panicked at {place}"),
        None => "attache: a defect: panicked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_without_a_log_tells_its_place_and_not_what_it_was_about() {
        let told = Arc::new(Mutex::new(String::new()));
        let tape = Arc::clone(&told);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            *tape.lock().unwrap() = sentence(panic);
        }));

        let secret = "c4nary-s3cret-ä".to_owned();
        let ended = std::thread::spawn(move || secret[..secret.len() - 1].len()).join();
        panic::set_hook(before);

        assert!(ended.is_err());
        let told = told.lock().unwrap();
        assert!(
            told.starts_with("attache: a defect: panicked at "),
            "{told}"
        );
        assert!(told.contains("confine.rs:"), "{told}");
        assert!(!told.contains("c4nary"), "{told}");
    }
}
