//! What an administrator sends: a new connector, or a change of one.
//!
//! # Invariants
//!
//! Keys that the gateway sets itself are never taken from what is sent. An edit may hold them as they
//! are, so that what was read can be sent back; to say anything else there is a fault.

use serde_json::{Map, Value};

use super::Edit;
use super::view::ConnectorView;
use crate::config::stored::FieldFault;
use crate::connector::{ConnectorId, InvalidOrganization, Organization};
use crate::control::access::Scope;
use crate::control::store::Phase;

/// Keys of [`ConnectorView::json`] that an edit leaves as they are.
const FIXED_KEYS: [&str; 11] = [
    "id",
    "organization",
    "kind",
    "state",
    "source",
    "revision",
    "created_at",
    "updated_at",
    "deleted_at",
    "staged",
    "previous_until",
];

/// Keys of [`ConnectorView::json`] that a new connector's sender cannot say.
const OWN_KEYS: [&str; 8] = [
    "state",
    "source",
    "revision",
    "created_at",
    "updated_at",
    "deleted_at",
    "staged",
    "previous_until",
];

/// A new connector, its document not yet read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: ConnectorId,
    pub(super) organization: Organization,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) state: Phase,
    pub(super) document: Value,
}

/// What an edit makes of a connector.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) name: String,
    pub(super) document: Value,
}

impl Draft {
    /// Reads what stands beside the document in `body`; `fresh` is its ID if it says none. What is
    /// wrong there is told beside a draft with something in its place, so that the document can be
    /// looked at too.
    pub(super) fn read(body: Value, scope: &Scope, fresh: ConnectorId) -> (Self, Vec<FieldFault>) {
        let mut faults = Vec::new();
        let mut keys = object(body, &mut faults);
        for key in OWN_KEYS {
            if keys.remove(key).is_some() {
                faults.push(fault(key, "is set by the gateway"));
            }
        }
        let id = text(&mut keys, "id", &mut faults).and_then(|text| {
            let id = ConnectorId::parse(&text);
            id.map_err(|error| faults.push(fault("id", &error.to_string())))
                .ok()
        });
        let organization = text(&mut keys, "organization", &mut faults).and_then(|text| {
            let organization = Organization::parse(&text);
            let told = |error: InvalidOrganization| {
                faults.push(fault("organization", &error.to_string()));
            };
            organization.map_err(told).ok()
        });
        let organization = organization.unwrap_or_else(|| match scope {
            Scope::One(own) => own.clone(),
            Scope::All => Organization::default(),
        });
        let state = match keys.remove("enabled") {
            None | Some(Value::Bool(true)) => Phase::Active,
            Some(Value::Bool(false)) => Phase::Inactive,
            Some(_) => {
                faults.push(fault("enabled", "must be true or false"));
                Phase::Active
            }
        };
        let kind = text(&mut keys, "kind", &mut faults);
        let draft = Self {
            id: id.unwrap_or(fresh),
            organization,
            name: name(&mut keys, &mut faults),
            kind: kind.unwrap_or_else(|| "custom".to_owned()),
            state,
            document: Value::Object(keys),
        };
        (draft, faults)
    }
}

impl Edited {
    /// What `edit` makes of `now`.
    pub(super) fn read(now: &ConnectorView, edit: Edit) -> (Self, Vec<FieldFault>) {
        let mut faults = Vec::new();
        let shown = now.json();
        let (sent, patches) = match edit {
            Edit::Replace(sent) => (sent, None),
            Edit::Merge(patch) => (patch, Some(now)),
        };
        let mut keys = object(sent, &mut faults);
        for key in FIXED_KEYS {
            if keys.remove(key).is_some_and(|said| said != shown[key]) {
                faults.push(fault(key, "cannot be edited"));
            }
        }
        let enabled = Value::Bool(now.state == Phase::Active);
        if keys.remove("enabled").is_some_and(|said| said != enabled) {
            faults.push(fault(
                "enabled",
                "is changed by activating and deactivating",
            ));
        }
        if let Some(now) = patches {
            keys.entry("name")
                .or_insert_with(|| now.name.as_str().into());
        }
        let name = name(&mut keys, &mut faults);
        let sent = Value::Object(keys);
        let document = match patches {
            Some(now) => {
                let mut merged = now.document.clone();
                merge(&mut merged, sent);
                merged
            }
            None => sent,
        };
        (Self { name, document }, faults)
    }
}

/// Applies a merge patch (RFC 7396 §2).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn object(body: Value, faults: &mut Vec<FieldFault>) -> Map<String, Value> {
    match body {
        Value::Object(keys) => keys,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            faults.push(FieldFault {
                field: String::new(),
                detail: "must be an object with a connector's keys".to_owned(),
            });
            Map::new()
        }
    }
}

/// Takes a text that may be left out.
fn text(keys: &mut Map<String, Value>, key: &str, faults: &mut Vec<FieldFault>) -> Option<String> {
    match keys.remove(key)? {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            faults.push(fault(key, "must be a string"));
            None
        }
    }
}

/// Takes the name, whose form is looked at with the document's.
fn name(keys: &mut Map<String, Value>, faults: &mut Vec<FieldFault>) -> String {
    let is_missing = !keys.contains_key("name");
    if is_missing {
        faults.push(fault("name", "is required"));
    }
    text(keys, "name", faults).unwrap_or_else(|| "unnamed".to_owned())
}

fn fault(key: &str, detail: &str) -> FieldFault {
    FieldFault {
        field: format!("/{key}"),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396 appendix A.
    #[test]
    fn a_merge_patch_is_applied_as_its_rfc_shows() {
        for (mut target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            merge(&mut target, patch);

            assert_eq!(target, merged);
        }
    }
}
