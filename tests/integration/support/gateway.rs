//! The gateway under test, in this process or as one of its own, and what its listeners say.

use std::net::SocketAddr;
use std::path::Path;
use std::time::UNIX_EPOCH;

use attache::clock::{Clock, Turned};
use attache::config::{Config, ConfigError};
use attache::dial::Lookup;
use attache::gateway::{Environment, Gateway, ReloadError};

use super::child::Child;
use super::client::{Answered, Client};
use super::stage::Stage;
use super::{sample, within};

/// A gateway in this process, under the system's clock and names unless told otherwise.
pub(crate) struct Running {
    gateway: Option<Gateway>,
}

impl Running {
    /// Starts a gateway with the stage's settings and `own` (see [`Stage::yaml`]).
    pub(crate) async fn start(stage: &Stage, own: &str) -> Self {
        Self::start_in(stage, own, Environment::system()).await
    }

    /// The same, under a clock that the test turns.
    pub(crate) async fn start_turned(stage: &Stage, own: &str) -> (Self, Turned) {
        // A day of 2026; what certificates say is judged by the system's clock all the same.
        let turned =
            Turned::starting_at(UNIX_EPOCH + std::time::Duration::from_secs(1_795_000_000));
        let environment = Environment {
            clock: Clock::turned(&turned),
            ..Environment::system()
        };
        (Self::start_in(stage, own, environment).await, turned)
    }

    /// The same, where names have the addresses of `table` and no others.
    pub(crate) async fn start_named(stage: &Stage, own: &str, table: &[(&str, &[&str])]) -> Self {
        let names = table.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            ((*name).to_owned(), addresses.collect())
        });
        let environment = Environment {
            lookup: Lookup::Table(std::sync::Arc::new(names.collect())),
            ..Environment::system()
        };
        Self::start_in(stage, own, environment).await
    }

    /// The same, in `environment`.
    pub(crate) async fn start_in(stage: &Stage, own: &str, environment: Environment) -> Self {
        let config = stage.config(own).unwrap();
        let gateway = aside("a gateway to start", move || {
            Gateway::start(config, environment)
        });
        Self {
            gateway: Some(gateway.await.unwrap()),
        }
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Where flows connect.
    pub(crate) fn flows(&self) -> SocketAddr {
        self.gateway().flow_addresses()[0]
    }

    /// All of them, in the order they are listed.
    pub(crate) fn all_flows(&self) -> &[SocketAddr] {
        self.gateway().flow_addresses()
    }

    /// Where scrapers connect, if that is a place of its own.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.gateway().metrics_address()
    }

    /// Where administrators connect.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.gateway().admin_address()
    }

    /// Reloads with `outcome`.
    pub(crate) fn reload(&self, outcome: Result<Config, ConfigError>) -> Result<(), ReloadError> {
        self.gateway().reload(outcome)
    }

    /// Sends one GET to a flow address over a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Answered {
        get(self.flows(), target).await
    }

    /// One sample of `/metrics`; 0 where there is none.
    pub(crate) async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sample(self.admin(), name, labels).await
    }

    /// Waits until a sample of `/metrics` satisfies `is`.
    pub(crate) async fn until_sample(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        is: impl Fn(f64) -> bool,
    ) {
        let looking = async { while !is(self.sample(name, labels).await) {} };
        within(name, looking).await;
    }

    /// Everything that its `Debug` shows, both ways of it.
    pub(crate) fn shown(&self) -> String {
        let gateway = self.gateway();
        format!("{gateway:?}\n{gateway:#?}")
    }

    /// Drains it, and returns once it has ended.
    pub(crate) async fn drain(mut self) {
        let gateway = self.gateway.take().unwrap();
        aside("a gateway to drain", move || gateway.drain()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its runtimes may not be dropped on a thread that belongs to another.
        let gateway = self.gateway.take();
        std::thread::spawn(move || drop(gateway));
    }
}

/// Runs what blocks on a thread of its own, so that the stand-ins go on.
async fn aside<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(work()));
    within(what, outcome).await.unwrap()
}

/// Starts the program itself with a configuration file.
pub(crate) fn process(config: &Path) -> Child {
    Child::attache(&["serve", "--config", config.to_str().unwrap()])
}

/// What a listener answers to one GET.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Answered {
    Client::http1(address).await.get(target).await
}

/// One sample of `/metrics`, added up over the series that match; 0 where none does.
pub(crate) async fn sample(address: SocketAddr, name: &str, labels: &[(&str, &str)]) -> f64 {
    let answered = get(address, "/metrics").await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    sample::sample(&answered.text(), name, labels).unwrap_or_default()
}
