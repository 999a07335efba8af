//! `attache serve`: starts a gateway, keeps it in step with its configuration, drains it.

use std::error::Error;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::confine;
use super::watch::{POLL, Seen, Watch};
use crate::config::{Config, ConfigError, Logs};
use crate::gateway::{Environment, Gateway, StartError};
use crate::logging::{self, Logging, LoggingError, with_sources};

/// How long memory has to lie unused before it is given back: longer than the second for which the
/// allocator expects it to be wanted again.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(2);

/// Why the gateway did not start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is bad. Nothing was started.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// The gateway could not be started.
    #[error("the gateway did not start")]
    Start(#[source] StartError),
    /// The log could not be started.
    #[error("the log could not be started")]
    Logging(#[source] LoggingError),
    /// A thread or signal could not be had.
    #[error("a thread or signal could not be had")]
    System(#[source] io::Error),
    /// A second signal came while the gateway drained.
    #[error("told to end at once while draining")]
    Impatient,
}

impl ServeError {
    /// What the process answers: 2 is a wrong configuration, 1 anything else that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Start(
                StartError::Publish(_)
                | StartError::Tls(_)
                | StartError::Trust(_)
                | StartError::Store(_),
            ) => 2,
            Self::Start(StartError::Bind { .. } | StartError::System(_))
            | Self::Logging(_)
            | Self::System(_)
            | Self::Impatient => 1,
        }
    }

    /// The whole of what an operator is told.
    pub fn sentence(&self) -> String {
        let cause: &(dyn Error + 'static) = match self {
            Self::Config(error) => error,
            Self::Start(error) => error,
            Self::Logging(_) | Self::System(_) | Self::Impatient => self,
        };
        with_sources(cause)
    }
}

/// Serves what the configuration at `path` says, until the process is told to end.
///
/// # Errors
///
/// [`ServeError`]; except for [`ServeError::Impatient`] nothing was started.
pub fn run(path: &Path) -> Result<(), ServeError> {
    // Seen before it is read: a change amid the reading is a change after it.
    let mut seen = Seen::now([path.to_owned()]);
    let config = Config::load(path).map_err(ServeError::Config)?;
    seen.follow(config.files.clone());
    let logging = logging::init(&config.logs).map_err(ServeError::Logging)?;
    let logging = Arc::new(logging);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    // From here on a signal does what it says, even while the gateway starts.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    for exposure in confine::exposures() {
        tracing::warn!(exposure, "secrets of this process can be read from outside");
    }
    warn(&config);
    let files = config.files.clone();
    let mut environment = Environment::system();
    environment.access_log = logging.access_log();
    let gateway = Arc::new(Gateway::start(config, environment).map_err(ServeError::Start)?);
    tell_addresses(&gateway);
    let reload = reload(
        path.into(),
        files,
        Arc::clone(&gateway),
        Arc::clone(&logging),
    );
    let watch = Watch::start(seen, POLL, reload).map_err(ServeError::System)?;
    give_back();
    tell_systemd(&[NotifyState::Ready]);
    runtime.block_on(signals.until_told_to_end(|| watch.reload()));
    tell_systemd(&[NotifyState::Stopping]);
    drop(watch);
    let ended = runtime.block_on(signals.drain(gateway));
    logging.flush();
    ended
}

/// What happens when a file changed: everything is read again, and the gateway takes it or not.
fn reload(
    path: PathBuf,
    mut files: Vec<PathBuf>,
    gateway: Arc<Gateway>,
    logging: Arc<Logging>,
) -> impl FnMut() -> Vec<PathBuf> {
    move || {
        tell_systemd_of_reload();
        let outcome = Config::load(&path);
        let next: Option<(Logs, Vec<PathBuf>)> = match &outcome {
            Ok(config) => {
                warn(config);
                Some((config.logs.clone(), config.files.clone()))
            }
            Err(_) => None,
        };
        // The gateway itself says what a reload came to.
        let reloaded = gateway.reload(outcome);
        if let (Ok(()), Some((logs, next))) = (reloaded, next) {
            files = next;
            if let Err(error) = logging.apply(&logs) {
                tracing::error!(error = with_sources(&error), "the log stays as it was");
            }
        }
        tell_systemd(&[NotifyState::Ready]);
        give_back();
        files.clone()
    }
}

/// Has the allocator give back what reading and publishing a configuration took, half as much as
/// stays. It does so when a thread ends, with what has lain unused for a second by then; a gateway
/// without much to do has no thread that ends.
fn give_back() {
    let ends_late = thread::Builder::new().name("attache-tidy".into());
    // Without such a thread the memory is kept, and used again by the next reading.
    let _tidy = ends_late.spawn(|| thread::sleep(GIVE_BACK_AFTER));
}

fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!(warning, "the configuration is allowed but unwise");
    }
}

fn tell_addresses(gateway: &Gateway) {
    for address in gateway.flow_addresses() {
        tracing::info!(%address, "flows are served");
    }
    let address = gateway.admin_address();
    tracing::info!(%address, "the admin API, health and metrics are served to administrators");
    if let Some(address) = gateway.metrics_address() {
        tracing::info!(%address, "health and metrics are served to probes and scrapers");
    }
}

/// The signals the process heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, ServeError> {
        let heed = |kind| signal(kind).map_err(ServeError::System);
        Ok(Self {
            terminate: heed(SignalKind::terminate())?,
            interrupt: heed(SignalKind::interrupt())?,
            hang_up: heed(SignalKind::hangup())?,
        })
    }

    /// Returns at the first signal to end; calls `reload` for each that asks for one.
    async fn until_told_to_end(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => reload(),
            }
        }
    }

    /// Drains the gateway, unless a second signal says not to wait.
    async fn drain(&mut self, gateway: Arc<Gateway>) -> Result<(), ServeError> {
        let drained = draining(gateway)?;
        tokio::select! {
            () = drained => Ok(()),
            () = self.until_told_to_end(|| {}) => Err(ServeError::Impatient),
        }
    }
}

/// Drains on a thread of its own, since draining blocks.
fn draining(gateway: Arc<Gateway>) -> Result<impl Future<Output = ()>, ServeError> {
    let (done, drained) = oneshot::channel();
    thread::Builder::new()
        .name("attache-drain".into())
        .spawn(move || {
            // The watch, which held the only other one, is gone.
            if let Some(gateway) = Arc::into_inner(gateway) {
                gateway.drain();
            }
            let _told = done.send(());
        })
        .map_err(ServeError::System)?;
    Ok(async {
        let _drained = drained.await;
    })
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// A reload is told with its time, or a unit of `Type=notify-reload` is ended for it.
fn tell_systemd_of_reload() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager was not told"),
    }
}
