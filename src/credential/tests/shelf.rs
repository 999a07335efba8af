//! A stand-in for the store: keeps shared tokens in memory, by a clock of its own, and fails as it
//! is told.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::*;

/// How long its leases hold.
pub(super) const LEASE: Duration = Duration::from_secs(3);

/// How long an operation of a slow one takes.
pub(super) const SLOW: Duration = Duration::from_millis(300);

/// What an operation comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// It fails, and nothing is done.
    Fails,
    /// It takes [`SLOW`].
    Slow,
    /// It never ends, and nothing is done.
    Hangs,
    /// A token is kept, and its keeper never hears of it.
    KeepsInSilence,
}

pub(super) struct Shelf {
    clock: Clock,
    key: [u8; 32],
    rows: Mutex<HashMap<SharedKey, Kept>>,
    fault: Mutex<Fault>,
    count: Mutex<usize>,
    /// What the next asking for a lease waits for.
    late: Mutex<Option<Arc<Notify>>>,
}

#[derive(Default)]
struct Kept {
    serial: u64,
    token: Option<SharedToken>,
    kept_at: Duration,
    refresh_token: Option<Secret>,
    /// Who was given it, and has not said what became of it.
    spender: Option<Uuid>,
    holder: Option<Uuid>,
    leased_until: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("the stand-in fails")]
struct Told;

impl Shelf {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            key: [7; 32],
            rows: Mutex::default(),
            fault: Mutex::default(),
            count: Mutex::default(),
            late: Mutex::default(),
        }
    }

    /// From now on every operation comes to this.
    pub(super) fn tell(&self, fault: Fault) {
        *self.fault.lock().expect("whole") = fault;
    }

    /// Has whoever asks for a lease next be answered late: once the returned is notified.
    pub(super) fn hold_up_a_lease(&self) -> Arc<Notify> {
        let until = Arc::new(Notify::new());
        *self.late.lock().expect("whole") = Some(Arc::clone(&until));
        until
    }

    /// How many operations there were.
    pub(super) fn count(&self) -> usize {
        *self.count.lock().expect("whole")
    }

    /// The one row's refresh token.
    pub(super) fn refresh_token(&self) -> Option<String> {
        let rows = self.rows.lock().expect("whole");
        assert!(rows.len() <= 1);
        let token = rows.values().next()?.refresh_token.as_ref()?;
        Some(token.expose().to_owned())
    }

    /// How many rows hold a token.
    pub(super) fn tokens(&self) -> usize {
        let rows = self.rows.lock().expect("whole");
        rows.values().filter(|row| row.token.is_some()).count()
    }

    /// Changes every row so that it does not open.
    pub(super) fn tamper(&self) {
        for row in self.rows.lock().expect("whole").values_mut() {
            row.token = None;
            row.refresh_token = None;
        }
    }

    /// Forgets every row, as a purge does.
    pub(super) fn forget(&self) {
        self.rows.lock().expect("whole").clear();
    }

    async fn operation(&self) -> Result<Fault, Unavailable> {
        *self.count.lock().expect("whole") += 1;
        let fault = *self.fault.lock().expect("whole");
        match fault {
            Fault::Fails => Err(Unavailable::new(Told)),
            Fault::Hangs => std::future::pending().await,
            Fault::Slow => {
                let until = self.clock.monotonic() + SLOW;
                self.clock.sleep_until(until).await;
                Ok(fault)
            }
            Fault::None | Fault::KeepsInSilence => Ok(fault),
        }
    }

    fn change<T>(&self, key: &SharedKey, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(
            self.rows
                .lock()
                .expect("whole")
                .entry(key.clone())
                .or_default(),
        )
    }

    /// So that the numbers of a row that was forgotten do not come again.
    fn millis(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).expect("it is small")
    }

    fn row(&self, kept: &Kept) -> Row {
        let now = self.clock.monotonic();
        Row {
            serial: kept.serial,
            token: kept.token.clone().map(|token| SharedToken {
                age: token.age + (now - kept.kept_at),
                ..token
            }),
            lease: match (kept.holder, kept.leased_until.checked_sub(now)) {
                (None, _) => LeaseState::Free,
                (Some(_), None | Some(Duration::ZERO)) => LeaseState::Lapsed,
                (Some(_), Some(left)) => LeaseState::Held(left),
            },
        }
    }
}

impl SharedTokens for Shelf {
    fn fingerprint_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key)
    }

    fn lease_time(&self) -> Duration {
        LEASE
    }

    fn look<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Row, Unavailable>> {
        Box::pin(async move {
            self.operation().await?;
            Ok(self.change(key, |kept| self.row(kept)))
        })
    }

    fn lease<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Leased, Unavailable>> {
        Box::pin(async move {
            self.operation().await?;
            let late = self.late.lock().expect("whole").take();
            if let Some(until) = late {
                until.notified().await;
            }
            Ok(self.change(key, |kept| {
                let row = self.row(kept);
                if matches!(row.lease, LeaseState::Held(_)) {
                    return Leased::Theirs;
                }
                let holder = Uuid::new_v4();
                kept.holder = Some(holder);
                kept.leased_until = self.clock.monotonic() + LEASE;
                let spender = *kept.spender.get_or_insert(holder);
                let refresh_token = kept.refresh_token.clone();
                Leased::Ours(Lease {
                    key: key.clone(),
                    holder,
                    next_serial: (row.serial + 1).max(self.millis()),
                    row,
                    refresh_token: refresh_token.filter(|_| spender == holder),
                })
            }))
        })
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Still, Unavailable>> {
        Box::pin(async move {
            self.operation().await?;
            Ok(self.change(&lease.key, |kept| {
                if kept.holder != Some(lease.holder) {
                    return Still::Lost;
                }
                kept.leased_until = self.clock.monotonic() + LEASE;
                Still::Ours
            }))
        })
    }

    fn keep<'a>(
        &'a self,
        lease: &'a Lease,
        token: &'a SharedToken,
        refresh_token: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Still, Unavailable>> {
        Box::pin(async move {
            let fault = self.operation().await?;
            let still = self.change(&lease.key, |kept| {
                if kept.holder != Some(lease.holder) {
                    return Still::Lost;
                }
                *kept = Kept {
                    serial: lease.next_serial,
                    token: Some(token.clone()),
                    kept_at: self.clock.monotonic(),
                    refresh_token: refresh_token.cloned(),
                    ..Kept::default()
                };
                Still::Ours
            });
            match fault {
                Fault::KeepsInSilence => std::future::pending().await,
                Fault::None | Fault::Slow | Fault::Fails | Fault::Hangs => Ok(still),
            }
        })
    }

    fn release<'a>(
        &'a self,
        lease: &'a Lease,
        refresh_token: Unused,
    ) -> BoxFuture<'a, Result<Still, Unavailable>> {
        Box::pin(async move {
            self.operation().await?;
            Ok(self.change(&lease.key, |kept| {
                if kept.holder != Some(lease.holder) {
                    return Still::Lost;
                }
                kept.holder = None;
                if kept.spender == Some(lease.holder) {
                    kept.spender = None;
                }
                if refresh_token == Unused::Goes {
                    kept.refresh_token = None;
                }
                Still::Ours
            }))
        })
    }
}
