//! From the store to what is published: reads what changed and publishes it, for as long as the
//! gateway runs.
//!
//! # Invariants
//!
//! What was published stays published, whatever becomes of the store: it is read from, never waited
//! for, and a store that cannot be used costs flows nothing. What is published stands at one
//! revision of the store, the one that [`Feed::reached`] and the metrics tell. A connector that
//! cannot be opened or read costs the others nothing: it is withdrawn, told, and shown.
//!
//! # Shape
//!
//! [`Feed::open`] reads the store once, before a flow is let in, or its snapshot where the store
//! cannot be used. [`Follower::follow`] then waits until the store tells of a change, until
//! `store.poll` has passed since it was asked last, or until another configuration wants all of it
//! read again. `read` makes connectors, `ledger` publishes them and remembers what could not be,
//! `keeper` keeps the snapshot.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use crate::clock::{Clock, in_real_time, rfc3339};
use crate::config::{self, Config, ConnectorDefaults};
use crate::connector::Connector;
use crate::control::publisher::PublishError;
use crate::control::store::{Changes, OpenError, Store, StoreError};
use crate::directory::PoolId;
use crate::logging;

mod keeper;
mod ledger;
mod read;
mod report;

pub use ledger::Desk;
pub use report::{BrokenReport, OutageReport, ServedFrom, StoreReport};

use keeper::Keeper;
use ledger::{Extent, Ledger};

/// The longest that [`Feed::reached`] waits: within this time every replica follows.
const REACHED_LIMIT: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to read a store that cannot be used.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often what the store keeps no longer is erased.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// What the rest of the control plane asks of it. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    /// The store's revision that is published.
    reached: watch::Sender<u64>,
    /// The configuration's own connectors.
    yaml: ArcSwap<Vec<Arc<Connector>>>,
    defaults: ArcSwap<ConnectorDefaults>,
    /// All of the store is to be read again.
    again: AtomicBool,
    asked: Notify,
    ledger: Mutex<Ledger>,
}

/// Reads the store from now on.
pub struct Follower {
    feed: Feed,
    store: Store,
    desk: Desk,
    keeper: Arc<Keeper>,
    poll: Duration,
    /// Attempts in a row that failed.
    failures: u32,
    next_look: Duration,
}

/// Why a gateway cannot serve what its store holds.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The store is there and is not to be used.
    #[error("the store cannot be used")]
    Store(#[source] Arc<OpenError>),
    /// A connector that both the store and the configuration have.
    #[error(transparent)]
    Clash(PublishError),
}

impl Feed {
    /// Reads the store, once, and publishes what it holds. A store that is away is no error.
    ///
    /// # Errors
    ///
    /// [`FeedError`]: then whoever runs the gateway has to decide.
    pub async fn open(
        (store, settings): (Store, &config::Store),
        desk: Desk,
        config: &Config,
    ) -> Result<(Self, Follower), FeedError> {
        let feed = Self(Arc::new(Shared {
            reached: watch::Sender::new(0),
            yaml: ArcSwap::from_pointee(config.connectors.clone()),
            defaults: ArcSwap::from_pointee(config.connector_defaults.clone()),
            again: AtomicBool::new(true),
            asked: Notify::new(),
            ledger: Mutex::new(Ledger::new(desk.clone())),
        }));
        let now = desk.clock.monotonic();
        let mut follower = Follower {
            feed: feed.clone(),
            store,
            desk,
            keeper: Arc::new(Keeper::new(settings)),
            poll: settings.poll,
            failures: 0,
            next_look: now,
        };
        // Nothing was published before that would have to be let go of.
        match follower.look().await {
            Looked::Published { revision, .. } => {
                feed.0.reached.send_replace(revision);
            }
            Looked::Failed(Some(StoreError::Refused { source })) => {
                return Err(FeedError::Store(source));
            }
            Looked::Failed(_) => follower.recall().await,
            Looked::Nothing => {}
        }
        match feed.ledger().clash() {
            None => Ok((feed.clone(), follower)),
            Some(id) => Err(FeedError::Clash(PublishError::clash(id))),
        }
    }

    /// Whether what is published stands at the store's `revision`, or does within a second.
    pub async fn reached(&self, revision: u64) -> bool {
        let mut reached = self.0.reached.subscribe();
        let reaching = reached.wait_for(|reached| *reached >= revision);
        let within = tokio::time::timeout_at(in_real_time(REACHED_LIMIT), reaching).await;
        within.is_ok_and(|reached| reached.is_ok())
    }

    /// The configuration's own connectors.
    pub fn yaml(&self) -> Arc<Vec<Arc<Connector>>> {
        self.0.yaml.load_full()
    }

    /// Another configuration was published. If it says something else of what the store's
    /// connectors start from, or lets go of an ID that one of them has, all of them are read again.
    pub fn configured(&self, config: &Config) {
        let shared = &self.0;
        shared.yaml.store(Arc::new(config.connectors.clone()));
        let others = **shared.defaults.load() != config.connector_defaults;
        if others {
            let defaults = Arc::new(config.connector_defaults.clone());
            shared.defaults.store(defaults);
        }
        if others || self.ledger().clash().is_some() {
            shared.again.store(true, Ordering::Release);
            shared.asked.notify_one();
        }
    }

