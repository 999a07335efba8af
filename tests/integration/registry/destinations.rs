//! A secret goes where it was given for: who may edit a connector does not thereby read it.

use attache::control::registry::{Edit, IfMatch};
use attache::control::store::Slot;
use serde_json::{Value, json};

use crate::support::authority::Authority;

use super::room::{PASSWORD, Room, acme, basic_password, everybody, faults};

const CLIENT_SECRET: &str = "canary-client-secret-51d0";
const PARAMETER: &str = "canary-parameter-a11c";
const RESOURCE_OWNER: &str = "canary-owner-93be";

fn oauth2(room: &Room, authority: &Authority) -> Value {
    json!({
        "name": "Tokens",
        "resource_domain": room.domain(),
        "auth": { "oauth2": {
            "grant": "password",
            "username": "owner",
            "password": RESOURCE_OWNER,
            "token_url": authority.token_url(),
            "client_id": "abc",
            "client_secret": CLIENT_SECRET,
            "scope": "read",
            "token_parameters": { "audience": PARAMETER },
        }},
    })
}

const ALL: [&str; 3] = [
    "/auth/oauth2/client_secret",
    "/auth/oauth2/password",
    "/auth/oauth2/token_parameters/audience",
];

#[tokio::test]
async fn a_kept_secret_is_sent_to_no_other_place() {
    let room = Room::new().await;
    let authority = Authority::plain(&room.stage.server()).await;
    let body = oauth2(&room, &authority);
    let made = room.registry.create(&acme(), body, None).await.unwrap();
    let made = room
        .registry
        .deactivate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    for patch in [
        json!({ "resource_domain": "https://attacker.example" }),
        json!({ "resource_domain": format!("{}/attacker", room.domain()) }),
        json!({ "resource_domain": "https://localhost" }),
        json!({ "auth": { "oauth2": { "token_url": "https://attacker.example/token" } } }),
        json!({ "auth": { "oauth2": { "token_url": authority.origin().url("/attacker") } } }),
        json!({ "auth": { "oauth2": { "revocation_url": "https://attacker.example/revoke" } } }),
        json!({ "auth": { "oauth2": { "client_id": "attacker" } } }),
        json!({ "auth": { "oauth2": { "username": "attacker" } } }),
        json!({ "auth": { "oauth2": { "client_authentication": "client_secret_post" } } }),
        json!({ "auth": { "oauth2": { "token_headers": { "x-more": "given" } } } }),
        json!({ "auth": { "oauth2": { "token_parameters": { "more": "given" } } } }),
        json!({ "ca_bundle": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n" }),
    ] {
        let mut whole = made.json();
        json_merge(&mut whole, &patch);
        for edit in [Edit::Merge(patch.clone()), Edit::Replace(whole)] {
            for actor in [acme(), everybody()] {
                let edited = room
                    .registry
                    .edit(&actor, &made.id, edit.clone(), IfMatch::Any)
                    .await;
                let refused = edited.unwrap_err();
                let told = faults(&refused);
                for field in ALL {
                    let times = told.iter().filter(|one| **one == field).count();
                    assert_eq!(times, 1, "{patch}: {field} in {told:?}");
                }
            }
        }
    }
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now, made);
}

/// As a merge patch does, for patches without null.
fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(keys) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in keys {
        if !target.is_object() {
            *target = json!({});
        }
        json_merge(&mut target[key], value);
    }
}

#[tokio::test]
async fn a_secret_does_not_move_to_another_key() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    for (auth, field) in [
        (
            json!({ "header": { "name": "X-Key", "value": { "kept": true } } }),
            "/auth/header/value",
        ),
        (
            json!({ "basic": { "username": { "kept": true }, "password": { "kept": true } } }),
            "/auth/basic/username",
        ),
        (
            json!({ "oauth2": {
                "token_url": "https://up.example/token",
                "client_id": "a",
                "client_secret": { "kept": true },
            } }),
            "/auth/oauth2/client_secret",
        ),
    ] {
        let mut body = made.json();
        body["auth"] = auth;
        let edit = Edit::Replace(body);
        let edited = room
            .registry
            .edit(&acme(), &made.id, edit, IfMatch::Any)
            .await;
        let refused = edited.unwrap_err();
        assert!(faults(&refused).contains(&field), "{refused:?}");
    }
}

