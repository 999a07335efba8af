//! The `store:` section: where it is, and which keys it seals under.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{read, read_in, refused};
use crate::config::document::{Content, Document, Node};
use crate::config::units::{Bounded, Quantity};
use crate::config::{MasterKey, Store, StoreUrl, store};

const REFERENCE: &str = include_str!("../../../config/reference.yaml");
const KEY: &str = "attache-key-1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "attache-key-1:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A directory with the key files that these tests name.
fn stage() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), format!("{KEY}\n")).unwrap();
    std::fs::write(dir.path().join("old"), format!("{OTHER_KEY}\n")).unwrap();
    dir
}

fn with_url(url: &str) -> String {
    format!("store: {{ url: {url}, master_keys: [{{ file: key }}] }}")
}

fn with_keys(keys: &str) -> String {
    format!("store: {{ url: 'sqlite:a.db', master_keys: {keys} }}")
}

fn good(text: &str, dir: &Path) -> (Store, Vec<String>) {
    let config = read_in(text, dir).unwrap();
    (config.store.unwrap(), config.warnings)
}

fn faulty(text: &str, dir: &Path) -> String {
    let error = read_in(text, dir).map(drop).expect_err(text);
    error.to_string()
}

#[test]
fn there_is_no_store_unless_one_is_named() {
    for text in ["", "store: null", "store:"] {
        assert_eq!(read(text).unwrap().store, None, "{text}");
    }
    let said = refused("store: {}");
    assert!(said.contains("store.url: is required"), "{said}");
    assert!(said.contains("store.master_keys: is required"), "{said}");
}

