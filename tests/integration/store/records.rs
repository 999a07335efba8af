//! Connectors and their secrets are read as they were written, listed in order and in pages, and
//! unique where they are said to be.

use std::time::Duration;

use attache::connector::Organization;
use attache::control::store::{
    ConnectorFilter, ConnectorRecord, Page, Phase, Secrets, Slot, Staged, Store, StoreError,
};
use attache::secret::Secret;
use serde_json::{Value, json};

use super::administration::{filter, organization};
use super::room::{Room, all, connector, delete, entry, id, keep, on_both, password, update};

async fn ids(store: &Store, filter: &ConnectorFilter, page: Page) -> Vec<String> {
    let found = store.connectors(filter, page).await.unwrap();
    found.iter().map(|record| record.id.to_string()).collect()
}

#[tokio::test]
async fn a_connector_is_read_as_it_was_written_at_the_revision_of_its_change() {
    on_both(|room| async move {
        let store = room.open().await;
        let written = ConnectorRecord {
            staged: Some(Staged {
                fields: vec!["/auth/basic/password".to_owned()],
                at: connector("a").created_at,
                tested_at: None,
            }),
            previous_until: Some(connector("a").created_at + Duration::from_secs(60)),
            ..connector("orders")
        };

        let revision = keep(&store, &written, "hunter2").await;

        let read = store.connector(&written.id).await.unwrap().unwrap();
        assert_eq!(
            read,
            ConnectorRecord {
                revision,
                ..written
            }
        );
        assert_eq!(store.revision().await.unwrap(), revision);
        let secrets = store.secrets(&read, Slot::Current).await.unwrap();
        assert_eq!(secrets, password("hunter2"));
        assert_eq!(
            store.secrets(&read, Slot::Staged).await.unwrap(),
            Secrets::new()
        );
        assert_eq!(store.connector(&id("other")).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn what_is_in_it_is_there_when_it_is_opened_again() {
    on_both(|room| async move {
        let store = room.open().await;
        let revision = keep(&store, &connector("orders"), "hunter2").await;
        store.close().await;

        let store = room.open().await;

        let read = store.connector(&id("orders")).await.unwrap().unwrap();
        assert_eq!(read.revision, revision);
        let secrets = store.secrets(&read, Slot::Current).await.unwrap();
        assert_eq!(secrets, password("hunter2"));
    })
    .await;
}

#[tokio::test]
async fn connectors_are_listed_by_id_page_by_page() {
    on_both(|room| async move {
        let store = room.open().await;
        // Hyphens and digits are where collations other than by bytes disagree.
        for name in ["b", "a-b", "ab", "a1", "a"] {
            keep(&store, &connector(name), "s").await;
        }
        let everything = ConnectorFilter::default();
        let page = |after: Option<&str>| Page {
            after: after.map(str::to_owned),
            limit: 2,
        };

        assert_eq!(ids(&store, &everything, page(None)).await, ["a", "a-b"]);
        assert_eq!(
            ids(&store, &everything, page(Some("a-b"))).await,
            ["a1", "ab"]
        );
        assert_eq!(ids(&store, &everything, page(Some("ab"))).await, ["b"]);
        assert!(ids(&store, &everything, page(Some("b"))).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_filter_lists_what_it_says_and_nothing_else() {
    on_both(|room| async move {
        let store = room.open().await;
        let other = organization(&store, "acme").await;
        let inactive = ConnectorRecord {
            state: Phase::Inactive,
            ..connector("off")
        };
        let foreign = ConnectorRecord {
            organization: other.clone(),
            kind: "wxm".to_owned(),
            ..connector("theirs")
        };
        let gone = connector("gone");
        for record in [&connector("on"), &inactive, &foreign, &gone] {
            keep(&store, record, "s").await;
        }
        let mut change = store.begin().await.unwrap();
        delete(&mut change, &gone, gone.created_at).await;
        change.commit().await.unwrap();

        type Say<'a> = &'a dyn Fn(&mut ConnectorFilter);
        let cases: [(&str, Say<'_>, &[&str]); 6] = [
            ("all", &|_| {}, &["off", "on", "theirs"]),
            (
                "an organization",
                &|one| one.organization = Some(other.clone()),
                &["theirs"],
            ),
            (
                "a state",
                &|one| one.state = Some(Phase::Inactive),
                &["off"],
            ),
            (
                "deleted ones",
                &|one| one.state = Some(Phase::Deleted),
                &["gone"],
            ),
            ("a name", &|one| one.name = Some("on".to_owned()), &["on"]),
            (
                "a kind that an organization has none of",
                &|one| {
                    one.organization = Some(Organization::default());
                    one.kind = Some("wxm".to_owned());
                },
                &[],
            ),
        ];
        for (what, say, found) in cases {
            let mut filter = ConnectorFilter::default();
            say(&mut filter);
            assert_eq!(ids(&store, &filter, all()).await, found, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_is_never_used_again_and_a_name_only_once_it_is_free() {
    on_both(|room| async move {
        let store = room.open().await;
        let first = connector("orders");
        keep(&store, &first, "s").await;
        let same_name = ConnectorRecord {
            name: first.name.clone(),
            ..connector("second")
        };

        for taken in [&first, &same_name] {
            let mut change = store.begin().await.unwrap();
            let refused = change.insert_connector(taken, &password("t")).await;
            assert!(
                matches!(refused, Err(StoreError::Conflict { .. })),
                "{refused:?}"
            );
        }
        let mut change = store.begin().await.unwrap();
        let own = Organization::default();
        let taken = change.name_taken(&own, &first.name).await.unwrap();
        assert_eq!(taken, Some(first.id.clone()));
        assert_eq!(change.count(&own, "custom").await.unwrap(), 1);
        delete(&mut change, &first, first.created_at).await;
        assert_eq!(change.name_taken(&own, &first.name).await.unwrap(), None);
        assert_eq!(change.count(&own, "custom").await.unwrap(), 0);
        change.commit().await.unwrap();

        keep(&store, &same_name, "s").await;
        let mut change = store.begin().await.unwrap();
        let again = ConnectorRecord {
            name: "Another".to_owned(),
            ..first
        };
        let refused = change.insert_connector(&again, &password("t")).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { .. })),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_connector_of_an_organization_that_is_not_there_is_refused() {
    on_both(|room| async move {
        let store = room.open().await;
        let stray = ConnectorRecord {
            organization: Organization::parse("nobody").unwrap(),
            ..connector("stray")
        };

        let mut change = store.begin().await.unwrap();
        let refused = change.insert_connector(&stray, &Secrets::new()).await;

        assert!(
            matches!(refused, Err(StoreError::Conflict { .. })),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn secrets_open_beside_the_destination_they_were_sealed_for_alone() {
    on_both(|room| async move {
        let store = room.open().await;
        let mut record = connector("orders");
        keep(&store, &record, "hunter2").await;

        record.document["resource_domain"] = json!("https://elsewhere.example.com");
        update(&store, &record).await;
        let sent_elsewhere = store.secrets(&record, Slot::Current).await;
        let mut change = store.begin().await.unwrap();
        change
            .seal_secrets(&record, Slot::Current, &password("hunter3"))
            .await
            .unwrap();
        assert_eq!(
            change.secrets(&record, Slot::Current).await.unwrap(),
            password("hunter3")
        );
        change.commit().await.unwrap();

        assert!(
            matches!(sent_elsewhere, Err(StoreError::Sealed { .. })),
            "{sent_elsewhere:?}"
        );
        let secrets = store.secrets(&record, Slot::Current).await.unwrap();
        assert_eq!(secrets, password("hunter3"));
    })
    .await;
}

#[tokio::test]
async fn erased_secrets_are_nowhere_in_the_database() {
    on_both(|room| async move {
        let store = room.open().await;
        let record = connector("orders");
        keep(&store, &record, "s").await;
        let mut change = store.begin().await.unwrap();
        for slot in Slot::ALL {
            change
                .seal_secrets(&record, slot, &password("t"))
                .await
                .unwrap();
        }
        change.commit().await.unwrap();
        assert_eq!(room.number("SELECT COUNT(*) FROM secrets").await, 3);

        let mut change = store.begin().await.unwrap();
        for slot in Slot::ALL {
            change.drop_secrets(&record.id, slot).await.unwrap();
        }
        change.commit().await.unwrap();

        assert_eq!(room.number("SELECT COUNT(*) FROM secrets").await, 0);
        assert_eq!(room.number("SELECT COUNT(*) FROM data_keys").await, 0);
    })
    .await;
}

/// protocol.md, row 62: what is sent to a database is a value, however long and whatever it looks like.
#[tokio::test]
async fn hostile_text_is_data() {
    on_both(|room| async move {
        let store = room.open().await;
        let long = "x'; DROP TABLE connectors; -- \0\u{1a}0\u{10ffff}".repeat(1 << 15);
        assert!(long.len() > 1 << 20);
        for (number, text) in [
            "'; DROP TABLE audit; --",
            "\"$1\" ? :a \\ %s",
            "\0",
            "a\0b\u{1a}1\u{1a}",
            "\u{202e}\u{feff}é",
            long.as_str(),
        ]
        .into_iter()
        .enumerate()
        {
            let mut record = connector(&format!("c{number}"));
            record.document = json!({ text: [text], "auth": { "basic": { "password": text } } });
            record.name = text.chars().take(200).collect();
            let secret = Secret::new(text.to_owned());
            let secrets = Secrets::from([(text.chars().take(200).collect(), secret)]);
            let mut change = store.begin().await.unwrap();
            change.insert_connector(&record, &secrets).await.unwrap();
            let mut noted = entry(text);
            noted.actor = text.to_owned();
            noted.after = Some(Value::from(text));
            change.audit(&noted).await.unwrap();
            record.revision = change.commit().await.unwrap();

            assert_eq!(
                store.connector(&record.id).await.unwrap(),
                Some(record.clone())
            );
            let read = store.secrets(&record, Slot::Current).await.unwrap();
            assert_eq!(read, secrets);
            let by_name = ConnectorFilter {
                name: Some(record.name.clone()),
                ..ConnectorFilter::default()
            };
            assert_eq!(ids(&store, &by_name, all()).await, [record.id.as_str()]);
            let by_target = filter(|one| one.target = Some(text.to_owned()));
            let found = store.audit_entries(&by_target, all()).await.unwrap();
            assert_eq!(found.len(), 1);
            // Of what is long the audit log keeps a digest.
            if text.len() <= 2048 {
                let read = (&found[0].actor, &found[0].after);
                assert_eq!(read, (&noted.actor, &noted.after));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_its_owner_may_read_an_sqlite_store() {
    use std::os::unix::fs::PermissionsExt;

    let room = Room::sqlite();
    std::fs::write(room.path("attache.db"), "").unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(room.path("attache.db"), open_to_all).unwrap();

    let store = room.open().await;
    keep(&store, &connector("orders"), "s").await;

    for name in ["attache.db", "attache.db-wal", "attache.db-shm"] {
        let mode = std::fs::metadata(room.path(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
}
