//! Connectors over HTTP: what each operation answers.

use attache::connector::Role;
use serde_json::{Value, json};

use super::desk::{ANY, Desk, JSON, PATCH, fields, refused, staged};
use crate::registry::room::{PASSWORD, Room};

#[tokio::test]
async fn a_connector_is_made_read_changed_and_ended() {
    let desk = Desk::new().await;

    let body = desk.room.basic("Orders");
    let made = desk.ask(("POST", "/connectors"), &[JSON], &body).await;

    assert_eq!(made.status, 201, "{}", made.text());
    let connector = made.json();
    let id = connector["id"].as_str().unwrap().to_owned();
    let path = format!("/connectors/{id}");
    let location = format!("/api/v1{path}");
    assert_eq!(made.field("location"), Some(location.as_str()));
    let tag = format!("\"{}\"", connector["revision"]);
    assert_eq!(made.field("etag"), Some(tag.as_str()));
    assert_eq!(connector["state"], "active");
    assert_eq!(connector["source"], "store");
    assert_eq!(connector["organization"], "acme");
    assert_eq!(
        connector["auth"]["basic"]["password"],
        json!({"kept": true})
    );

    let read = desk.get(&path).await;
    assert_eq!((read.status.as_u16(), read.json()), (200, connector));
    assert_eq!(read.field("etag"), Some(tag.as_str()));

    let patch = json!({"name": "Orders, new", "retry": {"statuses": [502]}});
    let patched = desk
        .ask(("PATCH", &path), &[PATCH, ("if-match", &tag)], &patch)
        .await;
    assert_eq!(patched.status, 200, "{}", patched.text());
    assert_eq!(patched.json()["name"], "Orders, new");
    let tag = patched.field("etag").unwrap().to_owned();

    // What was read can be sent back as it is.
    let mut whole = patched.json();
    whole["cookies"] = "pass".into();
    whole["retry"] = Value::Null;
    let replaced = desk
        .ask(("PUT", &path), &[JSON, ("if-match", &tag)], &whole)
        .await;
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    assert_eq!(replaced.json()["cookies"], "pass");

    for (method, step, state) in [
        ("POST", "/deactivate", "inactive"),
        ("POST", "/activate", "active"),
        ("POST", "/purge-token", "active"),
        ("POST", "/deactivate", "inactive"),
        ("DELETE", "", "deleted"),
        ("POST", "/restore", "inactive"),
    ] {
        let target = format!("{path}{step}");
        let answer = desk.ask((method, &target), &[ANY], &Value::Null).await;
        assert_eq!(answer.status, 200, "{step}: {}", answer.text());
        assert_eq!(answer.json()["state"], state, "{step}");
        assert!(answer.field("etag").is_some());
    }
    let restored = desk.get(&path).await.json();
    assert_eq!(restored["auth"]["basic"]["password"], Value::Null);
}

#[tokio::test]
async fn a_test_tells_leg_by_leg_how_far_it_came() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let test = format!("/connectors/{id}/test");

    let good = desk.ask(("POST", &test), &[], &Value::Null).await;
    desk.room.accept_none();
    let bad = desk.ask(("POST", &test), &[], &Value::Null).await;

    assert_eq!(
        (good.status.as_u16(), &good.json()["passed"]),
        (200, &json!(true))
    );
    assert_eq!(
        (bad.status.as_u16(), &bad.json()["passed"]),
        (200, &json!(false))
    );
    let legs = bad.json()["legs"].as_array().unwrap().clone();
    let failed: Vec<_> = legs
        .iter()
        .filter(|leg| leg["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{legs:?}");
    assert_eq!(failed[0]["leg"], "validation");
    assert!(failed[0]["hint"].is_string());
}

