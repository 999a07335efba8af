//! Processes that a test starts, and it alone ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::within;

/// A running process; killed and reaped when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    /// Lines of standard output.
    pub(crate) stdout: Lines,
    /// Lines of standard error.
    pub(crate) stderr: Lines,
}

/// The lines a process has written so far.
#[derive(Clone)]
pub(crate) struct Lines(Arc<watch::Sender<Written>>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Child {
    /// The program this crate builds.
    pub(crate) fn attache(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
        command.args(arguments);
        Self::start(command)
    }

    /// Starts `command` with all three streams piped.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdout = Lines::of(process.stdout.take().unwrap());
        let stderr = Lines::of(process.stderr.take().unwrap());
        Self {
            process,
            stdout,
            stderr,
        }
    }

    /// Nobody types anything any more.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.process.stdin.take());
    }

    /// What the system calls it.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Ends it in the middle of what it does, as `kill -9` would; returns once it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends the signal `name` (`TERM`, `HUP` …) to this process alone.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name])
            .arg(self.process.id().to_string())
            .status();
        assert!(sent.unwrap().success(), "{name} was not sent");
    }

    /// What the system says of its memory under `key`: `VmRSS` now, `VmHWM` at most so far.
    pub(crate) fn memory_kib(&self, key: &str) -> usize {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How long processors have worked for it so far (proc_pid_stat(5): in hundredths).
    pub(crate) fn worked(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name, which may hold anything, stands before the last bracket.
        let fields = stat.rsplit_once(')').unwrap().1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Waits for its end.
    pub(crate) async fn exited(mut self) -> Ended {
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let waiting = tokio::task::spawn_blocking(move || self.process.wait().unwrap());
        let status = within("a process to end", waiting).await.unwrap();
        // Everything it wrote is read once its streams have ended.
        Ended {
            status,
            stdout: stdout.to_end().await,
            stderr: stderr.to_end().await,
        }
    }
}

/// What is left of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// All of its standard output.
    pub(crate) stdout: String,
    /// All of its standard error.
    pub(crate) stderr: String,
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::new(watch::Sender::default()));
        let writer = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                writer.0.send_modify(|written| written.lines.push(line));
            }
            writer.0.send_modify(|written| written.ended = true);
        });
        lines
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.0.borrow().lines.join("\n")
    }

    /// How many lines satisfy `is`, once at least `count` do.
    pub(crate) async fn until(&self, count: usize, is: impl Fn(&str) -> bool) -> usize {
        let mut changes = self.0.subscribe();
        let so_far = |written: &Written| written.lines.iter().filter(|line| is(line)).count();
        let waiting = changes.wait_for(|written| written.ended || so_far(written) >= count);
        so_far(&within("lines of output", waiting).await.unwrap())
    }

    /// Waits for the first line that satisfies `is`, which is `what`.
    pub(crate) async fn line(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut changes = self.0.subscribe();
        let found = |written: &Written| written.lines.iter().find(|line| is(line)).cloned();
        let waiting = changes.wait_for(|written| written.ended || found(written).is_some());
        let line = found(&within(what, waiting).await.unwrap());
        line.unwrap_or_else(|| panic!("no {what} in:\n{}", self.text()))
    }

    async fn to_end(&self) -> String {
        let mut changes = self.0.subscribe();
        let waiting = changes.wait_for(|written| written.ended);
        within("the end of a process's output", waiting)
            .await
            .map(drop)
            .unwrap();
        self.text()
    }
}
