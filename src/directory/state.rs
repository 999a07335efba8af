//! What belongs to a connector for as long as its ID lives, whatever is edited or reloaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::breaker::{BreakerChange, BreakerStand, Passage, Switch};
use super::budget::RetryBudget;
use super::echo::Echo;
use super::rate::Bucket;
use crate::connector::Bulkhead;
use crate::metrics::Series;

/// One request among those in flight, in [`ConnectorState::requests`].
const ONE_IN_FLIGHT: u64 = 1;
/// One request that its origin answered well, in the same number.
const ONE_SUCCESS: u64 = 1 << 32;

/// A connector's limits in use and its counters. A reload resets nothing of it; what the limits
/// are comes from the connector, with each call.
///
/// Nothing is padded to lines of its own: there is one of these for each of 100,000 connectors, and
/// whoever enters writes `requests` first and so has the line that the rest lies in.
#[derive(Debug)]
pub struct ConnectorState {
    /// Where its figures are counted.
    pub series: Arc<Series>,
    /// Lower half: requests in flight. Upper half: those that went well, of all time, which the
    /// breaker weighs failures against and which so cost no write of their own.
    requests: AtomicU64,
    bucket: Bucket,
    breaker: Switch,
    /// How many of its requests may be sent again.
    pub retry_budget: RetryBudget,
    connections: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
    /// When the log last told that the origin repeats its credential.
    pub echo: Echo,
}

/// A request's place within its connector's limits, given up by [`ConnectorState::leave`].
#[derive(Debug)]
#[must_use = "a place that is not given up is lost"]
pub struct Berth {
    passage: Passage,
    /// Whether the last that was heard of its origin is that it is well.
    answered: bool,
}

/// Why a connector takes no request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many as this are in flight.
    InFlight(u32),
    /// It gets too many requests in a time.
    Rate {
        /// When there is room for one.
        free_in: Duration,
    },
    /// Its breaker is open.
    Breaker {
        /// When it may be probed; `None` while a probe is under way.
        open_for: Option<Duration>,
    },
}

/// How much of its limits a connector uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Requests in flight.
    pub requests_in_flight: u32,
    /// Connections open, idle ones included.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub waiting: u32,
    /// Requests that could begin now, where their rate is limited.
    pub burst_left: Option<u64>,
    /// How its breaker stands.
    pub breaker: BreakerStand,
}

/// The right to one open connection, held by the connection's task as long as it lives.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<ConnectorState>);

impl ConnectorState {
    /// The state of a connector that is new, counted in `series`.
    pub fn new(series: Arc<Series>) -> Self {
        Self {
            series,
            requests: AtomicU64::new(0),
            bucket: Bucket::default(),
            breaker: Switch::default(),
            retry_budget: RetryBudget::default(),
            connections: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            echo: Echo::default(),
        }
    }

    /// Takes a request of `worker`'s in, at the time `now`.
    ///
    /// # Errors
    ///
    /// [`Full`]; then nothing was taken.
    pub fn enter(&self, worker: usize, limits: &Bulkhead, now: Duration) -> Result<Berth, Full> {
        // Counted first and given back on refusal: the limit is never overrun.
        let before = self.requests.fetch_add(ONE_IN_FLIGHT, Ordering::AcqRel);
        let give_back = |full| {
            self.requests.fetch_sub(ONE_IN_FLIGHT, Ordering::AcqRel);
            full
        };
        if in_flight(before) >= limits.requests_in_flight_max {
            return Err(give_back(Full::InFlight(limits.requests_in_flight_max)));
        }
        let passage = match limits.breaker {
            Some(breaker) => self.breaker.pass(breaker, now, successes(before)),
            None => {
                self.follow(self.breaker.close());
                Ok(Passage::Free)
            }
        };
        let passage = passage.map_err(|open_for| give_back(Full::Breaker { open_for }))?;
        if let Some(rate) = limits.rate
            && let Err(free_in) = self.bucket.take(rate, now)
        {
            self.breaker.vanished(passage);
            return Err(give_back(Full::Rate { free_in }));
        }
        self.series.request_in_flight(worker, 1);
        Ok(Berth {
            passage,
            answered: false,
        })
    }

