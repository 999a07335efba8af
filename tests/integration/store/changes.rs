//! A change is whole or nothing; revisions are unique and in the order of commits; and whoever asks
//! for what changed since one misses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use attache::control::store::{
    AuditFilter, ConnectorRecord, Phase, SealError, Slot, Store, StoreError,
};
use futures_util::FutureExt;
use serde_json::json;

use super::room::{
    Room, all, connector, delete, entry, id, keep, master_key, on_both, password, update,
};
use crate::support::within;

#[tokio::test]
async fn a_change_that_is_not_committed_leaves_nothing() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("there"), "s").await;
        let before = store.revision().await.unwrap();

        let mut change = store.begin().await.unwrap();
        let record = connector("orders");
        change
            .insert_connector(&record, &password("s"))
            .await
            .unwrap();
        change.audit(&entry("orders")).await.unwrap();
        let mut other = connector("there");
        other.state = Phase::Inactive;
        change.update_connector(&other).await.unwrap();
        change.drop_secrets(&other.id, Slot::Current).await.unwrap();
        drop(change);

        // The next change gets the revision that the other gave back.
        let next = store.begin().await.unwrap();
        assert_eq!(next.revision(), before + 1);
        drop(next);
        assert_eq!(store.revision().await.unwrap(), before);
        assert_eq!(store.connector(&record.id).await.unwrap(), None);
        let there = store.connector(&other.id).await.unwrap().unwrap();
        assert_eq!(there.state, Phase::Active);
        let secrets = store.secrets(&there, Slot::Current).await.unwrap();
        assert_eq!(secrets, password("s"));
        let entries = store.audit_entries(&AuditFilter::default(), all()).await;
        assert!(entries.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_change_after_a_statement_that_failed_is_not_made() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("taken"), "s").await;

        let mut change = store.begin().await.unwrap();
        change.audit(&entry("taken")).await.unwrap();
        let taken = change
            .insert_connector(&connector("taken"), &password("s"))
            .await;
        drop(change);

        assert!(
            matches!(taken, Err(StoreError::Conflict { .. })),
            "{taken:?}"
        );
        let entries = store.audit_entries(&AuditFilter::default(), all()).await;
        assert!(entries.unwrap().is_empty());
        keep(&store, &connector("next"), "s").await;
    })
    .await;
}

/// Reads all changes as they come until it has seen `last`, as a replica does; gives the revisions
/// it saw of each connector, in the order in which it saw them.
async fn follow(store: Store, last: u64) -> BTreeMap<String, Vec<u64>> {
    let mut seen = 0;
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while seen < last {
        store.changed(seen).await;
        let changes = store.changes_since(seen).await.unwrap();
        for opened in changes.connectors {
            assert!(opened.record.revision > seen && opened.record.revision <= changes.revision);
            assert_eq!(opened.secrets.unwrap(), password("s"));
            let revisions = found.entry(opened.record.id.to_string()).or_default();
            revisions.push(opened.record.revision);
        }
        seen = changes.revision;
    }
    found
}

const WRITERS: u64 = 6;
const WRITES: u64 = 15;

/// Adds one connector, then edits it again and again; gives the revisions.
async fn write(store: Store, name: String) -> Vec<u64> {
    let mut revisions = vec![keep(&store, &connector(&name), "s").await];
    for turn in 1..WRITES {
        let mut record = connector(&name);
        record.document["note"] = json!(turn);
        if turn % 4 == 0 {
            // One that thinks better of it.
            let mut change = store.begin().await.unwrap();
            change.update_connector(&record).await.unwrap();
        }
        revisions.push(update(&store, &record).await);
    }
    revisions
}

