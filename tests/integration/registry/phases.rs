//! Active, inactive, deleted, restored.

use std::time::Duration;

use attache::control::registry::{IfMatch, Refused};
use attache::control::store::{Phase, Slot};
use serde_json::json;

use super::room::{DELETED_KEPT, PASSWORD, Room, acme, faults};

#[tokio::test]
async fn an_inactive_connector_is_activated_once_its_way_is_walked() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    let walks = room.walks();

    let activated = room
        .registry
        .activate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(activated.state, Phase::Active);
    assert_eq!(room.walks(), walks + 1);
}

#[tokio::test]
async fn a_connector_that_fails_its_walk_stays_inactive() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    room.accept_none();

    let refused = room
        .registry
        .activate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap_err();

    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
}

#[tokio::test]
async fn what_is_so_already_is_said_so() {
    let room = Room::new().await;
    let active = room.made("Active").await;
    let inactive = room.inactive("Inactive").await;
    let (registry, any) = (&room.registry, IfMatch::Any);

    let activated = registry.activate(&acme(), &active.id, any).await;
    let deactivated = registry.deactivate(&acme(), &inactive.id, any).await;
    let restored = registry.restore(&acme(), &inactive.id, any).await;

    assert!(matches!(activated, Err(Refused::Active)), "{activated:?}");
    assert!(
        matches!(deactivated, Err(Refused::Inactive)),
        "{deactivated:?}"
    );
    assert!(matches!(restored, Err(Refused::NotDeleted)), "{restored:?}");
}

#[tokio::test]
async fn an_active_connector_is_not_deleted() {
    let room = Room::new().await;
    let made = room.made("Orders").await;

    let refused = room
        .registry
        .delete(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap_err();

    assert!(matches!(refused, Refused::Active), "{refused:?}");
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn the_secrets_of_a_deleted_connector_are_gone_with_it() {
    let room = Room::new().await;
    let made = room.promoted("Orders", "second-password").await;
    let staged = super::room::basic_password("third-password");
    room.registry
        .stage(&acme(), &made.id, staged, IfMatch::Any)
        .await
        .unwrap();
    room.registry
        .deactivate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    let deleted = room
        .registry
        .delete(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(deleted.state, Phase::Deleted);
    assert_eq!((deleted.staged, deleted.previous_until), (None, None));
    assert_eq!(deleted.document["auth"]["basic"]["password"], json!(null));
    for slot in [Slot::Current, Slot::Staged, Slot::Previous] {
        assert!(room.secrets(&made.id, slot).await.is_empty(), "{slot:?}");
    }
}

#[tokio::test]
async fn nothing_but_restoring_is_done_to_a_deleted_connector() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;
    let (registry, id, any) = (&room.registry, &deleted.id, IfMatch::Any);

    let refused = [
        registry.activate(&acme(), id, any).await,
        registry.deactivate(&acme(), id, any).await,
        registry.delete(&acme(), id, any).await,
        registry.purge_token(&acme(), id, any).await,
        registry
            .stage(&acme(), id, super::room::basic_password("x"), any)
            .await,
        registry.discard_staged(&acme(), id, any).await,
        registry.promote(&acme(), id, Duration::ZERO, any).await,
        registry.roll_back(&acme(), id, any).await,
        registry
            .test_staged(&acme(), id, any)
            .await
            .map(|(_, view)| view),
    ];

    for refused in refused {
        assert!(matches!(refused, Err(Refused::Deleted)), "{refused:?}");
    }
    let tested = registry.test(&acme(), id).await;
    assert!(matches!(tested, Err(Refused::Deleted)), "{tested:?}");
}

#[tokio::test]
async fn a_restored_connector_is_inactive_until_it_is_given_its_secrets_anew() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;

    let restored = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap();
    let refused = room
        .registry
        .activate(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap_err();
    let renamed = room
        .merge(&deleted.id, json!({ "name": "Renamed" }))
        .await
        .unwrap_err();
    let patch = json!({ "auth": { "basic": { "password": PASSWORD } } });
    room.merge(&deleted.id, patch).await.unwrap();
    let activated = room
        .registry
        .activate(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(
        (restored.state, restored.deleted_at),
        (Phase::Inactive, None)
    );
    assert_eq!(faults(&refused), ["/auth/basic/password"]);
    assert_eq!(faults(&renamed), ["/auth/basic/password"]);
    assert_eq!(activated.state, Phase::Active);
    assert_eq!(activated.id, deleted.id);
}

#[tokio::test]
async fn a_connector_is_restored_while_it_is_kept_and_not_a_moment_longer() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;

    room.time.advance(DELETED_KEPT - Duration::from_millis(1));
    let restored = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await;
    assert!(restored.is_ok(), "{restored:?}");
    room.registry
        .delete(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap();
    room.time.advance(DELETED_KEPT);
    let refused = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap_err();

    assert!(matches!(refused, Refused::Gone), "{refused:?}");
}

#[tokio::test]
async fn what_was_erased_is_only_an_id_that_is_taken() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;
    room.time.advance(DELETED_KEPT);
    room.store.tidy().await.unwrap();

    let read = room.registry.read(&acme(), &deleted.id).await;
    let restored = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await;
    let mut body = room.basic("Another");
    body["id"] = json!(deleted.id.as_str());
    let made = room.registry.create(&acme(), body, None).await;

    assert!(matches!(read, Err(Refused::NotFound)), "{read:?}");
    assert!(matches!(restored, Err(Refused::Gone)), "{restored:?}");
    assert!(matches!(made, Err(Refused::IdTaken)), "{made:?}");
}

#[tokio::test]
async fn a_connector_is_not_restored_where_its_name_or_its_place_is_taken() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;
    room.made("Orders").await;

    let by_name = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await;
    assert!(matches!(by_name, Err(Refused::NameTaken)), "{by_name:?}");

    let deleted = room.deleted("Prices").await;
    room.made("Two").await;
    room.made("Three").await;
    let by_place = room
        .registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await;
    assert!(
        matches!(by_place, Err(Refused::LimitReached { max: 3, .. })),
        "{by_place:?}"
    );
}

#[tokio::test]
async fn purging_a_token_changes_nothing_but_the_revision() {
    let room = Room::new().await;
    let made = room.made("Orders").await;

    let purged = room
        .registry
        .purge_token(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    assert!(purged.revision > made.revision);
    assert_eq!(
        (purged.state, &purged.document),
        (made.state, &made.document)
    );
    let changes = room
        .store
        .changes_since(made.revision.unwrap())
        .await
        .unwrap();
    let told: Vec<_> = changes
        .connectors
        .iter()
        .map(|one| &one.record.id)
        .collect();
    assert_eq!(told, [&made.id], "every replica hears of it");
}

#[tokio::test]
async fn a_test_walks_the_way_and_saves_nothing() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let (walks, entries) = (room.walks(), room.entries().await.len());

    let good = room.registry.test(&acme(), &made.id).await.unwrap();
    room.accept_none();
    let bad = room.registry.test(&acme(), &made.id).await.unwrap();

    assert!(good.failed().is_none(), "{good:?}");
    assert!(bad.failed().is_some(), "{bad:?}");
    assert_eq!(room.walks(), walks + 2);
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
    assert_eq!(room.entries().await.len(), entries);
}
