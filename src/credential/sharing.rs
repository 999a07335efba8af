//! How a slot comes by a token that replicas share.
//!
//! # Invariants
//!
//! Whoever needs a token looks at what is shared first. A token newer than the last one seen here,
//! fresh, and not the one that an origin rejected, is taken, and nothing is fetched. Otherwise one
//! replica has the lease and fetches; the others wait for what it keeps, or for its lease to lapse.
//! So any number of replicas make one token request, one of them that dies costs a lease's time, and
//! a store that is dead or hangs costs a token request, never a token.
//!
//! A refresh token that is shared is spent by whoever has the lease and by nobody else, and the one
//! that takes its place is kept before the access token it came with is used. While the store is out
//! of reach, one that comes stays in memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::commons::{Commons, Patience};
use super::error::TokenError;
use super::fetch::Fetcher;
use super::shared::{Lease, LeaseState, Leased, Row, SharedKey, SharedToken, Still, Unused};
use super::token::{Moment, Token};
use crate::connector::{Connector, OAuth2};
use crate::metrics::SharedOutcome;
use crate::secret::Secret;

/// The first pause between two looks at what another replica is to obtain; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often a lease is renewed within its time.
const RENEWALS: u32 = 3;

/// One slot's part in what replicas share.
pub(super) struct Sharing {
    commons: Arc<Commons>,
    key: SharedKey,
    refresh_tokens: RefreshTokens,
    seen: Mutex<Seen>,
}

/// Where a connector's refresh tokens are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefreshTokens {
    /// Beside the token, for all replicas and the next start.
    Shared,
    /// In the memory of the replica that was given them.
    InMemory,
}

/// What need not be looked at again.
#[derive(Default)]
struct Seen {
    /// The number of the newest token that was taken or kept here.
    serial: u64,
    /// The last one that an origin rejected, wherever it came from: what was not known to have been
    /// kept may stand in the row all the same.
    rejected: Option<Arc<Token>>,
}

/// How a token is to be had.
enum Way {
    /// Here it is.
    Taken(Token, SharedOutcome),
    /// By a fetch for all.
    Lead(Box<Lease>, SharedOutcome),
    /// By a fetch of one's own.
    Alone,
}

impl Sharing {
    /// The part that the slot of `connector`'s token has in `commons`.
    pub(super) fn new(commons: &Arc<Commons>, connector: &Connector, oauth2: &OAuth2) -> Self {
        Self {
            commons: Arc::clone(commons),
            key: commons.key_of(connector, oauth2),
            refresh_tokens: match connector.stored {
                Some(_) => RefreshTokens::Shared,
                None => RefreshTokens::InMemory,
            },
            seen: Mutex::default(),
        }
    }

    /// A token newer than the last one: another replica's, or one that `fetcher` fetches.
    ///
    /// # Errors
    ///
    /// [`TokenError`] as the fetch ended; what becomes of the store is no error.
    pub(super) async fn obtain(&self, fetcher: &Fetcher) -> Result<Token, TokenError> {
        let mut patience = Patience::new();
        let way = self.find_way(&mut patience, fetcher.tokens.fetch).await;
        match way {
            Way::Taken(token, outcome) => {
                self.commons.metrics.shared(outcome);
                fetcher.took(&token);
                Ok(token)
            }
            Way::Lead(lease, outcome) => {
                self.commons.metrics.shared(outcome);
                self.lead(&lease, patience, fetcher).await
            }
            Way::Alone => {
                self.commons.metrics.shared(SharedOutcome::Unavailable);
                fetcher.fetch_alone().await
            }
        }
    }

    /// The origin rejected `token`: it is not taken again.
    pub(super) fn rejected(&self, token: Arc<Token>) {
        self.seen().rejected = Some(token);
    }

    /// Waits while somebody else is at it, `fetch` and a lease at most.
    async fn find_way(&self, patience: &mut Patience, fetch: Duration) -> Way {
        let Commons { shared, clock, .. } = &*self.commons;
        let mut taken = SharedOutcome::Taken;
        let mut pauses = Pauses::new();
        let longest = fetch.saturating_add(shared.lease_time());
        let until = Moment::of(clock).deadline(longest);
        loop {
            let asked = Moment::of(clock);
            let looked = self.commons.ask(patience, shared.look(&self.key)).await;
            let Some(row) = looked else {
                return Way::Alone;
            };
            if let Some(token) = self.take(&row, asked) {
                return Way::Taken(token, taken);
            }
            let fetched = match row.lease {
                LeaseState::Free => Some(SharedOutcome::Fetched),
                LeaseState::Lapsed => Some(SharedOutcome::Lapsed),
                LeaseState::Held(_) => None,
            };
            if let Some(fetched) = fetched {
                let asked = Moment::of(clock);
                let leased = self.commons.ask(patience, shared.lease(&self.key)).await;
                match leased {
                    None => return Way::Alone,
                    Some(Leased::Ours(lease)) => {
                        // The second look: another may have kept one since the first.
                        let Some(token) = self.take(&lease.row, asked) else {
                            return Way::Lead(Box::new(lease), fetched);
                        };
                        let released = shared.release(&lease, Unused::Stays);
                        let _lapses_otherwise = self.commons.ask(patience, released).await;
                        return Way::Taken(token, taken);
                    }
                    Some(Leased::Theirs) => {}
                }
            }
            if clock.monotonic() >= until {
                return Way::Alone;
            }
            // While another fetches, nobody waits for the store.
            taken = SharedOutcome::Waited;
            *patience = Patience::new();
            clock
                .sleep_until(Moment::of(clock).deadline(pauses.next(row.lease)))
                .await;
        }
    }

