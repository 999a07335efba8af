//! New secrets for a connector that stays active.

use std::time::Duration;

use attache::control::registry::{IfMatch, Refused};
use attache::control::store::{Phase, Secrets, Slot};
use attache::secret::Secret;
use serde_json::json;

use crate::support::authority::Authority;

use super::room::{PASSWORD, Room, acme, basic_password, faults};

const HOUR: Duration = Duration::from_secs(3600);
const NEXT: &str = "canary-next-password-02c9";

#[tokio::test]
async fn staged_secrets_change_nothing_for_flows() {
    let room = Room::new().await;
    let walks = room.walks() + 1;

    let staged = room.staged("Orders", NEXT).await;

    assert_eq!(staged.state, Phase::Active);
    assert_eq!(staged.staged.unwrap().fields, ["/auth/basic/password"]);
    assert_eq!(room.password(&staged.id).await.as_deref(), Some(PASSWORD));
    assert_eq!(room.walks(), walks, "only making it walked");
}

#[tokio::test]
async fn staging_testing_and_discarding_cost_no_replica_its_token_and_promoting_does() {
    let (room, actor) = (Room::new().await, acme());
    let id = room.made("Orders").await.id;
    let served = async || {
        let record = room.store.connector(&id).await.unwrap().unwrap();
        (record.served_revision, record.revision)
    };
    let (made, _) = served().await;
    let stage = async |password: &str| {
        let secrets = basic_password(password);
        let staged = room.registry.stage(&actor, &id, secrets, IfMatch::Any);
        staged.await.unwrap();
    };

    stage("discarded").await;
    let discarded = room.registry.discard_staged(&actor, &id, IfMatch::Any);
    discarded.await.unwrap();
    stage(NEXT).await;
    room.accept(NEXT);
    let tested = room.registry.test_staged(&actor, &id, IfMatch::Any);
    tested.await.unwrap();
    let (now, revision) = served().await;
    assert_eq!(now, made);
    assert!(revision > made);

    let promoted = room.registry.promote(&actor, &id, HOUR, IfMatch::Any);
    promoted.await.unwrap();
    let (promoted, revision) = served().await;
    assert_eq!(promoted, revision);
    let purged = room.registry.purge_token(&actor, &id, IfMatch::Any);
    purged.await.unwrap();
    let (purged, _) = served().await;
    assert!(purged > promoted);
}

#[tokio::test]
async fn staged_secrets_that_fail_a_later_test_are_tried_again_before_they_are_promoted() {
    let (room, actor) = (Room::new().await, acme());
    let id = room.staged("Orders", NEXT).await.id;
    room.accept(NEXT);
    let test = async || {
        let tested = room.registry.test_staged(&actor, &id, IfMatch::Any).await;
        tested.unwrap().0.failed().is_none()
    };

    assert!(test().await);
    room.accept_none();
    assert!(!test().await);

    let promoted = room.registry.promote(&actor, &id, HOUR, IfMatch::Any);
    let refused = promoted.await.unwrap_err();
    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn only_a_secret_that_the_connector_has_can_be_staged() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let stage = async |field: &str| {
        let secrets = Secrets::from([(field.to_owned(), Secret::new("x".to_owned()))]);
        room.registry
            .stage(&acme(), &made.id, secrets, IfMatch::Any)
            .await
            .unwrap_err()
    };

    for field in [
        "",
        "/resource_domain",
        "/auth/basic/username",
        "/auth/basic/validation_url",
        "/auth/oauth2/client_secret",
        "/auth/basic/password/",
    ] {
        assert_eq!(faults(&stage(field).await), [field]);
    }
    let none = room
        .registry
        .stage(&acme(), &made.id, Secrets::new(), IfMatch::Any)
        .await;
    assert_eq!(faults(&none.unwrap_err()), ["/secrets"]);
    let bad = room
        .registry
        .stage(&acme(), &made.id, basic_password("a\nb"), IfMatch::Any)
        .await;
    assert_eq!(faults(&bad.unwrap_err()), ["/auth/basic/password"]);
}

