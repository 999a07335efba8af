//! `If-Match` and `If-None-Match`: nobody changes what they have not seen.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::desk::{Desk, JSON, PATCH, refused, staged};

#[tokio::test]
async fn every_change_of_what_exists_needs_a_condition() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;
    let stale = format!("\"{}\"", tag.trim_matches('"').parse::<u64>().unwrap() + 1);

    for (method, step, kind, body) in [
        ("PUT", "", Some(JSON), desk.room.basic("Orders")),
        ("PATCH", "", Some(PATCH), json!({"name": "Other"})),
        ("DELETE", "", None, Value::Null),
        ("POST", "/activate", None, Value::Null),
        ("POST", "/deactivate", None, Value::Null),
        ("POST", "/restore", None, Value::Null),
        ("POST", "/purge-token", None, Value::Null),
        ("POST", "/roll-back", None, Value::Null),
        ("PUT", "/staged-secrets", Some(JSON), staged("x")),
        ("DELETE", "/staged-secrets", None, Value::Null),
        ("POST", "/staged-secrets/test", None, Value::Null),
        ("POST", "/staged-secrets/promote", Some(JSON), json!({})),
    ] {
        let path = format!("/connectors/{id}{step}");
        let kind: Vec<_> = kind.into_iter().collect();

        // RFC 6585 §3.
        let missing = desk.ask((method, &path), &kind, &body).await;
        refused(&missing, 428, "precondition-required");
        // RFC 9110 §13.1.1: strong comparison.
        let weak = format!("W/{tag}");
        for tag in [stale.as_str(), &weak, "\"x\"", "\"1\", \"2\""] {
            let fields: Vec<_> = kind.iter().copied().chain([("if-match", tag)]).collect();
            let answer = desk.ask((method, &path), &fields, &body).await;
            refused(&answer, 412, "precondition-failed");
        }
        for tag in ["17", "", "*, \"1\""] {
            let fields: Vec<_> = kind.iter().copied().chain([("if-match", tag)]).collect();
            let answer = desk.ask((method, &path), &fields, &body).await;
            refused(&answer, 400, "bad-request");
        }
    }
    let untouched = desk.get(&format!("/connectors/{id}")).await;
    assert_eq!(untouched.field("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn one_of_several_tags_is_enough() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;

    let listed = format!("\"999\", W/\"1\", {tag}");
    let fields = [PATCH, ("if-match", listed.as_str())];
    let path = format!("/connectors/{id}");
    let answer = desk
        .ask(("PATCH", &path), &fields, &json!({"name": "Other"}))
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn of_edits_at_once_one_wins_and_the_others_are_told() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;
    let path = format!("/connectors/{id}");

    let edits = (0..8).map(|number| {
        let (desk, path, tag) = (&desk, path.as_str(), tag.as_str());
        async move {
            let patch = json!({"name": format!("Edit {number}")});
            let fields = [PATCH, ("if-match", tag)];
            desk.ask(("PATCH", path), &fields, &patch).await
        }
    });
    let answers = join_all(edits).await;

    let won: Vec<_> = answers.iter().filter(|one| one.status == 200).collect();
    assert_eq!(won.len(), 1);
    for lost in answers.iter().filter(|one| one.status != 200) {
        refused(lost, 412, "precondition-failed");
    }
    let now = desk.get(&path).await;
    assert_eq!(now.json(), won[0].json());
    assert_eq!(now.field("etag"), won[0].field("etag"));
}

#[tokio::test]
async fn who_has_it_already_is_sent_nothing() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;
    let path = format!("/connectors/{id}");

    for named in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"1\", {tag}"),
        "*".to_owned(),
    ] {
        let fields = [("if-none-match", named.as_str())];
        let answer = desk.ask(("GET", &path), &fields, &Value::Null).await;
        // RFC 9110 §15.4.5.
        assert_eq!(answer.status, 304, "{named}");
        assert!(answer.body.is_empty());
        assert_eq!(answer.field("etag"), Some(tag.as_str()));
    }
    let fields = [("if-none-match", "\"1\"")];
    let other = desk.ask(("GET", &path), &fields, &Value::Null).await;
    assert_eq!(other.status, 200);
}
