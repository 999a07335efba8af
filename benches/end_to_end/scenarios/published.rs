//! A gateway in this program, made of the library's rooms, that publishes when it is told to: what
//! an administrator's change costs, without a file that has to be read first. The program `attache`
//! has no word for that yet.
//!
//! It is a process of its own, this very program started with [`WORD`] in front, so that it has the
//! contenders' processors. It reads two configurations, and shows one after the other: a line on
//! standard input publishes the next, and is answered when that is done.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::Arc;

use attache::clock::Clock;
use attache::config::Config;
use attache::control::publisher::Publisher;
use attache::credential::Credentials;
use attache::dial::{Dialer, Lookup, Resolver};
use attache::logging::AccessLog;
use attache::metrics::Metrics;
use attache::proxy::{DataPlane, Parts};
use tokio::runtime::{Builder, Runtime};

use crate::processors::Place;
use crate::running::Running;
use crate::stage::Stage;

/// The first argument that makes this program such a gateway.
pub(crate) const WORD: &str = "--serve-as-published";

/// What of the next configuration is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The connector that differs.
    One,
    /// All of it, as when a file was saved.
    Whole,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Whole => "whole",
        }
    }
}

/// That gateway, seen from here.
pub(super) struct Published {
    running: Running,
    says: BufReader<ChildStdout>,
}

impl Published {
    /// Starts one that shows the first of `files`, in which the connector `id` differs, and
    /// publishes `what` of the next.
    pub(super) fn start(stage: &Stage, files: &[PathBuf; 2], (id, what): (&str, What)) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = stage.processors.bound_command(Place::Gateway, &program);
        command.arg(WORD).args(files).args([id, what.word()]);
        let mut running = Running::start_piped(&mut command, stage.file("published.log"));
        let says = BufReader::new(running.child.stdout.take().unwrap());
        let mut published = Self { running, says };
        published.wait();
        published
    }

    /// Has it publish what is next, and does not wait.
    pub(super) fn publish(&mut self) {
        let stdin = self.running.child.stdin.as_mut().unwrap();
        writeln!(stdin, "next").unwrap();
    }

    /// Waits until it has.
    pub(super) fn wait(&mut self) {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{}", self.running.last_words());
    }
}

/// Serves until standard input ends. `arguments` are two files, the ID of the connector that
/// differs, and what is published.
pub(crate) fn run(arguments: &[String]) {
    let [first, second, id, what] = arguments else {
        panic!("{WORD} FILE FILE ID WHAT");
    };
    let mut configs = [first, second].map(|file| Config::load(Path::new(file)).unwrap());
    // One that is published by itself is the store's.
    let mut stored = Vec::new();
    if what == What::One.word() {
        for config in &mut configs {
            let mut connectors = config.connectors.iter();
            let place = connectors.position(|one| one.id.as_str() == id).unwrap();
            stored.push(config.connectors.swap_remove(place));
        }
    }
    let (gateway, _runtime) = Gateway::of(&configs[0]);
    if let Some(one) = stored.first() {
        gateway.publisher.publish_one(one).unwrap();
    }
    let mut turns = (0..configs.len()).cycle().skip(1);
    say_done();
    for line in io::stdin().lock().lines() {
        let (_, next) = (line.unwrap(), turns.next().unwrap());
        let retired = match stored.get(next) {
            Some(one) => gateway.publisher.publish_one(one),
            None => gateway.publisher.publish(&configs[next]),
        };
        gateway.data_plane.retire(retired.unwrap());
        say_done();
    }
    // Nothing that it carries has to be ended well.
    std::process::exit(0);
}

fn say_done() {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "done").unwrap();
    stdout.flush().unwrap();
}

struct Gateway {
    data_plane: DataPlane,
    publisher: Publisher,
}

impl Gateway {
    /// As the composition root makes it, but for the listeners of the control plane. Tokens are
    /// fetched on the runtime.
    fn of(config: &Config) -> (Self, Runtime) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (clock, handle) = (Clock::system(), runtime.handle().clone());
        let metrics = Metrics::new(config.workers, config.metrics.connectors_max);
        let lookups = metrics.lookups();
        let resolver = Resolver::new(Lookup::System, clock.clone(), handle.clone(), lookups);
        let dialer = Dialer::new(resolver);
        let credentials = Credentials::new(
            handle,
            dialer.clone(),
            clock.clone(),
            metrics.tokens(),
            config.tokens.entries_max,
            None,
        );
        let publisher = Publisher::new(config, credentials, Arc::clone(&metrics)).unwrap();
        let listener = TcpListener::bind(config.listen[0]).unwrap();
        listener.set_nonblocking(true).unwrap();
        let parts = Parts {
            directory: Arc::clone(publisher.directory()),
            dialer,
            clock,
            metrics,
            access_log: AccessLog::none(),
            workers: config.workers,
        };
        let data_plane = DataPlane::start(parts, vec![listener]).unwrap();
        let gateway = Self {
            data_plane,
            publisher,
        };
        (gateway, runtime)
    }
}
