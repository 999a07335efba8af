//! The composition root: builds both planes, gives them one directory, starts them, drains them.
//!
//! This and `cli/` are the only rooms that know both planes.
//!
//! # Invariants
//!
//! A gateway binds everything or nothing. A reload is whole or does not happen; whatever it comes
//! to is counted, logged and shown in `/readyz?verbose`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::control::api::Api;
use crate::control::feed::{Desk, Feed, FeedError};
use crate::control::publisher::{PublishError, Publisher};
use crate::control::{self, Control, Health};
use crate::credential::Credentials;
use crate::dial::{Dialer, Lookup, Resolver};
use crate::logging::{self, AccessLog};
use crate::metrics::{Metrics, ReloadOutcome};
use crate::proxy::{DataPlane, Parts};
use crate::tls::TlsError;
use crate::tls::server::Renewable;

mod administration;
mod doors;
mod fixed;
mod reports;
mod sockets;

use administration::{Administration, Office};
use doors::{admin_door, admin_identity, show_all};
use fixed::Fixed;
use sockets::{Addresses, Sockets};

/// Threads of each runtime beside the data plane.
const THREADS: usize = 1;
/// Threads for name look-ups at once.
const BLOCKING_THREADS_MAX: usize = 24;
/// How long the control plane's listeners may take to end: a little longer than they give those
/// who are being answered.
const FAREWELL_LIMIT: Duration = Duration::from_secs(6);
/// How long the runtimes beside the data plane may take to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// What surrounds a gateway and is not configured: the time and the names of the world.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where time comes from.
    pub clock: Clock,
    /// Where addresses of names come from.
    pub lookup: Lookup,
    /// Where requests are written down.
    pub access_log: AccessLog,
}