#[tokio::test]
async fn revisions_of_concurrent_writers_are_unique_and_nobody_who_follows_misses_one() {
    on_both(|room| async move {
        // Two processes would each have a store of their own.
        let stores = [room.open().await, room.open().await];
        let last = WRITERS * WRITES;
        let follower = tokio::spawn(follow(stores[0].clone(), last));

        let writers = (0..WRITERS).map(|number| {
            let store = if room.is_sqlite() {
                stores[0].clone()
            } else {
                stores[usize::try_from(number).unwrap() % 2].clone()
            };
            tokio::spawn(write(store, format!("c{number}")))
        });
        let writers: Vec<_> = writers.collect();
        let mut all = BTreeSet::new();
        let mut of_each = BTreeMap::new();
        for (number, writer) in writers.into_iter().enumerate() {
            let revisions = within("a writer", writer).await.unwrap();
            assert!(revisions.is_sorted(), "{revisions:?}");
            all.extend(&revisions);
            of_each.insert(format!("c{number}"), revisions);
        }

        assert_eq!(all, (1..=last).collect());
        let seen = within("the follower", follower).await.unwrap();
        for (name, revisions) in of_each {
            assert!(seen[&name].is_sorted(), "{seen:?}");
            assert!(seen[&name].iter().all(|one| revisions.contains(one)));
            assert_eq!(seen[&name].last(), revisions.last(), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_processes_on_one_sqlite_file_wait_for_each_other() {
    let room = Room::sqlite();
    let stores = [room.open().await, room.open().await];

    let writers = [0, 1].map(|number| {
        let store = stores[number].clone();
        tokio::spawn(write(store, format!("c{number}")))
    });

    let mut revisions = Vec::new();
    for writer in writers {
        revisions.extend(within("a writer", writer).await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=2 * WRITES).collect::<Vec<_>>());
}

#[tokio::test]
async fn changes_are_those_after_a_revision_as_of_one_moment() {
    on_both(|room| async move {
        let store = room.open().await;
        for name in ["a", "b", "c"] {
            keep(&store, &connector(name), name).await;
        }
        let seen = store.revision().await.unwrap();
        let mut edited = connector("a");
        edited.name = "Edited".to_owned();
        update(&store, &edited).await;
        let mut change = store.begin().await.unwrap();
        delete(&mut change, &connector("b"), edited.created_at).await;
        change.commit().await.unwrap();

        let changes = store.changes_since(seen).await.unwrap();
        let ids = |changes: &attache::control::store::Changes| -> Vec<String> {
            let records = changes.connectors.iter();
            records.map(|opened| opened.record.id.to_string()).collect()
        };

        assert_eq!(changes.revision, seen + 2);
        assert_eq!(ids(&changes), ["a", "b"]);
        assert_eq!(changes.connectors[0].record.name, "Edited");
        let secrets = changes.connectors[0].secrets.as_ref().unwrap();
        assert_eq!(*secrets, password("a"));
        assert_eq!(changes.connectors[1].record.state, Phase::Deleted);
        assert!(changes.connectors[1].secrets.as_ref().unwrap().is_empty());
        // A first reading has no use for what is gone.
        let first = store.changes_since(0).await.unwrap();
        assert_eq!(ids(&first), ["c", "a"]);
        // After a restored backup the store is behind what was seen.
        let restored = store.changes_since(1_000).await.unwrap();
        assert_eq!((restored.revision, ids(&restored).len()), (seen + 2, 2));
        let nothing = store.changes_since(seen + 2).await.unwrap();
        assert_eq!(ids(&nothing), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn changes_of_more_connectors_than_one_page_are_all_there_with_their_secrets() {
    on_both(|room| async move {
        let store = room.open().await;
        let mut change = store.begin().await.unwrap();
        for number in 0..1_234 {
            let name = format!("c{number:04}");
            let secrets = password(&name);
            let record = connector(&name);
            change.insert_connector(&record, &secrets).await.unwrap();
        }
        let revision = change.commit().await.unwrap();
        keep(&store, &connector("another"), "another").await;

        let changes = store.changes_since(0).await.unwrap();

        assert_eq!(changes.connectors.len(), 1_235);
        for opened in &changes.connectors {
            let name = opened.record.id.as_str();
            assert_eq!(*opened.secrets.as_ref().unwrap(), password(name));
        }
        let after = store.changes_since(revision).await.unwrap();
        assert_eq!(after.connectors.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn secrets_that_do_not_open_cost_their_own_connector_alone() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("a"), "a").await;
        keep(&store, &connector("b"), "b").await;
        // Whoever has the database gives one connector the other's secret.
        let swap = "UPDATE secrets SET sealed = \
             (SELECT sealed FROM secrets WHERE connector = 'b') WHERE connector = 'a'";
        room.tamper(swap).await.unwrap();

        let changes = store.changes_since(0).await.unwrap();

        let mut opened = changes.connectors.into_iter().map(|one| one.secrets);
        assert_eq!(opened.next().unwrap(), Err(SealError::Unopened));
        assert_eq!(opened.next().unwrap(), Ok(password("b")));
    })
    .await;
}

#[tokio::test]
async fn previous_secrets_come_with_their_end() {
    on_both(|room| async move {
        let store = room.open().await;
        let until = connector("a").created_at + Duration::from_secs(60);
        let record = ConnectorRecord {
            previous_until: Some(until),
            ..connector("a")
        };
        let mut change = store.begin().await.unwrap();
        change
            .insert_connector(&record, &password("new"))
            .await
            .unwrap();
        let old = password("old");
        change
            .seal_secrets(&record, Slot::Previous, &old)
            .await
            .unwrap();
        change.commit().await.unwrap();

        let changes = store.changes_since(0).await.unwrap();

        let previous = changes.connectors[0].previous.as_ref().unwrap();
        assert_eq!(previous.until, until);
        assert_eq!(*previous.secrets.as_ref().unwrap(), old);
    })
    .await;
}

#[tokio::test]
async fn postgresql_tells_another_process_of_a_change_and_of_none_that_was_not_made() {
    let room = Room::postgres().await;
    let (writer, reader) = (room.open().await, room.open().await);
    let first = keep(&writer, &connector("a"), "s").await;
    within("the news", reader.changed(0)).await;
    let not_made = writer.begin().await.unwrap();
    let told_of_nothing = tokio::spawn({
        let reader = reader.clone();
        async move { reader.changed(first).await }
    });

    drop(not_made);
    // Rolled back before this one begins, which would be told later.
    let second = keep(&writer, &connector("b"), "s").await;

    assert_eq!(second, first + 1);
    within("the news", told_of_nothing).await.unwrap();
    assert_eq!(
        reader.changes_since(first).await.unwrap().connectors.len(),
        1
    );
}

#[tokio::test]
async fn what_is_kept_no_longer_is_erased_but_the_id_stays() {
    on_both(|room| async move {
        let store = room.open().await;
        let gone = connector("gone");
        let until = room.clock().wall() + Duration::from_secs(3600);
        let promoted = ConnectorRecord {
            previous_until: Some(until),
            ..connector("promoted")
        };
        keep(&store, &gone, "s").await;
        keep(&store, &promoted, "s").await;
        let answer = attache::control::store::Answer {
            actor: "token:1".to_owned(),
            key: "k".to_owned(),
            request: Vec::new(),
            answer: json!({}),
            at: room.clock().wall(),
        };
        let mut change = store.begin().await.unwrap();
        let old = password("t");
        let sealing = change.seal_secrets(&promoted, Slot::Previous, &old);
        sealing.await.unwrap();
        delete(&mut change, &gone, room.clock().wall()).await;
        change.insert_answer(&answer).await.unwrap();
        let before = change.commit().await.unwrap();

        room.turned.advance(Duration::from_secs(3599));
        store.tidy().await.unwrap();
        assert_eq!(store.revision().await.unwrap(), before);
        let kept = store.secrets(&promoted, Slot::Previous).await.unwrap();
        assert_eq!(kept, password("t"));

        room.turned.advance(Duration::from_secs(1));
        store.tidy().await.unwrap();
        let kept = store.secrets(&promoted, Slot::Previous).await.unwrap();
        assert!(kept.is_empty());
        let ended = store.connector(&promoted.id).await.unwrap().unwrap();
        assert_eq!(ended.previous_until, None);
        assert!(ended.revision > before);
        assert!(store.answer("token:1", "k").await.unwrap().is_some());

        room.turned.advance(Duration::from_secs(23 * 3600));
        store.tidy().await.unwrap();
        assert_eq!(store.answer("token:1", "k").await.unwrap(), None);
        let kept = store.connector(&gone.id).await.unwrap().unwrap();
        assert_eq!(kept.document, gone.document);

        room.turned.advance(Duration::from_secs(29 * 24 * 3600));
        store.tidy().await.unwrap();
        let erased = store.connector(&gone.id).await.unwrap().unwrap();
        assert_eq!(erased.document, serde_json::Value::Null);
        assert_eq!(erased.state, Phase::Deleted);
        let filter = attache::control::store::ConnectorFilter {
            state: Some(Phase::Deleted),
            ..Default::default()
        };
        assert!(store.connectors(&filter, all()).await.unwrap().is_empty());
        let mut change = store.begin().await.unwrap();
        let again = change.insert_connector(&gone, &password("s")).await;
        assert!(
            matches!(again, Err(StoreError::Conflict { .. })),
            "{again:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn more_than_one_change_erases_is_erased_by_several() {
    on_both(|room| async move {
        let store = room.open().await;
        let mut change = store.begin().await.unwrap();
        for key in 0..401 {
            let answer = attache::control::store::Answer {
                actor: "token:1".to_owned(),
                key: key.to_string(),
                request: Vec::new(),
                answer: json!({}),
                at: room.clock().wall(),
            };
            change.insert_answer(&answer).await.unwrap();
        }
        let before = change.commit().await.unwrap();
        room.turned.advance(Duration::from_secs(24 * 3600));

        store.tidy().await.unwrap();

        assert_eq!(room.number("SELECT COUNT(*) FROM idempotency").await, 0);
        assert_eq!(store.revision().await.unwrap(), before + 3);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_put_back_to_an_older_copy_is_no_news_for_ever() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("a"), "s").await;
        let older = store.revision().await.unwrap();
        keep(&store, &connector("b"), "s").await;

        let sql = format!("UPDATE store_revision SET revision = {older}");
        room.tamper(&sql).await.unwrap();

        assert_eq!(store.revision().await.unwrap(), older);
        assert_eq!(store.changed(older).now_or_never(), None);
        keep(&store, &connector("c"), "s").await;
        within("the news", store.changed(older)).await;
    })
    .await;
}

#[tokio::test]
async fn a_store_is_shared_between_tasks_and_closed_in_each() {
    on_both(|mut room| async move {
        room.settings.master_keys = vec![master_key(2), master_key(1)];
        let store = Arc::new(room.open().await);
        keep(&store, &connector("a"), "s").await;

        store.close().await;

        let closed = store.connector(&id("a")).await;
        assert!(
            matches!(closed, Err(StoreError::Unavailable { .. })),
            "{closed:?}"
        );
    })
    .await;
}
