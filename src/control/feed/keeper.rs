//! Keeps the sealed copy of the store that serves while the store is away at a start.

use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::clock::Clock;
use crate::config;
use crate::control::store::{Snapshot, SnapshotFile, Store};
use crate::logging;

/// How long changes are gathered before a copy is made of them.
const SETTLE: Duration = Duration::from_secs(1);
/// How many times as long as it took to make a copy no other one is made.
const REST: u32 = 10;
/// When a copy is tried again that could not be made.
const RETRY: Duration = Duration::from_secs(30);

/// Makes copies when they are wanted, and not too often.
pub(super) struct Keeper {
    file: SnapshotFile,
    due: Option<Duration>,
    not_before: Duration,
    /// Whether the last copy could not be made, which is told once.
    is_failing: bool,
}

impl Keeper {
    /// Nothing is wanted so far.
    pub(super) fn new(settings: &config::Store) -> Self {
        Self {
            file: SnapshotFile::new(settings.snapshot.clone(), &settings.url),
            due: None,
            not_before: Duration::ZERO,
            is_failing: false,
        }
    }

    /// What the last copy holds, of whatever process made it.
    pub(super) async fn read(&self, store: &Store) -> Option<Snapshot> {
        let (file, store) = (self.file.clone(), store.clone());
        let reading = spawn_blocking(move || file.read(store.keyring()));
        match reading.await {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => {
                let error = logging::with_sources(&error);
                tracing::error!(error, "the snapshot of the store cannot be used");
                None
            }
            Err(error) => {
                tracing::error!(%error, "the snapshot of the store could not be read");
                None
            }
        }
    }

    /// The store has changed: a copy is wanted, soon after `now`.
    pub(super) fn want(&mut self, now: Duration) {
        let due = (now + SETTLE).max(self.not_before);
        self.due.get_or_insert(due);
    }

    /// When it is to be made.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Makes it, if its time has come.
    pub(super) async fn keep(&mut self, store: &Store, clock: &Clock) {
        let begun = clock.monotonic();
        if self.due.is_none_or(|due| begun < due) {
            return;
        }
        self.due = None;
        let made = self.make(store, clock).await;
        let ended = clock.monotonic();
        self.not_before = ended + ended.saturating_sub(begun) * REST;
        match made {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                if !self.is_failing {
                    tracing::error!(error, "the snapshot of the store could not be written");
                }
                self.is_failing = true;
                self.due = Some(ended + RETRY);
            }
        }
    }

    async fn make(&self, store: &Store, clock: &Clock) -> Result<(), String> {
        let changes = store.changes_since(0).await;
        let changes = changes.map_err(|error| logging::with_sources(&error))?;
        let (file, store, now) = (self.file.clone(), store.clone(), clock.wall());
        let writing = spawn_blocking(move || file.write(store.keyring(), now, &changes));
        let written = writing.await.map_err(|error| error.to_string())?;
        written.map_err(|error| logging::with_sources(&error))
    }
}
