#![allow(
    clippy::unwrap_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use std::collections::HashMap;
use std::path::Path;

use tokio::runtime::Handle;

use super::*;
use crate::clock::Clock;
use crate::connector::{Connector, Revision, Stored};
use crate::dial::{Dialer, Lookup, Resolver};

/// A publisher that has published what `text` says.
fn publisher(text: &str) -> Publisher {
    let (clock, metrics) = (Clock::system(), Metrics::new(1, 2));
    let lookup = Lookup::Table(Arc::new(HashMap::new()));
    let runtime = Handle::current();
    let resolver = Resolver::new(lookup, clock.clone(), runtime.clone(), metrics.lookups());
    let dialer = Dialer::new(resolver);
    let credentials = Credentials::new(runtime, dialer, clock, metrics.tokens(), 100, None);
    Publisher::new(&config(text), credentials, metrics).unwrap()
}

fn config(text: &str) -> Config {
    Config::parse(text, Path::new(".")).unwrap()
}

fn line(id: &str, host: &str) -> String {
    format!("  - {{ id: {id}, name: {id}, resource_domain: 'https://{host}', auth: none }}\n")
}

/// Connectors `c0`, `c1` … on hosts of their own.
fn many(count: usize) -> Vec<String> {
    let own = |index| line(&format!("c{index}"), &format!("h{index}.example"));
    (0..count).map(own).collect()
}

fn text(lines: &[String]) -> String {
    format!("connectors:\n{}", lines.concat())
}

impl Publisher {
    fn entries(&self) -> Entries {
        self.directory.current().entries.clone()
    }

    fn pool_of(&self, id: &str) -> (PoolId, bool) {
        let entries = self.entries();
        let upstream = &entries.get(id).unwrap().upstream;
        (upstream.pool, upstream.retired.is_retired())
    }
}

/// The IDs whose entries differ, those that are in one alone included.
fn differing(before: &Entries, after: &Entries) -> Vec<String> {
    let same = |id: &ConnectorId| match (before.get(id), after.get(id)) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (Some(_), None) | (None, Some(_)) | (None, None) => false,
    };
    let mut ids: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|id| !same(id))
        .map(ToString::to_string)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[tokio::test]
async fn an_edit_of_one_among_many_replaces_that_entry_alone() {
    let mut lines = many(1_000);
    let publisher = publisher(&text(&lines));
    let before = publisher.entries();

    lines[500] = line("c500", "moved.example");
    publisher.publish(&config(&text(&lines))).unwrap();

    let after = publisher.entries();
    assert_eq!(differing(&before, &after), ["c500"]);
    let (old, new) = (before.get("c500").unwrap(), after.get("c500").unwrap());
    assert_eq!(new.revision.0, old.revision.0 + 1);
    assert!(Arc::ptr_eq(&old.state, &new.state), "its limits go on");
}

#[tokio::test]
async fn connectors_come_and_go_beside_others_that_stay() {
    let mut lines = many(100);
    let publisher = publisher(&text(&lines));
    let before = publisher.entries();

    lines.remove(7);
    lines.push(line("new", "new.example"));
    publisher.publish(&config(&text(&lines))).unwrap();

    let after = publisher.entries();
    assert_eq!(differing(&before, &after), ["c7", "new"]);
    assert_eq!(after.len(), 100);
    assert!(after.get("c7").is_none());
}

#[tokio::test]
async fn a_pool_is_retired_by_the_last_that_leads_to_it_and_by_no_other() {
    let mut lines = vec![line("a", "one.example"), line("b", "one.example")];
    let publisher = publisher(&text(&lines));
    let (shared, _) = publisher.pool_of("a");
    assert_eq!(publisher.pool_of("b"), (shared, false));

    lines[0] = line("a", "two.example");
    assert_eq!(publisher.publish(&config(&text(&lines))).unwrap(), []);
    assert_eq!(publisher.pool_of("b"), (shared, false));

    let last = Arc::clone(publisher.entries().get("b").unwrap());
    lines[1] = line("b", "two.example");
    let retired = publisher.publish(&config(&text(&lines))).unwrap();
    assert_eq!(retired, [shared]);
    assert!(
        last.upstream.retired.is_retired(),
        "no connection goes back"
    );
    assert_eq!(publisher.pool_of("a"), publisher.pool_of("b"));

    lines.push(line("c", "one.example"));
    publisher.publish(&config(&text(&lines))).unwrap();
    assert_ne!(publisher.pool_of("c").0, shared, "no pool comes back");
}

