//! Keeps the sealed copy of the store that serves while the store is away at a start.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::clock::Clock;
use crate::config;
use crate::control::store::{Snapshot, SnapshotFile, Store};
use crate::logging;

/// How long changes are gathered before a copy is made of them.
const SETTLE: Duration = Duration::from_millis(100);
/// How many times as long as it took to make a copy no other one is made.
const REST: u32 = 10;
/// What is said of a copy whose maker panicked; why is in the log already.
const PANICKED: &str = "its writer panicked";
/// When a copy is tried again that could not be made.
const RETRY: Duration = Duration::from_secs(30);

/// Makes copies when they are wanted, and not too often.
pub(super) struct Keeper {
    file: SnapshotFile,
    wanted: Notify,
}

impl Keeper {
    /// Nothing is wanted so far.
    pub(super) fn new(settings: &config::Store) -> Self {
        Self {
            file: SnapshotFile::new(settings.snapshot.clone(), &settings.url),
            wanted: Notify::new(),
        }
    }

    /// The store has changed: a copy is wanted.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
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
            // The panic itself is in the log already; an error repeats what it said.
            Err(_panicked) => {
                tracing::error!("the snapshot of the store could not be read");
                None
            }
        }
    }

    /// Makes each copy that is wanted, for ever.
    pub(super) async fn keep(&self, store: &Store, clock: &Clock) {
        // One that could not be made is told once.
        let mut is_failing = false;
        loop {
            self.wanted.notified().await;
            clock.sleep_until(clock.monotonic() + SETTLE).await;
            let begun = clock.monotonic();
            let made = self.make(store, clock).await;
            let ended = clock.monotonic();
            let pause = match made {
                Ok(()) => {
                    is_failing = false;
                    ended.saturating_sub(begun) * REST
                }
                Err(error) => {
                    if !is_failing {
                        tracing::error!(error, "the snapshot of the store could not be written");
                    }
                    is_failing = true;
                    self.want();
                    RETRY
                }
            };
            clock.sleep_until(ended + pause).await;
        }
    }

    async fn make(&self, store: &Store, clock: &Clock) -> Result<(), String> {
        let changes = store.changes_since(0).await;
        let changes = changes.map_err(|error| logging::with_sources(&error))?;
        let (file, store, now) = (self.file.clone(), store.clone(), clock.wall());
        let writing = spawn_blocking(move || file.write(store.keyring(), now, &changes));
        let written = writing.await.map_err(|_panicked| PANICKED.to_owned())?;
        written.map_err(|error| logging::with_sources(&error))
    }
}