#[tokio::test]
async fn staged_secrets_are_tested_on_their_own() {
    let room = Room::new().await;
    let staged = room.staged("Orders", NEXT).await;

    let (bad, after_bad) = room
        .registry
        .test_staged(&acme(), &staged.id, IfMatch::Any)
        .await
        .unwrap();
    room.accept_none();
    room.accept(NEXT);
    let (good, after_good) = room
        .registry
        .test_staged(&acme(), &staged.id, IfMatch::Any)
        .await
        .unwrap();

    assert!(bad.failed().is_some(), "{bad:?}");
    assert_eq!(after_bad, staged);
    assert!(good.failed().is_none(), "{good:?}");
    assert!(after_good.staged.unwrap().tested_at.is_some());
}

#[tokio::test]
async fn staged_secrets_are_promoted_without_deactivating_and_returned_from_in_one_call() {
    let room = Room::new().await;
    room.accept(NEXT);
    let staged = room.staged("Orders", NEXT).await;

    let promoted = room
        .registry
        .promote(&acme(), &staged.id, HOUR, IfMatch::Any)
        .await
        .unwrap();
    assert_eq!((promoted.state, &promoted.staged), (Phase::Active, &None));
    assert!(promoted.previous_until.is_some());
    assert_eq!(room.password(&staged.id).await.as_deref(), Some(NEXT));

    let walks = room.walks();
    let back = room
        .registry
        .roll_back(&acme(), &staged.id, IfMatch::Any)
        .await
        .unwrap();
    assert_eq!((back.state, back.previous_until), (Phase::Active, None));
    assert_eq!(room.password(&staged.id).await.as_deref(), Some(PASSWORD));
    assert_eq!(room.walks(), walks, "who returns does not wait for a walk");
    assert!(room.secrets(&staged.id, Slot::Previous).await.is_empty());
}

#[tokio::test]
async fn secrets_that_fail_their_walk_are_not_promoted() {
    let room = Room::new().await;
    let staged = room.staged("Orders", NEXT).await;

    let refused = room
        .registry
        .promote(&acme(), &staged.id, HOUR, IfMatch::Any)
        .await
        .unwrap_err();

    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
    assert_eq!(room.password(&staged.id).await.as_deref(), Some(PASSWORD));
    let now = room.registry.read(&acme(), &staged.id).await.unwrap();
    assert_eq!(now, staged);
}