#[tokio::test]
async fn other_trust_retires_every_pool_and_other_tokens_none() {
    let lines = text(&many(3));
    let publisher = publisher(&lines);
    let pools = |publisher: &Publisher| {
        let entries = publisher.entries();
        let mut pools: Vec<_> = entries.values().map(|one| one.upstream.pool.0).collect();
        pools.sort_unstable();
        pools
    };
    let before = pools(&publisher);

    let tokens = config(&format!("tokens: {{ wait: 3s }}\n{lines}"));
    assert_eq!(publisher.publish(&tokens).unwrap(), []);
    assert_eq!(pools(&publisher), before);

    let trust = config(&format!(
        "trust: {{ allow_addresses: [10.0.0.1] }}\n{lines}"
    ));
    let retired = publisher.publish(&trust).unwrap();
    let mut retired: Vec<_> = retired.iter().map(|pool| pool.0).collect();
    retired.sort_unstable();
    assert_eq!(retired, before);
    assert!(pools(&publisher).iter().all(|pool| !before.contains(pool)));
}

#[tokio::test]
async fn a_publication_that_fails_leaves_pools_and_entries_as_they_were() {
    let mut lines = vec![line("a", "one.example"), line("b", "two.example")];
    let publisher = publisher(&text(&lines));
    let (before, pool) = (publisher.entries(), publisher.pool_of("a"));

    lines[0] = line("a", "two.example");
    let mut bad = config(&text(&lines));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    Arc::make_mut(&mut bad.connectors[1]).ca_bundle = Some(broken.into());
    let refused = publisher.publish(&bad);

    assert!(matches!(refused, Err(PublishError::Connector { .. })));
    assert_eq!(differing(&before, &publisher.entries()), [""; 0]);
    assert_eq!(publisher.pool_of("a"), pool);
    // Nor does another trust stay that came with a publication that failed.
    let trust = "trust: { allow_addresses: [10.0.0.1] }\n";
    let mut distrusted = config(&format!("{trust}{}", text(&lines)));
    Arc::make_mut(&mut distrusted.connectors[1]).ca_bundle = Some(broken.into());
    publisher.publish(&distrusted).unwrap_err();
    publisher
        .publish_one(&stored("s", "one.example", 1))
        .unwrap();
    assert_eq!(publisher.pool_of("s"), pool);
    publisher.withdraw(&ConnectorId::parse("s").unwrap());
    // What the failed one held of `b`'s pool was given up: its last user is `b`.
    let only_a = config(&text(&[line("a", "one.example")]));
    let retired = publisher.publish(&only_a).unwrap();
    assert_eq!(retired, [before.get("b").unwrap().upstream.pool]);
}

/// A connector of the store.
fn stored(id: &str, host: &str, revision: u64) -> Arc<Connector> {
    at(&line(id, host), revision)
}

/// What `line` says, at a revision of the store.
fn at(line: &str, revision: u64) -> Arc<Connector> {
    let mut connector = config(&text(&[line.to_owned()])).connectors.remove(0);
    Arc::make_mut(&mut connector).stored = Some(Arc::new(Stored {
        revision,
        fallback: None,
    }));
    connector
}

/// The same, deactivated.
fn inactive(id: &str, host: &str, revision: u64) -> Arc<Connector> {
    let mut stored = stored(id, host, revision);
    Arc::make_mut(&mut stored).enabled = false;
    stored
}

/// The same with a certificate that nobody can read.
fn broken(id: &str, host: &str, revision: u64) -> Arc<Connector> {
    let mut stored = stored(id, host, revision);
    let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    Arc::make_mut(&mut stored).ca_bundle = Some(bundle.into());
    stored
}

