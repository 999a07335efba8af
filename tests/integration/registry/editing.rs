//! Changing a connector's keys, and which state of it is meant.

use attache::control::registry::{Edit, IfMatch, Refused};
use attache::control::store::{Phase, Slot};
use serde_json::json;

use super::room::{PASSWORD, Room, acme, faults};

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let room = Room::new().await;
    for made in [room.made("Active").await, room.inactive("Inactive").await] {
        let edit = Edit::Replace(made.json());
        let seen = IfMatch::Revision(made.revision.unwrap());

        let edited = room
            .registry
            .edit(&acme(), &made.id, edit, seen)
            .await
            .unwrap();

        assert_eq!(edited.document, made.document);
        assert_eq!(edited.state, made.state);
        assert!(edited.revision > made.revision);
        assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
    }
}

#[tokio::test]
async fn keys_beside_the_credentials_are_edited_while_flows_go_on() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let walks = room.walks();
    let patch = json!({ "name": "Renamed", "cookies": "pass", "requests_in_flight_max": 7 });

    let edited = room.merge(&made.id, patch).await.unwrap();

    assert_eq!(edited.state, Phase::Active);
    assert_eq!(edited.name, "Renamed");
    assert_eq!(edited.document["requests_in_flight_max"], 7);
    assert_eq!(
        room.walks(),
        walks,
        "their form is looked at, their way is not walked"
    );
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn a_merge_takes_back_a_key_with_null() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    room.merge(&made.id, json!({ "cookies": "pass" }))
        .await
        .unwrap();

    let edited = room
        .merge(&made.id, json!({ "cookies": null }))
        .await
        .unwrap();

    assert_eq!(edited.document.get("cookies"), None);
}

#[tokio::test]
async fn a_key_that_is_not_sent_is_as_if_it_had_never_been_said() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let edited = room
        .merge(&made.id, json!({ "cookies": "pass" }))
        .await
        .unwrap();
    let mut body = edited.json();
    body.as_object_mut().unwrap().remove("cookies");

    let edit = Edit::Replace(body);
    let edited = room
        .registry
        .edit(&acme(), &made.id, edit, IfMatch::Any)
        .await
        .unwrap();

    assert_eq!(edited.document.get("cookies"), None);
}

#[tokio::test]
async fn the_credentials_of_an_active_connector_are_not_edited() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    for patch in [
        json!({ "resource_domain": format!("{}/other", room.domain()) }),
        json!({ "ca_bundle": "-----BEGIN CERTIFICATE-----" }),
        json!({ "auth": "none" }),
        json!({ "auth": { "basic": { "username": "other" } } }),
        json!({ "auth": { "basic": { "password": "given-anew" } } }),
        json!({ "auth": { "basic": { "password": PASSWORD } } }),
        json!({ "auth": { "basic": { "validation_url": null } } }),
    ] {
        let refused = room.merge(&made.id, patch.clone()).await.unwrap_err();

        assert!(matches!(refused, Refused::Active), "{patch}: {refused:?}");
    }
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
    assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
}

#[tokio::test]
async fn the_credentials_of_an_inactive_connector_are_edited_and_tried_when_it_is_activated() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    let walks = room.walks();
    let patch = json!({ "auth": { "basic": { "password": "second-password" } } });

    room.merge(&made.id, patch).await.unwrap();
    assert_eq!(room.walks(), walks);
    let refused = room
        .registry
        .activate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap_err();
    room.accept("second-password");
    let activated = room
        .registry
        .activate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    assert!(
        matches!(refused, Refused::ValidationFailed(_)),
        "{refused:?}"
    );
    assert_eq!(activated.state, Phase::Active);
    assert_eq!(
        room.password(&made.id).await.as_deref(),
        Some("second-password")
    );
}

#[tokio::test]
async fn a_revocation_list_is_renewed_while_the_connector_is_active_and_keeps_its_secrets() {
    // A list lasts for days; it binds no secret, or renewing it would take giving all of them anew.
    let room = Room::new().await;
    let made = room.made("Orders").await;
    for numbers in [&[7][..], &[7, 8]] {
        let list = room.stage.ca.revokes(numbers);

        let edited = room.merge(&made.id, json!({ "crl": list })).await.unwrap();

        assert_eq!(edited.document["crl"], list);
        assert_eq!(edited.state, Phase::Active);
        assert_eq!(room.password(&made.id).await.as_deref(), Some(PASSWORD));
    }
    let torn = json!({ "crl": "-----BEGIN X509 CRL-----\nMA==\n-----END X509 CRL-----\n" });
    let refused = room.merge(&made.id, torn).await.unwrap_err();
    assert_eq!(faults(&refused), ["/crl"]);
}

