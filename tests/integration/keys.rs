//! `attache key`: master keys are made, looked at and replaced, on either store.

use std::os::unix::fs::PermissionsExt;

use attache::clock::Clock;
use attache::config::MasterKey;
use attache::control::store::{
    AuditEntry, AuditFilter, AuditOutcome, Keyring, OpenError, Page, Slot, SnapshotFile, Store,
    keys_in_use,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::support::child::Child;
use crate::support::vault::{
    Vault, attache, keep, key_id, master_key, on_both, password, passwords, path, record,
};

/// More than three batches of a rotation.
const MANY: usize = 350;

#[tokio::test]
async fn a_new_key_stands_alone_on_standard_output_and_its_id_beside_it() {
    let first = attache(&["key", "generate"]).await;
    let second = attache(&["key", "generate"]).await;

    assert_eq!(first.status.code(), Some(0));
    let key = MasterKey::read(&first.stdout).unwrap();
    let id = attache::control::store::KeyId::of(&key);
    assert_eq!(first.stderr, format!("master key {id}"));
    assert_ne!(first.stdout, second.stdout);
}

#[tokio::test]
async fn a_key_file_is_its_owners_alone_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attache.key");

    let made = attache(&["key", "generate", "--out", path(&file)]).await;
    let written = std::fs::read_to_string(&file).unwrap();
    let again = attache(&["key", "generate", "--out", path(&file)]).await;

    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let key = MasterKey::read(written.trim_end()).unwrap();
    let id = attache::control::store::KeyId::of(&key);
    assert_eq!(made.stdout, format!("{}: master key {id}", file.display()));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        again.stderr.contains("cannot be made: File exists"),
        "{again:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[tokio::test]
async fn without_a_store_there_is_nothing_to_tell_or_replace() {
    let vault = Vault::sqlite();
    let config = vault.stage.config_file("store: null\n");
    for command in ["status", "rotate"] {
        let ended = attache(&["key", command, "--config", path(&config)]).await;
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("`store` is null"), "{ended:?}");
    }
}

#[tokio::test]
async fn status_tells_which_keys_are_in_use_and_which_may_go() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        keep(&store, "a", "canary-one").await;
        keep(&store, "b", "canary-two").await;
        store.close().await;

        let told = vault.key("status", &[3, 1, 2]).await;

        assert_eq!(told.status.code(), Some(0), "{told:?}");
        let lines: Vec<&str> = told.stdout.lines().collect();
        assert_eq!(lines[0], format!("{}  records: 0  current", key_id(3)));
        assert!(lines[1].starts_with(&format!("{}  records: 2  in use", key_id(1))));
        assert!(lines[2].starts_with(&format!("{}  records: 0  may be removed", key_id(2))));
        assert!(lines[3].ends_with("attache.snapshot: none"), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_wanted_and_not_held_is_named_by_its_id() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        keep(&store, "a", "canary-one").await;
        store.close().await;

        let told = vault.key("status", &[2]).await;
        let rotated = vault.key("rotate", &[2]).await;
        let opened = Store::open(&vault.settings(&[2]), Clock::system()).await;
        let served = attache(&["serve", "--config", path(&vault.config(&[2]))]).await;

        assert_eq!(told.status.code(), Some(2), "{told:?}");
        let line = format!("{}  records: 1  not held", key_id(1));
        assert!(told.stdout.contains(&line), "{told:?}");
        assert_eq!(rotated.status.code(), Some(2), "{rotated:?}");
        assert!(rotated.stderr.contains(&key_id(1)), "{rotated:?}");
        assert!(matches!(opened, Err(OpenError::KeyMissing { .. })));
        assert_eq!(served.status.code(), Some(2), "{served:?}");
        assert!(served.stderr.contains(&key_id(1)), "{served:?}");
    })
    .await;
}

