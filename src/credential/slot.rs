//! Where one connector's token is kept, and the single flight that fills it.
//!
//! # Invariants
//!
//! At most one fetch runs per slot, however many flows ask, and it belongs to none of them: it
//! runs as a task of the token runtime, so a flow that hangs up cancels nothing. A token is
//! published *before* its flight is taken down, and a flow looks for a fresh one again *after* it
//! has the lock; so no flow starts a second fetch beside a landed one. A flight whose task died is
//! recognised by its closed channel and replaced.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cache::TokenKey;
use super::error::TokenError;
use super::token::{Moment, Token};
use super::{CacheOutcome, Credential, Obtained, Unobtained};
use crate::clock::Clock;

/// Makes one fetch; the slot sees to it that no two run at once.
pub(super) type Fetch =
    Box<dyn Fn() -> BoxFuture<'static, Result<Token, TokenError>> + Send + Sync>;

/// What a fetch came to, shared among those who waited for it.
type Landed = Result<Arc<Token>, Arc<TokenError>>;

/// Holds `None` until the fetch lands.
type Flight = watch::Receiver<Option<Landed>>;

/// One connector's current token and the fetch under way, if any.
pub struct TokenSlot {
    key: TokenKey,
    current: ArcSwapOption<Token>,
    flight: Mutex<Option<Flight>>,
    fetch: Fetch,
    surroundings: Surroundings,
}

/// What a slot needs of its gateway.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// Where fetches run.
    pub(super) runtime: Handle,
    /// Judges freshness and waiting.
    pub(super) clock: Clock,
    /// The longest a flow waits for a fetch.
    pub(super) wait: Duration,
}

/// What a slot holds, for health reports. Never the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// No token was obtained yet.
    Absent {
        /// Whether a fetch is under way.
        fetching: Fetching,
    },
    /// The last one is not attached any more; the next flow starts or joins a fetch.
    Spent {
        /// When its server stops accepting it, or has stopped.
        expires_at: SystemTime,
        /// Whether a fetch is under way.
        fetching: Fetching,
    },
    /// A token that may be attached.
    Fresh {
        /// How much longer it may be attached.
        remaining: Duration,
        /// When its server stops accepting it.
        expires_at: SystemTime,
    },
}

/// Whether a fetch is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// Yes.
    Now,
    /// No; the next flow starts one.
    Not,
}

impl TokenSlot {
    /// An empty slot.
    pub(super) fn new(key: TokenKey, fetch: Fetch, surroundings: Surroundings) -> Self {
        Self {
            key,
            current: ArcSwapOption::empty(),
            flight: Mutex::new(None),
            fetch,
            surroundings,
        }
    }

    /// What decides this slot's token.
    pub(super) fn key(&self) -> &TokenKey {
        &self.key
    }

    /// The fresh token's credential, else that of the fetch this call starts or joins.
    ///
    /// Cancel-safe: a caller that goes away cancels nothing.
    ///
    /// # Errors
    ///
    /// [`Unobtained`]: why the fetch failed, or that it took longer than a flow waits.
    pub(super) async fn obtain(self: &Arc<Self>) -> Result<Obtained, Unobtained> {
        if let Some(credential) = self.fresh() {
            return Ok(Obtained::token(credential, CacheOutcome::Hit));
        }
        match self.board() {
            Boarding::Landed(credential) => Ok(Obtained::token(credential, CacheOutcome::Hit)),
            Boarding::Flying(flight, cache) => self.land(flight, cache).await,
        }
    }