    /// Tells the breaker that the origin answered a request, and is well.
    pub fn answered(&self, berth: &mut Berth) -> Option<BreakerChange> {
        berth.answered = true;
        let passage = std::mem::replace(&mut berth.passage, Passage::Free);
        self.follow(self.breaker.succeeded(passage))
    }

    /// Tells the breaker that the origin failed a request at the time `now`: it was not reached,
    /// did not answer, or says that it cannot. Of a request that is sent several times, each
    /// attempt is told.
    pub fn failed(
        &self,
        berth: &mut Berth,
        limits: &Bulkhead,
        now: Duration,
    ) -> Option<BreakerChange> {
        berth.answered = false;
        let passage = std::mem::replace(&mut berth.passage, Passage::Free);
        // Without a breaker there is nothing to open.
        let change = limits.breaker.and_then(|breaker| {
            let successes = successes(self.requests.load(Ordering::Relaxed));
            self.breaker.failed(breaker, passage, now, successes)
        });
        self.follow(change)
    }

    /// Gives a request's place up.
    pub fn leave(&self, worker: usize, berth: Berth) {
        let done = match berth.answered {
            true => ONE_SUCCESS - ONE_IN_FLIGHT,
            false => ONE_IN_FLIGHT.wrapping_neg(),
        };
        self.requests.fetch_add(done, Ordering::AcqRel);
        self.series.request_in_flight(worker, -1);
        self.breaker.vanished(berth.passage);
    }

    /// The connector was edited to these limits: what no request would undo is undone here.
    pub fn edited(&self, limits: &Bulkhead) {
        if limits.breaker.is_none() {
            self.follow(self.breaker.close());
        }
    }

    /// How much of `limits` is in use.
    pub fn vitals(&self, limits: &Bulkhead, now: Duration) -> Vitals {
        Vitals {
            requests_in_flight: in_flight(self.requests.load(Ordering::Acquire)),
            connections: self.connections(),
            waiting: self.waiting.load(Ordering::Acquire),
            burst_left: limits.rate.map(|rate| self.bucket.left(rate, now)),
            breaker: self.breaker.stand(now),
        }
    }

    /// Counts a change of the breaker.
    fn follow(&self, change: Option<BreakerChange>) -> Option<BreakerChange> {
        match change {
            Some(BreakerChange::Opened) => self.series.breaker_open(1),
            Some(BreakerChange::Closed) => self.series.breaker_open(-1),
            None => {}
        }
        change
    }

    /// Takes one of `connections_max` connections, if one is left.
    pub fn try_connect(self: &Arc<Self>, connections_max: u32) -> Option<ConnectionPermit> {
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| {
                (open < connections_max).then_some(open + 1)
            })
            .ok()
            .map(|_| ConnectionPermit(Arc::clone(self)))
    }

    /// Connections open now.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }

    /// Returns once [`ConnectorState::tell_freed`] was called after `look` found nothing.
    ///
    /// `look` runs again each time something was freed, so that nothing freed between look and
    /// wait is missed.
    pub async fn wait_until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(found) = look() {
                // This waiter may have taken a notice that another one needs.
                self.tell_freed();
                return found;
            }
            freed.await;
        }
    }

    /// Tells one waiter that a connection came free or may be opened.
    ///
    /// Whoever frees writes first and then looks for waiters; a waiter counts itself first and then
    /// looks for what is free. Sequential consistency is what keeps both from missing the other.
    pub fn tell_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}

/// A connector that is gone leaves nothing behind in a series it shared.
impl Drop for ConnectorState {
    fn drop(&mut self) {
        self.follow(self.breaker.close());
    }
}

fn in_flight(requests: u64) -> u32 {
    (requests & (ONE_SUCCESS - 1)) as u32
}

fn successes(requests: u64) -> u32 {
    (requests >> 32) as u32
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.tell_freed();
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
