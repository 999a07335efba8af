//! Organizations, administrators' tokens, the audit log and answers are read as they were written,
//! and the audit log stays as it is.

use std::time::{Duration, SystemTime};

use attache::connector::Organization;
use attache::control::access::{Role, Scope};
use attache::control::store::{
    AdminToken, Answer, AuditEntry, AuditFilter, AuditOutcome, OrganizationRecord, Page, Revoked,
    Store, StoreError,
};
use serde_json::json;

use super::room::{all, connector, entry, on_both};

/// Makes an organization with a limit of three.
pub(super) async fn organization(store: &Store, name: &str) -> Organization {
    let name = Organization::parse(name).unwrap();
    let mut change = store.begin().await.unwrap();
    let record = OrganizationRecord {
        name: name.clone(),
        connectors_max: [("custom".to_owned(), 3)].into(),
        revision: 0,
        created_at: connector("a").created_at,
    };
    change.insert_organization(&record).await.unwrap();
    change.commit().await.unwrap();
    name
}

/// What `say` says, and nothing else.
pub(super) fn filter(say: impl FnOnce(&mut AuditFilter)) -> AuditFilter {
    let mut filter = AuditFilter::default();
    say(&mut filter);
    filter
}

#[tokio::test]
async fn organizations_are_read_as_they_were_written_and_default_is_always_there() {
    on_both(|room| async move {
        let store = room.open().await;
        let name = organization(&store, "acme").await;

        let mut record = store.organization(&name).await.unwrap().unwrap();
        assert_eq!(record.connectors_max, [("custom".to_owned(), 3)].into());
        record.connectors_max = [("custom".to_owned(), 0), ("wxm".to_owned(), 1)].into();
        let mut change = store.begin().await.unwrap();
        assert!(change.organization(&name).await.unwrap().is_some());
        change.update_organization(&record).await.unwrap();
        let again = change.insert_organization(&record).await;
        drop(change);
        let mut change = store.begin().await.unwrap();
        change.update_organization(&record).await.unwrap();
        record.revision = change.commit().await.unwrap();

        assert!(
            matches!(again, Err(StoreError::Conflict { .. })),
            "{again:?}"
        );
        assert_eq!(store.organization(&name).await.unwrap().unwrap(), record);
        let names = store.organizations(all()).await.unwrap();
        let names: Vec<_> = names.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["acme", "default"]);
        let after = Page {
            after: Some("acme".to_owned()),
            limit: 200,
        };
        assert_eq!(store.organizations(after).await.unwrap().len(), 1);
    })
    .await;
}

fn token(id: &str, scope: Scope) -> AdminToken {
    let at = connector("a").created_at;
    AdminToken {
        id: id.to_owned(),
        name: "Anna's laptop".to_owned(),
        role: Role::HelpDeskAdmin,
        scope,
        hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        created_at: at,
        expires_at: Some(at + Duration::from_secs(60)),
        revoked_at: None,
    }
}

#[tokio::test]
async fn admin_tokens_are_read_as_they_were_written_and_revoked_once() {
    on_both(|room| async move {
        let store = room.open().await;
        let own = token("b", Scope::One(Organization::default()));
        let every = token("a", Scope::All);
        let mut change = store.begin().await.unwrap();
        change.insert_admin_token(&own).await.unwrap();
        change.insert_admin_token(&every).await.unwrap();
        change.commit().await.unwrap();

        assert_eq!(store.admin_token("b").await.unwrap(), Some(own.clone()));
        assert_eq!(store.admin_token("c").await.unwrap(), None);
        let of_all = store.admin_tokens(&Scope::All, all()).await.unwrap();
        assert_eq!(of_all, [every, own.clone()]);
        let of_one = store.admin_tokens(&own.scope, all()).await.unwrap();
        assert_eq!(of_one, std::slice::from_ref(&own));
        let at = own.created_at;
        let mut change = store.begin().await.unwrap();
        for (id, outcome) in [
            ("b", Revoked::Now),
            ("b", Revoked::NothingToDo),
            ("c", Revoked::NothingToDo),
        ] {
            assert_eq!(change.revoke_admin_token(id, at).await.unwrap(), outcome);
        }
        change.commit().await.unwrap();
        let revoked = store.admin_token("b").await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(at));
    })
    .await;
}

