//! The data plane as a whole: started once, told what changed, drained once.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, watch};

use super::Plane;
use super::admit::InFlight;
use super::listener::{self, ClientSlots, Intake, Listening, Mailbox, Takers};
use super::rewrite::Via;
use super::worker::{Message, Worker};
use crate::clock::Clock;
use crate::dial::Dialer;
use crate::directory::{Directory, PoolId};
use crate::doorkeeper::Doorkeeper;
use crate::logging::AccessLog;
use crate::metrics::{Listener, Metrics};

/// How long a worker's runtime may take to end once it was told to.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// What the data plane is made of.
#[derive(Debug)]
pub struct Parts {
    /// What is published.
    pub directory: Arc<Directory>,
    /// The way out.
    pub dialer: Dialer,
    /// The time.
    pub clock: Clock,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are written down.
    pub access_log: AccessLog,
    /// Worker threads.
    pub workers: usize,
}

/// The running data plane.
#[derive(Debug)]
pub struct DataPlane {
    plane: Arc<Plane>,
    slots: Arc<ClientSlots>,
    mailboxes: Arc<[Mailbox]>,
    intake: watch::Sender<Intake>,
    /// Where there are several workers; one alone accepts itself.
    acceptor: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts the workers and accepts on `listeners`.
    ///
    /// # Errors
    ///
    /// The system's, if a thread or a runtime cannot be had.
    pub fn start(parts: Parts, listeners: Vec<TcpListener>) -> io::Result<Self> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let plane = Arc::new(Plane {
            doorkeeper: Doorkeeper::new(
                Listener::Flows,
                parts.metrics.doors(),
                parts.clock.clone(),
            ),
            unknown: parts.metrics.unknown(),
            directory: parts.directory,
            dialer: parts.dialer,
            clock: parts.clock,
            metrics: parts.metrics,
            access_log: parts.access_log,
            via: Via::new(&unique[..12]),
            in_flight: InFlight::default(),
            draining: AtomicBool::new(false),
        });
        let workers: Arc<[Arc<Worker>]> = (0..parts.workers)
            .map(|index| Arc::new(Worker::new(index, Arc::clone(&plane))))
            .collect();
        Worker::introduce(&workers);
        let slots = Arc::new(ClientSlots::default());
        let (intake, taken) = watch::channel(Intake::All);
        let mut doors = Some(Doors {
            listeners: listeners
                .into_iter()
                .map(|listener| (listener, slots.listening()))
                .collect(),
            directory: Arc::clone(&plane.directory),
            intake: taken,
        });
        let mut mailboxes = Vec::with_capacity(workers.len());
        let mut threads = Vec::with_capacity(workers.len());
        for worker in workers.iter() {
            let (messages, inbox) = mpsc::unbounded_channel();
            let own = doors.take_if(|_| workers.len() == 1);
            threads.push(start_worker(Arc::clone(worker), inbox, own)?);
            mailboxes.push(Mailbox {
                worker: Arc::clone(worker),
                messages,
            });
        }
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let acceptor = doors
            .map(|doors| start_acceptor(doors, Arc::clone(&mailboxes)))
            .transpose()?;
        Ok(Self {
            plane,
            slots,
            mailboxes,
            intake,
            acceptor,
            workers: threads,
        })
    }

    /// Closes the pools that nothing leads to any more.
    pub fn retire(&self, pools: Vec<PoolId>) {
        retire(&self.mailboxes, pools);
    }

    /// The same, for whoever publishes while somebody else holds the data plane.
    pub fn retirer(&self) -> impl Fn(Vec<PoolId>) + Send + Sync + use<> {
        let mailboxes = Arc::clone(&self.mailboxes);
        move |pools| retire(&mailboxes, pools)
    }

    /// Ends the data plane without losing a request that was accepted: blocks for `drain_delay`
    /// while new connections are still taken, then for `drain` at most.
    pub fn drain(self) {
        let timeouts = self.plane.directory.current().settings.timeouts;
        self.plane.draining.store(true, Ordering::Release);
        self.tell(|| Message::Drain);
        thread::sleep(timeouts.drain_delay);
        self.intake.send_replace(Intake::Queued);
        // What idles may hold the place that a connection in the queue waits for.
        self.tell(|| Message::CloseIdle);
        self.slots.wait_empty(timeouts.drain);
        self.intake.send_replace(Intake::Nothing);
        self.tell(|| Message::Stop);
        if let Some(acceptor) = self.acceptor {
            joined("acceptor", acceptor.join());
        }
        for worker in self.workers {
            joined("worker", worker.join());
        }
    }

    fn tell(&self, message: impl Fn() -> Message) {
        tell(&self.mailboxes, message);
    }
}

fn retire(mailboxes: &[Mailbox], pools: Vec<PoolId>) {
    let pools: Arc<[PoolId]> = pools.into();
    tell(mailboxes, || Message::Retired(Arc::clone(&pools)));
}

fn tell(mailboxes: &[Mailbox], message: impl Fn() -> Message) {
    for mailbox in mailboxes {
        // A worker that is gone has ended the process.
        drop(mailbox.messages.send(message()));
    }
}

fn joined(what: &'static str, outcome: thread::Result<()>) {
    if outcome.is_err() {
        tracing::error!(thread = what, "a thread of the data plane panicked");
    }
}

fn start_worker(
    worker: Arc<Worker>,
    inbox: mpsc::UnboundedReceiver<Message>,
    doors: Option<Doors>,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name(format!("attache-worker-{}", worker.index))
        .spawn(move || {
            let _guard = EndsTheProcess;
            if let Some(doors) = doors {
                let takers = Takers::Alone(Arc::clone(&worker));
                runtime.spawn(async move {
                    // The runtime would keep a task's panic to itself.
                    let _guard = EndsTheProcess;
                    doors.accept(takers).await;
                });
            }
            runtime.block_on(worker.run(inbox));
            runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        })
}

/// How long the log has to tell why the process ends.
const LOG_GRACE: Duration = Duration::from_millis(200);

/// A gateway that has lost a worker serves some flows and hangs others, and one that has lost its
/// acceptor serves none that is new; ending lets whoever supervises it start a whole one.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a thread of the data plane died; the process ends");
            // The log is written by a thread of its own.
            thread::sleep(LOG_GRACE);
            std::process::exit(1);
        }
    }
}

/// What connections come in by.
struct Doors {
    listeners: Vec<(TcpListener, Listening)>,
    directory: Arc<Directory>,
    intake: watch::Receiver<Intake>,
}

impl Doors {
    /// Accepts on all of them until the last has ended.
    async fn accept(self, takers: Takers) {
        let accepting = self.listeners.into_iter().map(|(listener, listening)| {
            let (directory, intake) = (Arc::clone(&self.directory), self.intake.clone());
            listener::accept(listener, listening, directory, takers.clone(), intake)
        });
        let ended = futures_util::future::join_all(accepting).await;
        for error in ended.into_iter().filter_map(Result::err) {
            tracing::error!(%error, "a listener ended");
        }
    }
}

fn start_acceptor(doors: Doors, mailboxes: Arc<[Mailbox]>) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("attache-accept".to_owned())
        .spawn(move || {
            let _guard = EndsTheProcess;
            runtime.block_on(doors.accept(Takers::Several(mailboxes)));
        })
}
