//! A process that this one started, and that ends with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::processors;

/// How long a process may take to end by itself.
const END: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running process; it and those it started have ended when this is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// When it was started.
    pub(crate) since: Instant,
    log: PathBuf,
}

impl Running {
    /// Starts `command`. What it says goes to `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        let since = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, since, log }
    }

    /// Starts `command` with its standard input and output piped.
    pub(crate) fn start_piped(command: &mut Command, log: PathBuf) -> Self {
        let since = Instant::now();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, since, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It and the processes it started.
    pub(crate) fn family(&self) -> Vec<u32> {
        processors::family(self.pid())
    }

    /// It is over.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Where it writes what it has to say.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        let family = self.family();
        signal("TERM", &[self.pid()]);
        let late = Instant::now() + END;
        while !self.ended() && Instant::now() < late {
            thread::sleep(LOOK_AGAIN);
        }
        if !self.ended() {
            signal("KILL", &family);
            drop(self.child.wait());
        }
    }
}

/// Sends the signal to each of them; those that have ended since cannot be told any more.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$@\" 2>/dev/null", "kill", name])
        .args(pids)
        .status();
    drop(sent);
}