#[test]
fn what_is_not_written_has_its_default() {
    let dir = stage();

    let (store, warnings) = good(&with_url("sqlite:state/a.db"), dir.path());

    assert_eq!(store.url, StoreUrl::Sqlite(dir.path().join("state/a.db")));
    assert_eq!(store.snapshot, dir.path().join("state/a.snapshot"));
    assert_eq!(store.master_keys, [MasterKey::read(KEY).unwrap()]);
    assert_eq!(store.connections_max, 10);
    assert_eq!(store.poll, Duration::from_millis(500));
    assert_eq!(store.timeout, Duration::from_secs(2));
    assert_eq!(store.lease, Duration::from_secs(3));
    assert_eq!(store.connectors_max["custom"], 10);
    assert_eq!(store.deleted_kept, Duration::from_secs(30 * 24 * 3_600));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn the_snapshot_stands_beside_the_configuration_where_the_database_is_no_file() {
    let dir = stage();

    let (store, _) = good(&with_url("postgres://a@127.0.0.1/b"), dir.path());

    assert_eq!(store.snapshot, dir.path().join("attache.snapshot"));
}

#[test]
fn a_snapshot_is_not_the_database() {
    let dir = stage();
    let text = "store: { url: 'sqlite:a.db', snapshot: a.db, master_keys: [{ file: key }] }";

    let said = faulty(text, dir.path());

    assert!(
        said.contains("store.snapshot: is the database itself"),
        "{said}"
    );
}

#[test]
fn an_sqlite_url_names_a_file() {
    let dir = stage();
    for (url, file) in [
        ("sqlite:a.db", dir.path().join("a.db")),
        ("sqlite:///var/lib/a.db", PathBuf::from("/var/lib/a.db")),
        ("sqlite:/var/lib/a.db", PathBuf::from("/var/lib/a.db")),
    ] {
        assert_eq!(
            good(&with_url(url), dir.path()).0.url,
            StoreUrl::Sqlite(file)
        );
    }
    for url in [
        "'sqlite:'",
        "sqlite://",
        "'sqlite::memory:'",
        "'sqlite:a.db?mode=memory'",
        "a.db",
        "mysql://a/b",
        "[sqlite, a]",
        "'postgres:'",
        "postgres:///b",
        "postgres://a b/c",
    ] {
        let said = faulty(&with_url(url), dir.path());
        assert!(said.contains("store.url: must be "), "{url}: {said}");
    }
}

#[test]
fn a_database_on_another_host_is_verified() {
    let dir = stage();
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        for host in ["db.example", "10.0.0.1", "127.0.0.1.example"] {
            let url = format!("postgres://a:hunter2@{host}/b?sslmode={mode}");
            let said = faulty(&with_url(&url), dir.path());
            assert!(
                said.contains("`sslmode` must be verify-full"),
                "{url}: {said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
        // What counts is where the driver connects in the end.
        let url = format!("'postgres://a@localhost/b?host=db.example&sslmode={mode}'");
        let said = faulty(&with_url(&url), dir.path());
        assert!(
            said.contains("`sslmode` must be verify-full"),
            "{url}: {said}"
        );
    }
    for url in [
        "postgres://a@db.example/b",
        "postgresql://a@db.example/b?sslmode=verify-full",
        "postgres://a@localhost/b?sslmode=disable",
        "postgres://a@127.0.0.2/b?sslmode=disable",
        "'postgres://a@[::1]/b?sslmode=disable'",
        "'postgres://a@%2Frun%2Fpostgresql/b?sslmode=disable'",
        "postgres:///b?host=/run/postgresql&sslmode=disable",
    ] {
        let (store, warnings) = good(&with_url(url), dir.path());
        assert!(matches!(store.url, StoreUrl::Postgres(_)), "{url}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn a_url_tells_whether_its_host_is_this_machine() {
    let url = |text: &str| StoreUrl::Postgres(crate::secret::Secret::new(text.to_owned()));
    for local in [
        "postgres://a@localhost/b",
        "postgres://a@[::1]/b",
        "postgres://a@%2Frun/b",
        "postgres:///b?host=/run",
    ] {
        assert!(url(local).is_local(), "{local}");
    }
    for away in [
        "postgres://a@db.example/b",
        "postgres://localhost@db.example/b",
        "postgres://a@localhost/b?hostaddr=10.0.0.1",
    ] {
        assert!(!url(away).is_local(), "{away}");
    }
    assert!(url("postgres://a/b?sslmode=verify-full").names_ssl_mode());
    assert!(!url("postgres://a/b").names_ssl_mode());
}

#[test]
fn a_database_is_the_same_whoever_asks_for_it() {
    let place =
        |text: &str| StoreUrl::Postgres(crate::secret::Secret::new(text.to_owned())).place();
    for same in [
        "postgres://b:hunter2@DB.example/c",
        "postgresql://db.example:5432/c?sslmode=verify-full",
        "postgres://a@localhost/d?host=db.example&dbname=c",
    ] {
        assert_eq!(place(same), "postgres:db.example:5432/c", "{same}");
    }
    for other in [
        "postgres://db.example:5433/c",
        "postgres://db.example/d",
        "postgres://db.example/c?port=5433",
        "postgres://db.example.org/c",
    ] {
        assert_ne!(place(other), "postgres:db.example:5432/c", "{other}");
    }
    assert_eq!(StoreUrl::Sqlite("/a/b.db".into()).place(), "sqlite:/a/b.db");
}

#[test]
fn a_parameter_that_the_driver_would_log_is_refused_without_its_value() {
    let dir = stage();

    let said = faulty(
        &with_url("postgres://a@b.example/c?pasword=hunter2"),
        dir.path(),
    );

    assert!(said.contains("has a parameter that is not known"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_password_in_the_configuration_itself_is_warned_of() {
    let dir = stage();
    let url = "postgres://a:hunter2@b.example/c";
    std::fs::write(dir.path().join("url"), format!("{url}\n")).unwrap();

    let (_, plain) = good(&with_url(url), dir.path());
    let (_, parameter) = good(
        &with_url("postgres://b.example/c?password=hunter2"),
        dir.path(),
    );
    let (from_file, unwarned) = good(&with_url("{ file: url }"), dir.path());

    for warnings in [plain, parameter] {
        assert!(warnings[0].contains("store.url: the URL holds a password"));
        assert!(!warnings[0].contains("hunter2"));
    }
    assert!(unwarned.is_empty());
    let expected = crate::secret::Secret::new(url.to_owned());
    assert_eq!(from_file.url, StoreUrl::Postgres(expected));
}

#[test]
fn a_master_key_comes_from_a_file_a_variable_or_a_command() {
    let dir = stage();
    let text = with_keys("[{ command: [cat, old] }, { file: key }]");

    let (store, _) = good(&text, dir.path());

    let expected = [OTHER_KEY, KEY].map(|key| MasterKey::read(key).unwrap());
    assert_eq!(store.master_keys, expected);
    let said = faulty(&with_keys("[{ env: SET }]"), dir.path());
    assert!(
        said.contains("store.master_keys[0]: what is written there is not a master key"),
        "{said}"
    );
}

#[test]
fn a_master_key_never_stands_in_the_configuration() {
    let dir = stage();
    for keys in [
        format!("['{KEY}']"),
        format!("'{KEY}'"),
        format!("[{{ plain: '{KEY}' }}]"),
        format!("[{{ '{KEY}' }}]"),
        format!("[{{ file: '{KEY}' }}]"),
        format!("[{{ env: '{KEY}' }}]"),
        format!("[{{ command: '{KEY}' }}]"),
        format!("[{{ command: ['{KEY}'] }}]"),
        "[]".to_owned(),
        "null".to_owned(),
        "{ file: key }".to_owned(),
        "[{}]".to_owned(),
        "[{ file: key, env: SET }]".to_owned(),
        "[{ file: key, command: [cat, key] }]".to_owned(),
        "[{ command: [] }]".to_owned(),
        "[{ command: [''] }]".to_owned(),
        "[{ command: [cat, [key]] }]".to_owned(),
    ] {
        let said = faulty(&with_keys(&keys), dir.path());
        assert!(said.contains("store.master_keys"), "{keys}: {said}");
        assert!(!said.contains("AQEBAQ"), "{keys}: {said}");
    }
}

#[test]
fn what_is_no_master_key_is_refused_and_not_repeated() {
    let dir = stage();
    for (index, text) in [
        "hunter2",
        "attache-key-1:",
        "attache-key-1:aHVudGVyMg==",
        &KEY.replace("key-1", "key-2"),
        &KEY.replace('=', ""),
        &KEY.replace("AQE=", "AQEB"),
        &format!("{KEY}\n\n"),
        &format!(" {KEY}"),
        &format!("{KEY}{KEY}"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("bad-{index}");
        std::fs::write(dir.path().join(&name), text).unwrap();
        for keys in [
            format!("[{{ file: {name} }}]"),
            format!("[{{ command: [cat, {name}] }}]"),
        ] {
            let said = faulty(&with_keys(&keys), dir.path());
            assert!(said.contains("store.master_keys[0]"), "{text}: {said}");
            assert!(
                !said.contains("hunter2") && !said.contains("AQEB"),
                "{said}"
            );
        }
    }
}

#[test]
fn one_key_is_not_held_twice() {
    let dir = stage();

    let said = faulty(
        &with_keys("[{ file: key }, { command: [cat, key] }]"),
        dir.path(),
    );

    assert!(
        said.contains("store.master_keys[1]: is a key that stands before it"),
        "{said}"
    );
}

#[test]
fn a_command_that_fails_is_refused_without_what_it_said() {
    let dir = stage();
    for (command, reason) in [
        ("[/nowhere/hunter2]", "cannot be started: No such file"),
        (
            "[sh, -c, 'echo hunter2; exit 3']",
            "failed (exit status: 3)",
        ),
        (
            "[sh, -c, 'echo hunter2 >&2; kill -9 $$']",
            "failed (signal: 9",
        ),
        ("[head, -c, '5000', /dev/zero]", "longer than 4KiB"),
        ("[sh, -c, 'printf \"\\377hunter2\"']", "is not UTF-8 text"),
        ("['true']", "is not a master key"),
    ] {
        let said = faulty(
            &with_keys(&format!("[{{ command: {command} }}]")),
            dir.path(),
        );
        assert!(said.contains(reason), "{command}: {said}");
        assert!(said.contains("store.master_keys[0]"), "{command}: {said}");
        assert!(!said.contains("hunter2"), "{command}: {said}");
    }
}

#[test]
fn a_key_is_written_as_it_is_read_and_shown_to_nobody() {
    let key = MasterKey::read(KEY).unwrap();

    assert_eq!(key.write().expose(), KEY);
    let store = good(&with_url("sqlite:a.db"), stage().path()).0;
    let shown = format!("{store:?}");
    assert!(
        !shown.contains("AQEB") && !shown.contains("1, 1, 1"),
        "{shown}"
    );
}

/// The store's section as the reference shows it, which is a comment there.
fn shown() -> String {
    let lines = REFERENCE.lines().skip_while(|line| *line != "#   store:");
    let lines = lines.take_while(|line| line.starts_with("#   "));
    lines.map(|line| format!("{}\n", &line[4..])).collect()
}

fn child<'n>(node: &'n Node, key: &str) -> &'n Node {
    match &node.content {
        Content::Map(entries) => {
            let found = entries.iter().find(|entry| entry.key == key);
            &found.unwrap_or_else(|| panic!("{key} is not shown")).value
        }
        Content::List(_) | Content::Null | Content::Text(_) | Content::Bare => panic!("{key}"),
    }
}

#[test]
fn the_reference_shows_every_key_at_its_default() {
    let dir = stage();
    let shown = shown();
    let document = Document::parse(&shown).unwrap();
    let section = child(document.root(), "store");
    for key in store::STORE_KEYS {
        child(section, key);
    }
    for key in store::KINDS {
        child(child(section, "connectors_max"), key);
    }
    for source in store::KEY_SOURCE_KEYS {
        assert!(shown.contains(&format!("- {{ {source}: ")), "{source}");
    }

    // Two of its keys are nobody's here.
    let runnable = shown
        .replace("attache.key", "key")
        .replace("    - { env: ATTACHE_OLD_KEY }\n", "")
        .replace("[vault, kv, get, -field=key, secret/attache]", "[cat, old]");
    let (written, _) = good(&runnable, dir.path());
    let terse = "store: { url: 'sqlite:attache.db', master_keys: [{ file: key }, { file: old }] }";
    assert_eq!(written, good(terse, dir.path()).0);
}

fn assert_bounds<Q: Quantity>(bounded: &Bounded<Q>) {
    let shown = shown();
    let start = format!("{}:", bounded.key);
    let line = shown
        .lines()
        .find(|line| line.trim_start().starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("{start} is not shown"));
    assert!(line.contains(&bounded.allowed()), "{line}");
}

#[test]
fn the_reference_says_every_bound() {
    assert_bounds(&store::CONNECTIONS_MAX);
    assert_bounds(&store::CUSTOM_MAX);
    for span in [
        &store::POLL,
        &store::TIMEOUT,
        &store::LEASE,
        &store::DELETED_KEPT,
    ] {
        assert_bounds(span);
    }
    let dir = stage();
    for setting in [
        "connections_max: 1",
        "connections_max: 1001",
        "poll: 49ms",
        "timeout: 0s",
        "lease: 6m",
        "deleted_kept: 30d",
        "connectors_max: { custom: -1 }",
        "connectors_max: { salesforce: 5 }",
    ] {
        let text = with_url("sqlite:a.db").replace(" }", &format!(", {setting} }}"));
        let text = text.replacen(&format!(", {setting} }}]"), " }]", 1);
        let said = faulty(&text, dir.path());
        let key = setting.split(':').next().unwrap();
        assert!(said.contains(&format!("store.{key}")), "{text}: {said}");
    }
}