#[tokio::test]
async fn the_name_of_a_field_binds_its_value() {
    let room = Room::new().await;
    let body = json!({
        "name": "Key",
        "resource_domain": room.domain(),
        "auth": { "header": { "name": "X-Key", "value": PASSWORD } },
        "enabled": false,
    });
    let made = room.registry.create(&acme(), body, None).await.unwrap();

    let patch = json!({ "auth": { "header": { "name": "Origin" } } });
    let refused = room.merge(&made.id, patch).await.unwrap_err();

    assert_eq!(faults(&refused), ["/auth/header/value"]);
}

#[tokio::test]
async fn a_secret_that_is_given_anew_goes_to_the_new_place_and_the_old_one_nowhere() {
    let room = Room::new().await;
    let made = room.inactive("Orders").await;
    let elsewhere = format!("{}/elsewhere", room.domain());
    let patch = json!({
        "resource_domain": elsewhere,
        "auth": { "basic": { "password": "another-password" } },
    });

    let edited = room.merge(&made.id, patch).await.unwrap();

    assert_eq!(edited.document["resource_domain"], elsewhere);
    assert_eq!(
        room.password(&made.id).await.as_deref(),
        Some("another-password")
    );
}

#[tokio::test]
async fn a_scope_binds_no_secret() {
    let room = Room::new().await;
    let authority = Authority::plain(&room.stage.server()).await;
    let body = oauth2(&room, &authority);
    let made = room.registry.create(&acme(), body, None).await.unwrap();
    room.registry
        .deactivate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();

    let patch = json!({ "auth": { "oauth2": { "scope": "read write" } } });
    let edited = room.merge(&made.id, patch).await.unwrap();

    assert_eq!(edited.document["auth"]["oauth2"]["scope"], "read write");
    let secrets = room.secrets(&made.id, Slot::Current).await;
    let exposed: Vec<_> = secrets.values().map(|secret| secret.expose()).collect();
    assert_eq!(exposed, [CLIENT_SECRET, RESOURCE_OWNER, PARAMETER]);
}

#[tokio::test]
async fn staged_and_earlier_secrets_do_not_follow_to_another_place() {
    let room = Room::new().await;
    let made = room.promoted("Orders", "second-password").await;
    let staged = basic_password("third-password");
    room.registry
        .stage(&acme(), &made.id, staged, IfMatch::Any)
        .await
        .unwrap();
    room.registry
        .deactivate(&acme(), &made.id, IfMatch::Any)
        .await
        .unwrap();
    let elsewhere = format!("{}/elsewhere", room.domain());
    let patch = json!({
        "resource_domain": elsewhere,
        "auth": { "basic": { "password": "fourth-password" } },
    });

    let edited = room.merge(&made.id, patch).await.unwrap();

    assert_eq!((edited.staged, edited.previous_until), (None, None));
    for slot in [Slot::Staged, Slot::Previous] {
        assert!(room.secrets(&made.id, slot).await.is_empty(), "{slot:?}");
    }
}

#[tokio::test]
async fn a_restored_connector_brings_no_secret_to_another_place() {
    let room = Room::new().await;
    let deleted = room.deleted("Orders").await;
    room.registry
        .restore(&acme(), &deleted.id, IfMatch::Any)
        .await
        .unwrap();

    let patch = json!({
        "resource_domain": "https://attacker.example",
        "auth": { "basic": { "password": { "kept": true } } },
    });
    let refused = room.merge(&deleted.id, patch).await.unwrap_err();

    assert!(
        faults(&refused).contains(&"/auth/basic/password"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_probe_stays_below_the_resource_domain() {
    let room = Room::new().await;
    let mut body = room.basic("Orders");
    body["resource_domain"] = json!(format!("{}/own", room.domain()));
    let made = room.registry.create(&acme(), body, None).await.unwrap();

    for probe in [
        "https://attacker.example/",
        "//attacker.example/",
        "@attacker.example/",
        ":444/",
        "/../attacker",
        "/%2e%2e/attacker",
        "/..%2fattacker",
        "/\\..\\attacker",
    ] {
        let edited = room.merge(&made.id, json!({ "probe": probe })).await;
        let Ok(edited) = edited else {
            assert_eq!(faults(&edited.unwrap_err()), ["/probe"], "{probe}");
            continue;
        };
        // What is taken is a path all the same.
        assert!(probe.starts_with("//"), "{probe}: {edited:?}");
        room.registry.test(&acme(), &made.id).await.unwrap();
        assert!(
            room.last_target().starts_with("/own//attacker.example/"),
            "{probe}"
        );
    }
}
