//! What comes with a store: connectors that administrators manage, tokens shared among replicas,
//! the admin API.
//!
//! # Invariants
//!
//! Everything here runs on the control plane's runtime. A store that is away delays a start by
//! `store.timeout` and stops nothing; one that may not be used stops the start.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::StartError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::api::Api;
use crate::control::feed::{Desk, Feed, FeedError, Follower};
use crate::control::store::Store;
use crate::proxy::DataPlane;

/// The store, and what is read of it.
#[derive(Debug)]
pub(super) struct Administration {
    store: Store,
    settings: config::Store,
}

impl Administration {
    /// The store that `config` names, if it names one. Whether it is there shows with the first
    /// reading.
    pub(super) fn new(
        config: &Config,
        clock: &Clock,
        runtime: &Runtime,
    ) -> Result<Option<Self>, StartError> {
        let Some(settings) = &config.store else {
            return Ok(None);
        };
        let _within = runtime.enter();
        let store = Store::open_later(settings, clock.clone());
        Ok(Some(Self {
            store: store.map_err(|error| FeedError::Store(Arc::new(error)))?,
            settings: settings.clone(),
        }))
    }

    /// Publishes what the store holds beside `config`, before any flow is let in.
    pub(super) fn read(
        &self,
        config: &Config,
        desk: Desk,
        runtime: &Runtime,
    ) -> Result<(Feed, Follower), StartError> {
        let store = (self.store.clone(), &self.settings);
        Ok(runtime.block_on(Feed::open(store, desk, config))?)
    }
}

/// Where administrators manage connectors.
pub(super) fn api(_administration: Option<&Administration>) -> Api {
    Api::without_store()
}

/// Publishes from now on what changes in the store.
pub(super) fn follow(follower: Follower, data_plane: &DataPlane, runtime: &Runtime) {
    let retire = data_plane.retirer();
    runtime.spawn(follower.follow(retire));
}