#[tokio::test]
async fn a_good_test_is_good_for_the_secrets_it_tried_alone() {
    let room = Room::new().await;
    room.accept(NEXT);
    let made = room.staged("Orders", NEXT).await;
    room.registry
        .test_staged(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    let another = basic_password("untried-password");
    room.registry
        .stage(&acme(), &made.id, another, IfMatch::Any)
        .await
        .unwrap();

    let refused = room
        .registry
        .promote(&acme(), &made.id, HOUR, IfMatch::Any)
        .await
        .unwrap_err();

    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn secrets_that_were_found_good_are_promoted_without_another_walk() {
    let room = Room::new().await;
    room.accept(NEXT);
    let made = room.staged("Orders", NEXT).await;
    room.registry
        .test_staged(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    let walks = room.walks();

    room.registry
        .promote(&acme(), &made.id, HOUR, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(room.walks(), walks);
}

#[tokio::test]
async fn what_was_tried_beside_secrets_that_are_others_now_is_tried_again() {
    let room = Room::new().await;
    let made = room.promoted("Orders", NEXT).await;
    let (registry, id, any) = (&room.registry, &made.id, IfMatch::Any);
    let third = "canary-third-password-91d0";
    room.accept(third);
    registry
        .stage(&acme(), id, basic_password(third), any)
        .await
        .unwrap();
    let (_, tried) = registry.test_staged(&acme(), id, any).await.unwrap();
    assert!(tried.staged.unwrap().tested_at.is_some());

    let back = registry.roll_back(&acme(), id, any).await.unwrap();

    assert_eq!(back.staged.unwrap().tested_at, None);
    let walks = room.walks();
    registry.promote(&acme(), id, HOUR, any).await.unwrap();
    assert_eq!(room.walks(), walks + 1);
}

#[tokio::test]
async fn earlier_secrets_are_kept_as_long_as_was_said_and_thirty_days_at_most() {
    let room = Room::new().await;
    room.accept(NEXT);
    let made = room.staged("Orders", NEXT).await;
    let days = Duration::from_secs(24 * 3600) * 30;
    let too_long = days + Duration::from_millis(1);

    let refused = room
        .registry
        .promote(&acme(), &made.id, too_long, IfMatch::Any)
        .await;
    assert_eq!(faults(&refused.unwrap_err()), ["/keep_previous_for"]);
    room.registry
        .promote(&acme(), &made.id, days, IfMatch::Any)
        .await
        .unwrap();
    room.time.advance(days);
    let refused = room
        .registry
        .roll_back(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap_err();
    assert!(matches!(refused, Refused::NothingPrevious), "{refused:?}");
    let shown = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(shown.previous_until, None);
}

#[tokio::test]
async fn earlier_secrets_can_be_given_up_at_once() {
    let room = Room::new().await;
    let made = room.promoted("Orders", NEXT).await;
    let staged = basic_password(PASSWORD);
    room.registry
        .stage(&acme(), &made.id, staged, IfMatch::Any)
        .await
        .unwrap();

    let zero = Duration::ZERO;
    let promoted = room
        .registry
        .promote(&acme(), &made.id, zero, IfMatch::Any)
        .await
        .unwrap();
    let refused = room
        .registry
        .roll_back(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap_err();

    assert_eq!(promoted.previous_until, None);
    assert!(matches!(refused, Refused::NothingPrevious), "{refused:?}");
    assert!(room.secrets(&made.id, Slot::Previous).await.is_empty());
}

#[tokio::test]
async fn what_was_not_staged_is_neither_tested_nor_promoted_nor_dropped() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let (registry, id, any) = (&room.registry, &made.id, IfMatch::Any);

    let refused = [
        registry
            .test_staged(&acme(), id, any)
            .await
            .map(|(_, view)| view),
        registry.promote(&acme(), id, HOUR, any).await,
        registry.discard_staged(&acme(), id, any).await,
    ];

    for refused in refused {
        assert!(
            matches!(refused, Err(Refused::NothingStaged)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn staged_secrets_that_are_dropped_are_gone() {
    let room = Room::new().await;
    let made = room.staged("Orders", NEXT).await;

    let dropped = room
        .registry
        .discard_staged(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(dropped.staged, None);
    assert!(room.secrets(&made.id, Slot::Staged).await.is_empty());
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn an_edit_beside_the_credentials_leaves_what_is_staged_and_kept() {
    let room = Room::new().await;
    let made = room.promoted("Orders", NEXT).await;
    let third = basic_password("third-password");
    room.registry
        .stage(&acme(), &made.id, third, IfMatch::Any)
        .await
        .unwrap();

    let edited = room
        .merge(&made.id, json!({ "cookies": "pass" }))
        .await
        .unwrap();

    assert!(edited.staged.is_some() && edited.previous_until.is_some());
    let back = room
        .registry
        .roll_back(&acme(), &made.id, IfMatch::Any)
        .await;
    assert!(back.is_ok(), "{back:?}");
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn one_of_several_secrets_is_replaced_and_the_others_stay() {
    let room = Room::new().await;
    let authority = Authority::plain(&room.stage.server()).await;
    let body = json!({
        "name": "Tokens",
        "resource_domain": room.domain(),
        "auth": { "oauth2": {
            "grant": "password",
            "username": "owner",
            "password": "owner-password",
            "token_url": authority.token_url(),
            "client_id": "abc",
            "client_secret": "client-secret",
        }},
    });
    let made = room.registry.create(&acme(), body, None).await.unwrap();
    let field = "/auth/oauth2/client_secret".to_owned();
    let staged = Secrets::from([(field, Secret::new("second-client-secret".to_owned()))]);
    room.registry
        .stage(&acme(), &made.id, staged, IfMatch::Any)
        .await
        .unwrap();

    room.registry
        .promote(&acme(), &made.id, HOUR, IfMatch::Any)
        .await
        .unwrap();

    let secrets = room.secrets(&made.id, Slot::Current).await;
    let exposed: Vec<_> = secrets.values().map(|secret| secret.expose()).collect();
    assert_eq!(exposed, ["second-client-secret", "owner-password"]);
}
