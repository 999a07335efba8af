//! What the derived description says too loosely, put right.
//!
//! # Invariants
//!
//! Every object whose keys are described has these keys and no others. Every answer has the fields
//! that all answers have. Every operation says who may ask.

use serde_json::{Map, Value, json};

/// Puts `document` right.
pub(super) fn mend(document: &mut Value) {
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        flatten(schemas);
        loosen(schemas);
    }
    close(document);
    if let Some(Value::Object(paths)) = document.pointer_mut("/paths") {
        let items = paths.values_mut().filter_map(Value::as_object_mut);
        for operation in items.flat_map(Map::values_mut) {
            operation["security"] = json!([{ "token": [] }]);
            if let Some(Value::Object(answers)) = operation.get_mut("responses") {
                answers.values_mut().for_each(fields);
            }
        }
    }
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An administrator's token (`attache_…`), or a token of the OIDC issuer that \
                        the gateway's configuration names.",
    }});
}

/// Makes one object of those that are said to be two, wherever they stand.
fn flatten(schemas: &mut Map<String, Value>) {
    let whole = schemas.clone();
    schemas
        .values_mut()
        .for_each(|schema| merge(schema, &whole));
}

fn merge(schema: &mut Value, whole: &Map<String, Value>) {
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for part in parts {
            let part = resolve(whole, part);
            let keys = part.get("properties").and_then(Value::as_object);
            let keys = keys.into_iter().flatten();
            properties.extend(keys.map(|(key, value)| (key.clone(), value.clone())));
            let needed = part.get("required").and_then(Value::as_array);
            required.extend(needed.into_iter().flatten().cloned());
        }
        let mut merged =
            json!({ "type": "object", "properties": properties, "required": required });
        for said in ["description", "example"] {
            if let Some(value) = schema.get(said) {
                merged[said] = value.clone();
            }
        }
        *schema = merged;
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|inner| merge(inner, whole)),
        Value::Array(values) => values.iter_mut().for_each(|inner| merge(inner, whole)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn resolve<'a>(schemas: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str);
    let name = name.and_then(|name| name.strip_prefix("#/components/schemas/"));
    name.and_then(|name| schemas.get(name)).unwrap_or(schema)
}

/// A merge patch (RFC 7396) needs no key, may remove any, and reaches into objects.
fn loosen(schemas: &mut Map<String, Value>) {
    let whole = schemas.clone();
    let Some(keys) = whole
        .get("ConnectorEdit")
        .and_then(|edit| edit.get("properties"))
    else {
        return;
    };
    let Some(patch) = schemas.get_mut("ConnectorPatch") else {
        return;
    };
    let keys = keys.as_object().into_iter().flatten();
    let loose = keys.map(|(key, schema)| {
        let schema = match key.as_str() {
            "auth" => json!({
                "type": ["object", "string", "null"],
                "description": "A merge patch of `auth`, or `none`.",
            }),
            _ if is_object(&whole, schema) => json!({
                "type": ["object", "null"],
                "description": format!("A merge patch of `{key}`."),
            }),
            _ => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
        (key.clone(), schema)
    });
    patch["properties"] = loose.collect::<Map<_, _>>().into();
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("required");
    }
}

fn is_object(schemas: &Map<String, Value>, schema: &Value) -> bool {
    let schema = resolve(schemas, schema);
    let choices = schema.get("oneOf").and_then(Value::as_array);
    schema.get("type") == Some(&json!("object"))
        || choices.is_some_and(|choices| choices.iter().any(|one| is_object(schemas, one)))
}

/// Says of every object with keys that it has no others.
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object)
                && map.get("type") == Some(&json!("object"))
            {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds the fields of every answer, and those of a status.
fn fields(answer: &mut Value) {
    let text = |said: &str| json!({ "schema": { "type": "string" }, "description": said });
    let own = &mut answer["headers"];
    own["X-Request-Id"] = text("What the request is called in the gateway's log.");
}