#[tokio::test]
async fn what_the_gateway_sets_cannot_be_edited() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    for (key, value) in [
        ("id", json!("other")),
        ("organization", json!("globex")),
        ("kind", json!("salesforce")),
        ("state", json!("active")),
        ("enabled", json!(true)),
        ("source", json!("file")),
        ("revision", json!(1)),
        ("created_at", json!("2020-01-01T00:00:00.000Z")),
        ("updated_at", json!(null)),
        ("deleted_at", json!("2020-01-01T00:00:00.000Z")),
        ("staged", json!({ "fields": [] })),
        ("previous_until", json!("2030-01-01T00:00:00.000Z")),
    ] {
        let mut whole = made.json();
        whole[key] = value.clone();
        for edit in [Edit::Merge(json!({ key: value })), Edit::Replace(whole)] {
            let edited = room
                .registry
                .edit(&acme(), &made.id, edit, IfMatch::Any)
                .await;
            assert_eq!(faults(&edited.unwrap_err()), [format!("/{key}")]);
        }
    }
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
}

#[tokio::test]
async fn unknown_keys_and_bad_values_are_told_and_nothing_is_changed() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    for (patch, field) in [
        (json!({ "cookis": "pass" }), "/cookis"),
        (json!({ "cookies": "eat" }), "/cookies"),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": null }), "/name"),
        (json!({ "name": "x".repeat(201) }), "/name"),
        (
            json!({ "upstream": { "connect": "1h30" } }),
            "/upstream/connect",
        ),
    ] {
        let refused = room.merge(&made.id, patch).await.unwrap_err();
        assert_eq!(faults(&refused), [field]);
    }
    for edit in [Edit::Merge(json!("x")), Edit::Replace(json!([]))] {
        let refused = room
            .registry
            .edit(&acme(), &made.id, edit, IfMatch::Any)
            .await;
        assert!(faults(&refused.unwrap_err()).contains(&""));
    }
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
}

#[tokio::test]
async fn a_name_is_not_changed_to_anothers() {
    let room = Room::with(
        "[{ id: shown, organization: acme, name: Shown, resource_domain: UP, auth: none }]",
    )
    .await;
    room.made("Orders").await;
    let made = room.made("Prices").await;

    for name in ["Orders", "Shown"] {
        let refused = room
            .merge(&made.id, json!({ "name": name }))
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::NameTaken), "{refused:?}");
    }
    assert!(
        room.merge(&made.id, json!({ "name": "Prices" }))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let room = Room::new().await;
    let made = room.made("Orders").await;
    let seen = made.revision.unwrap();
    let now = room
        .merge(&made.id, json!({ "cookies": "pass" }))
        .await
        .unwrap();
    let now = now.revision.unwrap();
    let stale = IfMatch::Revision(seen);
    let (registry, id) = (&room.registry, &made.id);

    let refused = [
        registry
            .edit(&acme(), id, Edit::Merge(json!({})), stale)
            .await,
        registry.activate(&acme(), id, stale).await,
        registry.deactivate(&acme(), id, stale).await,
        registry.delete(&acme(), id, stale).await,
        registry.restore(&acme(), id, stale).await,
        registry.purge_token(&acme(), id, stale).await,
        registry
            .stage(&acme(), id, super::room::basic_password("x"), stale)
            .await,
        registry.discard_staged(&acme(), id, stale).await,
        registry
            .promote(&acme(), id, std::time::Duration::ZERO, stale)
            .await,
        registry.roll_back(&acme(), id, stale).await,
        registry
            .test_staged(&acme(), id, stale)
            .await
            .map(|(_, view)| view),
    ];

    for refused in refused {
        let told =
            matches!(refused, Err(Refused::PreconditionFailed { current }) if current == now);
        assert!(told, "{refused:?}");
    }
}

#[tokio::test]
async fn a_deleted_connector_is_not_edited() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;

    let refused = room
        .merge(&deleted.id, json!({ "name": "Other" }))
        .await
        .unwrap_err();

    assert!(matches!(refused, Refused::Deleted), "{refused:?}");
}

#[tokio::test]
async fn a_connector_may_lose_its_secret_for_good() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;

    let edited = room
        .merge(&made.id, json!({ "auth": "none" }))
        .await
        .unwrap();

    assert_eq!(edited.document["auth"], "none");
    assert!(room.secrets(&made.id, Slot::Current).await.is_empty());
}