#[tokio::test]
async fn audit_entries_are_read_as_they_were_written_in_the_order_they_were_kept() {
    on_both(|room| async move {
        let store = room.open().await;
        let refused = AuditEntry {
            outcome: AuditOutcome::Refused("forbidden".to_owned()),
            role: None,
            organization: None,
            actor: "oidc:anna".to_owned(),
            action: "connector.delete".to_owned(),
            before: None,
            after: None,
            ..entry("second")
        };
        let mut change = store.begin().await.unwrap();
        change.audit(&entry("first")).await.unwrap();
        change.commit().await.unwrap();
        let revision = store.revision().await.unwrap();
        store.note(&refused).await.unwrap();

        let everything = AuditFilter::default();
        let found = store.audit_entries(&everything, all()).await.unwrap();
        let mut expected = [entry("first"), refused];
        (expected[0].id, expected[1].id) = (1, 2);
        assert_eq!(found, expected);
        assert_eq!(store.revision().await.unwrap(), revision);
        let at = entry("first").at;
        for (what, filter, count) in [
            (
                "target",
                filter(|one| one.target = Some("first".to_owned())),
                1,
            ),
            (
                "actor",
                filter(|one| one.actor = Some("oidc:anna".to_owned())),
                1,
            ),
            (
                "action",
                filter(|one| one.action = Some("connector.edit".to_owned())),
                1,
            ),
            (
                "own",
                filter(|one| one.organization = Some(Organization::default())),
                1,
            ),
            ("since", filter(|one| one.since = Some(at)), 2),
            ("later", filter(|one| one.since = Some(later(at))), 0),
        ] {
            let found = store.audit_entries(&filter, all()).await.unwrap();
            assert_eq!(found.len(), count, "{what}");
        }
        let (after, limit) = (Some(1), 1);
        let rest = store.audit_entries(&everything, Page { after, limit });
        let rest = rest.await;
        assert_eq!(rest.unwrap()[0].target, "second");
    })
    .await;
}

#[tokio::test]
async fn of_what_is_long_the_audit_log_keeps_what_tells_it_from_other_texts() {
    on_both(|room| async move {
        let store = room.open().await;
        let many = vec!["x".repeat(100); 1_000];
        let long = AuditEntry {
            before: Some(json!({ "name": "a", "ca_bundle": "x".repeat(1 << 20) })),
            after: Some(json!({ "name": "a", "allow": many })),
            ..entry("orders")
        };

        store.note(&long).await.unwrap();

        let found = store.audit_entries(&AuditFilter::default(), all()).await;
        let found = found.unwrap().remove(0);
        let (before, after) = (found.before.unwrap(), found.after.unwrap());
        assert_eq!(before["name"], "a");
        assert_eq!(before["ca_bundle"]["bytes"], 1 << 20);
        for digested in [&before["ca_bundle"], &after] {
            assert_eq!(digested["sha256"].as_str().unwrap().len(), 64);
        }
        assert!(after["bytes"].as_u64().unwrap() > 100_000);
    })
    .await;
}

fn later(at: SystemTime) -> SystemTime {
    at + Duration::from_millis(1)
}

#[tokio::test]
async fn the_audit_log_cannot_be_changed_by_whoever_has_the_database() {
    on_both(|room| async move {
        let store = room.open().await;
        store.note(&entry("first")).await.unwrap();

        let mut attempts = vec![
            "UPDATE audit SET actor = 'nobody'",
            "DELETE FROM audit",
            "INSERT INTO audit SELECT * FROM audit",
        ];
        attempts.push(if room.is_sqlite() {
            "INSERT OR REPLACE INTO audit SELECT id, at, 'nobody', role, organization, action, \
             target, refused, address, request_id, before, after FROM audit"
        } else {
            "TRUNCATE audit"
        });
        for sql in attempts {
            let refused = room.tamper(sql).await;
            assert!(refused.is_err(), "{sql}");
        }

        let found = store
            .audit_entries(&AuditFilter::default(), all())
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].actor, "token:1");
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_kept_under_who_asked_and_its_key() {
    on_both(|room| async move {
        let store = room.open().await;
        let answer = Answer {
            actor: "token:1".to_owned(),
            key: "k".to_owned(),
            request: vec![0, 1, 255],
            answer: json!({ "id": "orders" }),
            at: connector("a").created_at,
        };
        let mut change = store.begin().await.unwrap();
        change.insert_answer(&answer).await.unwrap();
        let again = change.answer("token:1", "k").await.unwrap();
        assert_eq!(again.as_ref(), Some(&answer));
        change.commit().await.unwrap();

        let kept = store.answer("token:1", "k").await.unwrap();
        assert_eq!(kept.as_ref(), Some(&answer));
        assert_eq!(store.answer("token:2", "k").await.unwrap(), None);
        let later = Answer {
            answer: json!({ "id": "others" }),
            ..answer
        };
        let mut change = store.begin().await.unwrap();
        change.insert_answer(&later).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(store.answer("token:1", "k").await.unwrap(), Some(later));
    })
    .await;
}
