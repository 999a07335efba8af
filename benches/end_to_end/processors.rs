//! Who runs on which processor, and what a process used of it.
//!
//! The contenders share one set of processors, as many as each has threads, and only one of them
//! is loaded at a time; the origin, the token endpoint and whoever sends requests have the others.
//! No system call is made from here, because unsafe code is forbidden: util-linux has the words for
//! them (`taskset`, `setpriv`).

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whether this system has what is needed to share them out, and to say what was used of them; if
/// not, a sentence says what is missing.
pub(crate) fn ready() -> Result<(), String> {
    if fs::metadata("/proc/self/task").is_err() || fs::metadata("/proc/self/schedstat").is_err() {
        return Err(
            "This needs Linux, with the scheduler's accounts in /proc/PID/schedstat.".into(),
        );
    }
    for word in ["taskset", "setpriv"] {
        if Command::new(word).arg("--version").output().is_err() {
            return Err(format!(
                "`{word}` is missing: the package util-linux has it."
            ));
        }
    }
    if !may_look_into_others() {
        eprintln!(
            "Without CAP_SYS_PTRACE (root has it), memory is all resident pages (VmRSS) rather than \
             the proportional set size: nginx's shared pages count once for each of its processes."
        );
    }
    Ok(())
}

/// The processors, by whom they are for.
#[derive(Clone, Debug)]
pub(crate) struct Processors {
    gateway: Vec<usize>,
    load: Vec<usize>,
}

/// What a process runs for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Gateway,
    Load,
}

impl Processors {
    /// Of those this process may use, the first `threads` are the contenders'; at least one is left
    /// to the load where there are two.
    pub(crate) fn shared_out(threads: usize) -> Self {
        let mut gateway = allowed();
        let threads = threads.clamp(1, gateway.len().saturating_sub(1).max(1));
        let mut load = gateway.split_off(threads);
        if load.is_empty() {
            eprintln!("One processor: the load takes its time from the contenders.");
            load.clone_from(&gateway);
        }
        Self { gateway, load }
    }

    /// How many of them the contenders have: their threads.
    pub(crate) fn gateway_threads(&self) -> usize {
        self.gateway.len()
    }

    /// How many of them the load has.
    pub(crate) fn load_threads(&self) -> usize {
        self.load.len()
    }

    /// In words: `gateway on 0, load on 1`.
    pub(crate) fn described(&self) -> String {
        let (gateway, load) = (self.list(Place::Gateway), self.list(Place::Load));
        format!("gateway on {gateway}, load on {load}")
    }

    /// Keeps this process, all its threads, where the load runs.
    pub(crate) fn keep_to_load(&self) {
        let id = std::process::id().to_string();
        let done = Command::new("taskset")
            .args(["-apc", &self.list(Place::Load), &id])
            .stdout(Stdio::null())
            .status();
        assert!(done.is_ok_and(|done| done.success()), "taskset failed");
    }

    /// A command that runs `program` there. It keeps its process id through the word before it.
    pub(crate) fn command(&self, place: Place, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.list(place)]).arg(program);
        command
    }

    /// As [`Self::command`], and it is told to end when the thread that starts it ends, however that
    /// comes about.
    pub(crate) fn bound_command(&self, place: Place, program: &Path) -> Command {
        let mut command = self.command(place, Path::new("setpriv"));
        command.args(["--pdeathsig", "TERM"]).arg(program);
        command
    }

    fn list(&self, place: Place) -> String {
        let list = match place {
            Place::Gateway => &self.gateway,
            Place::Load => &self.load,
        };
        let list: Vec<_> = list.iter().map(ToString::to_string).collect();
        list.join(",")
    }
}

/// Those this process may run on.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = line.unwrap().trim().split(',');
    ranges
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse::<usize>().unwrap()..=last.parse().unwrap()
        })
        .collect()
}

/// What some processes used so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Of each of their threads that lives, by its id, which no other thread of the system has.
    threads: HashMap<String, Times>,
    /// Memory in RAM; what processes share is counted once, where that can be told.
    pub(crate) resident_bytes: u64,
}

/// What threads did with their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// What they waited for a processor while they could have run.
    pub(crate) waited: Duration,
}

impl Usage {
    pub(crate) fn of(pids: &[u32]) -> Self {
        let mut usage = Self::time_of(pids);
        usage.resident_bytes = pids.iter().map(|pid| resident_bytes(*pid)).sum();
        usage
    }

    /// As [`Usage::of`], but for the memory: telling that costs more, and walks their page tables.
    pub(crate) fn time_of(pids: &[u32]) -> Self {
        let mut usage = Self::default();
        for pid in pids {
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                // A thread may end while it is looked at.
                let Ok(times) = fs::read_to_string(task.path().join("schedstat")) else {
                    continue;
                };
                let mut times = times.split_whitespace().map(|ns| ns.parse().unwrap());
                let mut next = || Duration::from_nanos(times.next().unwrap());
                let times = Times {
                    cpu: next(),
                    waited: next(),
                };
                let id = task.file_name().to_string_lossy().into_owned();
                usage.threads.insert(id, times);
            }
        }
        usage
    }

    /// What came after `before`. A thread that ended meanwhile takes nothing off the others' time:
    /// what it used before is not in what came after.
    pub(crate) fn since(&self, before: &Self) -> Times {
        let mut since = Times::default();
        for (id, now) in &self.threads {
            let then = before.threads.get(id).copied().unwrap_or_default();
            since.cpu += now.cpu.saturating_sub(then.cpu);
            since.waited += now.waited.saturating_sub(then.waited);
        }
        since
    }
}

/// The proportional set size, because nginx's workers share most of their pages with their master.
/// The gateway lets nobody look into it, so that this takes a capability; who has it not is told
/// resident pages, of every contender alike.
fn resident_bytes(pid: u32) -> u64 {
    let (account, key) = match may_look_into_others() {
        true => ("smaps_rollup", "Pss:"),
        false => ("status", "VmRSS:"),
    };
    let account = match fs::read_to_string(format!("/proc/{pid}/{account}")) {
        Ok(account) => account,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            panic!("The memory of process {pid} is not told ({error}): run this as root.")
        }
        // It ended while it was looked at, and has none.
        Err(_) => return 0,
    };
    let line = account.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.map_or(0, |kib| kib.trim().parse::<u64>().unwrap() * 1024)
}

/// Whether this process has CAP_SYS_PTRACE, its number 19 (capabilities(7)).
fn may_look_into_others() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|held| u64::from_str_radix(held.trim(), 16).ok());
    held.is_some_and(|held| held & (1 << 19) != 0)
}

/// A process and those it started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let (Some(id), Ok(stat)) = (id, fs::read_to_string(entry.path().join("stat"))) else {
            continue;
        };
        // The fields behind the name, which may itself have spaces: state, parent.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(pid) {
            family.push(id);
        }
    }
    family
}