impl Environment {
    /// The machine's own, and no access log.
    pub fn system() -> Self {
        Self {
            clock: Clock::system(),
            lookup: Lookup::System,
            access_log: AccessLog::none(),
        }
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    data_plane: DataPlane,
    publisher: Arc<Publisher>,
    /// Where a store is configured.
    feed: Option<Feed>,
    office: Option<Office>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    fixed: Fixed,
    /// The admin listener's, where it has one.
    admin_tls: Option<Renewable>,
    /// Held through a reload: two at once would publish in one order and be told in another.
    reloading: Mutex<()>,
    addresses: Addresses,
    stop_control: watch::Sender<()>,
    control_runtime: Runtime,
    token_runtime: Runtime,
}

/// Why a gateway did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address} ({key})")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate, key or CA bundle cannot be used.
    #[error("the configuration cannot be put to use")]
    Publish(#[from] PublishError),
    /// The admin listener's certificate or key.
    #[error("admin.tls cannot be used")]
    Tls(#[source] TlsError),
    /// What connectors are tried with, or whom administrators' tokens come from.
    #[error("a trust anchor cannot be used")]
    Trust(#[source] TlsError),
    /// The store is not to be used as it is, or holds what contradicts the configuration.
    #[error("the store's connectors cannot be served")]
    Store(#[from] FeedError),
    /// A thread or runtime could not be had.
    #[error("a thread or runtime could not be started")]
    System(#[source] io::Error),
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is bad.
    #[error("the new configuration is bad")]
    Config(#[source] ConfigError),
    /// It changes what a running gateway cannot change.
    #[error("{key} cannot be changed by a reload; restart to change it")]
    NotReloadable {
        /// The key.
        key: &'static str,
    },
    /// The admin listener's certificate, key, client CA or revocation list.
    #[error("admin.tls cannot be used")]
    Tls(#[source] TlsError),
    /// It cannot be put to use.
    #[error("the new configuration cannot be put to use")]
    Publish(#[source] PublishError),
}

impl Gateway {
    /// Starts a gateway. Blocks until every listener is bound and every thread runs.
    ///
    /// # Errors
    ///
    /// [`StartError`]; then nothing was started.
    pub fn start(config: Config, environment: Environment) -> Result<Self, StartError> {
        let sockets = Sockets::bind(&config)?;
        let addresses = sockets.addresses().map_err(StartError::System)?;
        let clock = environment.clock;
        let metrics = Metrics::new(config.workers, config.metrics.connectors_max);
        let admin_door = admin_door(&config).map_err(StartError::Tls)?;
        let control_runtime = runtime("attache-control")?;
        let token_runtime = runtime("attache-token")?;
        let tokens = token_runtime.handle().clone();
        let administration = Administration::new(&config, &clock, &control_runtime)?;
        let dialer = dialer(environment.lookup, &clock, &tokens, &metrics);
        let credentials = Credentials::new(
            tokens.clone(),
            dialer.clone(),
            clock.clone(),
            metrics.tokens(),
            config.tokens.entries_max,
            administration.as_ref().map(Administration::shared_tokens),
        );
        let publisher = Publisher::new(&config, credentials, Arc::clone(&metrics))?;
        let desk = desk(publisher, &config, (&metrics, &clock));
        let read = |store: &Administration| store.read(&config, desk.clone(), &control_runtime);
        let (feed, follower) = administration.as_ref().map(read).transpose()?.unzip();
        let kept = administration.as_ref().zip(feed.clone());
        let (office, api) = administration::open(kept, &config, (&desk, &dialer, &tokens))?;
        let parts = Parts {
            directory: Arc::clone(desk.publisher.directory()),
            dialer,
            clock,
            metrics: Arc::clone(&metrics),
            access_log: environment.access_log,
            workers: config.workers,
        };
        let data_plane = DataPlane::start(parts, sockets.flows).map_err(StartError::System)?;
        if let Some(follower) = follower {
            administration::follow(follower, &data_plane, &control_runtime);
        }
        control_runtime.spawn(watch_expiries(&desk));
        let control = control(&desk, api);
        let admin_tls = admin_door.tls.clone();
        let listeners = ((sockets.admin, admin_door), sockets.metrics);
        let stop_control = show_all(listeners, &control, &control_runtime);
        desk.health.started();
        Ok(Self {
            data_plane,
            publisher: desk.publisher,
            feed,
            office,
            health: desk.health,
            metrics,
            fixed: Fixed::of(&config),
            admin_tls,
            reloading: Mutex::new(()),
            addresses,
            stop_control,
            control_runtime,
            token_runtime,
        })
    }

    /// Where flows connect.
    pub fn flow_addresses(&self) -> &[SocketAddr] {
        &self.addresses.flows
    }

    /// Where administrators and scrapers connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// The extra address for scrapers, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.addresses.metrics
    }

    /// Takes a new configuration into use, or says why the last good one stays.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; it is counted, logged and shown in `/readyz?verbose` here.
    pub fn reload(&self, outcome: Result<Config, ConfigError>) -> Result<(), ReloadError> {
        let reloaded = self.try_reload(outcome);
        match &reloaded {
            Ok(()) => {
                self.metrics.reloaded(ReloadOutcome::Ok);
                self.health.reloaded(Ok(()));
                tracing::info!("the configuration was reloaded");
            }
            Err(error) => {
                let error = logging::with_sources(error);
                self.metrics.reloaded(ReloadOutcome::Failed);
                self.health.reloaded(Err(error.clone()));
                tracing::error!(
                    error,
                    "the configuration was not reloaded; the last good one stays"
                );
            }
        }
        reloaded
    }

    fn try_reload(&self, outcome: Result<Config, ConfigError>) -> Result<(), ReloadError> {
        let next = outcome.map_err(ReloadError::Config)?;
        let _alone = self.reloading.lock();
        if let Some(key) = self.fixed.changed_by(&next) {
            return Err(ReloadError::NotReloadable { key });
        }
        let admin_identity = admin_identity(&next).map_err(ReloadError::Tls)?;
        let retired = self
            .publisher
            .publish(&next)
            .map_err(ReloadError::Publish)?;
        self.data_plane.retire(retired);
        if let (Some(tls), Some(identity)) = (&self.admin_tls, admin_identity) {
            tls.renew(identity);
        }
        let published = self.publisher.directory().current().entries.len();
        self.health.published(published);
        if let Some(feed) = &self.feed {
            feed.configured(&next);
        }
        if let Some(office) = &self.office {
            office.configured(&next);
        }
        Ok(())
    }

    /// Ends the gateway without losing an accepted request; blocks for `timeouts.drain_delay` and
    /// then for `timeouts.drain` at most, and a few seconds more for administrators.
    pub fn drain(self) {
        self.health.draining();
        self.data_plane.drain();
        self.stop_control.send_replace(());
        // Changes that administrators have asked for are answered before anything else ends.
        let told = async { timeout(FAREWELL_LIMIT, self.stop_control.closed()).await };
        let _all_told = self.control_runtime.block_on(told);
        self.token_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        self.control_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    }
}

/// What publishing needs, once `config` was published.
fn desk(publisher: Publisher, config: &Config, (metrics, clock): (&Arc<Metrics>, &Clock)) -> Desk {
    let health = Health::new(clock.clone(), config.workers);
    health.published(config.connectors.len());
    Desk {
        publisher: Arc::new(publisher),
        health,
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
    }
}

/// Says what ends of what `desk` publishes.
fn watch_expiries(desk: &Desk) -> impl Future<Output = ()> + use<> {
    control::expiry::watch(desk.publisher.expiring(), desk.clock.clone())
}

/// The one way out of both planes.
fn dialer(lookup: Lookup, clock: &Clock, runtime: &Handle, metrics: &Metrics) -> Dialer {
    let (clock, runtime) = (clock.clone(), runtime.clone());
    Dialer::new(Resolver::new(lookup, clock, runtime, metrics.lookups()))
}

/// What the control plane's listeners show.
fn control(desk: &Desk, api: Api) -> Arc<Control> {
    let directory = Arc::clone(desk.publisher.directory());
    Arc::new(Control {
        health: Arc::clone(&desk.health),
        metrics: Arc::clone(&desk.metrics),
        bulkheads: control::bulkhead_reporter(Arc::clone(&directory), desk.clock.clone()),
        tokens: Box::new(move || reports::token_reports(&directory)),
        api,
    })
}

/// A small runtime beside the data plane.
fn runtime(name: &str) -> Result<Runtime, StartError> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(StartError::System)
}
