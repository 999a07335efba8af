//! The names of the world: a resolver that answers, fails and hangs as it is told, and counts.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::UNIX_EPOCH;

use attache::clock::{Clock, Turned};
use attache::dial::Lookup;
use attache::gateway::Environment;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::within;

/// What a name server says of a name.
#[derive(Clone, Debug)]
enum Said {
    Addresses(Vec<IpAddr>),
    /// It does not answer, and the system's resolver gives up.
    Nothing,
    /// It does not answer, and the system's resolver waits.
    Hangs,
}

/// Names and what is said of them; whatever was not set does not exist.
pub(crate) struct Names(Arc<Shared>);

#[derive(Default)]
struct Shared {
    said: Mutex<HashMap<String, Said>>,
    changed: Condvar,
    /// How often each name was asked for.
    asked: Mutex<HashMap<String, usize>>,
    hanging: watch::Sender<usize>,
}

impl Names {
    /// No names at all.
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Where `host` is from now on.
    pub(crate) fn set(&self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        self.say(host, Said::Addresses(addresses.collect()));
    }

    /// There is no `host` from now on.
    pub(crate) fn forget(&self, host: &str) {
        self.0.said.lock().unwrap().remove(host);
        self.0.changed.notify_all();
    }

    /// Look-ups of `host` fail from now on.
    pub(crate) fn fail(&self, host: &str) {
        self.say(host, Said::Nothing);
    }

    /// Look-ups of `host` do not end until something else is said.
    pub(crate) fn hang(&self, host: &str) {
        self.say(host, Said::Hangs);
    }

    fn say(&self, host: &str, said: Said) {
        self.0.said.lock().unwrap().insert(host.to_owned(), said);
        self.0.changed.notify_all();
    }

    /// How often `host` was asked for.
    pub(crate) fn asked(&self, host: &str) -> usize {
        let asked = self.0.asked.lock().unwrap();
        asked.get(host).copied().unwrap_or_default()
    }

    /// Look-ups that hang now.
    pub(crate) fn hanging(&self) -> usize {
        *self.0.hanging.borrow()
    }

    /// Waits until at least `count` do.
    pub(crate) async fn until_hanging(&self, count: usize) {
        let mut hanging = self.0.hanging.subscribe();
        let waiting = hanging.wait_for(|hanging| *hanging >= count);
        drop(within("look-ups that hang", waiting).await.unwrap());
    }

    /// A world with these names under the system's clock.
    pub(crate) fn environment(&self) -> Environment {
        let shared = Arc::clone(&self.0);
        Environment {
            lookup: Lookup::Scripted(Arc::new(move |host| shared.answer(host))),
            ..Environment::system()
        }
    }

    /// The same under a clock that the test turns.
    pub(crate) fn turned(&self) -> (Environment, Turned) {
        let turned = Turned::starting_at(UNIX_EPOCH);
        let environment = Environment {
            clock: Clock::turned(&turned),
            ..self.environment()
        };
        (environment, turned)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Threads that hang would keep the gateway from ending.
        if let Ok(mut said) = self.0.said.lock() {
            said.clear();
        }
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn answer(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        *self.asked.lock().unwrap().entry(host.into()).or_default() += 1;
        let said = self.said.lock().unwrap();
        let hangs = |said: &HashMap<String, Said>| matches!(said.get(host), Some(Said::Hangs));
        let hung = usize::from(hangs(&said));
        self.hanging.send_modify(|hanging| *hanging += hung);
        let said = self.changed.wait_while(said, |said| hangs(said)).unwrap();
        self.hanging.send_modify(|hanging| *hanging -= hung);
        match said.get(host) {
            Some(Said::Addresses(addresses)) => Ok(addresses.clone()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
            // EAI_AGAIN (RFC 3493 §6.3).
            Some(Said::Nothing | Said::Hangs) => {
                Err(io::Error::other("Temporary failure in name resolution"))
            }
        }
    }
}

/// An address of 127.0.0.1 that takes no connection and refuses none, and a listener on ::1 with
/// the same port.
pub(crate) struct BlackHole {
    /// Its queue is full, so the system lets further connections wait in silence.
    _listener: Socket,
    _filling: TcpStream,
}

impl BlackHole {
    /// Digs one.
    pub(crate) async fn beside_a_listener() -> (Self, TcpListener) {
        let (v4, v6) = both_families().await;
        let address = v4.local_addr().unwrap();
        drop(v4);
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let filling = TcpStream::connect(address).await.unwrap();
        let hole = Self {
            _listener: listener,
            _filling: filling,
        };
        (hole, v6)
    }
}

/// Listeners on 127.0.0.1 and ::1 with the same port, so that one URL can lead to either.
pub(crate) async fn both_families() -> (TcpListener, TcpListener) {
    let binding = async {
        loop {
            let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = v4.local_addr().unwrap().port();
            if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                return (v4, v6);
            }
        }
    };
    within("a port that is free on both", binding).await
}
