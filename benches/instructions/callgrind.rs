//! The gateway under callgrind: the release binary itself, counted only while it is told to be.
//!
//! Instrumentation is off at first, so that starting and warming up, the two TLS handshakes among
//! it, is neither counted nor slow; `vgdb`, which valgrind brings, turns it on and has the counters
//! written out and reset after every round. Two runs of different length and their difference would
//! need no `vgdb`, but what a start costs varies by more than the tolerance of a walk.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

/// How long the gateway may take to start: reading 100,000 connectors is slow under valgrind.
const START_LIMIT: Duration = Duration::from_secs(300);
/// How long valgrind may take to heed a command, for `timeout`.
const COMMAND_LIMIT: &str = "60s";

/// Has the C library copy by vector instructions: callgrind counts one string instruction
/// (`rep movsb`) as many times as it has bytes, which made 58,000 of a 16 KiB answer's copies.
const NO_STRING_INSTRUCTIONS: &str = "glibc.cpu.hwcaps=-ERMS";

/// Has valgrind look for commands every hundred basic blocks, so that what little an idle gateway
/// does is enough to notice one.
const OFTEN_ASKED: &str = "--vgdb-poll=100";
/// Has `vgdb` wait for that: it would interrupt the gateway's system calls otherwise, for which it
/// needs `ptrace`, which containers may forbid.
const NEVER_INTERRUPTED: &str = "--max-invoke-ms=0";

/// A gateway under valgrind.
pub(crate) struct Counted {
    process: Process,
    pub(crate) address: SocketAddr,
    directory: TempDir,
    dumps: u32,
}

/// A process; killed and reaped when dropped.
struct Process(Child);

/// The version of valgrind, if there is one.
pub(crate) fn version() -> Option<String> {
    let said = Command::new("valgrind").arg("--version").output().ok()?;
    let controlled = Command::new("vgdb").arg("--help").output().is_ok();
    let version = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    (said.status.success() && controlled).then_some(version)
}

impl Counted {
    /// Starts `attache` with `configuration`, and waits until it serves.
    pub(crate) fn start(attache: &Path, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("attache.yaml");
        std::fs::write(&config, configuration).unwrap();
        let within = |name: &str| directory.path().join(name).display().to_string();
        let process = Command::new("valgrind")
            .args(["--tool=callgrind", "--instr-atstart=no", "--quiet"])
            .arg(OFTEN_ASKED)
            .arg(format!("--callgrind-out-file={}", within("counts")))
            .arg(format!("--vgdb-prefix={}", within("vgdb")))
            .arg(attache)
            .args(["serve", "--config"])
            .arg(&config)
            .env(super::walks::PASSWORD, "password-of-some-length")
            .env("GLIBC_TUNABLES", NO_STRING_INSTRUCTIONS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = Process(process.unwrap());
        let address = address(&lines(&mut process.0));
        Self {
            process,
            address,
            directory,
            dumps: 0,
        }
    }

    /// Begins to count, from nothing.
    pub(crate) fn begin(&self) {
        self.tell(&["instrumentation", "on"]);
    }

    /// Instructions since `begin` or since this was last asked: of all threads, outside the kernel.
    pub(crate) fn instructions(&mut self) -> u64 {
        self.dumps += 1;
        self.tell(&["dump"]);
        let dump = self.directory.path().join(format!("counts.{}", self.dumps));
        total(&dump)
    }

    fn tell(&self, words: &[&str]) {
        let prefix = self.directory.path().join("vgdb");
        let told = Command::new("timeout")
            .args([COMMAND_LIMIT, "vgdb"])
            .arg(format!("--pid={}", self.process.0.id()))
            .arg(format!("--vgdb-prefix={}", prefix.display()))
            .arg(NEVER_INTERRUPTED)
            .args(words)
            .output()
            .unwrap();
        assert!(
            told.status.success(),
            "valgrind does not heed {words:?}: {}",
            String::from_utf8_lossy(&told.stderr)
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What callgrind wrote down as the whole.
fn total(dump: &Path) -> u64 {
    let text = std::fs::read_to_string(dump).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.unwrap().trim().parse().unwrap()
}

/// The lines of the gateway's log, read to its end so that it never waits for us.
fn lines(process: &mut Child) -> Receiver<String> {
    let log = BufReader::new(process.stderr.take().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            // Nobody listens once the address is known.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Where the gateway says that flows are served.
fn address(lines: &Receiver<String>) -> SocketAddr {
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(START_LIMIT) {
            Ok(line) if line.contains("flows are served") => {
                let (_, address) = line.split_once("address=").unwrap();
                return address.split_whitespace().next().unwrap().parse().unwrap();
            }
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("the gateway does not start: {}", said.join("\n"))
            }
        }
    }
}
