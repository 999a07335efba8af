//! What a run was made on, and when. Nothing here names the machine itself: a report can be handed
//! to anybody.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

/// What a run was made on. What the system does not tell is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// When the run began: `2026-11-21 16:05 UTC`.
    pub(crate) date: String,
    pub(crate) cpu: Option<String>,
    pub(crate) processors: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) distribution: Option<String>,
    pub(crate) kernel: Option<String>,
    /// Of the first processor: `performance`. A virtual machine has none.
    pub(crate) governor: Option<String>,
    /// By what: `kvm`.
    pub(crate) virtualised: Option<String>,
    /// Programs that could run, averaged over the minute before the run.
    pub(crate) load_average: Option<f64>,
    pub(crate) rustc: Option<String>,
    /// Its version; of a build that nobody would run, that it is one.
    pub(crate) attache: String,
    /// The commit the gateway was built from, and whether anything was changed since.
    pub(crate) commit: Option<String>,
}

impl Machine {
    /// To be asked before the run: its own load would be counted otherwise.
    pub(crate) fn look() -> Self {
        Self {
            date: date(SystemTime::now()),
            cpu: read("/proc/cpuinfo").and_then(|text| value(&text, "model name", ':')),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: read("/proc/meminfo").and_then(|text| memory_bytes(&text)),
            distribution: read("/etc/os-release")
                .and_then(|text| value(&text, "PRETTY_NAME", '='))
                .map(|name| name.trim_matches('"').to_owned()),
            kernel: read("/proc/sys/kernel/osrelease"),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            virtualised: virtualised(),
            load_average: read("/proc/loadavg")
                .and_then(|text| text.split(' ').next()?.parse().ok()),
            rustc: said("rustc", &["--version"]).filter(|version| !version.is_empty()),
            attache: version(),
            commit: commit(),
        }
    }
}

fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    if cfg!(debug_assertions) {
        format!("{version}, a debug build: its figures mean nothing")
    } else {
        version.to_owned()
    }
}

fn date(now: SystemTime) -> String {
    jiff::Timestamp::try_from(now)
        .map(|now| now.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// What stands behind `key` in lines of `key` and `value`.
fn value(text: &str, key: &str, between: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(between)?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

pub(crate) fn memory_bytes(meminfo: &str) -> Option<u64> {
    let total = value(meminfo, "MemTotal", ':')?;
    let kibibytes: u64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `systemd-detect-virt` knows by what; where it is missing, the processor still says that it is.
fn virtualised() -> Option<String> {
    if let Some(by) = said("systemd-detect-virt", &[]).filter(|by| !by.is_empty()) {
        return Some(by).filter(|by| by != "none");
    }
    let flags = value(&read("/proc/cpuinfo")?, "flags", ':')?;
    let is_guest = flags.split(' ').any(|flag| flag == "hypervisor");
    is_guest.then(|| "yes".to_owned())
}

fn commit() -> Option<String> {
    let git = |words: &[&str]| {
        let mut all = vec!["-C", env!("CARGO_MANIFEST_DIR")];
        all.extend(words);
        said("git", &all)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).filter(|commit| !commit.is_empty())?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit}, and changes that are in no commit")
    })
}

/// What a program writes, if it is there. Its word counts even if it fails: `systemd-detect-virt`
/// says `none` with an exit code of its own.
fn said(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