#[tokio::test]
async fn after_a_rotation_the_old_key_can_be_removed() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        keep(&store, "a", "canary-one").await;
        // Every slot is a record of its own.
        let mut change = store.begin().await.unwrap();
        let staged = password("canary-staged");
        change
            .seal_secrets(&record("a"), Slot::Staged, &staged)
            .await
            .unwrap();
        change.commit().await.unwrap();
        let settings = vault.settings(&[1]);
        let snapshot = SnapshotFile::new(settings.snapshot, &settings.url);
        let changes = store.changes_since(0).await.unwrap();
        let old = Keyring::new(&[master_key(1)]).unwrap();
        snapshot
            .write(&old, std::time::SystemTime::now(), &changes)
            .unwrap();
        store.close().await;

        tamper(&vault, &shared_token(&vault, &key_id(1))).await;
        let before = vault.key("status", &[2, 1]).await;

        let rotated = vault.key("rotate", &[2, 1]).await;
        let again = vault.key("rotate", &[2, 1]).await;

        let line = format!("{}  records: 3  in use", key_id(1));
        assert!(before.stdout.contains(&line), "{before:?}");
        let after = vault.key("status", &[2, 1]).await;
        let line = format!("{}  records: 0  may be removed", key_id(1));
        assert!(after.stdout.contains(&line), "{after:?}");
        assert_eq!(rotated.status.code(), Some(0), "{rotated:?}");
        assert!(rotated.stdout.contains("2 of 2 records"), "{rotated:?}");
        assert!(rotated.stdout.contains("sealed anew"), "{rotated:?}");
        assert_eq!(again.status.code(), Some(0), "{again:?}");
        assert_eq!(again.stdout.lines().count(), 1, "{again:?}");
        let store = vault.open(&[2]).await;
        assert_eq!(passwords(&store).await["a"], "canary-one");
        let read = store.secrets(&record("a"), Slot::Staged).await.unwrap();
        assert_eq!(read, staged);
        let new = Keyring::new(&[master_key(2)]).unwrap();
        assert!(snapshot.read(&new).unwrap().is_some());
        let page = Page {
            after: None,
            limit: 10,
        };
        let entries = store
            .audit_entries(&AuditFilter::default(), page)
            .await
            .unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(
            (entries[0].action.as_str(), &entries[0].target),
            ("key.rotate", &key_id(2))
        );
    })
    .await;
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_taken_up_while_others_write() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        for index in 0..MANY {
            keep(&store, &format!("c-{index}"), &format!("canary-{index}")).await;
        }
        store.close().await;

        // A gateway that has the new key goes on writing.
        let gateway = vault.open(&[2, 1]).await;
        let config = vault.config(&[2, 1]);
        let rotating = Child::attache(&["key", "rotate", "--config", path(&config)]);
        let batch = |line: &str| line.contains(" records");
        rotating.stdout.line("the first batch", batch).await;
        rotating.signal("KILL");
        keep(&gateway, "meanwhile", "canary-meanwhile").await;
        rotating.exited().await;
        let between = keys_in_use(&vault.settings(&[2, 1]), Clock::system()).await;
        let between: u64 = between.unwrap().values().sum();

        let (rotated, ()) = tokio::join!(vault.key("rotate", &[2, 1]), async {
            for index in 0..20 {
                keep(&gateway, &format!("late-{index}"), "canary-late").await;
            }
        });
        gateway.close().await;

        assert_eq!(between, MANY as u64 + 1);
        assert_eq!(rotated.status.code(), Some(0), "{rotated:?}");
        let after = keys_in_use(&vault.settings(&[2]), Clock::system())
            .await
            .unwrap();
        let after: Vec<_> = after
            .iter()
            .map(|(id, count)| (id.to_string(), *count))
            .collect();
        assert_eq!(after, [(key_id(2), MANY as u64 + 21)]);
        let passwords = passwords(&vault.open(&[2]).await).await;
        assert_eq!(passwords.len(), MANY + 21);
        for index in 0..MANY {
            assert_eq!(passwords[&format!("c-{index}")], format!("canary-{index}"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotation_that_was_ended_does_what_is_left() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        for index in 0..MANY {
            keep(&store, &format!("c-{index}"), "canary-secret").await;
        }
        store.close().await;
        let store = vault.open(&[2, 1]).await;
        let entry = rotation_entry();

        let (ended, first) = tokio::sync::oneshot::channel();
        let mut ended = Some(ended);
        let rotating = store.rewrap(&entry, |_| {
            let _ended = ended.take().map(|ended| ended.send(()));
        });
        tokio::select! {
            rotated = rotating => panic!("it was not ended: {rotated:?}"),
            _ = first => {}
        }
        let left = store.keys_to_rewrap().await.unwrap();
        let rotated = store.rewrap(&entry, |_| {}).await.unwrap();

        assert!(left > 0 && left < MANY as u64, "{left}");
        assert_eq!(rotated.rewrapped, left);
        assert_eq!(store.keys_to_rewrap().await.unwrap(), 0);
    })
    .await;
}

/// A token of connector `a` that replicas share, sealed under this key.
fn shared_token(vault: &Vault, key_id: &str) -> String {
    let name = match vault.server {
        Some(_) => "'k'",
        None => "x'6b'",
    };
    format!(
        "INSERT INTO shared_tokens (key, connector, key_id, holder, leased_until, spender) \
         VALUES ({name}, 'a', '{key_id}', '', 0, '')"
    )
}

fn rotation_entry() -> AuditEntry {
    AuditEntry {
        id: 0,
        at: std::time::SystemTime::now(),
        actor: "cli".to_owned(),
        role: None,
        organization: None,
        action: "key.rotate".to_owned(),
        target: key_id(2),
        outcome: AuditOutcome::Done,
        address: String::new(),
        request_id: String::new(),
        before: None,
        after: None,
    }
}

#[tokio::test]
async fn what_does_not_open_is_told_and_does_not_hold_up_the_rest() {
    on_both(|vault| async move {
        let store = vault.open(&[1]).await;
        for id in ["a", "b", "c"] {
            keep(&store, id, "canary-secret").await;
        }
        store.close().await;
        // Whoever has the database puts one connector's key in another's place.
        let swap = "UPDATE data_keys SET wrapped = \
             (SELECT wrapped FROM data_keys WHERE connector = 'b') WHERE connector = 'a'";
        tamper(&vault, swap).await;

        let rotated = vault.key("rotate", &[2, 1]).await;

        assert_eq!(rotated.status.code(), Some(1), "{rotated:?}");
        assert!(rotated.stdout.contains("2 of 3 records"), "{rotated:?}");
        assert!(
            rotated
                .stdout
                .contains("connector a, current: what was sealed does not open")
        );
        assert!(
            rotated.stdout.contains("1 records do not lie under"),
            "{rotated:?}"
        );
        let told = vault.key("status", &[2, 1]).await;
        assert!(
            told.stdout
                .contains(&format!("{}  records: 1  in use", key_id(1)))
        );
    })
    .await;
}

/// Runs `sql` past the gateway, as whoever has the database would.
async fn tamper(vault: &Vault, sql: &str) {
    let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    match vault.settings(&[1]).url {
        attache::config::StoreUrl::Sqlite(file) => {
            let url = format!("sqlite:{}", file.display());
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            script.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        attache::config::StoreUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url.expose()).await.unwrap();
            script.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}
