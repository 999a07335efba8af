//! When requests are due.
//!
//! # Invariants
//!
//! In an open loop the n-th request is due at a time that depends on the start and the rate alone,
//! and never on an answer: a server that stalls is waited for by all the requests that were due
//! meanwhile, and each counts from when it was due (coordinated omission is what it is called
//! where that is left out).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Pace;

/// The longest a ticker sleeps before it looks whether it was stopped.
const NAP_MAX: Duration = Duration::from_millis(50);

/// When the requests of an open loop are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    pub(crate) per_second: u32,
}

impl Schedule {
    /// When the request with that number is due; the first has number 0.
    pub(crate) fn due(&self, number: u64) -> Instant {
        let nanoseconds =
            (u128::from(number) * 1_000_000_000).div_ceil(u128::from(self.per_second));
        let since = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.start + since
    }

    /// How many are due by `now`.
    pub(crate) fn due_by(&self, now: Instant) -> u64 {
        let Some(since) = now.checked_duration_since(self.start) else {
            return 0;
        };
        let last = since.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// How many are due before `end`.
    pub(crate) fn due_before(&self, end: Instant) -> u64 {
        end.checked_sub(Duration::from_nanos(1))
            .map_or(0, |last| self.due_by(last))
    }
}

/// A request that is a client's to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) due: Instant,
    /// It was due before any client was free to send it.
    pub(crate) is_kept_waiting: bool,
}

/// What the clients of a run go by.
#[derive(Debug)]
pub(crate) struct Pacer {
    end: Instant,
    /// Has no permits, ever: it is closed when the run is over.
    over: Semaphore,
    cut_short: AtomicBool,
    open: Option<Open>,
}

/// The requests of an open loop: one permit for each that is due and not taken.
#[derive(Debug)]
struct Open {
    schedule: Schedule,
    due: Semaphore,
    /// The number of the next to be taken. Permits are given out in the order of the schedule, so
    /// whoever holds one may take this number.
    next: AtomicU64,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, start: Instant, lasts: Duration) -> Self {
        let open = match pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(Open {
                schedule: Schedule { start, per_second },
                due: Semaphore::new(0),
                next: AtomicU64::new(0),
            }),
        };
        Self {
            end: start + lasts,
            over: Semaphore::new(0),
            cut_short: AtomicBool::new(false),
            open,
        }
    }

    /// The next request of a client that is free since `now`, once it is due. `None` once the run
    /// is over.
    pub(crate) async fn next(&self, now: Instant) -> Option<Turn> {
        if self.over.is_closed() {
            return None;
        }
        let Some(open) = &self.open else {
            return (now < self.end).then_some(Turn {
                due: now,
                is_kept_waiting: false,
            });
        };
        // Clients that wait are given permits before they can be had like this.
        let is_kept_waiting = match open.due.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_none) => {
                open.due.acquire().await.ok()?.forget();
                false
            }
        };
        let number = open.next.fetch_add(1, Ordering::Relaxed);
        Some(Turn {
            due: open.schedule.due(number),
            is_kept_waiting,
        })
    }

    /// When a request that is due now is sent: in a closed loop it is due when it can be.
    pub(crate) fn sent(&self, due: Instant) -> Instant {
        match self.open {
            Some(_) => Instant::now(),
            None => due,
        }
    }

    /// Lets no further request be taken.
    pub(crate) fn stop(&self) {
        self.over.close();
        if let Some(open) = &self.open {
            open.due.close();
        }
    }

    /// Does so before the run's time.
    pub(crate) fn cut_short(&self) {
        self.cut_short.store(true, Ordering::Relaxed);
        self.stop();
    }

    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Relaxed)
    }

    /// Waits until no further request is taken.
    pub(crate) async fn stopped(&self) {
        let _closed = self.over.acquire().await;
    }

    /// How long each request has been due that was by `now` and before the end, and that nobody
    /// took.
    pub(crate) fn left(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let left = self.open.as_ref().map(|open| {
            let until = open.schedule.due_before(now.min(self.end));
            (open.next.load(Ordering::Relaxed)..until)
                .map(move |number| now.saturating_duration_since(open.schedule.due(number)))
        });
        left.into_iter().flatten()
    }

    /// Starts what tells the clients of an open loop that a request is due. It has a thread of its
    /// own, which sleeps in the kernel: the runtime's timers are a millisecond apart.
    pub(crate) fn tick(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        self.open.as_ref()?;
        let pacer = Arc::clone(self);
        Some(thread::spawn(move || pacer.give_out()))
    }

    fn give_out(&self) {
        wake_exactly();
        let Some(open) = &self.open else {
            return;
        };
        let all = open.schedule.due_before(self.end);
        let mut given = 0;
        while !self.over.is_closed() {
            let now = Instant::now();
            let due = open.schedule.due_by(now).min(all);
            if due > given {
                let more = usize::try_from(due - given).unwrap_or(usize::MAX);
                open.due.add_permits(more);
                given = due;
            }
            if now >= self.end {
                break;
            }
            let wake = match given < all {
                true => open.schedule.due(given),
                false => self.end,
            };
            thread::sleep(wake.saturating_duration_since(Instant::now()).min(NAP_MAX));
        }
        self.stop();
    }
}

/// Asks the kernel not to put this thread's timers off so that they come together with others
/// (`timerslack_ns` of proc(5): 50 µs without this). Where that cannot be had, requests are sent
/// that much later, which their latency shows.
fn wake_exactly() {
    let thread = fs::read_link("/proc/thread-self").ok();
    let id = thread.as_ref().and_then(|thread| thread.file_name());
    if let Some(id) = id.and_then(|id| id.to_str()) {
        let _refused = fs::write(format!("/proc/{id}/timerslack_ns"), "1");
    }
}
