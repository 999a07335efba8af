//! What the gateway says of its own state.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

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
}

/// Why the gateway is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReady {
    Starting,
    Draining,
    WorkerDied,
}

impl NotReady {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Starting => "not ready: starting",
            Self::Draining => "not ready: draining",
            Self::WorkerDied => "not ready: a worker died",
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
        })
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
        *self.lock() = Some(reload);
    }

    /// Whether flows should be sent here.
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Whether the process should go on.
    pub fn is_alive(&self) -> bool {
        self.workers_alive.load(Ordering::Acquire) == self.workers
    }

    pub(super) fn readiness(&self) -> Result<(), NotReady> {
        if self.draining.load(Ordering::Acquire) {
            Err(NotReady::Draining)
        } else if !self.is_alive() {
            Err(NotReady::WorkerDied)
        } else if !self.ready.load(Ordering::Acquire) {
            Err(NotReady::Starting)
        } else {
            Ok(())
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
            last_reload: self.lock().clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Reload>> {
        self.last_reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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

    #[test]
    fn a_failed_reload_costs_no_readiness() {
        let (health, _) = health();
        health.started();
        health.reloaded(Err("unknown key".into()));

        assert!(health.is_ready());
    }
}
