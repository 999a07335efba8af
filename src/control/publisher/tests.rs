#![allow(
    clippy::unwrap_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use std::collections::HashMap;
use std::path::Path;

use tokio::runtime::Handle;

use super::*;
use crate::clock::Clock;
use crate::dial::{Dialer, Lookup, Resolver};

/// A publisher that has published what `text` says.
fn publisher(text: &str) -> Publisher {
    let (clock, metrics) = (Clock::system(), Metrics::new(1, 2));
    let lookup = Lookup::Table(Arc::new(HashMap::new()));
    let runtime = Handle::current();
    let resolver = Resolver::new(lookup, clock.clone(), runtime.clone(), metrics.lookups());
    let dialer = Dialer::new(resolver);
    let credentials = Credentials::new(runtime, dialer, clock, metrics.tokens(), 100);
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
    // What the failed one held of `b`'s pool was given up: its last user is `b`.
    let only_a = config(&text(&[line("a", "one.example")]));
    let retired = publisher.publish(&only_a).unwrap();
    assert_eq!(retired, [before.get("b").unwrap().upstream.pool]);
}

#[tokio::test]
async fn one_connector_that_is_published_by_itself_replaces_its_entry_alone() {
    let publisher = publisher(&text(&many(1_000)));
    let before = publisher.entries();
    let (old_pool, _) = publisher.pool_of("c500");
    let edited = config(&text(&[line("c500", "moved.example")]));

    let retired = publisher.publish_one(&edited.connectors[0]).unwrap();

    let after = publisher.entries();
    assert_eq!(differing(&before, &after), ["c500"]);
    assert_eq!(retired, [old_pool]);
    assert_eq!(after.get("c500").unwrap().revision, Revision(2));
    let added = config(&text(&[line("new", "new.example")]));
    publisher.publish_one(&added.connectors[0]).unwrap();
    assert_eq!(differing(&after, &publisher.entries()), ["new"]);
}

#[tokio::test]
async fn one_connector_that_cannot_be_published_changes_nothing() {
    let publisher = publisher(&text(&many(3)));
    let before = publisher.entries();
    let mut edited = config(&text(&[line("c1", "moved.example")]));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    Arc::make_mut(&mut edited.connectors[0]).ca_bundle = Some(broken.into());

    let refused = publisher.publish_one(&edited.connectors[0]);

    assert!(matches!(refused, Err(PublishError::Connector { .. })));
    assert_eq!(differing(&before, &publisher.entries()), [""; 0]);
    assert!(!publisher.pool_of("c1").1);
}
