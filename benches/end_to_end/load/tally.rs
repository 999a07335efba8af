//! What came of a run's requests, counted while it goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::answer::{Answer, Fault};
use super::pace::Turn;

/// The longest time that is told from a longer one.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// How many failures are kept as text.
const TOLD_MAX: usize = 8;
/// A request that was sent this long after it was due was sent late. Below it lies what a busy
/// machine's timers do.
const LATE: Duration = Duration::from_millis(1);

/// What answers are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 200 with so many bytes of content.
    Bytes(u64),
    /// Any status below 400.
    NoError,
}

/// What is counted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    expected: Expected,
    /// Answered as expected.
    pub(crate) requests: u64,
    /// Answered otherwise, or not at all.
    pub(crate) failures: u64,
    /// What the first different failures were.
    pub(crate) told: Vec<String>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// What gateways refused, by who and why.
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Requests that were not answered, by why.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Bytes of content that came.
    pub(crate) bytes: u64,
    /// Sent more than a millisecond after they were due, for no connection was free.
    pub(crate) late: u64,
    /// Sent that late although one was free: this machine had no time to.
    pub(crate) held_up: u64,
    /// Due and not sent when the run was over.
    pub(crate) unsent: u64,
    /// In nanoseconds: of every answer, and of what was waited for in vain.
    pub(crate) latencies: Histogram<u64>,
    /// When the last request was over.
    pub(crate) last: Option<Instant>,
}

impl Tally {
    pub(crate) fn new(expected: Expected) -> Self {
        let highest = LATENCY_MAX.as_nanos() as u64;
        Self {
            expected,
            requests: 0,
            failures: 0,
            told: Vec::new(),
            statuses: BTreeMap::new(),
            refusals: BTreeMap::new(),
            faults: BTreeMap::new(),
            bytes: 0,
            late: 0,
            held_up: 0,
            unsent: 0,
            latencies: Histogram::new_with_bounds(1, highest, 3).unwrap(),
            last: None,
        }
    }

    /// Counts a request that was sent at `sent` and over at `now`.
    pub(crate) fn count(
        &mut self,
        turn: Turn,
        sent: Instant,
        now: Instant,
        outcome: &Result<Answer, Fault>,
    ) {
        self.last = Some(now);
        let due = turn.due;
        match (sent - due > LATE, turn.is_kept_waiting) {
            (true, true) => self.late += 1,
            (true, false) => self.held_up += 1,
            (false, _) => {}
        }
        match outcome {
            Ok(answer) => {
                self.wait(now - due);
                *self.statuses.entry(answer.status).or_default() += 1;
                self.bytes += answer.bytes;
                if let Some(refused) = &answer.refused {
                    *self.refusals.entry(refused.to_string()).or_default() += 1;
                }
                match self.is_expected(answer) {
                    true => self.requests += 1,
                    false => self.fail(|| wrong(answer)),
                }
            }
            Err(fault) => {
                if matches!(fault, Fault::TimedOut(_)) {
                    self.wait(now - due);
                }
                let told = fault.to_string();
                *self.faults.entry(told.clone()).or_default() += 1;
                self.fail(|| told);
            }
        }
    }

    /// Counts requests that were due and never sent, each with the time since.
    pub(crate) fn count_unsent(&mut self, waited: impl IntoIterator<Item = Duration>) {
        for waited in waited {
            self.unsent += 1;
            self.wait(waited);
        }
        if self.unsent > 0 {
            let unsent = self.unsent;
            self.failures += unsent;
            self.tell(format!("{unsent} requests were due and could not be sent"));
        }
    }

    fn wait(&mut self, waited: Duration) {
        self.latencies.saturating_record(waited.as_nanos() as u64);
    }

    fn is_expected(&self, answer: &Answer) -> bool {
        match self.expected {
            Expected::Bytes(bytes) => answer.status == 200 && answer.bytes == bytes,
            Expected::NoError => answer.status < 400,
        }
    }

    fn fail(&mut self, told: impl FnOnce() -> String) {
        self.failures += 1;
        if self.told.len() < TOLD_MAX {
            self.tell(told());
        }
    }

    fn tell(&mut self, told: String) {
        if !self.told.contains(&told) {
            self.told.push(told);
        }
    }
}

fn wrong(answer: &Answer) -> String {
    let Answer {
        status,
        bytes,
        refused,
    } = answer;
    match refused {
        Some(refused) => format!("answered {status} ({refused})"),
        None => format!("answered {status} with {bytes} bytes"),
    }
}
