//! Which processor the threads of this process run on, and what gives way to what.
//!
//! The gateway's workers have one processor to themselves; whoever sends requests and whoever
//! answers them share another, on which what belongs to the neighbour runs only when nothing else
//! would. So the neighbour's trouble reaches the good connector's requests through the gateway, or
//! through what the processors share, and not by keeping the good connector's own load from running.

use std::fs;
use std::process::{Command, Stdio};

const GATEWAY_PROCESSOR: &str = "0";
const LOAD_PROCESSOR: &str = "1";

/// Keeps this thread, and those it starts from now on, off the gateway's processor.
pub(crate) fn stay_off_the_gateway() {
    run("taskset", &["-pc", LOAD_PROCESSOR, &thread_id()]);
}

/// Gives the gateway's threads a processor of their own.
pub(crate) fn place_gateway() {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap();
        let name = fs::read_to_string(task.path().join("comm")).unwrap();
        if name.starts_with("attache") {
            let id = task.file_name().into_string().unwrap();
            run("taskset", &["-pc", GATEWAY_PROCESSOR, &id]);
        }
    }
}

/// Lets this thread run only when nothing else on its processor would.
pub(crate) fn give_way() {
    run("chrt", &["--idle", "--pid", "0", &thread_id()]);
}

fn thread_id() -> String {
    let path = fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// No system call is made from here: unsafe code is forbidden. util-linux has the words for them.
fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    assert!(done.unwrap().success(), "{program} {arguments:?}");
}
