//! What the gateway says of its own state.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::feed::{ServedFrom, StoreReport};
use crate::clock::{Clock, rfc3339};

/// Whether the gateway lives, whether it is ready for flows, and why not.
///
/// Readiness never depends on an origin or a token endpoint: one that is down would take the whole
/// gateway, and every connector that works, out of service.
#[derive(Debug)]
pub struct Health {
    clock: Clock,
    started: Duration,
    workers: usize,
    workers_alive: AtomicUsize,
    ready: AtomicBool,
    draining: AtomicBool,
    connectors: AtomicUsize,
    last_reload: Mutex<Option<Reload>>,
    store: Mutex<Option<StoreReport>>,
}

/// What the last reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// Whether the new configuration holds.
    pub outcome: Outcome,
    /// When it was tried.
    #[serde(serialize_with = "date")]
    pub at: SystemTime,
    /// Why the last good configuration stays. Never shows a secret: no configuration error does.
    pub error: Option<String>,
}

/// Whether a reload succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The new configuration holds.
    Ok,
    /// The last good one stays.
    Failed,
}

/// What `/readyz?verbose` shows of [`Health`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Overview {
    pub(super) ready: bool,
    pub(super) draining: bool,
    pub(super) version: &'static str,
    pub(super) uptime_seconds: u64,
    pub(super) workers: usize,
    pub(super) workers_alive: usize,
    pub(super) connectors: usize,
    pub(super) last_reload: Option<Reload>,
    /// Absent where no store is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<StoreReport>,
}

/// How far the gateway is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// With everything that is to be served.
    Wholly,
    /// With what the store held when its snapshot was taken.
    FromSnapshot(SystemTime),
}

impl Ready {
    pub(super) fn sentence(self) -> String {
        match self {
            Self::Wholly => "ready".to_owned(),
            Self::FromSnapshot(at) => {
                let at = rfc3339(at);
                format!("ready, from the snapshot of {at}: the store is unreachable")
            }
        }
    }
}

/// Why the gateway is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReady {
    Starting,
    Draining,
    WorkerDied,
    /// Flows would get 404 for every connector of the store's.
    StoreUnread,
}

impl NotReady {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Starting => "not ready: starting",
            Self::Draining => "not ready: draining",
            Self::WorkerDied => "not ready: a worker died",
            Self::StoreUnread => {
                "not ready: the store was not read so far, and there is no snapshot of it"
            }
        }
    }
}

