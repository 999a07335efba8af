//! What a reload may not change.

use std::net::SocketAddr;

use crate::config::{Admin, Config, Store};

/// What of its configuration a running gateway cannot change. The rest of it is not kept: what
/// was published holds it.
#[derive(Debug)]
pub(super) struct Fixed {
    listen: Vec<SocketAddr>,
    workers: usize,
    admin: Admin,
    metrics_listen: Option<SocketAddr>,
    store: Option<Store>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            workers: config.workers,
            admin: config.admin.clone(),
            metrics_listen: config.metrics.listen,
            store: config.store.clone(),
        }
    }

    /// The key that `next` would change but cannot.
    pub(super) fn changed_by(&self, next: &Config) -> Option<&'static str> {
        [
            (self.listen != next.listen, "listen"),
            (self.workers != next.workers, "workers"),
            (self.admin != next.admin, "admin"),
            (self.metrics_listen != next.metrics.listen, "metrics.listen"),
            (self.store != next.store, "store"),
        ]
        .into_iter()
        .find_map(|(changed, key)| changed.then_some(key))
    }
}
