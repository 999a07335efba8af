//! What comes with a store: connectors that administrators manage, tokens shared among replicas,
//! the admin API.
//!
//! # Invariants
//!
//! Everything here runs on the control plane's runtime. A store that is away delays a start by
//! `store.timeout` and stops nothing; one that may not be used stops the start.

use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};

use super::StartError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::access::{self, Authentication, Provider};
use crate::control::api::{Api, Parts};
use crate::control::feed::{Desk, Feed, FeedError, Follower};
use crate::control::registry::{Registry, Rules};
use crate::control::store::Store;
use crate::control::validate::Validator;
use crate::credential::SharedTokens;
use crate::dial::Dialer;
use crate::logging::with_sources;
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

    /// Where tokens are shared with other replicas, and with the next start of this one.
    pub(super) fn shared_tokens(&self) -> Arc<dyn SharedTokens> {
        Arc::new(self.store.clone())
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

/// What of the API a reload changes.
#[derive(Debug)]
pub(super) struct Office {
    registry: Registry,
    validator: Validator,
    authentication: Authentication,
}

/// Where administrators manage connectors: over what `administration` keeps and `feed` publishes, or
/// where there is neither, nowhere. Tokens that are tried are requested on `tokens`.
pub(super) fn open(
    from: Option<(&Administration, Feed)>,
    config: &Config,
    (desk, dialer, tokens): (&Desk, &Dialer, &Handle),
) -> Result<(Option<Office>, Api), StartError> {
    let Some((administration, feed)) = from else {
        return Ok((None, Api::without_store()));
    };
    let (store, clock) = (administration.store.clone(), desk.clock.clone());
    let validator = Validator::new(config, dialer.clone(), clock.clone(), tokens.clone());
    let validator = validator.map_err(StartError::Trust)?;
    let rules = Rules {
        connectors_max: administration.settings.connectors_max.clone(),
        deleted_kept: administration.settings.deleted_kept,
    };
    let walks = validator.clone();
    let registry = Registry::new(store.clone(), feed, walks, (config, rules), clock.clone());
    let oidc = config.admin.oidc.as_ref();
    let provider =
        oidc.map(|oidc| Provider::new(oidc, &config.trust, dialer.clone(), clock.clone()));
    let provider = provider.transpose().map_err(StartError::Trust)?;
    let authentication = Authentication::new(store.clone(), provider, clock.clone());
    let api = Api::new(Parts {
        authentication: authentication.clone(),
        administration: access::Administration::new(store.clone(), clock.clone()),
        metrics: Arc::clone(&desk.metrics),
        registry: registry.clone(),
        store,
        clock,
    });
    let office = Office {
        registry,
        validator,
        authentication,
    };
    Ok((Some(office), api))
}

impl Office {
    /// Judges by `config` from now on.
    pub(super) fn configured(&self, config: &Config) {
        self.registry.configured(config);
        if let Err(error) = self.validator.update(config) {
            // What was published trusts the same bundles, so that this was refused before.
            let error = with_sources(&error);
            tracing::error!(error, "connectors are tried as before the reload");
        }
        if let Err(error) = self.authentication.keep_within(&config.trust) {
            let error = with_sources(&error);
            tracing::error!(error, "the provider is asked as before the reload");
        }
    }
}

/// Publishes from now on what changes in the store.
pub(super) fn follow(follower: Follower, data_plane: &DataPlane, runtime: &Runtime) {
    let retire = data_plane.retirer();
    runtime.spawn(follower.follow(retire));
}
