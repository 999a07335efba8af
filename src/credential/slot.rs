//! Where one connector's token is kept, and the single flight that fills it.
//!
//! # Invariants
//!
//! At most one fetch runs per slot, however many flows ask, and it belongs to none of them: it
//! runs as a task of the token runtime, so a flow that hangs up cancels nothing. A token is
//! published *before* its flight is taken down, and a flow looks for a fresh one again *after* it
//! has the lock; so no flow starts a second fetch beside a landed one. A flight whose task died is
//! recognised by its closed channel and replaced.
//!
//! A fresh token is attached whatever the token endpoint does. A flow that finds none waits for a
//! flight only while nothing is known against it: once token requests fail, flows are turned away
//! at once, and whether to try again is decided in `renew`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::cache::TokenKey;
use super::error::TokenError;
use super::failure::Attempt;
use super::report::{Outlook, Report};
use super::sharing::Sharing;
use super::source::{Obtained, Unobtained};
use super::token::{Moment, Token, TokenMark};
use super::usage::Usage;
use super::work::{AskedBy, Flight, Landed, Turned, Work};
use crate::clock::Clock;
use crate::config::Tokens;
use crate::metrics::CacheOutcome;

/// How long no token is dropped after a new one fared no better than the one before.
const VAIN_PAUSE: Duration = Duration::from_secs(10);

/// Makes one fetch; the slot sees to it that no two run at once.
pub(super) type Fetch =
    Box<dyn Fn() -> BoxFuture<'static, Result<Token, TokenError>> + Send + Sync>;

/// Makes one attempt to have a token ended.
pub(super) type Revoke = Box<dyn Fn(Arc<Token>) -> BoxFuture<'static, ()> + Send + Sync>;

/// One connector's current token and the fetch under way, if any.
pub struct TokenSlot {
    key: TokenKey,
    pub(super) current: ArcSwapOption<Token>,
    pub(super) usage: Usage,
    work: Mutex<Work>,
    fetch: Fetch,
    pub(super) revoke: Revoke,
    /// What is to know which token was rejected, where tokens are shared.
    sharing: Option<Arc<Sharing>>,
    pub(super) surroundings: Surroundings,
    report: Report,
}

/// What a slot needs of its gateway.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// Where fetches run.
    pub(super) runtime: Handle,
    /// Judges freshness and waiting.
    pub(super) clock: Clock,
    /// How long a flow waits, when a token is renewed, how often a fetch may fail.
    pub(super) tokens: Arc<Tokens>,
    /// Chance, from 0 to 1.
    pub(super) draw: fn() -> f64,
}