    /// A poisoned lock is still good: what was noted of a publication that panicked is told again.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Publishes what changes, and hands the pools that nothing leads to any more to `retire`, for
    /// ever. Keeps the snapshot and tidies the store beside that, which no change waits for.
    pub async fn follow(mut self, retire: impl Fn(Vec<PoolId>)) {
        let (keeper, store) = (Arc::clone(&self.keeper), self.store.clone());
        let clock = self.desk.clock.clone();
        let following = async {
            loop {
                self.wait().await;
                if let Looked::Published { retired, revision } = self.look().await {
                    retire(retired);
                    self.feed.0.reached.send_replace(revision);
                }
            }
        };
        tokio::join!(following, keeper.keep(&store, &clock), tidy(&store, &clock));
    }

    /// Returns once there is something to do, or it is time to look whether there is. After a
    /// failure that is told by time alone: what cannot be read is told of again and again.
    async fn wait(&self) {
        let seen = self.feed.ledger().seen();
        let is_well = self.failures == 0;
        tokio::select! {
            () = self.store.changed(seen), if is_well => {}
            () = self.feed.0.asked.notified(), if is_well => {}
            () = self.desk.clock.sleep_until(self.next_look) => {}
        }
    }

    /// Asks the store what changed, and publishes that.
    async fn look(&mut self) -> Looked {
        let again = self.feed.0.again.swap(false, Ordering::AcqRel);
        let seen = self.feed.ledger().seen();
        let looked = match self.ask((seen, again)).await {
            Ok(None) => Looked::Nothing,
            Ok(Some(changes)) => {
                // A store that was put back to an older copy of itself tells all that it holds.
                let whole = again || changes.revision < seen;
                let extent = if whole {
                    Extent::Whole
                } else {
                    Extent::Changed
                };
                self.publish(changes, (extent, ServedFrom::Store)).await
            }
            Err(error) => {
                self.feed.ledger().missed(&error);
                Looked::Failed(Some(error))
            }
        };
        let now = self.desk.clock.monotonic();
        if let Looked::Failed(_) = looked {
            self.feed.0.again.fetch_or(again, Ordering::AcqRel);
            let pause = self.poll.saturating_mul(1 << self.failures.min(8));
            self.next_look = now + pause.min(PAUSE_MAX.max(self.poll));
            self.failures += 1;
        } else {
            if let Looked::Published { .. } = looked {
                self.keeper.want();
            }
            self.feed.ledger().found();
            self.next_look = now + self.poll;
            self.failures = 0;
        }
        looked
    }

    /// Publishes what the store held when it was last copied, until it is there again.
    async fn recall(&mut self) {
        let Some(snapshot) = self.keeper.read(&self.store).await else {
            tracing::error!(
                "there is no snapshot of the store: none of its connectors is served, and the \
                 gateway is not ready until the store can be used"
            );
            return;
        };
        let at = snapshot.taken_at;
        tracing::warn!(snapshot_of = %rfc3339(at), "the store's connectors are served from its snapshot");
        let from = ServedFrom::Snapshot { at };
        self.publish(snapshot.changes, (Extent::Whole, from)).await;
    }

    /// What changed since `seen`, if anything did; everything where it is wanted again.
    async fn ask(&self, (seen, again): (u64, bool)) -> Result<Option<Changes>, StoreError> {
        if again {
            return self.store.changes_since(0).await.map(Some);
        }
        if self.store.revision().await? == seen {
            return Ok(None);
        }
        self.store.changes_since(seen).await.map(Some)
    }

    /// Publishes `changes` on a thread where that may take its time.
    async fn publish(&self, changes: Changes, what: (Extent, ServedFrom)) -> Looked {
        let feed = self.feed.clone();
        let publishing = spawn_blocking(move || {
            let defaults = feed.0.defaults.load_full();
            let retired = feed.ledger().take(&changes, what, &defaults);
            Looked::Published {
                retired,
                revision: changes.revision,
            }
        });
        // The panic itself is in the log already; an error repeats what it said.
        publishing.await.unwrap_or_else(|_panicked| {
            tracing::error!("what the store holds could not be published");
            Looked::Failed(None)
        })
    }
}

/// Erases what the store keeps no longer, now and then, for ever.
async fn tidy(store: &Store, clock: &Clock) {
    loop {
        clock.sleep_until(clock.monotonic() + TIDY_EVERY).await;
        if let Err(error) = store.tidy().await {
            let error = logging::with_sources(&error);
            tracing::warn!(error, "what the store keeps no longer could not be erased");
        }
    }
}

/// What came of looking at the store.
enum Looked {
    /// It holds what is published.
    Nothing,
    /// Something was published.
    Published {
        /// The pools that nothing leads to any more.
        retired: Vec<PoolId>,
        /// Where what is published stands.
        revision: u64,
    },
    /// It could not be used, or what it holds could not be published.
    Failed(Option<StoreError>),
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}