impl Health {
    /// The health of a gateway that is starting, with `workers` workers that are about to run.
    pub fn new(clock: Clock, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            started: clock.monotonic(),
            clock,
            workers,
            workers_alive: AtomicUsize::new(workers),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            connectors: AtomicUsize::new(0),
            last_reload: Mutex::new(None),
            store: Mutex::new(None),
        })
    }

    /// The time by which it judges.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Everything is bound and runs.
    pub fn started(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The gateway is going away; it is not ready from now on.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// A worker ended that should not have. The gateway is neither ready nor alive any more.
    pub fn worker_died(&self) {
        let alive = |alive: usize| Some(alive.saturating_sub(1));
        let _before = self
            .workers_alive
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, alive);
    }

    /// How many connectors are published now.
    pub fn published(&self, connectors: usize) {
        self.connectors.store(connectors, Ordering::Release);
    }

    /// A reload was tried; `Err` holds the sentence that says why it changed nothing.
    pub fn reloaded(&self, result: Result<(), String>) {
        let (outcome, error) = match result {
            Ok(()) => (Outcome::Ok, None),
            Err(error) => (Outcome::Failed, Some(error)),
        };
        let reload = Reload {
            outcome,
            at: self.clock.wall(),
            error,
        };
        *lock(&self.last_reload) = Some(reload);
    }

    /// How the store stands now; not told where none is configured.
    pub fn store(&self, report: StoreReport) {
        *lock(&self.store) = Some(report);
    }

    /// Whether flows should be sent here.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Whether the process should go on.
    pub fn is_alive(&self) -> bool {
        self.workers_alive.load(Ordering::Acquire) == self.workers
    }

    pub(super) fn readiness(&self) -> Result<Ready, NotReady> {
        if self.draining.load(Ordering::Acquire) {
            Err(NotReady::Draining)
        } else if !self.is_alive() {
            Err(NotReady::WorkerDied)
        } else if !self.ready.load(Ordering::Acquire) {
            Err(NotReady::Starting)
        } else {
            match lock(&self.store).as_ref().map(|store| store.served_from) {
                None | Some(ServedFrom::Store) => Ok(Ready::Wholly),
                Some(ServedFrom::Snapshot { at }) => Ok(Ready::FromSnapshot(at)),
                Some(ServedFrom::Nothing) => Err(NotReady::StoreUnread),
            }
        }
    }

    pub(super) fn overview(&self) -> Overview {
        Overview {
            ready: self.is_ready(),
            draining: self.draining.load(Ordering::Acquire),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self
                .clock
                .monotonic()
                .saturating_sub(self.started)
                .as_secs(),
            workers: self.workers,
            workers_alive: self.workers_alive.load(Ordering::Acquire),
            connectors: self.connectors.load(Ordering::Acquire),
            last_reload: lock(&self.last_reload).clone(),
            store: lock(&self.store).clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a date as text.
pub(super) fn date<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Turned;

    fn health() -> (Arc<Health>, Turned) {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        (Health::new(Clock::turned(&turned), 2), turned)
    }

    #[test]
    fn a_gateway_is_ready_only_between_its_start_and_its_drain() {
        let (health, _) = health();
        assert_eq!(health.readiness(), Err(NotReady::Starting));

        health.started();
        assert!(health.is_ready());

        health.draining();
        assert_eq!(health.readiness(), Err(NotReady::Draining));
        assert!(health.is_alive());
    }

    #[test]
    fn a_worker_that_died_ends_readiness_and_life() {
        let (health, _) = health();
        health.started();

        health.worker_died();

        assert_eq!(health.readiness(), Err(NotReady::WorkerDied));
        assert!(!health.is_alive());
        assert_eq!(health.overview().workers_alive, 1);
    }

    #[test]
    fn the_last_reload_is_shown_with_its_date_and_sentence() {
        let (health, turned) = health();
        turned.advance(Duration::from_secs(90));
        assert_eq!(health.overview().last_reload, None);

        health.reloaded(Ok(()));
        health.reloaded(Err("unknown key".into()));

        let overview = health.overview();
        assert_eq!(overview.uptime_seconds, 90);
        let reload = overview.last_reload.unwrap();
        assert_eq!(reload.outcome, Outcome::Failed);
        assert_eq!(reload.error.as_deref(), Some("unknown key"));
        assert_eq!(
            reload.at,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_090)
        );
    }

    fn served_from(served_from: ServedFrom) -> StoreReport {
        StoreReport {
            served_from,
            revision: 0,
            connectors: 0,
            broken: Vec::new(),
            broken_omitted: 0,
            outage: None,
        }
    }

    #[test]
    fn a_gateway_that_knows_nothing_of_its_store_gets_no_flows() {
        let (health, _) = health();
        health.started();

        health.store(served_from(ServedFrom::Nothing));
        assert_eq!(health.readiness(), Err(NotReady::StoreUnread));
        assert!(health.is_alive(), "a restart would help nobody");

        let at = SystemTime::UNIX_EPOCH;
        health.store(served_from(ServedFrom::Snapshot { at }));
        assert_eq!(
            health.readiness().unwrap().sentence(),
            "ready, from the snapshot of 1970-01-01T00:00:00.000Z: the store is unreachable"
        );

        health.store(served_from(ServedFrom::Store));
        assert_eq!(health.readiness(), Ok(Ready::Wholly));
    }

    #[test]
    fn a_failed_reload_costs_no_readiness() {
        let (health, _) = health();
        health.started();
        health.reloaded(Err("unknown key".into()));

        assert!(health.is_ready());
    }
}
