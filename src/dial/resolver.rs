//! One resolver for all workers: look-ups shared, bounded and remembered.
//!
//! # Invariants
//!
//! A name has at most one look-up under way, however many ask for it. At most [`LOOKUPS_MAX`] run,
//! of which names whose last look-up failed have half, so that a zone whose name servers are
//! silent leaves threads for the others. At most [`NAMES_MAX`] names are remembered; the least
//! recently used goes, and one that is being looked up stays, which bounds those that wait too.
//!
//! A name that is in use is looked up behind its users' backs. An answer that cannot be renewed
//! goes on being used for a bounded time (RFC 8767); `name.rs` has the times.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use super::lookup::Lookup;
use super::name::{Answer, Name, Step, Told, Wait, abandoned};
use crate::clock::Clock;
use crate::metrics::{LookupMetrics, LookupOutcome};

/// The most names remembered.
const NAMES_MAX: usize = 8192;
/// The most look-ups the system is asked for at once; each takes a thread.
const LOOKUPS_MAX: usize = 16;
/// The most of them for names whose last look-up failed.
const FAILING_LOOKUPS_MAX: usize = LOOKUPS_MAX / 2;

/// Resolves names. Cheap to clone; all clones share one memory.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lookup: Lookup,
    clock: Clock,
    /// Where blocking look-ups run.
    runtime: Handle,
    metrics: Arc<LookupMetrics>,
    threads: Arc<Semaphore>,
    threads_for_failing: Semaphore,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    by_host: HashMap<String, Name>,
    uses: u64,
}

impl Resolver {
    /// A resolver whose blocking look-ups run on `runtime`.
    pub fn new(lookup: Lookup, clock: Clock, runtime: Handle, metrics: Arc<LookupMetrics>) -> Self {
        Self(Arc::new(Shared {
            lookup,
            clock,
            runtime,
            metrics,
            threads: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            threads_for_failing: Semaphore::new(FAILING_LOOKUPS_MAX),
            names: Mutex::default(),
        }))
    }

    /// The addresses of `host`, families in turn; concurrent callers share one look-up.
    ///
    /// Waits as long as a look-up takes where nothing is remembered. Cancel-safe: the look-up goes
    /// on for the next who asks.
    ///
    /// # Errors
    ///
    /// What the system's resolver said, a moment ago at most; or that too many names are being
    /// looked up.
    pub async fn lookup(&self, host: &str) -> io::Result<Answer> {
        match self.step(host) {
            Step::Use(answer) => Ok(answer),
            Step::UseStale(answer) => Ok(self.stale(answer)),
            Step::Fail(error) => Err(shared(error)),
            Step::Wait(wait) => self.wait(wait).await,
        }
    }

    /// None of the addresses of `host` takes a connection: whoever asks next gets newer ones, if
    /// there are any.
    pub(super) fn doubt(&self, host: &str) {
        let now = self.now();
        if let Some(name) = self.names().by_host.get_mut(host) {
            name.doubt(now);
        }
    }

    /// What time it is, by the clock that [`Answer::at`] goes by.
    pub(super) fn now(&self) -> Duration {
        self.0.clock.monotonic()
    }

    fn step(&self, host: &str) -> Step {
        let now = self.now();
        let mut names = self.names();
        let Some(name) = names.recall(host) else {
            let error = "too many names are being looked up";
            return Step::Fail(Arc::new(io::Error::other(error)));
        };
        if name.is_due(now) {
            let tell = name.begin(now);
            let ask = self.clone().ask(host.to_owned(), name.is_failing(), tell);
            self.0.runtime.spawn(ask);
        }
        name.step(now)
    }

    async fn wait(&self, mut wait: Wait) -> io::Result<Answer> {
        let told = async {
            let told = wait.told.wait_for(Option::is_some).await;
            told.ok().and_then(|told| told.clone())
        };
        let Some(stale) = wait.stale else {
            return match told.await {
                Some(Ok(answer)) => Ok(answer),
                Some(Err(failure)) => Err(shared(failure.error)),
                None => Err(abandoned()),
            };
        };
        let told = tokio::select! {
            biased;
            told = told => told,
            () = self.0.clock.sleep_until(wait.late_at) => None,
        };
        match told {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(failure)) if !stale.outlasts(Some(&failure), self.now()) => {
                Err(shared(failure.error))
            }
            Some(Err(_)) | None => Ok(self.stale(stale)),
        }
    }

    fn stale(&self, answer: Answer) -> Answer {
        self.0.metrics.count(LookupOutcome::Stale);
        answer
    }

    async fn ask(self, host: String, failing: bool, tell: watch::Sender<Option<Told>>) {
        let found = self.ask_on_a_thread(host.clone(), failing).await;
        let now = self.now();
        let mut names = self.names();
        let Some(name) = names.by_host.get_mut(&host) else {
            return;
        };
        let told = name.settle(found, now);
        let turned_stale = name.turned_stale();
        drop(names);
        match &told {
            Ok(_) => self.0.metrics.count(LookupOutcome::Ok),
            Err(failure) => {
                self.0.metrics.count(LookupOutcome::Failed);
                if turned_stale {
                    let error = &failure.error;
                    tracing::warn!(host, %error, "a name could not be looked up; its old addresses are used");
                }
            }
        }
        tell.send_replace(Some(told));
    }

    async fn ask_on_a_thread(&self, host: String, failing: bool) -> io::Result<Vec<IpAddr>> {
        let _one_of_the_failing = match failing {
            true => {
                let permit = self.0.threads_for_failing.acquire().await;
                Some(permit.map_err(io::Error::other)?)
            }
            false => None,
        };
        let permit = Arc::clone(&self.0.threads).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let lookup = self.0.lookup.clone();
        let asked = self.0.runtime.spawn_blocking(move || {
            let found = lookup.ask(&host);
            drop(permit);
            found
        });
        // What a panic said stays untold.
        let ended = |_panicked| io::Error::other("the look-up ended early");
        asked.await.map_err(ended)?
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // Every change of a name is whole before anything of it can panic.
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// What is known of `host`, with room made for it; none if every name is being looked up.
    fn recall(&mut self, host: &str) -> Option<&mut Name> {
        self.uses += 1;
        if !self.by_host.contains_key(host) {
            if self.by_host.len() >= NAMES_MAX {
                self.forget_one()?;
            }
            self.by_host.insert(host.to_owned(), Name::default());
        }
        let name = self.by_host.get_mut(host)?;
        name.used = self.uses;
        Some(name)
    }

    /// A walk over all names, before a look-up that costs a thousand times as much.
    fn forget_one(&mut self) -> Option<()> {
        let settled = self.by_host.iter().filter(|(_, name)| !name.is_asked());
        let (oldest, _) = settled.min_by_key(|(_, name)| name.used)?;
        let oldest = oldest.clone();
        self.by_host.remove(&oldest);
        Some(())
    }
}

fn shared(error: Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), error)
}

#[cfg(test)]
mod tests;
