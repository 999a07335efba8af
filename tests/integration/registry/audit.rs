//! What is written down of what administrators do and are refused.

use std::time::Duration;

use attache::control::access::{Access, Role};
use attache::control::registry::IfMatch;
use attache::control::store::{AuditEntry, AuditOutcome};
use serde_json::json;

use super::room::{PASSWORD, Room, acme, administrator, basic_password, globex, id};

const HOUR: Duration = Duration::from_secs(3600);
const NEXT: &str = "canary-next-password-6d1e";

fn told(entries: &[AuditEntry]) -> Vec<(&str, &str)> {
    let told = entries.iter().map(|entry| {
        let outcome = match &entry.outcome {
            AuditOutcome::Done => "done",
            AuditOutcome::Refused(reason) => reason,
        };
        (entry.action.as_str(), outcome)
    });
    told.collect()
}

#[tokio::test]
async fn a_connectors_whole_life_is_written_down() {
    live(Room::new().await).await;
}

/// Takes a connector through everything that can be done to it.
pub(super) async fn live(room: Room) {
    room.accept(NEXT);
    let (registry, any) = (&room.registry, IfMatch::Any);
    let made = room.made("Orders").await;
    let id = &made.id;
    room.merge(id, json!({ "cookies": "pass" })).await.unwrap();
    registry
        .stage(&acme(), id, basic_password(NEXT), any)
        .await
        .unwrap();
    registry.discard_staged(&acme(), id, any).await.unwrap();
    registry
        .stage(&acme(), id, basic_password(NEXT), any)
        .await
        .unwrap();
    registry.test_staged(&acme(), id, any).await.unwrap();
    registry.promote(&acme(), id, HOUR, any).await.unwrap();
    registry.roll_back(&acme(), id, any).await.unwrap();
    registry.purge_token(&acme(), id, any).await.unwrap();
    registry.deactivate(&acme(), id, any).await.unwrap();
    registry.activate(&acme(), id, any).await.unwrap();
    registry.deactivate(&acme(), id, any).await.unwrap();
    registry.delete(&acme(), id, any).await.unwrap();
    registry.restore(&acme(), id, any).await.unwrap();

    let entries = room.entries().await;

    let actions = [
        "connector.create",
        "connector.edit",
        "connector.stage-secrets",
        "connector.discard-staged-secrets",
        "connector.stage-secrets",
        "connector.test-staged-secrets",
        "connector.promote-secrets",
        "connector.roll-back-secrets",
        "connector.purge-token",
        "connector.deactivate",
        "connector.activate",
        "connector.deactivate",
        "connector.delete",
        "connector.restore",
    ];
    assert_eq!(told(&entries), actions.map(|action| (action, "done")));
    for entry in &entries {
        assert_eq!(entry.actor, acme().name);
        assert_eq!(entry.role, Some(Role::FullAdmin));
        assert_eq!(entry.organization.as_ref().unwrap().as_str(), "acme");
        assert_eq!(entry.target, id.as_str());
        assert_eq!(
            (entry.address.as_str(), entry.request_id.as_str()),
            ("192.0.2.1", "request-1")
        );
        assert!(entry.after.is_some());
    }
}

#[tokio::test]
async fn an_entry_tells_before_and_after_and_which_secrets_changed() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    let patch = json!({ "cookies": "pass", "auth": { "basic": { "password": NEXT } } });

    let edited = room.merge(&made.id, patch).await.unwrap();

    let entry = room.entries().await.pop().unwrap();
    assert_eq!(entry.before, Some(made.json()));
    let mut after = edited.json();
    after["secrets_changed"] = json!(["/auth/basic/password"]);
    assert_eq!(entry.after, Some(after));
}

#[tokio::test]
async fn what_is_refused_is_written_down_with_its_reason() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let reader = administrator(Role::PartnerReadOnlyAdmin, "acme");
    assert_eq!(reader.role.access(), Access::Read);
    let (registry, any) = (&room.registry, IfMatch::Any);
    let before = room.entries().await.len();

    let _ = registry
        .deactivate(&reader, &made.id, any)
        .await
        .unwrap_err();
    let _ = registry.delete(&acme(), &made.id, any).await.unwrap_err();
    let _ = registry
        .deactivate(&acme(), &made.id, IfMatch::Revision(1))
        .await
        .unwrap_err();
    let _ = registry
        .create(&acme(), room.basic("Orders"), None)
        .await
        .unwrap_err();
    let _ = registry
        .create(&reader, room.basic("Other"), None)
        .await
        .unwrap_err();
    let _ = registry
        .roll_back(&acme(), &made.id, any)
        .await
        .unwrap_err();
    let _ = registry.test(&reader, &made.id).await.unwrap_err();
    room.accept_none();
    let _ = registry
        .create(&acme(), room.basic("Other"), None)
        .await
        .unwrap_err();

    let entries = room.entries().await.split_off(before);
    assert_eq!(
        told(&entries),
        [
            ("connector.deactivate", "forbidden"),
            ("connector.delete", "connector-active"),
            ("connector.deactivate", "precondition-failed"),
            ("connector.create", "name-taken"),
            ("connector.create", "forbidden"),
            ("connector.roll-back-secrets", "nothing-staged"),
            ("connector.test", "forbidden"),
            ("connector.create", "validation-failed"),
        ]
    );
    assert_eq!(entries[1].before, Some(made.json()));
}

#[tokio::test]
async fn what_is_another_organizations_is_noted_as_what_was_never_there() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let before = room.entries().await.len();
    let nobodys = id("nobodys");

    for target in [&made.id, &nobodys] {
        let _ = room
            .registry
            .deactivate(&globex(), target, IfMatch::Any)
            .await
            .unwrap_err();
    }

    let entries = room.entries().await.split_off(before);
    for (entry, target) in entries.iter().zip([&made.id, &nobodys]) {
        assert_eq!(entry.organization.as_ref().unwrap().as_str(), "globex");
        assert_eq!(entry.target, target.as_str());
        assert_eq!((&entry.before, &entry.after), (&None, &None));
    }
    assert_eq!(told(&entries), [("connector.deactivate", "not-found"); 2]);
}

#[tokio::test]
async fn nothing_that_is_written_holds_a_secret() {
    let room = Room::new().await;
    room.accept(NEXT);
    let (registry, any) = (&room.registry, IfMatch::Any);
    let made = room.promoted("Orders", NEXT).await;
    // Secrets at a wrong place, of a wrong form, in a wrong moment.
    let misplaced = "canary-misplaced-8e77";
    let mut body = room.basic(misplaced);
    body["name"] = json!("Other");
    body["auth"]["basic"]["pasword"] = json!(misplaced);
    let _ = registry.create(&acme(), body, None).await.unwrap_err();
    let patch = json!({ "auth": { "basic": { "password": misplaced } } });
    let _ = room.merge(&made.id, patch).await.unwrap_err();
    let patch = json!({ "notes": misplaced });
    let _ = room.merge(&made.id, patch).await.unwrap_err();
    let _ = registry
        .stage(
            &acme(),
            &made.id,
            basic_password("canary-misplaced-8e77\n\u{1}"),
            any,
        )
        .await;
    let mut body = room.basic("Orders");
    body["auth"]["basic"]["password"] = json!(misplaced);
    let _ = registry.create(&acme(), body, None).await.unwrap_err();

    let entries = format!("{:?}", room.entries().await);
    let files = room.files();

    for secret in [PASSWORD, NEXT, misplaced] {
        assert!(!entries.contains(secret), "{secret} is in an entry");
        let found = files
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the store's files");
    }
}
