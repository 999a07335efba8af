//! What is told of the store, where there is one.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the store stands, as it was told last.
#[derive(Debug, Default)]
pub struct StoreMetrics(Mutex<Option<StoreFigures>>);

/// How the store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// Whether it answered when it was asked last.
    pub up: bool,
    /// The revision whose connectors are served.
    pub revision: u64,
    /// How many of its connectors flows find.
    pub served: usize,
    /// How many they should find and do not.
    pub broken: usize,
}

impl StoreMetrics {
    /// Tells how it stands now.
    pub fn stands(&self, figures: StoreFigures) {
        *self.lock() = Some(figures);
    }

    /// What was told last; nothing where there is no store.
    pub(super) fn read(&self) -> Option<StoreFigures> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<StoreFigures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