    /// What the slot holds now.
    pub fn state(&self) -> TokenState {
        let now = Moment::of(&self.surroundings.clock);
        let held = self.current.load();
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(now)) {
            return TokenState::Fresh {
                remaining: token.fresh_for(now),
                expires_at: token.expires_at(),
            };
        }
        let fetching = match self.lock().as_ref().is_some_and(is_flying) {
            true => Fetching::Now,
            false => Fetching::Not,
        };
        match held.as_ref() {
            None => TokenState::Absent { fetching },
            Some(token) => TokenState::Spent {
                expires_at: token.expires_at(),
                fetching,
            },
        }
    }

    /// The hot path: one load, one look at the clock, no allocation.
    fn fresh(&self) -> Option<Credential> {
        let held = self.current.load();
        let token = held.as_ref()?;
        token
            .is_fresh(Moment::of(&self.surroundings.clock))
            .then(|| credential(token))
    }

    /// The flight under way, or a new one.
    fn board(self: &Arc<Self>) -> Boarding {
        let mut slot = self.lock();
        // The second look: a fetch may have landed since the first.
        if let Some(credential) = self.fresh() {
            return Boarding::Landed(credential);
        }
        if let Some(flight) = slot.as_ref().filter(|flight| is_flying(flight)) {
            return Boarding::Flying(flight.clone(), CacheOutcome::Joined);
        }
        let (tell, flight) = watch::channel(None);
        *slot = Some(flight.clone());
        drop(slot);
        self.surroundings.runtime.spawn(Arc::clone(self).fly(tell));
        Boarding::Flying(flight, CacheOutcome::Miss)
    }

    async fn fly(self: Arc<Self>, tell: watch::Sender<Option<Landed>>) {
        let landed = match (self.fetch)().await {
            Ok(token) => {
                let token = Arc::new(token);
                self.current.store(Some(Arc::clone(&token)));
                Ok(token)
            }
            Err(error) => Err(Arc::new(error)),
        };
        *self.lock() = None;
        tell.send_replace(Some(landed));
    }

    async fn land(&self, mut flight: Flight, cache: CacheOutcome) -> Result<Obtained, Unobtained> {
        let Surroundings { clock, wait, .. } = &self.surroundings;
        let deadline = Moment::of(clock).deadline(*wait);
        let landing = async {
            match flight.wait_for(Option::is_some).await {
                Ok(landed) => landed.clone(),
                Err(_) => None,
            }
        };
        let landed = tokio::select! {
            biased;
            landed = landing => landed.unwrap_or_else(|| Err(Arc::new(TokenError::Abandoned))),
            () = clock.sleep_until(deadline) => {
                Err(Arc::new(TokenError::StillFetching { limit: *wait }))
            }
        };
        match landed {
            Ok(token) => Ok(Obtained::token(credential(&token), cache)),
            Err(reason) => Err(Unobtained::new(reason, cache)),
        }
    }

    /// The lock is held for look-ups only, never across an await; a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, Option<Flight>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Boarding {
    Landed(Credential),
    Flying(Flight, CacheOutcome),
}

/// A flight whose task is gone closed its channel.
fn is_flying(flight: &Flight) -> bool {
    flight.has_changed().is_ok()
}

fn credential(token: &Token) -> Credential {
    Credential::Field {
        name: http::header::AUTHORIZATION,
        value: token.authorization(),
    }
}

impl fmt::Debug for TokenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSlot")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::credential::cache;

    /// A slot whose fetches are counted and end as `fetch` says, on a runtime of their own.
    fn slot(
        runtime: &Handle,
        fetch: impl Fn(usize) -> Result<Token, TokenError> + Send + Sync + 'static,
    ) -> (Arc<TokenSlot>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let (fetch, counted) = (Arc::new(fetch), Arc::clone(&count));
        let fetch: Fetch = Box::new(move || {
            let (fetch, number) = (Arc::clone(&fetch), counted.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move { fetch(number) })
        });
        let surroundings = Surroundings {
            runtime: runtime.clone(),
            clock: Clock::system(),
            wait: Duration::from_secs(60),
        };
        let slot = TokenSlot::new(cache::any_key(), fetch, surroundings);
        (Arc::new(slot), count)
    }

    fn token() -> Result<Token, TokenError> {
        let now = Moment::of(&Clock::system());
        Token::bearer("abc", Duration::from_secs(60), now)
    }

    #[tokio::test]
    async fn a_fetch_that_panics_does_not_wedge_the_slot() {
        let (slot, count) = slot(&Handle::current(), |number| match number {
            0 => panic!("a bug"),
            _ => token(),
        });

        let first = slot.obtain().await;
        let second = slot.obtain().await;

        assert!(matches!(first, Err(lost) if matches!(*lost.reason, TokenError::Abandoned)));
        assert!(second.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_stopped_runtime_leaves_no_flow_waiting() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let (slot, _) = slot(runtime.handle(), |_| token());
        runtime.shutdown_background();

        let lost = slot.obtain().await;

        assert!(matches!(lost, Err(lost) if matches!(*lost.reason, TokenError::Abandoned)));
        let fetching = Fetching::Not;
        assert_eq!(slot.state(), TokenState::Absent { fetching });
    }

    #[tokio::test]
    async fn a_flow_that_took_its_first_look_too_early_starts_no_second_fetch() {
        let (slot, count) = slot(&Handle::current(), |_| token());
        let landed = token().expect("legal");

        // Between the first look of `obtain` and `board` another flow's fetch landed.
        slot.current.store(Some(Arc::new(landed)));
        let boarding = slot.board();

        assert!(matches!(boarding, Boarding::Landed(_)));
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn threads_that_race_for_a_cold_slot_make_one_fetch_a_round() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        for _ in 0..200 {
            let (slot, count) = slot(runtime.handle(), |_| token());
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| runtime.block_on(slot.obtain()).expect("a token"));
                }
            });

            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    }
}
