//! A snapshot is whole, one's own, and of one store.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use std::collections::BTreeMap;

use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use crate::config::MasterKey;
use crate::connector::{ConnectorId, Organization};
use crate::control::store::feed::{Opened, Previous};
use crate::control::store::records::{ConnectorRecord, Phase, Secrets, Staged};
use crate::secret::Secret;

const CANARY: &str = "hunter2 \"\\\u{1f511}";

fn keyring(keys: &[u8]) -> Keyring {
    let key = |byte: &u8| MasterKey::new(Zeroizing::new([*byte; 32]));
    let keys: Vec<_> = keys.iter().map(key).collect();
    Keyring::new(&keys).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secrets(texts: &[(&str, &str)]) -> Secrets {
    let secret =
        |(field, text): &(&str, &str)| ((*field).to_owned(), Secret::new((*text).to_owned()));
    texts.iter().map(secret).collect::<BTreeMap<_, _>>()
}

fn record(id: &str, state: Phase) -> ConnectorRecord {
    ConnectorRecord {
        id: ConnectorId::parse(id).unwrap(),
        organization: Organization::parse("north").unwrap(),
        name: format!("The {id}"),
        kind: "custom".to_owned(),
        state,
        document: json!({ "auth": { "basic": { "password": { "kept": true } } } }),
        revision: 7,
        served_revision: 6,
        created_at: at(1),
        updated_at: at(2),
        deleted_at: None,
        staged: None,
        previous_until: None,
    }
}

/// Connectors in every state that a snapshot has to carry.
fn changes() -> Changes {
    let plain = Opened {
        record: record("crm", Phase::Active),
        secrets: Ok(secrets(&[("/auth/a", CANARY), ("/auth/b", "")])),
        previous: None,
    };
    let mut promoted = record("erp", Phase::Inactive);
    promoted.previous_until = Some(at(90));
    promoted.staged = Some(Staged {
        fields: vec!["/auth/a".to_owned()],
        at: at(3),
        tested_at: Some(at(4)),
    });
    let promoted = Opened {
        record: promoted,
        secrets: Ok(secrets(&[("/auth/a", "new")])),
        previous: Some(Previous {
            secrets: Ok(secrets(&[("/auth/a", "old")])),
            until: at(90),
        }),
    };
    let broken = Opened {
        record: record("hr", Phase::Active),
        secrets: Err(SealError::Unopened),
        previous: None,
    };
    Changes {
        revision: 17,
        connectors: vec![plain, promoted, broken],
    }
}

fn staged() -> (tempfile::TempDir, SnapshotFile) {
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(PathBuf::from("/var/lib/a.db"));
    let file = SnapshotFile::new(dir.path().join("a.snapshot"), &url);
    (dir, file)
}

fn written(keys: &[u8]) -> (tempfile::TempDir, SnapshotFile) {
    let (dir, file) = staged();
    file.write(&keyring(keys), at(5), &changes()).unwrap();
    (dir, file)
}

fn said(file: &SnapshotFile, keys: &[u8]) -> String {
    let error = file.read(&keyring(keys)).expect_err("it was read");
    crate::logging::with_sources(&error)
}

#[test]
fn what_was_written_is_read() {
    let (_dir, file) = written(&[1]);

    let snapshot = file.read(&keyring(&[1])).unwrap().unwrap();

    assert_eq!(snapshot.taken_at, at(5));
    let (read, kept) = (snapshot.changes, changes());
    assert_eq!(read.revision, kept.revision);
    assert_eq!(read.connectors.len(), kept.connectors.len());
    for (read, kept) in read.connectors.iter().zip(&kept.connectors) {
        assert_eq!(read.record, kept.record);
        assert_eq!(read.secrets, kept.secrets);
        let previous = |opened: &Opened| {
            let previous = opened.previous.as_ref();
            previous.map(|previous| (previous.secrets.clone(), previous.until))
        };
        assert_eq!(previous(read), previous(kept));
    }
}

#[test]
fn where_there_is_none_nothing_is_read() {
    let (_dir, file) = staged();

    assert!(file.read(&keyring(&[1])).unwrap().is_none());
    assert_eq!(file.key_id().unwrap(), None);
    assert_eq!(file.rewrap(&keyring(&[1])).unwrap(), Rewrapped::Nothing);
}

#[test]
fn nobody_else_may_read_it_and_it_shows_nothing() {
    let (dir, file) = written(&[1]);

    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let bytes = std::fs::read(file.path()).unwrap();
    for needle in ["hunter2", "The crm", "/auth/a", "north"] {
        let needle = needle.as_bytes();
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{needle:?}");
    }
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 1, "something was left beside it");
}

#[test]
fn what_a_killed_process_left_is_in_nobodys_way() {
    let (_dir, file) = staged();
    let mut left = file.path().as_os_str().to_owned();
    left.push(".new");
    std::fs::write(&left, "x".repeat(100_000)).unwrap();

    file.write(&keyring(&[1]), at(5), &changes()).unwrap();

    assert!(file.read(&keyring(&[1])).unwrap().is_some());
    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!Path::new(&left).exists());
}

