//! Several replicas in one process, each with a clock of its own, before one token endpoint.

use futures_util::future::join_all;

use super::shelf::Shelf;
use super::*;
use crate::connector::Stored;

/// Replicas that share tokens through one stand-in.
pub(super) struct Fleet {
    pub(super) stage: Stage,
    pub(super) shelf: Arc<Shelf>,
    shelf_turned: Turned,
    pub(super) replicas: Vec<Replica>,
}

/// One gateway process.
pub(super) struct Replica {
    pub(super) turned: Turned,
    pub(super) credentials: Credentials,
    metrics: Arc<Metrics>,
}

impl Fleet {
    pub(super) async fn of(replicas: usize) -> Self {
        let stage = Stage::new().await;
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        let shelf_turned = Turned::starting_at(began);
        let shelf = Arc::new(Shelf::new(Clock::turned(&shelf_turned)));
        let mut fleet = Self {
            stage,
            shelf,
            shelf_turned,
            replicas: Vec::new(),
        };
        for _ in 0..replicas {
            fleet.join(began);
        }
        fleet
    }

    /// One replica more, whose wall clock shows `wall`.
    pub(super) fn join(&mut self, wall: SystemTime) {
        let turned = Turned::starting_at(wall);
        let metrics = Metrics::new(1, 10);
        let shared: Arc<dyn SharedTokens> = Arc::<Shelf>::clone(&self.shelf);
        let credentials = credentials(&Clock::turned(&turned), &metrics, Some(shared));
        self.replicas.push(Replica {
            turned,
            credentials,
            metrics,
        });
    }

    /// `connector`'s source on every replica. Each counts changes its own way.
    pub(super) fn sources(&self, connector: &Connector) -> Vec<Source> {
        let numbered = self.replicas.iter().zip(1..);
        let source = |(replica, number): (&Replica, u64)| {
            let (label, revision) = (Arc::from("crm"), Revision(number * 100));
            let settings = &self.stage.settings;
            let source = replica
                .credentials
                .source(connector, revision, settings, label);
            source.expect("a usable identity")
        };
        numbered.map(source).collect()
    }

    /// Lets time pass for every replica and the stand-in.
    pub(super) fn advance(&self, by: Duration) {
        self.shelf_turned.advance(by);
        for replica in &self.replicas {
            replica.turned.advance(by);
        }
    }

    /// What `future` comes to while time passes.
    pub(super) async fn meanwhile<T>(&self, future: impl Future<Output = T>) -> T {
        let ticking = async {
            loop {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                self.advance(Duration::from_millis(1));
            }
        };
        let future = async {
            tokio::select! {
                biased;
                done = future => done,
                () = ticking => unreachable!(),
            }
        };
        within("what takes a while", future).await
    }

    /// Everybody's token, asked for at once, while time passes.
    pub(super) async fn obtain(&self, sources: &[Source]) -> Vec<Obtained> {
        let all = join_all(sources.iter().map(Source::obtain));
        let all = self.meanwhile(all).await;
        all.into_iter().map(|one| one.expect("a token")).collect()
    }

    /// Returns once no replica is fetching or waiting.
    pub(super) async fn landed(&self, sources: &[Source]) {
        let flying = |source: &Source| match source {
            Source::Fixed(_) => false,
            Source::Token(slot) => slot.lock().is_flying(),
        };
        let landing = async {
            while sources.iter().any(flying) {
                tokio::task::yield_now().await;
            }
        };
        self.meanwhile(landing).await;
    }

    /// How long the stand-in's clock has run.
    pub(super) fn passed(&self) -> Duration {
        Clock::turned(&self.shelf_turned).monotonic()
    }

    /// How often all replicas together had `outcome`.
    pub(super) fn counted(&self, outcome: &str) -> u64 {
        let line = format!("attache_shared_tokens_total{{outcome=\"{outcome}\"}} ");
        let replicas = self.replicas.iter();
        let count = |replica: &Replica| {
            let text = replica.metrics.encode();
            let found = text.lines().find_map(|text| text.strip_prefix(&line));
            found.expect("a sample").parse::<u64>().expect("a number")
        };
        replicas.map(count).sum()
    }
}

/// The same connector, from the store at `revision`.
pub(super) fn stored(connector: Connector, revision: u64) -> Connector {
    Connector {
        stored: Some(Arc::new(Stored {
            revision,
            fallback: None,
        })),
        ..connector
    }
}
