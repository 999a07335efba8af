//! Administrators who do the same at the same time.

use std::sync::Arc;

use attache::control::registry::{Edit, IfMatch, Refused};
use serde_json::json;
use tokio::task::JoinSet;

use super::room::{Room, acme};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_compete_for_the_last_place_get_one_between_them() {
    compete_for_the_last_place(Room::new().await).await;
}

pub(super) async fn compete_for_the_last_place(room: Room) {
    let room = Arc::new(room);
    room.made("One").await;
    room.made("Two").await;

    let mut makers = JoinSet::new();
    for number in 0..8 {
        let room = Arc::clone(&room);
        makers.spawn(async move {
            let body = room.basic(&format!("Last {number}"));
            room.registry.create(&acme(), body, None).await
        });
    }
    let made = makers.join_all().await;

    let good = made.iter().filter(|made| made.is_ok()).count();
    assert_eq!(good, 1, "{made:?}");
    // Four at once are tried; who comes to more than that is to come again.
    let full =
        |made: &Result<_, _>| matches!(made, Err(Refused::LimitReached { .. } | Refused::Busy));
    assert_eq!(made.iter().filter(|made| full(made)).count(), 7, "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_want_one_name_or_one_id_get_one_connector() {
    for key in ["name", "id"] {
        let room = Arc::new(Room::new().await);

        let mut makers = JoinSet::new();
        for number in 0..8 {
            let room = Arc::clone(&room);
            makers.spawn(async move {
                let mut body = room.basic(&format!("Number {number}"));
                body[key] = json!("same");
                room.registry.create(&acme(), body, None).await
            });
        }
        let made = makers.join_all().await;

        let good = made.iter().filter(|made| made.is_ok()).count();
        assert_eq!(good, 1, "{key}: {made:?}");
        let told = |made: &Result<_, Refused>| match key {
            "name" => matches!(made, Err(Refused::NameTaken | Refused::Busy)),
            _ => matches!(made, Err(Refused::IdTaken | Refused::Busy)),
        };
        assert_eq!(made.iter().filter(|made| told(made)).count(), 7, "{made:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_edits_of_the_same_state_one_wins() {
    edit_the_same_state(Room::new().await).await;
}

pub(super) async fn edit_the_same_state(room: Room) {
    let room = Arc::new(room);
    let made = room.made("Orders").await;
    let seen = IfMatch::Revision(made.revision.unwrap());

    let mut editors = JoinSet::new();
    for number in 1..=8 {
        let (room, id) = (Arc::clone(&room), made.id.clone());
        editors.spawn(async move {
            let edit = Edit::Merge(json!({ "requests_in_flight_max": number }));
            room.registry.edit(&acme(), &id, edit, seen).await
        });
    }
    let edited = editors.join_all().await;

    let won: Vec<_> = edited
        .iter()
        .filter_map(|edited| edited.as_ref().ok())
        .collect();
    assert_eq!(won.len(), 1, "{edited:?}");
    let now = room.registry.read(&acme(), &made.id).await.unwrap();
    assert_eq!(now.document, won[0].document);
    let stale = edited.iter().filter(|edited| {
        matches!(edited, Err(Refused::PreconditionFailed { current }) if Some(*current) == now.revision)
    });
    assert_eq!(stale.count(), 7, "{edited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edits_that_mind_no_state_are_all_made() {
    let room = Arc::new(Room::new().await);
    let made = room.made("Orders").await;

    let mut editors = JoinSet::new();
    for key in ["cookies", "forwarded", "scrub", "retry"] {
        let (room, id) = (Arc::clone(&room), made.id.clone());
        let value = match key {
            "cookies" => json!("pass"),
            "forwarded" => json!(true),
            "scrub" => json!("all"),
            _ => json!({ "attempts": 3 }),
        };
        editors.spawn(async move { room.merge(&id, json!({ key: value })).await });
    }
    let edited = editors.join_all().await;

    assert!(edited.iter().all(Result::is_ok), "{edited:?}");
    let now = room
        .registry
        .read(&acme(), &made.id)
        .await
        .unwrap()
        .document;
    assert_eq!(
        (&now["cookies"], &now["forwarded"]),
        (&json!("pass"), &json!(true))
    );
    assert_eq!(
        (&now["scrub"], &now["retry"]),
        (&json!("all"), &json!({ "attempts": 3 }))
    );
}
