//! Making connectors: what is looked at, and that nothing is saved of one that is refused.

use attache::control::registry::{Filter, IfMatch, Once, Refused, Source};
use attache::control::store::{Page, Phase};
use serde_json::{Value, json};

use crate::support::origin::Origin;
use crate::support::pki::Ca;

use super::room::{PASSWORD, Room, acme, everybody, faults, globex, id};

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

#[tokio::test]
async fn a_connector_is_made_with_its_secret_out_of_sight() {
    let room = Room::new().await;

    let made = room.made("Orders").await;

    assert_eq!((made.state, made.source), (Phase::Active, Source::Store));
    assert_eq!(made.organization.as_str(), "acme");
    assert_eq!(made.id.as_str().len(), 36, "a UUID");
    let kept = &made.document["auth"]["basic"]["password"];
    assert_eq!(*kept, json!({ "kept": true }));
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
    let read = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(read, made);
}

#[tokio::test]
async fn a_connector_may_be_made_inactive_but_is_tried_all_the_same() {
    let room = Room::new().await;

    let body = with(room.basic("Orders"), "enabled", json!(false));
    let made = room.registry.create(&acme(), body, None).await.unwrap();
    let body = with(room.basic("Other"), "enabled", json!(false));
    let strange = Origin::plain(&Ca::new("strange").server(&[])).await;
    let body = with(body, "resource_domain", json!(strange.url("")));
    let body = with(body, "auth", json!("none"));
    let refused = room.registry.create(&acme(), body, None).await.unwrap_err();

    assert_eq!(made.state, Phase::Inactive);
    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn every_fault_is_told_at_once_and_nothing_is_tried() {
    let room = Room::new().await;
    let body = json!({
        "id": "Not an ID",
        "organization": "nobody",
        "name": 7,
        "enabled": "yes",
        "state": "active",
        "resource_domain": "http://plain.example",
        "auth": { "basic": { "username": "svc", "pasword": PASSWORD } },
        "cookies": "eat",
    });

    let refused = room.registry.create(&acme(), body, None).await.unwrap_err();

    let told = faults(&refused);
    for field in [
        "/id",
        "/organization",
        "/name",
        "/enabled",
        "/state",
        "/resource_domain",
        "/auth/basic/pasword",
        "/auth/basic/password",
        "/cookies",
    ] {
        assert!(told.contains(&field), "{field} is not among {told:?}");
    }
    assert!(!format!("{refused:?}").contains(PASSWORD));
    assert_eq!(room.walks(), 0);
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    let room = Room::new().await;

    for body in [json!(null), json!([]), json!("x"), json!(3)] {
        let refused = room.registry.create(&acme(), body, None).await.unwrap_err();
        assert!(faults(&refused).contains(&""), "{refused:?}");
    }
}

#[tokio::test]
async fn a_connector_is_as_large_as_a_page_of_them_allows() {
    let room = Room::new().await;
    let mut body = room.basic("Orders");
    let anchors = room.stage.server().certificate_pem;
    body["ca_bundle"] = json!(anchors.repeat(256 * 1024 / anchors.len() + 1));

    let refused = room.registry.create(&acme(), body, None).await.unwrap_err();

    assert_eq!(faults(&refused), [""]);
    assert_eq!(room.walks(), 0);
}

#[tokio::test]
async fn a_new_connector_has_no_secret_to_keep() {
    let room = Room::new().await;
    let mut body = room.basic("Orders");
    body["auth"]["basic"]["password"] = json!({ "kept": true });

    let refused = room.registry.create(&acme(), body, None).await.unwrap_err();

    assert_eq!(faults(&refused), ["/auth/basic/password"]);
}

#[tokio::test]
async fn secrets_are_not_read_from_the_gateways_own_files_and_environment() {
    let room = Room::new().await;

    for source in [json!({ "env": "HOME" }), json!({ "file": "/etc/hostname" })] {
        let mut body = room.basic("Orders");
        body["auth"]["basic"]["password"] = source;
        let refused = room.registry.create(&acme(), body, None).await.unwrap_err();
        let told = faults(&refused);
        assert!(
            told.iter()
                .all(|field| field.starts_with("/auth/basic/password")),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_connector_that_fails_its_walk_is_not_saved() {
    let room = Room::new().await;
    room.accept_none();

    let refused = room
        .registry
        .create(&acme(), room.basic("Orders"), None)
        .await
        .unwrap_err();

    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
    assert_eq!(room.walks(), 1);
    let page = Page {
        after: None,
        limit: 10,
    };
    let listed = room
        .registry
        .list(&acme(), &Filter::default(), page)
        .await
        .unwrap();
    assert_eq!(listed.items, []);
    // Neither the name nor the ID is taken by it.
    room.accept(PASSWORD);
    room.made("Orders").await;
}

#[tokio::test]
async fn a_name_is_taken_within_its_organization_alone() {
    let room = Room::new().await;
    room.made("Orders").await;

    let refused = room
        .registry
        .create(&acme(), room.basic("Orders"), None)
        .await
        .unwrap_err();
    let elsewhere = room
        .registry
        .create(&globex(), room.basic("Orders"), None)
        .await;

    assert!(matches!(refused, Refused::NameTaken), "{refused:?}");
    assert_eq!(room.walks(), 2, "one whose name is taken is not walked");
    assert!(elsewhere.is_ok(), "{elsewhere:?}");
}

#[tokio::test]
async fn an_id_is_never_used_again() {
    let room = Room::new().await;
    let body = |name| with(room.basic(name), "id", json!("orders"));
    let made = room
        .registry
        .create(&acme(), body("Orders"), None)
        .await
        .unwrap();
    assert_eq!(made.id.as_str(), "orders");

    let taken = room
        .registry
        .create(&acme(), body("Other"), None)
        .await
        .unwrap_err();
    let of_another = room
        .registry
        .create(&globex(), body("Other"), None)
        .await
        .unwrap_err();
    room.registry
        .deactivate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    room.registry
        .delete(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    let of_deleted = room
        .registry
        .create(&acme(), body("Other"), None)
        .await
        .unwrap_err();

    for refused in [taken, of_another, of_deleted] {
        assert!(matches!(refused, Refused::IdTaken), "{refused:?}");
    }
}

#[tokio::test]
async fn an_id_and_a_name_of_the_configuration_are_taken() {
    let room = Room::with(
        "[{ id: orders, organization: acme, name: Orders, resource_domain: UP, auth: none }]",
    )
    .await;

    let body = with(room.basic("Other"), "id", json!("orders"));
    let by_id = room.registry.create(&acme(), body, None).await.unwrap_err();
    let by_name = room
        .registry
        .create(&acme(), room.basic("Orders"), None)
        .await
        .unwrap_err();
    let elsewhere = room
        .registry
        .create(&globex(), room.basic("Orders"), None)
        .await;

    assert!(matches!(by_id, Refused::IdTaken), "{by_id:?}");
    assert!(matches!(by_name, Refused::NameTaken), "{by_name:?}");
    assert!(elsewhere.is_ok(), "{elsewhere:?}");
}

#[tokio::test]
async fn an_organization_has_so_many_connectors_and_no_more() {
    let room = Room::new().await;
    for name in ["One", "Two", "Three"] {
        room.made(name).await;
    }

    let refused = room
        .registry
        .create(&acme(), room.basic("Four"), None)
        .await
        .unwrap_err();
    let elsewhere = room
        .registry
        .create(&globex(), room.basic("Four"), None)
        .await;

    assert!(
        matches!(&refused, Refused::LimitReached { kind, max: 3 } if kind == "custom"),
        "{refused:?}"
    );
    assert_eq!(room.walks(), 4, "one too many is not walked");
    assert!(elsewhere.is_ok(), "{elsewhere:?}");
}

#[tokio::test]
async fn an_organizations_own_limit_stands_before_the_gateways() {
    let room = Room::new().await;
    room.found("small", &[("custom", 1)]).await;
    room.found("large", &[("custom", 4)]).await;

    for (organization, max) in [("small", 1), ("large", 4)] {
        for number in 0..max {
            let body = room.basic(&format!("Number {number}"));
            let body = with(body, "organization", json!(organization));
            room.registry
                .create(&everybody(), body, None)
                .await
                .unwrap();
        }
        let body = with(room.basic("More"), "organization", json!(organization));
        let refused = room
            .registry
            .create(&everybody(), body, None)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Refused::LimitReached { max: told, .. } if told == max),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_deleted_connector_takes_neither_name_nor_place() {
    let room = Room::new().await;
    room.made("One").await;
    room.made("Two").await;
    room.deleted("Three").await;

    let made = room
        .registry
        .create(&acme(), room.basic("Three"), None)
        .await;

    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test]
async fn another_organization_cannot_be_told_from_one_that_does_not_exist() {
    let room = Room::new().await;
    let told = async |organization: &str| {
        let body = with(room.basic("Orders"), "organization", json!(organization));
        room.registry.create(&acme(), body, None).await.unwrap_err()
    };

    let (of_another, of_nobody) = (told("globex").await, told("nobody").await);

    assert_eq!(faults(&of_another), ["/organization"]);
    assert_eq!(format!("{of_another:?}"), format!("{of_nobody:?}"));
}

#[tokio::test]
async fn who_runs_the_gateway_makes_connectors_of_any_organization_that_exists() {
    let room = Room::new().await;
    let body = |name| with(room.basic("Orders"), "organization", json!(name));

    let made = room
        .registry
        .create(&everybody(), body("globex"), None)
        .await
        .unwrap();
    let unsaid = room
        .registry
        .create(&everybody(), room.basic("Orders"), None)
        .await
        .unwrap();
    let refused = room
        .registry
        .create(&everybody(), body("nobody"), None)
        .await
        .unwrap_err();

    assert_eq!(made.organization.as_str(), "globex");
    assert_eq!(unsaid.organization.as_str(), "default");
    assert_eq!(faults(&refused), ["/organization"]);
}

#[tokio::test]
async fn kinds_that_are_still_to_come_are_refused() {
    let room = Room::new().await;

    let body = with(room.basic("Orders"), "kind", json!("salesforce"));
    let refused = room.registry.create(&acme(), body, None).await.unwrap_err();

    assert!(faults(&refused).contains(&"/kind"), "{refused:?}");
}

#[tokio::test]
async fn a_request_with_a_key_is_answered_once_and_its_answer_kept_without_secrets() {
    let room = Room::new().await;
    let once = || {
        Some(Once {
            key: "again".to_owned(),
            request: vec![1, 2, 3],
        })
    };

    let made = room
        .registry
        .create(&acme(), room.basic("Orders"), once())
        .await
        .unwrap();
    let again = room
        .registry
        .create(&acme(), room.basic("Other"), once())
        .await
        .unwrap_err();
    let of_another = room
        .registry
        .create(&globex(), room.basic("Other"), once())
        .await;

    assert!(matches!(again, Refused::InProgress), "{again:?}");
    assert!(
        of_another.is_ok(),
        "another's key is another key: {of_another:?}"
    );
    let kept = room
        .store
        .answer(&acme().name, "again")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.answer, made.json());
    assert_eq!(kept.request, [1, 2, 3]);
    assert!(!kept.answer.to_string().contains(PASSWORD));
    let second = room.registry.read(&acme(), &id("other")).await;
    assert!(matches!(second, Err(Refused::NotFound)));
}
