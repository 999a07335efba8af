//! `Idempotency-Key`: a creation that is sent again creates once.

use std::time::Duration;

use attache::connector::Role;
use futures_util::future::join_all;
use serde_json::Value;

use super::desk::{Desk, JSON, refused};
use crate::registry::room::PASSWORD;

const CREATE: (&str, &str) = ("POST", "/connectors");
const KEY: (&str, &str) = ("idempotency-key", "0199f3a2-7c1e");

async fn count(desk: &Desk) -> usize {
    let listed = desk.get("/connectors").await.json();
    listed["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_creates_once() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");

    let first = desk.ask(CREATE, &[JSON, KEY], &body).await;
    let again = desk.ask(CREATE, &[JSON, KEY], &body).await;

    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(again.field("etag"), first.field("etag"));
    assert_eq!(again.field("location"), first.field("location"));
    assert!(!again.text().contains(PASSWORD));
    assert_eq!(count(&desk).await, 1);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_a_mistake() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");
    desk.ask(CREATE, &[JSON, KEY], &body).await;

    let mut other = body.clone();
    other["name"] = "Other".into();
    let renamed = desk.ask(CREATE, &[JSON, KEY], &other).await;
    let mut other = body;
    other["auth"]["basic"]["password"] = "another".into();
    let secret = desk.ask(CREATE, &[JSON, KEY], &other).await;

    refused(&renamed, 422, "idempotency-mismatch");
    refused(&secret, 422, "idempotency-mismatch");
    assert_eq!(count(&desk).await, 1);
}

#[tokio::test]
async fn another_administrators_key_is_another_key() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");
    let globex = desk.token(Role::FullAdmin, Some("globex")).await;

    let first = desk.ask(CREATE, &[JSON, KEY], &body).await;
    let theirs = desk.as_who(&globex, CREATE, &[JSON, KEY], &body).await;

    assert_eq!(theirs.status, 201, "{}", theirs.text());
    assert_ne!(theirs.json()["id"], first.json()["id"]);
    assert_eq!(theirs.json()["organization"], "globex");
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_under_the_same_key() {
    let desk = Desk::new().await;
    let mut body = desk.room.basic("Orders");
    body["resource_domain"] = "http://plain.example".into();

    let refusal = desk.ask(CREATE, &[JSON, KEY], &body).await;
    let mended = desk
        .ask(CREATE, &[JSON, KEY], &desk.room.basic("Orders"))
        .await;

    refused(&refusal, 422, "invalid");
    assert_eq!(mended.status, 201, "{}", mended.text());
}

#[tokio::test]
async fn of_twins_at_once_one_creates_and_the_others_get_its_answer_or_are_told_to_come_back() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");

    let twins = (0..6).map(|_| desk.ask(CREATE, &[JSON, KEY], &body));
    let answers = join_all(twins).await;

    let made: Vec<Value> = answers
        .iter()
        .filter(|one| one.status == 201)
        .map(crate::support::client::Answered::json)
        .collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|one| *one == made[0]));
    for other in answers.iter().filter(|one| one.status != 201) {
        refused(other, 409, "in-progress");
        assert_eq!(other.field("retry-after"), Some("1"));
    }
    assert_eq!(count(&desk).await, 1);
}

#[tokio::test]
async fn after_a_day_a_key_is_forgotten() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");
    desk.ask(CREATE, &[JSON, KEY], &body).await;

    desk.room.time.advance(Duration::from_secs(24 * 3600 - 1));
    let still = desk.ask(CREATE, &[JSON, KEY], &body).await;
    desk.room.time.advance(Duration::from_secs(1));
    let another = desk.room.basic("Others");
    let forgotten = desk.ask(CREATE, &[JSON, KEY], &another).await;
    let repeated = desk.ask(CREATE, &[JSON, KEY], &another).await;

    assert_eq!(still.status, 201);
    assert_eq!(forgotten.status, 201, "{}", forgotten.text());
    assert_eq!(repeated.json(), forgotten.json());
    assert_eq!(count(&desk).await, 2);
}

#[tokio::test]
async fn who_may_not_create_is_refused_and_noted_with_a_key_too() {
    let desk = Desk::new().await;
    let reader = desk.token(Role::HelpDeskAdmin, Some("acme")).await;

    let body = desk.room.basic("Orders");
    let answer = desk.as_who(&reader, CREATE, &[JSON, KEY], &body).await;

    refused(&answer, 403, "forbidden");
    let noted = desk.get("/audit?action=connector.create").await.json();
    assert_eq!(noted["items"][0]["reason"], "forbidden");
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let desk = Desk::new().await;
    let body = desk.room.basic("Orders");

    let long = "k".repeat(256);
    for key in ["", "a b", &long] {
        let field = ("idempotency-key", key);
        let answer = desk.ask(CREATE, &[JSON, field], &body).await;
        refused(&answer, 400, "bad-request");
    }
    let twice = desk
        .ask(CREATE, &[JSON, KEY, ("idempotency-key", "b")], &body)
        .await;
    refused(&twice, 400, "bad-request");
    assert_eq!(count(&desk).await, 0);
}
