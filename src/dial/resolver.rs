//! One resolver for all workers: a bounded number of system look-ups, shared and remembered.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::clock::Clock;

/// How long an answer is used. The system's resolver does not tell the record's own lifetime.
const ANSWER_LIFETIME: Duration = Duration::from_secs(10);
/// The most names remembered.
const NAMES_MAX: usize = 8192;
/// The most look-ups the system is asked for at once; each takes a thread.
const LOOKUPS_MAX: usize = 16;

/// Where addresses of names come from.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The operating system's resolver.
    System,
    /// A fixed table; names outside it do not exist. For tests and demonstrations.
    Table(Arc<HashMap<String, Vec<IpAddr>>>),
}

/// Resolves names. Cheap to clone; all clones share one memory.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lookup: Lookup,
    clock: Clock,
    /// Where blocking look-ups run.
    runtime: Handle,
    permits: Arc<Semaphore>,
    names: Mutex<HashMap<String, Name>>,
}

#[derive(Debug)]
enum Name {
    Known {
        addresses: Vec<IpAddr>,
        until: Duration,
    },
    Asked(watch::Receiver<Option<Answer>>),
}

type Answer = Result<Vec<IpAddr>, Arc<io::Error>>;

impl Resolver {
    /// A resolver whose blocking look-ups run on `runtime`.
    pub fn new(lookup: Lookup, clock: Clock, runtime: Handle) -> Self {
        Self(Arc::new(Shared {
            lookup,
            clock,
            runtime,
            permits: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            names: Mutex::new(HashMap::new()),
        }))
    }

    /// The addresses of `host`, in the resolver's order; concurrent callers share one look-up.
    ///
    /// # Errors
    ///
    /// What the system's resolver said. Failures are not remembered.
    pub async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let table = match &self.0.lookup {
            Lookup::System => None,
            Lookup::Table(table) => Some(table),
        };
        if let Some(table) = table {
            return table
                .get(host)
                .cloned()
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"));
        }
        let mut asked = match self.known_or_asked(host) {
            Ok(addresses) => return Ok(addresses),
            Err(asked) => asked,
        };
        let answer = asked.wait_for(Option::is_some).await;
        match answer.map(|answer| answer.clone()) {
            Ok(Some(Ok(addresses))) => Ok(addresses),
            Ok(Some(Err(error))) => Err(io::Error::new(error.kind(), error)),
            Ok(None) | Err(_) => Err(io::Error::other("the look-up was abandoned")),
        }
    }

    /// What is remembered of `host`, or the look-up that runs for it, started here if need be.
    fn known_or_asked(&self, host: &str) -> Result<Vec<IpAddr>, watch::Receiver<Option<Answer>>> {
        let now = self.0.clock.monotonic();
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get(host) {
            Some(Name::Known { addresses, until }) if *until > now => return Ok(addresses.clone()),
            Some(Name::Asked(asked)) if asked.has_changed().is_ok() => return Err(asked.clone()),
            Some(Name::Known { .. } | Name::Asked(_)) | None => {}
        }
        if names.len() >= NAMES_MAX {
            names.retain(|_, name| match name {
                Name::Known { until, .. } => *until > now,
                Name::Asked(_) => true,
            });
        }
        let (tell, asked) = watch::channel(None);
        names.insert(host.to_owned(), Name::Asked(asked.clone()));
        self.0
            .runtime
            .spawn(self.clone().ask(host.to_owned(), tell));
        Err(asked)
    }

    async fn ask(self, host: String, tell: watch::Sender<Option<Answer>>) {
        let answer = self.ask_system(host.clone()).await.map_err(Arc::new);
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Ok(addresses) if names.len() <= NAMES_MAX => {
                let known = Name::Known {
                    addresses: addresses.clone(),
                    until: self.0.clock.monotonic() + ANSWER_LIFETIME,
                };
                names.insert(host, known);
            }
            Ok(_) | Err(_) => {
                names.remove(&host);
            }
        }
        drop(names);
        tell.send_replace(Some(answer));
    }

    async fn ask_system(&self, host: String) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let asked = self.0.runtime.spawn_blocking(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            drop(permit);
            found.map(|found| found.map(|address| address.ip()).collect())
        });
        asked.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_outside_the_table_does_not_exist() {
        let table = Lookup::Table(Arc::new(HashMap::new()));
        let resolver = Resolver::new(table, Clock::system(), Handle::current());

        let answer = resolver.lookup("orders.example").await;

        assert!(matches!(answer, Err(error) if error.kind() == io::ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn the_system_knows_localhost_and_it_is_remembered() {
        let resolver = Resolver::new(Lookup::System, Clock::system(), Handle::current());

        let first = resolver.lookup("localhost").await;
        let second = resolver.known_or_asked("localhost");

        assert!(first.is_ok_and(|found| found.iter().all(IpAddr::is_loopback)));
        assert!(second.is_ok());
    }
}
