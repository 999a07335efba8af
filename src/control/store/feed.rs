//! What changed, for whoever publishes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::change::CHANNEL;
use super::connectors::{COLUMNS, read_connector};
use super::engine::{Listener, Session, Value};
use super::secrets::{self, SealedBySlot};
use super::{ConnectorRecord, Inner, SealError, Secrets, Slot, Store, StoreError};
use crate::clock::in_real_time;
use crate::connector::ConnectorId;

/// How many connectors are read at a time, so that each statement is short.
const PAGE: u32 = 500;
/// How long to wait before a lost listener is connected again.
const RECONNECT: Duration = Duration::from_millis(500);
/// After how long a silent listener is connected anew, since a dead connection is silent too.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What changed since a revision.
#[derive(Debug)]
pub struct Changes {
    /// The revision all of it stands at.
    pub revision: u64,
    /// The connectors that were changed, in the order in which they last were, deleted ones too.
    pub connectors: Vec<Opened>,
}

/// A connector with its secrets.
#[derive(Debug)]
pub struct Opened {
    /// The connector.
    pub record: ConnectorRecord,
    /// Its secrets in use.
    pub secrets: Result<Secrets, SealError>,
    /// Those before the last promotion, while they are kept.
    pub previous: Option<Previous>,
}

/// Secrets that are still held as a fall-back.
#[derive(Debug)]
pub struct Previous {
    /// The secrets.
    pub secrets: Result<Secrets, SealError>,
    /// When they end.
    pub until: SystemTime,
}

impl Store {
    /// Returns once this process has heard of a revision above `seen`: it made the change itself,
    /// or PostgreSQL told it. May never return, since not every database tells: ask
    /// [`Store::revision`] now and then as well.
    ///
    /// Cancel-safe; misses nothing that was heard of between two calls.
    pub async fn changed(&self, seen: u64) {
        let mut heard = self.0.heard.subscribe();
        if heard.wait_for(|revision| *revision > seen).await.is_err() {
            // Cannot be: the sender lives as long as the store.
            std::future::pending::<()>().await;
        }
    }

    /// What changed since `revision`, with secrets opened, as of one moment. After zero, deleted
    /// connectors are left out. A `revision` the store has not reached, as when it was restored
    /// from an older copy, gives everything too.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; secrets that do not open are in their connector's [`Opened`] instead.
    pub async fn changes_since(&self, revision: u64) -> Result<Changes, StoreError> {
        let mut session = self.engine().await?.read().await?;
        let now = session
            .one("SELECT revision FROM store_revision", Vec::new())
            .await?
            .count()?;
        let since = if revision > now { 0 } else { revision };
        let mut connectors = Vec::new();
        if now > since {
            let mut after = Some((since, String::new()));
            while let Some(place) = after {
                let page = read_page(&mut session, since == 0, &place).await?;
                after = last_place(&page);
                self.open_page(&mut session, page, &mut connectors).await?;
            }
        }
        session.commit().await?;
        let revision = now;
        Ok(Changes {
            revision,
            connectors,
        })
    }

    async fn open_page(
        &self,
        session: &mut Session,
        page: Vec<ConnectorRecord>,
        opened: &mut Vec<Opened>,
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            return Ok(());
        };
        let between = [(first.revision, &first.id), (last.revision, &last.id)];
        let mut sealed = secrets::read_between(session, between).await?;
        for record in page {
            let slots = sealed.remove(&record.id).unwrap_or_default();
            opened.push(self.open_record(record, &slots));
        }
        Ok(())
    }

    fn open_record(&self, record: ConnectorRecord, slots: &SealedBySlot) -> Opened {
        let previous = record.previous_until.map(|until| Previous {
            secrets: self.open_slot(&record, Slot::Previous, slots),
            until,
        });
        Opened {
            secrets: self.open_slot(&record, Slot::Current, slots),
            previous,
            record,
        }
    }

    fn open_slot(
        &self,
        record: &ConnectorRecord,
        slot: Slot,
        slots: &SealedBySlot,
    ) -> Result<Secrets, SealError> {
        match slots.get(&slot) {
            Some(sealed) => secrets::open(&self.0.keyring, record, slot, sealed),
            None => Ok(Secrets::new()),
        }
    }

    /// This process has heard of `revision`.
    pub(super) fn heard(&self, revision: u64) {
        note_heard(&self.0, revision);
    }
}

impl Store {
    /// What was `told` of is no more than `revision`: an older copy of the database is there, and
    /// whoever waits for changes must not be told again and again of what is gone.
    pub(super) fn unhear(&self, told: u64, revision: u64) {
        self.0.heard.send_if_modified(|heard| {
            if told > revision && *heard == told {
                *heard = revision;
            }
            false
        });
    }
}

fn note_heard(inner: &Inner, revision: u64) {
    inner.heard.send_if_modified(|heard| {
        let is_news = revision > *heard;
        *heard = revision.max(*heard);
        is_news
    });
}

/// Secrets of many connectors, by slot.
pub(super) type SealedByConnector = BTreeMap<ConnectorId, SealedBySlot>;

async fn read_page(
    session: &mut Session,
    is_first_reading: bool,
    (revision, id): &(u64, String),
) -> Result<Vec<ConnectorRecord>, StoreError> {
    let not_deleted = if is_first_reading {
        "AND state <> 'deleted'"
    } else {
        ""
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM connectors WHERE (revision, id) > ($1, $2) {not_deleted} \
         ORDER BY revision, id LIMIT {PAGE}"
    );
    // The largest text stands after every ID of the revision that is known already.
    let after: Value = if id.is_empty() {
        "\u{10ffff}".into()
    } else {
        id.as_str().into()
    };
    let rows = session.query(sql, vec![(*revision).into(), after]).await?;
    rows.into_iter().map(read_connector).collect()
}

fn last_place(page: &[ConnectorRecord]) -> Option<(u64, String)> {
    let last = page.last()?;
    Some((last.revision, last.id.to_string()))
}

/// Keeps hearing what the database tells, for as long as the store is in use.
pub(super) fn listen(store: &Store) {
    let inner = Arc::downgrade(&store.0);
    tokio::spawn(async move {
        while keep_listening(&inner).await.is_some() {
            tokio::time::sleep_until(in_real_time(RECONNECT)).await;
        }
    });
}

/// Listens until the connection is lost; `None` once nobody is left to tell, or nobody ever tells.
async fn keep_listening(inner: &Weak<Inner>) -> Option<()> {
    let store = Store(inner.upgrade()?);
    if store.make_ready().await.is_err() {
        return Some(());
    }
    let listener = match Listener::connect(&store.0.engine, CHANNEL).await {
        Ok(None) => return None,
        Err(_) => return Some(()),
        Ok(Some(listener)) => listener,
    };
    // What was told while nobody listened.
    if let Ok(revision) = store.revision().await {
        store.heard(revision);
    }
    let end = store.0.heard.subscribe();
    drop(store);
    hear(inner, listener, end).await
}

async fn hear(
    inner: &Weak<Inner>,
    mut listener: Listener,
    mut end: watch::Receiver<u64>,
) -> Option<()> {
    loop {
        let heard = tokio::select! {
            heard = tokio::time::timeout(SILENCE_MAX, listener.heard()) => heard,
            // Comes back once the store is dropped, and not before.
            _ = end.wait_for(|_| false) => return None,
        };
        let Ok(Ok(message)) = heard else {
            return Some(());
        };
        if let Ok(revision) = message.parse() {
            note_heard(&*inner.upgrade()?, revision);
        }
    }
}