#[tokio::test]
async fn a_connector_that_does_not_work_is_not_made_and_its_leg_is_named() {
    let desk = Desk::new().await;
    desk.room.accept_none();

    let body = desk.room.basic("Orders");
    let answer = desk.ask(("POST", "/connectors"), &[JSON], &body).await;

    refused(&answer, 422, "validation-failed");
    let legs = answer.json()["legs"].as_array().unwrap().clone();
    let is_failed = |leg: &&Value| leg["outcome"] == "failed";
    assert_eq!(legs.iter().filter(is_failed).count(), 1);
    let listed = desk.get("/connectors").await.json();
    assert_eq!(listed, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn what_is_wrong_with_a_connector_is_told_field_by_field() {
    let desk = Desk::new().await;

    for (change, field) in [
        (
            json!({"resource_domain": "http://orders.example.com"}),
            "/resource_domain",
        ),
        (
            json!({"auth": {"basic": {"username": "a:b", "password": PASSWORD}}}),
            "/auth/basic/username",
        ),
        (
            json!({"auth": {"basic": {"username": "a"}}}),
            "/auth/basic/password",
        ),
        (
            json!({"auth": {"basic": {"username": "a", "password": {"file": "/etc/shadow"}}}}),
            "/auth/basic/password",
        ),
        (
            json!({"auth": {"basic": {"username": "a", "password": {"env": "HOME"}}}}),
            "/auth/basic/password",
        ),
        (json!({"colour": PASSWORD}), "/colour"),
        (json!({"upstream": {"conect": "1s"}}), "/upstream/conect"),
        (json!({"state": "active"}), "/state"),
        (json!({"revision": 1}), "/revision"),
        (json!({"id": "Not An ID"}), "/id"),
        (json!({"name": 7}), "/name"),
        (json!({"enabled": "yes"}), "/enabled"),
    ] {
        let mut body = desk.room.basic("Orders");
        let whole = body.as_object_mut().unwrap();
        whole.extend(change.as_object().unwrap().clone());

        let answer = desk.ask(("POST", "/connectors"), &[JSON], &body).await;

        refused(&answer, 422, "invalid");
        let named = fields(&answer);
        assert!(
            named.iter().any(|one| one.starts_with(field)),
            "{field} is not in {named:?}"
        );
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_change_is_a_conflict_with_a_name() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let path = format!("/connectors/{id}");
    let step = |step: &str| format!("{path}{step}");

    let taken = desk
        .ask(("POST", "/connectors"), &[JSON], &desk.room.basic("Orders"))
        .await;
    let mut twin = desk.room.basic("Twin");
    twin["id"] = id.as_str().into();
    let id_taken = desk.ask(("POST", "/connectors"), &[JSON], &twin).await;
    let other_domain = json!({"resource_domain": "https://other.example.com"});
    let active = desk
        .ask(("PATCH", &path), &[PATCH, ANY], &other_domain)
        .await;
    let undeleted = desk.ask(("DELETE", &path), &[ANY], &Value::Null).await;
    let again = desk
        .ask(("POST", &step("/activate")), &[ANY], &Value::Null)
        .await;
    let alive = desk
        .ask(("POST", &step("/restore")), &[ANY], &Value::Null)
        .await;
    let unstaged = desk
        .ask(
            ("POST", &step("/staged-secrets/promote")),
            &[JSON, ANY],
            &json!({}),
        )
        .await;
    let no_previous = desk
        .ask(("POST", &step("/roll-back")), &[ANY], &Value::Null)
        .await;
    desk.made("Second").await;
    desk.made("Third").await;
    let fourth = desk.room.basic("Fourth");
    let full = desk.ask(("POST", "/connectors"), &[JSON], &fourth).await;

    refused(&taken, 409, "name-taken");
    refused(&id_taken, 409, "id-taken");
    refused(&active, 409, "connector-active");
    refused(&undeleted, 409, "connector-active");
    refused(&again, 409, "connector-active");
    refused(&alive, 409, "not-deleted");
    refused(&unstaged, 409, "nothing-staged");
    refused(&no_previous, 409, "nothing-staged");
    refused(&full, 409, "limit-reached");
}

#[tokio::test]
async fn staged_secrets_are_tested_promoted_and_gone_back_from() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let at = |step: &str| format!("/connectors/{id}{step}");
    let new = "canary-staged-5512";

    let put = desk
        .ask(("PUT", &at("/staged-secrets")), &[JSON, ANY], &staged(new))
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(
        put.json()["staged"]["fields"],
        json!(["/auth/basic/password"])
    );
    let refused_by_origin = desk
        .ask(("POST", &at("/staged-secrets/test")), &[ANY], &Value::Null)
        .await;
    assert_eq!(refused_by_origin.json()["passed"], json!(false));
    let not_promoted = desk
        .ask(
            ("POST", &at("/staged-secrets/promote")),
            &[JSON, ANY],
            &json!({}),
        )
        .await;
    refused(&not_promoted, 422, "validation-failed");

    desk.room.accept(new);
    let tested = desk
        .ask(("POST", &at("/staged-secrets/test")), &[ANY], &Value::Null)
        .await;
    assert_eq!(tested.json()["passed"], json!(true));
    let tag = tested.field("etag").unwrap().to_owned();
    let promotion = json!({"keep_previous_for": "30m"});
    let promoted = desk
        .ask(
            ("POST", &at("/staged-secrets/promote")),
            &[JSON, ("if-match", &tag)],
            &promotion,
        )
        .await;
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    assert!(promoted.json()["previous_until"].is_string());
    let back = desk
        .ask(("POST", &at("/roll-back")), &[ANY], &Value::Null)
        .await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(back.json()["previous_until"], Value::Null);
}

#[tokio::test]
async fn what_is_no_secret_of_the_connector_is_not_staged() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let staged = format!("/connectors/{id}/staged-secrets");

    for body in [
        json!({}),
        json!({"secrets": {}}),
        json!({"secrets": []}),
        json!({"secrets": {"/auth/basic/password": 7}}),
        json!({"secrets": {"/auth/basic/username": "x"}}),
        json!({"secrets": {"/nowhere": "x"}}),
        json!({"secrets": {"/auth/basic/password": "x"}, "more": 1}),
    ] {
        let answer = desk.ask(("PUT", &staged), &[JSON, ANY], &body).await;
        refused(&answer, 422, "invalid");
    }
    let discarded = desk.ask(("DELETE", &staged), &[ANY], &Value::Null).await;
    refused(&discarded, 409, "nothing-staged");
}

#[tokio::test]
async fn lists_are_filtered_and_come_page_by_page() {
    let desk = Desk::new().await;
    desk.room.widen().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut body = desk.room.basic(name);
        body["id"] = format!("orders-{name}").into();
        body["enabled"] = (name != "c").into();
        let made = desk.ask(("POST", "/connectors"), &[JSON], &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };

    let mut seen = Vec::new();
    let mut path = "/connectors?limit=2".to_owned();
    for _ in 0..3 {
        let page = desk.get(&path).await.json();
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/connectors?limit=2&after={next}");
    }

    assert_eq!(
        seen,
        ["orders-a", "orders-b", "orders-c", "orders-d", "orders-e"]
    );
    for (query, found) in [
        ("state=inactive", vec!["orders-c"]),
        ("state=deleted", vec![]),
        ("name=b", vec!["orders-b"]),
        ("name=%62", vec!["orders-b"]),
        ("source=file", vec![]),
        ("organization=globex", vec![]),
        ("kind=custom&source=store&limit=1", vec!["orders-a"]),
    ] {
        let page = desk.get(&format!("/connectors?{query}")).await.json();
        assert_eq!(ids(&page), found, "{query}");
    }
}

#[tokio::test]
async fn a_query_that_says_anything_else_is_refused() {
    let desk = Desk::new().await;

    for (query, field) in [
        ("limit=0", "?limit"),
        ("limit=201", "?limit"),
        ("limit=-1", "?limit"),
        ("limit=1e2", "?limit"),
        ("limit=", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("state=ACTIVE", "?state"),
        ("source=anywhere", "?source"),
        ("kind=salesforce", "?kind"),
        ("organization=*", "?organization"),
        ("organization=%2e%2e", "?organization"),
        ("colour=red", "?colour"),
        ("%00=1", "?\0"),
    ] {
        let answer = desk.get(&format!("/connectors?{query}")).await;

        refused(&answer, 422, "invalid");
        assert_eq!(fields(&answer), [field], "{query}");
    }
}

#[tokio::test]
async fn a_connector_of_the_configuration_is_read_and_not_changed() {
    let room = Room::with(
        "[{ id: billing, organization: acme, name: Billing, resource_domain: UP, auth: none }]",
    )
    .await;
    let desk = Desk::over(room).await;

    let read = desk.get("/connectors/billing").await;
    assert_eq!(read.json()["source"], "file");
    assert_eq!(read.field("etag"), None);
    let listed = desk.get("/connectors?source=file").await.json();
    assert_eq!(listed["items"][0]["id"], "billing");
    for (method, step) in [
        ("DELETE", ""),
        ("POST", "/activate"),
        ("POST", "/deactivate"),
        ("POST", "/purge-token"),
        ("POST", "/restore"),
        ("POST", "/roll-back"),
        ("DELETE", "/staged-secrets"),
    ] {
        let path = format!("/connectors/billing{step}");
        let answer = desk.ask((method, &path), &[ANY], &Value::Null).await;
        refused(&answer, 409, "read-only");
    }
    let mut body = desk.room.basic("Other");
    body["id"] = "billing".into();
    let clash = desk.ask(("POST", "/connectors"), &[JSON], &body).await;
    refused(&clash, 409, "id-taken");
    let tested = desk
        .ask(("POST", "/connectors/billing/test"), &[], &Value::Null)
        .await;
    assert_eq!(tested.json()["passed"], json!(true), "{}", tested.text());
}

#[tokio::test]
async fn another_organizations_connector_is_not_there() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;
    let globex = desk.token(Role::FullAdmin, Some("globex")).await;
    let nowhere = "/connectors/no-such-connector";

    for (method, step) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/activate"),
        ("POST", "/deactivate"),
        ("POST", "/test"),
        ("POST", "/staged-secrets/test"),
    ] {
        let fields = [("if-match", tag.as_str())];
        let path = format!("/connectors/{id}{step}");
        let theirs = desk
            .as_who(&globex, (method, &path), &fields, &Value::Null)
            .await;
        let path = format!("{nowhere}{step}");
        let nobodys = desk
            .as_who(&globex, (method, &path), &fields, &Value::Null)
            .await;

        refused(&theirs, 404, "not-found");
        let told = |answer: &crate::support::client::Answered| {
            let mut problem = answer.json();
            problem["request_id"] = Value::Null;
            problem
        };
        assert_eq!(told(&theirs), told(&nobodys), "{method} {step}");
    }
    let everybody = desk.token(Role::FullAdmin, None).await;
    let path = format!("/connectors/{id}");
    let seen = desk
        .as_who(&everybody, ("GET", &path), &[], &Value::Null)
        .await;
    assert_eq!(seen.status, 200);
}