/// The same with a token.
fn with_token(id: &str, revision: u64) -> Arc<Connector> {
    let oauth2 =
        "{ oauth2: { token_url: 'https://login.example/token', client_id: a, client_secret: b } }";
    let line = line(id, "api.example").replace("auth: none", &format!("auth: {oauth2}"));
    at(&line, revision)
}

fn refused(amended: &Amended) -> Vec<&str> {
    amended.refused.iter().map(|(id, _)| id.as_str()).collect()
}

#[tokio::test]
async fn a_connector_of_the_store_is_published_by_itself_and_replaces_its_entry_alone() {
    let publisher = publisher(&text(&many(1_000)));
    publisher
        .publish_one(&stored("mine", "one.example", 4))
        .unwrap();
    let before = publisher.entries();
    let (old_pool, _) = publisher.pool_of("mine");

    let retired = publisher
        .publish_one(&stored("mine", "two.example", 9))
        .unwrap();

    let after = publisher.entries();
    assert_eq!(differing(&before, &after), ["mine"]);
    assert_eq!(retired, [old_pool]);
    assert_eq!(before.get("mine").unwrap().revision, Revision(4));
    assert_eq!(after.get("mine").unwrap().revision, Revision(9));
}

#[tokio::test]
async fn the_store_and_the_configuration_leave_each_other_alone() {
    let mut lines = many(3);
    let publisher = publisher(&text(&lines));
    let both = [stored("s0", "s0.example", 1), stored("s1", "s1.example", 2)];
    assert_eq!(refused(&publisher.amend(&both, &[])), [""; 0]);
    let before = publisher.entries();

    lines.remove(1);
    publisher.publish(&config(&text(&lines))).unwrap();
    assert_eq!(differing(&before, &publisher.entries()), ["c1"]);

    let one = ConnectorId::parse("s0").unwrap();
    let own = ConnectorId::parse("c0").unwrap();
    publisher.amend(&[], &[one, own].map(|id| (id, Withdrawal::Deleted)));
    assert_eq!(differing(&before, &publisher.entries()), ["c1", "s0"]);
    assert!(
        publisher.entries().contains_key("c0"),
        "not the store's to withdraw"
    );
}

#[tokio::test]
async fn an_id_is_used_once_and_the_configuration_keeps_it() {
    let publisher = publisher(&text(&many(2)));
    publisher
        .publish_one(&stored("s0", "s0.example", 1))
        .unwrap();
    let before = publisher.entries();

    let clashing = config(&text(&[line("s0", "other.example")]));
    let error = publisher.publish(&clashing).unwrap_err();
    assert!(matches!(error, PublishError::Clash { .. }));
    assert!(
        error
            .to_string()
            .starts_with("connector s0 is in the store and in the configuration")
    );

    let both = [stored("c0", "s.example", 2), stored("s1", "s1.example", 2)];
    let amended = publisher.amend(&both, &[]);
    assert_eq!(refused(&amended), ["c0"]);
    assert_eq!(differing(&before, &publisher.entries()), ["s1"]);
}

#[tokio::test]
async fn a_connector_of_the_store_that_cannot_be_used_is_withdrawn_and_the_others_are_served() {
    let publisher = publisher(&text(&many(1)));
    publisher.publish_one(&stored("a", "a.example", 1)).unwrap();
    let (pool, _) = publisher.pool_of("a");

    let amended = publisher.amend(
        &[broken("a", "a.example", 2), stored("b", "b.example", 2)],
        &[],
    );

    assert_eq!(refused(&amended), ["a"]);
    assert_eq!(amended.retired, [pool]);
    assert!(!publisher.entries().contains_key("a"));
    assert!(publisher.entries().contains_key("b"));
    // It may come back, and so may its ID in the configuration once it is gone for good.
    publisher.publish_one(&stored("a", "a.example", 3)).unwrap();
    publisher.withdraw(&ConnectorId::parse("a").unwrap());
    publisher
        .publish(&config(&text(&[line("a", "a.example")])))
        .unwrap();
}

