//! What the threads of this process used of the processor, by what they are for.

use std::fs;

/// Clock ticks in a second, as `/proc` counts them (`CLK_TCK`, which is 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The gateway's workers and its other threads.
    pub(crate) gateway: f64,
    /// Whoever sends requests.
    pub(crate) load: f64,
    /// Whoever answers them.
    pub(crate) origins: f64,
    /// What the gateway, the good connector's load and its resource domain waited for a processor,
    /// in seconds.
    pub(crate) waited: f64,
}

impl Used {
    /// Everything so far.
    pub(crate) fn now() -> Self {
        let mut used = Self::default();
        for task in fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            // A thread may end while it is looked at.
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
                continue;
            };
            let waits = fs::read_to_string(task.path().join("schedstat"));
            let (Some((name, seconds)), Ok(waits)) = (read(&stat), waits) else {
                continue;
            };
            if name.starts_with("attache") || name.ends_with("-good") {
                used.waited += waited(&waits);
            }
            if name.starts_with("attache") {
                used.gateway += seconds;
            } else if name.starts_with("load") {
                used.load += seconds;
            } else if name.starts_with("origin") {
                used.origins += seconds;
            }
        }
        used
    }

    /// What came after `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        Self {
            gateway: self.gateway - before.gateway,
            load: self.load - before.load,
            origins: self.origins - before.origins,
            waited: self.waited - before.waited,
        }
    }
}

/// A thread's name, and what it used: fields 2, 14 and 15 of proc_pid_stat(5).
fn read(stat: &str) -> Option<(&str, f64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut times = rest.split_whitespace().skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some((name, (user + system) / TICKS_PER_SECOND))
}

/// What a thread waited for a processor while it could have run: the second field, in nanoseconds.
fn waited(schedstat: &str) -> f64 {
    let nanoseconds = schedstat.split_whitespace().nth(1);
    nanoseconds.map_or(0.0, |ns| ns.parse().unwrap_or(0.0) / 1e9)
}