#[tokio::test]
async fn paths_that_are_nothing_are_not_found_whatever_their_spelling() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;

    for path in [
        "",
        "/",
        "/connectors/",
        "//connectors",
        &format!("/connectors/{id}/"),
        &format!("/connectors//{id}"),
        "/connectors/%2e%2e/whoami",
        "/connectors/..%2fwhoami",
        "/connectors/%2fwhoami",
        "/connectors/a%00b",
        "/connectors/ORDERS",
        "/connectors/%25",
        &format!("/connectors/{}", "a".repeat(65)),
    ] {
        let answer = desk.get(path).await;

        refused(&answer, 404, "not-found");
    }
    let malformed = desk.get("/connectors/%ff").await;
    refused(&malformed, 400, "bad-request");
}

#[tokio::test]
async fn a_method_that_is_not_known_says_which_are() {
    let desk = Desk::new().await;

    for (method, path, allowed) in [
        ("POST", "/whoami", "GET,HEAD"),
        ("DELETE", "/connectors", "GET,HEAD,POST"),
        ("GET", "/connectors/orders/activate", "POST"),
        ("OPTIONS", "/connectors", "GET,HEAD,POST"),
        ("TRACE", "/connectors", "GET,HEAD,POST"),
        ("BREW", "/connectors", "GET,HEAD,POST"),
    ] {
        let answer = desk.ask((method, path), &[], &Value::Null).await;

        refused(&answer, 405, "method");
        let mut told: Vec<_> = answer.field("allow").unwrap().split(',').collect();
        told.sort_unstable();
        assert_eq!(told.join(","), allowed, "{method} {path}");
        assert_eq!(answer.field("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_code() {
    let desk = Desk::new().await;

    desk.get("/connectors").await;
    desk.get("/connectors").await;
    desk.get("/connectors/nowhere").await;
    desk.get("/elsewhere").await;

    let text = desk.metrics.encode();
    for line in [
        "attache_admin_requests_total{operation=\"list-connectors\",code=\"200\"} 2",
        "attache_admin_requests_total{operation=\"read-connector\",code=\"404\"} 1",
        "attache_admin_requests_total{operation=\"none\",code=\"404\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn whom_a_connector_allows_is_changed_while_it_is_active() {
    let desk = Desk::new().await;
    let (id, _) = desk.made("Orders").await;
    let path = format!("/connectors/{id}");

    for allow in [
        json!([{"principals": ["ivr"], "methods": ["GET"], "paths": ["/orders"]}, {"networks": ["10.0.0.0/8"]}]),
        json!([]),
        Value::Null,
    ] {
        let patch = json!({ "allow": allow });
        let patched = desk.ask(("PATCH", &path), &[PATCH, ANY], &patch).await;

        assert_eq!(patched.status, 200, "{}", patched.text());
        assert_eq!(patched.json()["allow"], allow);
        assert_eq!(patched.json()["state"], "active");
    }
    for (allow, field) in [
        (json!([{"paths": ["/a/%2e%2e/b"]}]), "/allow/0/paths/0"),
        (json!([{"methods": []}]), "/allow/0/methods"),
        (json!([{}, {"path": ["/a"]}]), "/allow/1/path"),
        (json!("nobody"), "/allow"),
    ] {
        let patch = json!({ "allow": allow });
        let patched = desk.ask(("PATCH", &path), &[PATCH, ANY], &patch).await;

        assert_eq!(patched.status, 422, "{}", patched.text());
        assert_eq!(fields(&patched), [field]);
    }
    assert_eq!(desk.get(&path).await.json()["allow"], Value::Null);
}
