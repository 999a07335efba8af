//! A key that a command writes to its standard output: a vault's client, a key service's.
//!
//! # Invariants
//!
//! No shell reads the command. It ends within a bound or is killed, and is read up to a bound;
//! neither its words, its output nor its complaints are repeated, since each may hold a secret.

use std::io::Read;
use std::path::Path as FilePath;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::document::Node;
use crate::config::error::Problem;
use crate::config::files::without_newline;
use crate::config::reader::{Path, Reader};
use crate::secret::Secret;

/// The longest a command may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(10);
/// How often an ended output's process is asked whether it ended too.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// The most that is read of its output; a key is 58 bytes.
const OUTPUT_BYTES_MAX: u64 = 4_096;
const WORDS_MAX: usize = 64;
const COMMAND_FORM: &str = "a program and its arguments, each a plain text: [PROGRAM, ARGUMENT, …]";

/// Runs the command at `node` and returns what it wrote, without one newline at its end.
pub(super) fn output<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<Secret> {
    let nodes = reader.list(node, path, WORDS_MAX);
    let mut words = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        words.push(reader.text(node, &path.index(index), COMMAND_FORM)?);
    }
    let problem = match words.split_first() {
        Some((program, arguments)) if !program.is_empty() => {
            let open = reader.files.check_open();
            let open = open.map_err(Problem::CommandNotStarted);
            match open.and_then(|()| run(reader.files.base_dir(), program, arguments)) {
                Ok(secret) => return Some(secret),
                Err(problem) => problem,
            }
        }
        Some(_) | None => Problem::MustBe(COMMAND_FORM),
    };
    reader.fault(node.at, path, problem);
    None
}

fn run(base_dir: &FilePath, program: &str, arguments: &[&str]) -> Result<Secret, Problem> {
    // Its paths are relative to the configuration, as every other; a program with a slash is one.
    let directory = std::path::absolute(base_dir.join(".")).map_err(Problem::CommandNotStarted)?;
    let mut command = match program.contains('/') {
        true => Command::new(directory.join(program)),
        false => Command::new(program),
    };
    let mut child = command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Problem::CommandNotStarted)?;
    let read = finish(&mut child);
    if read.is_err() {
        // It may have ended by itself meanwhile; either way nothing of it is left.
        let _ended = child.kill();
        let _reaped = child.wait();
    }
    read
}

/// Waits for the output's end and the process's, within one bound for both.
fn finish(child: &mut Child) -> Result<Secret, Problem> {
    let slow = || Problem::CommandSlow(COMMAND_TIME_MAX.as_secs());
    let (whole, output) = mpsc::sync_channel(1);
    let stdout = child.stdout.take();
    // On a thread of its own, which ends with the pipe, since reading knows no time limit.
    thread::Builder::new()
        .name("attache-command".into())
        .spawn(move || whole.send(stdout.map(read)))
        .map_err(Problem::CommandNotStarted)?;
    let (tick, ticks) = mpsc::channel::<()>();
    let mut output_read = None;
    let mut waited = Duration::ZERO;
    while waited < COMMAND_TIME_MAX {
        if output_read.is_none() {
            output_read = output.recv_timeout(ASK_EVERY).ok().flatten();
        } else {
            let _silent = ticks.recv_timeout(ASK_EVERY);
        }
        if let Some(read) = output_read.take() {
            let read = read.map_err(Problem::CommandOutput)?;
            match child.try_wait().map_err(Problem::CommandOutput)? {
                Some(status) if status.success() => return secret(&read),
                Some(status) => return Err(Problem::CommandFailed(status)),
                None => output_read = Some(Ok(read)),
            }
        }
        waited += ASK_EVERY;
    }
    drop(tick);
    Err(slow())
}

fn read(stdout: ChildStdout) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it, growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(OUTPUT_BYTES_MAX as usize + 64));
    stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn secret(bytes: &[u8]) -> Result<Secret, Problem> {
    const LONG: &str = "the output of the command";
    if bytes.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(Problem::Long(LONG.to_owned(), "4KiB".to_owned()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(without_newline(text).to_owned())),
        Err(_) => Err(Problem::CommandNotText),
    }
}
