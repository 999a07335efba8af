//! A store is opened with a schema this program knows and keys that open it, or not at all.

use std::error::Error;

use attache::control::store::{OpenError, Slot, Store, StoreError};

use super::room::{Room, connector, id, keep, master_key, on_both, password};
use crate::support::postgres::Postgres;
use attache::config::StoreUrl;
use attache::secret::Secret;

/// The error and what it comes from, as a log shows it.
fn whole(error: &dyn Error) -> String {
    let source = error.source().map(|source| format!(": {}", whole(source)));
    format!("{error}{}", source.unwrap_or_default())
}

#[tokio::test]
async fn a_schema_newer_than_known_is_refused_with_one_sentence_and_left_alone() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("orders"), "s").await;
        store.close().await;
        room.tamper("INSERT INTO schema_versions (version, migrated_at) VALUES (4711, 0)")
            .await
            .unwrap();

        let refused = Store::open(&room.settings, room.clock()).await.unwrap_err();

        let sentence = whole(&refused);
        assert!(sentence.contains("version 4711"), "{sentence}");
        assert_eq!(sentence.lines().count(), 1);
        let rows = "SELECT COUNT(*) FROM schema_versions";
        let versions = room.number(rows).await;
        let refused = Store::open_later(&room.settings, room.clock()).unwrap();
        let refused = refused.connector(&id("orders")).await;
        assert!(
            matches!(refused, Err(StoreError::Refused { .. })),
            "{refused:?}"
        );
        assert_eq!(room.number(rows).await, versions);
    })
    .await;
}

#[tokio::test]
async fn three_that_open_a_new_store_at_once_migrate_it_once() {
    on_both(|room| async move {
        let opening = [(); 3].map(|()| {
            let (settings, clock) = (room.settings.clone(), room.clock());
            tokio::spawn(async move { Store::open(&settings, clock).await })
        });
        for one in opening {
            let store = one.await.unwrap().unwrap();
            assert_eq!(store.revision().await.unwrap(), 0);
        }

        let versions = room.number("SELECT COUNT(*) FROM schema_versions").await;
        assert_eq!(
            versions,
            room.number("SELECT MAX(version) FROM schema_versions")
                .await
        );
        let organizations = room.number("SELECT COUNT(*) FROM organizations").await;
        assert_eq!(organizations, 1);
    })
    .await;
}

#[tokio::test]
async fn a_master_key_in_use_that_is_not_held_is_named_and_the_store_stays_shut() {
    on_both(|mut room| async move {
        let store = room.open().await;
        let key_id = store.keyring().current().to_string();
        keep(&store, &connector("orders"), "s").await;
        store.close().await;

        room.settings.master_keys = vec![master_key(2)];
        let refused = Store::open(&room.settings, room.clock()).await.unwrap_err();
        assert!(matches!(refused, OpenError::KeyMissing { .. }));
        assert!(refused.to_string().contains(&key_id), "{refused}");

        // Held beside another, it opens what it sealed.
        room.settings.master_keys = vec![master_key(2), master_key(1)];
        let store = room.open().await;
        let record = store.connector(&id("orders")).await.unwrap().unwrap();
        let secrets = store.secrets(&record, Slot::Current).await.unwrap();
        assert_eq!(secrets, password("s"));
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let room = Room::sqlite();
    std::fs::write(room.path("attache.db"), "no database".repeat(100)).unwrap();

    let refused = Store::open(&room.settings, room.clock()).await;

    assert!(
        matches!(refused, Err(OpenError::Corrupt { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_in_a_directory_that_is_not_there_is_refused() {
    let mut room = Room::sqlite();
    room.settings.url = StoreUrl::Sqlite(room.path("nowhere").join("attache.db"));

    let refused = Store::open(&room.settings, room.clock()).await;

    assert!(
        matches!(refused, Err(OpenError::File { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let server = Postgres::shared();
    let url = server
        .database_with("ENCODING 'LATIN1' TEMPLATE template0")
        .await;
    let mut room = Room::on(server).await;
    room.settings.url = StoreUrl::Postgres(Secret::new(url));

    let refused = Store::open(&room.settings, room.clock()).await.unwrap_err();

    assert!(matches!(refused, OpenError::Encoding { .. }), "{refused:?}");
    assert!(refused.to_string().contains("LATIN1"), "{refused}");
}

#[tokio::test]
async fn no_refusal_shows_the_password_of_the_url() {
    let mut room = Room::postgres().await;
    let StoreUrl::Postgres(good) = room.settings.url.clone() else {
        panic!("a PostgreSQL room");
    };
    let (scheme_and_password, rest) = good.expose().split_once('@').unwrap();
    let (_, password) = scheme_and_password.rsplit_once(':').unwrap();
    let host = rest.split_once(':').unwrap().0;
    assert_eq!(host, "127.0.0.1");
    for url in [
        format!("postgres://nobody:{password}@{rest}"),
        format!("{}_not_there", good.expose()),
        format!("postgres://postgres:{password}@127.0.0.1:port/x"),
        format!("postgres://postgres:{password}@127.0.0.1/x?sslmode={password}"),
    ] {
        room.settings.url = StoreUrl::Postgres(Secret::new(url));
        let refused = Store::open(&room.settings, room.clock()).await.unwrap_err();
        let shown = format!("{} {refused:?}", whole(&refused));
        assert!(!shown.contains(password), "{shown}");
    }
}