#[tokio::test]
async fn a_deactivated_connector_holds_neither_pool_nor_identity_nor_token() {
    let publisher = publisher(&text(&[]).replace("connectors:\n", "connectors: []\n"));
    publisher.publish_one(&with_token("a", 1)).unwrap();
    publisher
        .publish_one(&stored("b", "api.example", 2))
        .unwrap();
    let (shared, _) = publisher.pool_of("a");
    assert_eq!(publisher.pool_of("b"), (shared, false));
    let mut off = with_token("a", 3);
    Arc::make_mut(&mut off).enabled = false;

    let retired = publisher.publish_one(&off).unwrap();

    assert_eq!(retired, [], "an active connector still leads to it");
    let entry = Arc::clone(publisher.entries().get("a").unwrap());
    assert!(
        matches!(entry.source, Source::Fixed(_)),
        "{:?}",
        entry.source
    );
    assert!(entry.upstream.retired.is_retired());
    assert_ne!(entry.upstream.pool, shared);
    let retired = publisher
        .publish_one(&inactive("b", "api.example", 4))
        .unwrap();
    assert_eq!(retired, [shared], "nobody leads to it");
    let identities = publisher
        .published
        .lock()
        .unwrap()
        .ground
        .basis
        .identities();
    assert_eq!(identities, 0, "nor to what it was made under");
    publisher.publish_one(&with_token("a", 5)).unwrap();
    assert_ne!(publisher.pool_of("a").0, shared, "no connection comes back");
}

#[tokio::test]
async fn another_revision_of_the_same_connector_is_another_token() {
    let publisher = publisher(&text(&many(1)));
    publisher.publish_one(&with_token("a", 1)).unwrap();
    let slot = |publisher: &Publisher| match &publisher.entries().get("a").unwrap().source {
        Source::Token(slot) => Arc::clone(slot),
        Source::Fixed(_) => panic!("a token was wanted"),
    };
    let before = slot(&publisher);

    publisher.publish_one(&with_token("a", 2)).unwrap();
    assert!(!Arc::ptr_eq(&before, &slot(&publisher)));

    // A reload that leaves it as it is leaves it its token.
    let before = slot(&publisher);
    publisher.publish(&config(&text(&many(2)))).unwrap();
    assert!(Arc::ptr_eq(&before, &slot(&publisher)));
}

#[tokio::test]
async fn other_trust_is_taken_by_the_connectors_of_the_store_too() {
    let lines = text(&many(1));
    let publisher = publisher(&lines);
    publisher.publish_one(&stored("a", "a.example", 7)).unwrap();
    let (pool, _) = publisher.pool_of("a");

    let trust = config(&format!(
        "trust: {{ allow_addresses: [10.0.0.1] }}\n{lines}"
    ));
    let retired = publisher.publish(&trust).unwrap();

    assert!(retired.contains(&pool));
    assert_eq!(publisher.entries().get("a").unwrap().revision, Revision(8));
    // Nor is a revision used twice once the store's own comes.
    publisher.publish_one(&stored("a", "a.example", 8)).unwrap();
    assert_eq!(publisher.entries().get("a").unwrap().revision, Revision(9));
}

#[tokio::test]
async fn what_goes_or_cannot_be_used_leaves_its_series_to_others() {
    let two = "metrics: { connectors_max: 2 }\n";
    let publisher = publisher(&format!("{two}connectors: []\n"));
    let both = [stored("a", "a.example", 1), broken("b", "b.example", 1)];
    publisher.amend(&both, &[]);
    publisher.withdraw(&ConnectorId::parse("a").unwrap());
    let mut bad = config(&format!("{two}{}", text(&many(2))));
    let unread = broken("c", "c.example", 1).ca_bundle.clone();
    Arc::make_mut(&mut bad.connectors[1]).ca_bundle = unread;
    publisher.publish(&bad).unwrap_err();

    let both = [stored("d", "d.example", 2), stored("e", "e.example", 2)];
    publisher.amend(&both, &[]);

    for id in ["d", "e"] {
        let entries = publisher.entries();
        assert_eq!(&**entries.get(id).unwrap().state.series.label(), id);
    }
}