    /// Fetches for all, and keeps what comes.
    async fn lead(
        &self,
        lease: &Lease,
        mut patience: Patience,
        fetcher: &Fetcher,
    ) -> Result<Token, TokenError> {
        let mut refresh_token = match self.refresh_tokens {
            RefreshTokens::Shared => lease.refresh_token.clone(),
            RefreshTokens::InMemory => None,
        };
        if refresh_token.is_none() {
            refresh_token = fetcher.in_memory().clone();
        }
        let fetched = tokio::select! {
            biased;
            fetched = fetcher.fetch(&mut refresh_token) => fetched,
            never = self.renew(lease) => match never {},
        };
        match &fetched {
            Ok(token) => {
                self.keep(lease, token, refresh_token, (&mut patience, fetcher))
                    .await
            }
            Err(_) => {
                self.give_back(lease, refresh_token, (&mut patience, fetcher))
                    .await
            }
        }
        fetched
    }

    /// Has the lease hold on for as long as this is polled.
    async fn renew(&self, lease: &Lease) -> Infallible {
        let Commons { shared, clock, .. } = &*self.commons;
        let pause = shared.lease_time() / RENEWALS;
        loop {
            clock.sleep_until(Moment::of(clock).deadline(pause)).await;
            let mut patience = Patience::new();
            let renewed = self.commons.ask(&mut patience, shared.renew(lease)).await;
            if renewed == Some(Still::Lost) {
                return std::future::pending().await;
            }
        }
    }

    async fn keep(
        &self,
        lease: &Lease,
        token: &Token,
        refresh_token: Option<Secret>,
        (patience, fetcher): (&mut Patience, &Fetcher),
    ) {
        if self.commons.is_left_alone() {
            // Nobody else can come to hold it: it is kept here instead.
            *fetcher.in_memory() = refresh_token;
            return;
        }
        let (for_all, own) = match self.refresh_tokens {
            RefreshTokens::Shared => (refresh_token, None),
            RefreshTokens::InMemory => (None, refresh_token),
        };
        *fetcher.in_memory() = own;
        let kept = SharedToken {
            access_token: token.access_token(),
            lifetime: token.lifetime(),
            age: token.age(Moment::of(&self.commons.clock)),
        };
        let keeping = self.commons.shared.keep(lease, &kept, for_all.as_ref());
        if self.commons.ask(patience, keeping).await == Some(Still::Ours) {
            let mut seen = self.seen();
            seen.serial = seen.serial.max(lease.next_serial);
        }
    }

    async fn give_back(
        &self,
        lease: &Lease,
        refresh_token: Option<Secret>,
        (patience, fetcher): (&mut Patience, &Fetcher),
    ) {
        let of_the_row = lease.refresh_token.is_some();
        let unused = match refresh_token.is_none() && of_the_row {
            true => Unused::Goes,
            false => Unused::Stays,
        };
        if !of_the_row {
            *fetcher.in_memory() = refresh_token;
        }
        let releasing = self.commons.shared.release(lease, unused);
        let _lapses_otherwise = self.commons.ask(patience, releasing).await;
    }

    /// The token of a row that was asked for at `asked`, if it is one to use.
    fn take(&self, row: &Row, asked: Moment) -> Option<Token> {
        let mut seen = self.seen();
        let kept = row.token.as_ref().filter(|_| row.serial > seen.serial)?;
        let access_token = kept.access_token.expose();
        let token = Token::aged(access_token, kept.lifetime, kept.age, asked).ok()?;
        let rejected = seen.rejected.as_ref();
        let is_rejected = rejected.is_some_and(|rejected| rejected.reads_like(&token));
        if is_rejected || !token.is_fresh(Moment::of(&self.commons.clock)) {
            return None;
        }
        seen.serial = row.serial;
        Some(token)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses between two looks.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(PAUSE_FIRST)
    }

    /// The next one, which ends when the lease does.
    fn next(&mut self, lease: LeaseState) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        match lease {
            LeaseState::Held(left) => pause.min(left.max(PAUSE_FIRST)),
            LeaseState::Free | LeaseState::Lapsed => pause,
        }
    }
}
