//! `/openapi.json`, held against the program and the reference configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::desk::Desk;
use crate::support::client::Client;

async fn document() -> Value {
    let desk = Desk::new().await;
    let mut client = Client::http1(desk.address).await;
    let answer = client.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    answer.json()
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => document.pointer(&name[1..]).unwrap(),
        None => schema,
    }
}

/// Every path of keys in a schema, with the default that stands there.
fn described(document: &Value, schema: &Value, at: &str, found: &mut BTreeMap<String, Value>) {
    let whole = resolve(document, schema);
    for choice in whole["oneOf"].as_array().into_iter().flatten() {
        described(document, choice, at, found);
    }
    for (key, inner) in whole["properties"].as_object().into_iter().flatten() {
        if key == "kept" {
            continue;
        }
        let at = format!("{at}/{key}");
        found.insert(at.clone(), inner["default"].clone());
        described(document, inner, &at, found);
    }
}

/// Every path of keys in a configuration's connector.
fn written(value: &Value, at: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    // What stands for a secret or a file is a value.
    let is_source = ["file", "env"].iter().any(|key| value.get(*key).is_some());
    if is_source || at.ends_with("token_parameters") || at.ends_with("token_headers") {
        return;
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        found
            .entry(at.clone())
            .or_default()
            .insert(inner.to_string());
        written(inner, &at, found);
    }
}

/// The reference configuration's connectors; its gateway-wide `upstream` stands for their own.
fn reference() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../../../config/reference.yaml");
    let whole: Value = serde_yaml::from_str(text).unwrap();
    let mut found = BTreeMap::new();
    for connector in whole["connectors"].as_array().unwrap() {
        written(connector, "", &mut found);
    }
    written(&whole["upstream"], "/upstream", &mut found);
    found
}

#[tokio::test]
async fn every_key_of_a_connector_is_described_and_nothing_else() {
    let document = document().await;
    let schema = &document["components"]["schemas"]["NewConnector"];
    let mut keys = BTreeMap::new();
    described(&document, schema, "", &mut keys);

    let described: BTreeSet<_> = keys.keys().cloned().collect();
    let readable: BTreeSet<_> = reference().into_keys().collect();

    assert_eq!(described, readable);
}

#[tokio::test]
async fn every_default_that_is_described_is_the_references() {
    let document = document().await;
    let schema = &document["components"]["schemas"]["NewConnector"];
    let mut keys = BTreeMap::new();
    described(&document, schema, "", &mut keys);
    let reference = reference();

    let mut compared = 0;
    for (key, default) in keys.into_iter().filter(|(_, default)| !default.is_null()) {
        let written = &reference[&key];
        assert!(
            written.contains(&default.to_string()),
            "{key}: {default} is described, {written:?} is the reference's"
        );
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

#[tokio::test]
async fn what_is_answered_has_the_keys_of_what_is_sent() {
    let document = document().await;
    let keys = |name: &str| -> BTreeSet<String> {
        let schema = &document["components"]["schemas"][name];
        let mut keys = BTreeMap::new();
        described(&document, schema, "", &mut keys);
        keys.into_keys().collect()
    };

    let (sent, answered, edited) = (
        keys("NewConnector"),
        keys("Connector"),
        keys("ConnectorEdit"),
    );

    let only: Vec<_> = sent.difference(&answered).collect();
    assert_eq!(only, ["/enabled"]);
    let only: Vec<_> = answered.difference(&edited).collect();
    assert!(only.is_empty(), "{only:?}");
}

#[tokio::test]
async fn every_operation_says_all_that_it_may_answer() {
    let document = document().await;

    let operations: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect();

    let mut ids = BTreeSet::new();
    for (name, operation) in operations {
        let answers = operation["responses"].as_object().unwrap();
        for status in ["400", "401", "403", "404", "422", "429", "500", "503"] {
            assert!(answers.contains_key(status), "{name}: {status}");
        }
        let reads_body = operation.get("requestBody").is_some();
        for status in ["408", "413", "415"] {
            assert_eq!(answers.contains_key(status), reads_body, "{name}: {status}");
        }
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let has_condition = parameters.iter().any(|one| one["name"] == "If-Match");
        for status in ["412", "428"] {
            assert_eq!(
                answers.contains_key(status),
                has_condition,
                "{name}: {status}"
            );
        }
        assert!(operation["summary"].is_string(), "{name} has no title");
        assert_eq!(operation["security"][0]["token"], serde_json::json!([]));
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{name} has the name of another");
    }
}

#[tokio::test]
async fn every_object_is_closed_and_every_reference_leads_somewhere() {
    let document = document().await;

    fn walk(document: &Value, value: &Value, at: &str) {
        if let Some(name) = value["$ref"].as_str() {
            assert!(document.pointer(&name[1..]).is_some(), "{at}: {name}");
        }
        if value["properties"].is_object() && value["type"] == "object" {
            assert_eq!(value["additionalProperties"], false, "{at} is open");
        }
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    walk(document, inner, &format!("{at}/{key}"));
                }
            }
            Value::Array(values) => {
                for (index, inner) in values.iter().enumerate() {
                    walk(document, inner, &format!("{at}/{index}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&document, &document, "");
}

#[tokio::test]
async fn no_operation_that_is_described_is_done_for_nobody() {
    let desk = Desk::new().await;
    let (id, tag) = desk.made("Orders").await;
    let mut client = Client::http1(desk.address).await;
    let document = client.get("/openapi.json").await.json();
    let fields = [("if-match", &*tag), ("content-type", "application/json")];

    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .strip_prefix("/api/v1")
            .unwrap()
            .replace("{id}", &id)
            .replace("{name}", "acme");
        for method in operations.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let body = json!({});
            let answer = desk.as_who("attache_nobody", (&method, &path), &fields, &body);
            let answer = answer.await;
            // The fifth failure of a minute turns the address away.
            let wanted = if asked < 5 { 401 } else { 429 };
            assert_eq!(answer.status, wanted, "{method} {path}: {}", answer.text());
            asked += 1;
        }
    }

    assert!(asked > 20, "{asked}");
    let still = desk.get(&format!("/connectors/{id}")).await;
    assert_eq!(still.field("etag"), Some(&*tag));
}