impl TokenSlot {
    /// An empty slot.
    pub(super) fn new(
        key: TokenKey,
        (fetch, revoke): (Fetch, Revoke),
        sharing: Option<Arc<Sharing>>,
        surroundings: Surroundings,
        report: Report,
    ) -> Self {
        let per_minute_max = surroundings.tokens.retries_per_minute_max;
        Self {
            key,
            current: ArcSwapOption::empty(),
            usage: Usage::default(),
            work: Mutex::new(Work::new(per_minute_max)),
            fetch,
            revoke,
            sharing,
            surroundings,
            report,
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
    /// [`Unobtained`]: why the fetch failed, that it took longer than a flow waits, or at once why
    /// the one before it failed.
    pub(super) async fn obtain(self: &Arc<Self>) -> Result<Obtained, Unobtained> {
        if let Some(obtained) = self.fresh() {
            return Ok(obtained);
        }
        match self.board() {
            Boarding::Landed(obtained) => Ok(obtained),
            Boarding::Refused(unobtained) => Err(unobtained),
            Boarding::Flying(flight, cache) => self.land(flight, cache).await,
        }
    }

    /// The hot path: one load, one look at the clock, no lock, no allocation.
    fn fresh(self: &Arc<Self>) -> Option<Obtained> {
        let now = self.now();
        let held = self.current.load();
        let token = held.as_ref().filter(|token| token.is_fresh(now))?;
        let obtained = Obtained::token(token, CacheOutcome::Hit);
        if self.usage.note(now, token.lifetime()) && token.is_due(now) {
            drop(held);
            self.renew_after_all();
        }
        Some(obtained)
    }

    /// The flight under way, a new one, or the way back.
    fn board(self: &Arc<Self>) -> Boarding {
        let mut work = self.lock();
        let now = self.now();
        // The second look: a fetch may have landed since the first.
        let held = self.current.load();
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(now)) {
            return Boarding::Landed(Obtained::token(token, CacheOutcome::Hit));
        }
        drop(held);
        self.usage.note_exactly(now);
        if let Err(turned) = work.admits(now) {
            return Boarding::Refused(turned.unobtained(CacheOutcome::Refused));
        }
        match work.flying() {
            Some(flight) => Boarding::Flying(flight.clone(), CacheOutcome::Joined),
            None => {
                let flight = self.start(&mut work, AskedBy::Flow);
                Boarding::Flying(flight, CacheOutcome::Miss)
            }
        }
    }

    /// Sets a fetch off; the caller has made sure that none is under way and none is forbidden.
    fn start(self: &Arc<Self>, work: &mut Work, asked_by: AskedBy) -> Flight {
        let (tell, landing) = watch::channel(None);
        let flight = Flight { landing, asked_by };
        work.flight = Some(flight.clone());
        let flying = Arc::clone(self).fly(tell, self.surroundings.clock.monotonic());
        self.surroundings.runtime.spawn(flying);
        flight
    }

    /// Sets a fetch off that no flow waits for, and returns where it lands.
    pub(super) fn start_ahead(
        self: &Arc<Self>,
        work: &mut Work,
    ) -> watch::Receiver<Option<Landed>> {
        self.start(work, AskedBy::Nobody).landing
    }

    async fn fly(self: Arc<Self>, tell: watch::Sender<Option<Landed>>, started: Duration) {
        let fetched = (self.fetch)().await;
        let draw = (self.surroundings.draw)();
        let percent = self.surroundings.tokens.renew_at_percent;
        let landed = match fetched {
            Ok(token) => Ok(self.succeeded(token.renewed_at(percent, draw))),
            Err(error) => Err(self.failed(Arc::new(error), started, draw)),
        };
        tell.send_replace(Some(landed));
    }

    fn succeeded(self: &Arc<Self>, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        let mut work = self.lock();
        self.current.store(Some(Arc::clone(&token)));
        work.flight = None;
        let over = work.memory.succeeded();
        if !work.retired {
            let class = over.as_ref().map(|over| over.class);
            self.report.gauge(class, None);
        }
        match work.revoked {
            true => self.current.store(None),
            false => self.look_again_at(&mut work, token.renewal()),
        }
        let late = work.revoked;
        drop(work);
        if late {
            self.end(Arc::clone(&token));
        }
        self.report.obtained(over.as_ref());
        token
    }

    fn failed(self: &Arc<Self>, reason: Arc<TokenError>, started: Duration, draw: f64) -> Turned {
        let mut work = self.lock();
        let ended = self.now();
        let held = self.current.load_full();
        work.flight = None;
        let before = work.memory.failing().map(|failing| failing.class);
        let attempt = Attempt {
            started,
            ended,
            token_left: held.map_or(Duration::ZERO, |token| token.fresh_for(ended)),
            draw,
        };
        let news = work.memory.failed(&reason, attempt);
        let next = work.memory.failing().map(|failing| failing.next_attempt);
        if !work.retired {
            self.report.gauge(before, Some(reason.class()));
        }
        self.look_again_at(&mut work, next);
        drop(work);
        let next_attempt = next.unwrap_or_default().saturating_sub(ended.monotonic());
        let outlook = Outlook {
            token_left: attempt.token_left,
            next_attempt,
        };
        self.report.failed(&reason, news, outlook);
        Turned {
            reason,
            retry_after: next_attempt,
        }
    }

    async fn land(&self, mut flight: Flight, cache: CacheOutcome) -> Result<Obtained, Unobtained> {
        let Surroundings { clock, tokens, .. } = &self.surroundings;
        let limit = tokens.wait;
        let deadline = self.now().deadline(limit);
        let landing = async {
            match flight.landing.wait_for(Option::is_some).await {
                Ok(landed) => landed.clone(),
                Err(_) => None,
            }
        };
        let landed = tokio::select! {
            biased;
            landed = landing => landed.unwrap_or_else(|| Err(Turned::soon(TokenError::Abandoned))),
            () = clock.sleep_until(deadline) => {
                Err(Turned::soon(TokenError::StillFetching { limit }))
            }
        };
        match landed {
            Ok(token) => Ok(Obtained::token(&token, cache)),
            Err(turned) => Err(turned.unobtained(cache)),
        }
    }

    /// See [`Source::reject`](super::Source::reject).
    pub(super) fn reject(&self, mark: TokenMark) -> bool {
        let mut work = self.lock();
        let now = self.now();
        let held = self.current.load_full();
        match held.filter(|token| token.is_fresh(now)) {
            Some(token) if token.mark() == mark => {
                let refused = work.admits(now).is_err();
                let free_at = work.rejections.free_at().max(work.vain_until);
                if refused || now.monotonic() < free_at {
                    return false;
                }
                work.rejections.note(now.monotonic());
                self.current.store(None);
                work.stop_timer();
                if let Some(sharing) = &self.sharing {
                    sharing.rejected(token);
                }
                true
            }
            Some(_) => true,
            None => work.admits(now).is_ok(),
        }
    }

    /// See [`Source::replaced_in_vain`](super::Source::replaced_in_vain).
    pub(super) fn replaced_in_vain(&self) {
        self.lock().vain_until = self.now().deadline(VAIN_PAUSE);
    }

    /// The slot's connector was replaced or removed: nothing is fetched ahead any more, and what
    /// failed is not shown. Requests that still hold it are served to their end.
    pub(super) fn retire(&self) {
        let mut work = self.lock();
        if !work.retired {
            work.retired = true;
            work.stop_timer();
            let class = work.memory.failing().map(|failing| failing.class);
            self.report.gauge(class, None);
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::of(&self.surroundings.clock)
    }

    /// A poisoned lock is still good: nothing is left half done under it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Boarding {
    Landed(Obtained),
    Flying(Flight, CacheOutcome),
    Refused(Unobtained),
}

impl Drop for TokenSlot {
    fn drop(&mut self) {
        self.retire();
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
mod tests;
