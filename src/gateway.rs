//! The composition root: builds both planes, gives them one directory, starts them, drains them.
//!
//! This and `cli/` are the only rooms that know both planes.
//!
//! # Invariants
//!
//! A gateway binds everything or nothing. A reload is whole or does not happen; whatever it comes
//! to is counted, logged and shown in `/readyz?verbose`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{Admin, Config, ConfigError, Store};
use crate::control::publisher::{PublishError, Publisher};
use crate::control::{self, Control, Door, Health, HostRule};
use crate::credential::Credentials;
use crate::dial::{Dialer, Lookup, Resolver};
use crate::logging::{self, AccessLog};
use crate::metrics::{Metrics, ReloadOutcome};
use crate::proxy::{DataPlane, Parts};
use crate::tls::TlsError;
use crate::tls::server::{Protocols, ServerIdentity};

mod reports;

/// Connections the system queues while none is accepted.
const BACKLOG: i32 = 1024;
/// Threads of each runtime beside the data plane.
const THREADS: usize = 1;
/// Threads for name look-ups at once.
const BLOCKING_THREADS_MAX: usize = 24;
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
    publisher: Publisher,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    fixed: Fixed,
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
        let admin_door = admin_door(&config).map_err(StartError::Tls)?;
        let control_runtime = runtime("attache-control")?;
        let token_runtime = runtime("attache-token")?;
        let clock = environment.clock;
        let tokens = token_runtime.handle().clone();
        let metrics = Metrics::new(config.workers, config.metrics.connectors_max);
        let dialer = dialer(environment.lookup, &clock, &tokens, &metrics);
        let credentials = Credentials::new(
            tokens,
            dialer.clone(),
            clock.clone(),
            metrics.tokens(),
            config.tokens.entries_max,
            None,
        );
        let publisher = Publisher::new(&config, credentials, Arc::clone(&metrics))?;
        let directory = Arc::clone(publisher.directory());
        let parts = Parts {
            directory: Arc::clone(&directory),
            dialer,
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            access_log: environment.access_log,
            workers: config.workers,
        };
        let data_plane = DataPlane::start(parts, sockets.flows).map_err(StartError::System)?;
        let health = Health::new(clock.clone(), config.workers);
        health.published(config.connectors.len());
        let control = Arc::new(Control {
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            bulkheads: control::bulkhead_reporter(Arc::clone(&directory), clock),
            tokens: Box::new(move || reports::token_reports(&directory)),
            api: control::api::Api::without_store(),
        });
        let (stop_control, _) = watch::channel(());
        let scraped = sockets.metrics.map(|listener| (listener, metrics_door()));
        for (listener, door) in [(sockets.admin, admin_door)].into_iter().chain(scraped) {
            let stopped = stop_control.subscribe();
            control_runtime.spawn(show(listener, door, Arc::clone(&control), stopped));
        }
        health.started();
        Ok(Self {
            data_plane,
            publisher,
            health,
            metrics,
            fixed: Fixed::of(&config),
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
        let retired = self
            .publisher
            .publish(&next)
            .map_err(ReloadError::Publish)?;
        self.data_plane.retire(retired);
        self.health.published(next.connectors.len());
        Ok(())
    }

    /// Ends the gateway without losing an accepted request; blocks for `timeouts.drain_delay` and
    /// then for `timeouts.drain` at most.
    pub fn drain(self) {
        self.health.draining();
        self.data_plane.drain();
        drop(self.stop_control);
        self.token_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        self.control_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    }
}

/// The one way out of both planes.
fn dialer(lookup: Lookup, clock: &Clock, runtime: &Handle, metrics: &Metrics) -> Dialer {
    let (clock, runtime) = (clock.clone(), runtime.clone());
    Dialer::new(Resolver::new(lookup, clock, runtime, metrics.lookups()))
}

/// What of its configuration a running gateway cannot change. The rest of it is not kept: what
/// was published holds it.
#[derive(Debug)]
struct Fixed {
    listen: Vec<SocketAddr>,
    workers: usize,
    admin: Admin,
    metrics_listen: Option<SocketAddr>,
    store: Option<Store>,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            workers: config.workers,
            admin: config.admin.clone(),
            metrics_listen: config.metrics.listen,
            store: config.store.clone(),
        }
    }

    /// The key that `next` would change but cannot.
    fn changed_by(&self, next: &Config) -> Option<&'static str> {
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

/// Serves one listener of the control plane until `stopped` is closed.
async fn show(
    listener: TcpListener,
    door: Door,
    control: Arc<Control>,
    mut stopped: watch::Receiver<()>,
) {
    let stop = async move { drop(stopped.changed().await) };
    if let Err(error) = control::serve(listener, door, control, stop).await {
        tracing::error!(%error, "a listener of the control plane ended");
    }
}

fn admin_door(config: &Config) -> Result<Door, TlsError> {
    let tls = config.admin.tls.as_ref();
    Ok(Door {
        tls: tls
            .map(|tls| ServerIdentity::new(tls, Protocols::Http11))
            .transpose()?,
        hosts: HostRule::Ours(config.admin.hosts.clone()),
    })
}

fn metrics_door() -> Door {
    Door {
        tls: None,
        hosts: HostRule::Free,
    }
}

/// Everything that is bound before anything is started.
struct Sockets {
    flows: Vec<TcpListener>,
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

/// What was bound, ports included.
#[derive(Debug)]
struct Addresses {
    flows: Vec<SocketAddr>,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let flows = config.listen.iter().map(|address| bind(*address, "listen"));
        Ok(Self {
            flows: flows.collect::<Result<_, _>>()?,
            admin: bind(config.admin.listen, "admin.listen")?,
            metrics: match config.metrics.listen {
                Some(address) => Some(bind(address, "metrics.listen")?),
                None => None,
            },
        })
    }

    fn addresses(&self) -> io::Result<Addresses> {
        let flows = self.flows.iter().map(TcpListener::local_addr);
        let metrics = self.metrics.as_ref().map(TcpListener::local_addr);
        Ok(Addresses {
            flows: flows.collect::<Result<_, _>>()?,
            admin: self.admin.local_addr()?,
            metrics: metrics.transpose()?,
        })
    }
}

fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for connections of the last process to be forgotten.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // Each address is listed by itself; "[::]" does not take IPv4's port with it.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map_err(|source| StartError::Bind {
        address,
        key,
        source,
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