#[test]
fn one_that_cannot_be_written_leaves_the_last_one() {
    let (dir, file) = written(&[1]);
    // A directory stands where the new one would be written.
    std::fs::create_dir(dir.path().join("a.snapshot.new")).unwrap();

    let mut later = changes();
    later.revision += 1;
    let error = file.write(&keyring(&[1]), at(6), &later).unwrap_err();

    assert!(error.to_string().contains("cannot be written"), "{error}");
    let kept = file.read(&keyring(&[1])).unwrap().unwrap();
    assert_eq!(kept.changes.revision, 17);
}

#[test]
fn a_directory_that_is_not_there_is_made_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(PathBuf::from("/var/lib/a.db"));
    let file = SnapshotFile::new(dir.path().join("state/a.snapshot"), &url);

    file.write(&keyring(&[1]), at(5), &changes()).unwrap();

    let mode = std::fs::metadata(dir.path().join("state"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn no_byte_of_it_can_be_changed_cut_or_added() {
    let (_dir, file) = written(&[1]);
    let good = std::fs::read(file.path()).unwrap();
    for index in 0..good.len() {
        let mut flipped = good.clone();
        flipped[index] ^= 1 << (index % 8);
        std::fs::write(file.path(), &flipped).unwrap();
        assert!(file.read(&keyring(&[1])).is_err(), "byte {index}");
        std::fs::write(file.path(), &good[..index]).unwrap();
        assert!(file.read(&keyring(&[1])).is_err(), "{index} bytes of it");
    }
    std::fs::write(file.path(), [&good[..], b"x"].concat()).unwrap();
    assert!(file.read(&keyring(&[1])).is_err());
}

#[test]
fn one_of_another_store_is_refused_with_a_sentence() {
    let (_dir, file) = written(&[1]);
    let other = StoreUrl::Sqlite(PathBuf::from("/var/lib/b.db"));
    let other = SnapshotFile::new(file.path().to_path_buf(), &other);

    let sentence = said(&other, &[1]);
    assert!(sentence.contains("taken of another store"), "{sentence}");

    // Neither does it open where its header was made to say that it belongs.
    let bytes = std::fs::read(file.path()).unwrap();
    let bytes: Vec<u8> = [other.header(&bytes), bytes[other.header_bytes()..].to_vec()].concat();
    std::fs::write(file.path(), bytes).unwrap();
    let sentence = said(&other, &[1]);
    assert!(sentence.contains("does not open"), "{sentence}");
}

impl SnapshotFile {
    fn header_bytes(&self) -> usize {
        "attache-snapshot-1\nkey 0123456789abcdef\nstore \n\n".len() + self.store.len()
    }

    /// The header of `bytes`, made this store's.
    fn header(&self, bytes: &[u8]) -> Vec<u8> {
        let lines = std::str::from_utf8(&bytes[..self.header_bytes()]).unwrap();
        let (before, _) = lines.split_once("store ").unwrap();
        format!("{before}store {}\n\n", self.store).into_bytes()
    }
}

#[test]
fn one_of_another_format_is_refused_with_a_sentence() {
    let (_dir, file) = written(&[1]);
    let bytes = std::fs::read(file.path()).unwrap();
    let later = [b"attache-snapshot-2", &bytes["attache-snapshot-1".len()..]].concat();
    std::fs::write(file.path(), later).unwrap();

    let sentence = said(&file, &[1]);

    assert!(sentence.contains("is in format 2"), "{sentence}");
    for foreign in [
        &b"SQLite format 3\0"[..],
        b"",
        b"attache-snapshot-x\n\n",
        &[b'a'; 1000],
    ] {
        std::fs::write(file.path(), foreign).unwrap();
        let sentence = said(&file, &[1]);
        assert!(sentence.contains("is no snapshot"), "{sentence}");
    }
}

#[test]
fn a_key_that_is_not_held_is_named() {
    let (_dir, file) = written(&[1]);

    let sentence = said(&file, &[2]);

    let wanted = keyring(&[1]).current().to_string();
    assert!(sentence.contains(&wanted), "{sentence}");
}

#[test]
fn rewrapped_it_opens_under_the_new_key_alone() {
    let (_dir, file) = written(&[1]);

    assert_eq!(file.rewrap(&keyring(&[2, 1])).unwrap(), Rewrapped::Done);

    assert_eq!(
        file.key_id().unwrap().as_ref(),
        Some(keyring(&[2]).current())
    );
    assert!(file.read(&keyring(&[2])).unwrap().is_some());
    assert!(file.read(&keyring(&[1])).is_err());
    assert_eq!(file.rewrap(&keyring(&[2, 1])).unwrap(), Rewrapped::Already);
    assert!(file.rewrap(&keyring(&[3])).is_err());
}

#[test]
fn whoever_writes_it_waits_for_who_writes_it() {
    let (_dir, file) = written(&[1]);
    let lock = file.lock().unwrap();
    let other = file.clone();
    let writing = thread::spawn(move || other.write(&keyring(&[1]), at(6), &changes()));

    // As long as the lock is held, what is there stays.
    let before = file.read(&keyring(&[1])).unwrap().unwrap().taken_at;
    assert!(!writing.is_finished());
    drop(lock);
    writing.join().unwrap().unwrap();

    assert_eq!(before, at(5));
    let after = file.read(&keyring(&[1])).unwrap().unwrap().taken_at;
    assert_eq!(after, at(6));
}
