//! The circuit breaker: an origin that fails is left alone for a while, then asked by one request.
//!
//! # Shape
//!
//! closed → open once `failures` of a `window` failed and at least as many failed as did not, so
//! that a busy connector is not cut off by a few → after `open`, half-open: one request at a time
//! probes the origin; what the origin answers closes the breaker, another failure opens it again. A
//! probe that ends without either (its flow went away) makes room for another, and so does one that
//! has said nothing for long: how long its flow takes to send its body is the flow's to say.
//!
//! # Invariants
//!
//! A request through a closed breaker reads two numbers that are rarely written and writes none but
//! at the start of a tenth of the window. The lock is for failures and those starts alone. What
//! became of a request that was let through before the breaker opened changes nothing after that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::connector::Breaker;

/// Parts of the window, the oldest of which is forgotten as a whole.
const SLOTS: usize = 10;
/// How long one probe keeps others from probing.
const PROBE_ALONE: Duration = Duration::from_secs(30);
const CLOSED: u64 = 0;
/// Set in the gate while a probe is under way; the other bits are since when the breaker could be
/// probed.
const PROBING: u64 = 1;

/// A connector's breaker, whatever its settings are at the moment.
#[derive(Debug, Default)]
pub(super) struct Switch {
    /// [`CLOSED`], or when it may be probed (nanoseconds, shifted by one) and [`PROBING`].
    gate: AtomicU64,
    /// When the next part of the window begins, in nanoseconds.
    next_slot: AtomicU64,
    /// Made by the first request.
    window: Mutex<Option<Box<Window>>>,
}

/// How a request got through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// The breaker was closed, is off, or has heard of this request's outcome.
    Free,
    /// It probes the origin; the value is the gate as it set it.
    Probe(u64),
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// It was closed and opened.
    Opened,
    /// It was open and closed.
    Closed,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerStand {
    /// Requests pass.
    Closed,
    /// None passes before this time of the monotonic clock.
    Open {
        /// When it may be probed.
        until: Duration,
    },
    /// A probe is under way, or the next request will be one.
    HalfOpen,
}

#[derive(Debug, Default)]
struct Window {
    slot_length: u64,
    slots: [Option<Slot>; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Which part of time it stands for, counted from the clock's start.
    number: u64,
    /// What had succeeded, of all time, when it began.
    successes_before: u32,
    failures: u32,
}

impl Switch {
    /// Lets a request through, or says in how long it is worth while to ask again; `None` while a
    /// probe is under way. `successes` is how many have succeeded in all.
    pub(super) fn pass(
        &self,
        breaker: Breaker,
        now: Duration,
        successes: u32,
    ) -> Result<Passage, Option<Duration>> {
        let now = nanos(now);
        let gate = self.gate.load(Ordering::Acquire);
        if gate == CLOSED {
            if now >= self.next_slot.load(Ordering::Relaxed) {
                self.begin_slot(breaker, now, successes);
            }
            return Ok(Passage::Free);
        }
        let until = gate >> 1;
        if gate & PROBING != 0 && now < until.saturating_add(nanos(PROBE_ALONE)) {
            return Err(None);
        }
        if now < until {
            return Err(Some(Duration::from_nanos(until - now)));
        }
        let probe = now.clamp(1, u64::MAX >> 1) << 1 | PROBING;
        match self.swap(gate, probe) {
            true => Ok(Passage::Probe(probe)),
            // Another request was first, or the breaker was switched off this instant.
            false => Err(None),
        }
    }

    /// The origin failed a request.
    pub(super) fn failed(
        &self,
        breaker: Breaker,
        passage: Passage,
        now: Duration,
        successes: u32,
    ) -> Option<BreakerChange> {
        let now = nanos(now);
        let until = now.saturating_add(nanos(breaker.open));
        let opened = until.clamp(1, u64::MAX >> 1) << 1;
        match passage {
            Passage::Probe(probe) => {
                self.swap(probe, opened);
                None
            }
            Passage::Free if self.gate.load(Ordering::Acquire) != CLOSED => None,
            Passage::Free => {
                let mut window = self.lock();
                let window = window.get_or_insert_default();
                let slot = window.slot(breaker, now, successes);
                slot.failures = slot.failures.saturating_add(1);
                if !window.is_bad(breaker, now, successes) {
                    return None;
                }
                **window = Window::default();
                self.swap(CLOSED, opened).then_some(BreakerChange::Opened)
            }
        }
    }

    /// The origin answered a request well.
    pub(super) fn succeeded(&self, passage: Passage) -> Option<BreakerChange> {
        match passage {
            Passage::Free => None,
            // Whichever probe it was: what it says of the origin is new.
            Passage::Probe(_) => self.close(),
        }
    }

    /// A request ended without a word of its origin's.
    pub(super) fn vanished(&self, passage: Passage) {
        if let Passage::Probe(probe) = passage {
            self.swap(probe, probe & !PROBING);
        }
    }

    /// Closes it, as when it is switched off.
    pub(super) fn close(&self) -> Option<BreakerChange> {
        // Read first: a breaker that is off is asked to close by every request.
        let open = self.gate.load(Ordering::Relaxed) != CLOSED;
        (open && self.gate.swap(CLOSED, Ordering::AcqRel) != CLOSED)
            .then_some(BreakerChange::Closed)
    }

    /// How it stands.
    pub(super) fn stand(&self, now: Duration) -> BreakerStand {
        let gate = self.gate.load(Ordering::Acquire);
        let until = Duration::from_nanos(gate >> 1);
        if gate == CLOSED {
            BreakerStand::Closed
        } else if gate & PROBING != 0 || now >= until {
            BreakerStand::HalfOpen
        } else {
            BreakerStand::Open { until }
        }
    }

    #[cold]
    fn begin_slot(&self, breaker: Breaker, now: u64, successes: u32) {
        let mut window = self.lock();
        let window = window.get_or_insert_default();
        let slot = window.slot(breaker, now, successes);
        let next = slot.number.saturating_add(1);
        let next = next.saturating_mul(window.slot_length);
        self.next_slot.store(next, Ordering::Relaxed);
    }

    fn swap(&self, from: u64, to: u64) -> bool {
        self.gate
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Window>>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// The part of the window that `now` lies in, begun if need be.
    fn slot(&mut self, breaker: Breaker, now: u64, successes: u32) -> &mut Slot {
        let slot_length = (nanos(breaker.window) / SLOTS as u64).max(1);
        if self.slot_length != slot_length {
            // Another window was configured: its parts are numbered otherwise.
            *self = Self {
                slot_length,
                ..Self::default()
            };
        }
        let number = now / slot_length;
        let new = Slot {
            number,
            successes_before: successes,
            failures: 0,
        };
        let slot = self.slots[(number % SLOTS as u64) as usize].get_or_insert(new);
        if slot.number < number {
            *slot = new;
        }
        slot
    }

    /// Whether what happened in the window is reason to open.
    fn is_bad(&self, breaker: Breaker, now: u64, successes: u32) -> bool {
        let oldest = (now / self.slot_length.max(1)).saturating_sub(SLOTS as u64 - 1);
        let within = || {
            let slots = self.slots.iter().flatten();
            slots.filter(move |slot| slot.number >= oldest)
        };
        let failures: u32 = within().map(|slot| slot.failures).sum();
        let first = within().min_by_key(|slot| slot.number);
        let succeeded = first.map_or(0, |slot| successes.wrapping_sub(slot.successes_before));
        failures >= breaker.failures.max(1) && failures >= succeeded
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
