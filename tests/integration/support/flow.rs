//! Reads flow exports: which HTTP requests a flow runtime sends for them.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What cannot stand in a target as it is (RFC 3986 §3.3, §3.4). `%` can: what is encoded already
/// is not encoded twice.
const ILLEGAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// What a query parameter's name or value keeps.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An HTTP Request activity that uses a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    /// What the flow's author calls it.
    pub(crate) name: String,
    /// The connector it names.
    pub(crate) connector: String,
    /// The method.
    pub(crate) method: String,
    /// The request path, query included, as the author wrote it.
    path: String,
    /// Query parameters beside those of the path.
    query: Vec<(String, String)>,
    /// Request fields.
    fields: Vec<(String, String)>,
    /// The media type of the content.
    content_type: String,
    /// The content, with its templates.
    body: Option<String>,
}

/// What a flow runtime sends for an activity once its templates are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowRequest {
    /// The method.
    pub(crate) method: String,
    /// Path and query relative to the resource domain, without a leading slash.
    pub(crate) target: String,
    /// Fields, `Content-Type` among them.
    pub(crate) fields: Vec<(String, String)>,
    /// The content.
    pub(crate) body: String,
}

/// The exports the project ships.
pub(crate) fn own_exports() -> Vec<PathBuf> {
    json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows"))
}

/// Exports of real flows, which lie beside the project where they are to be had.
pub(crate) fn real_exports() -> Vec<PathBuf> {
    json_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/flows"))
}

/// Reads an export.
pub(crate) fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every activity of `export` that sends an authenticated request, in the export's order. They
/// stand in `process` and in each event's flow; `diagram` repeats them for the editor.
pub(crate) fn activities(export: &Value) -> Vec<Activity> {
    let mut found = Vec::new();
    collect(export, &mut found);
    found
}

impl Activity {
    /// Fills in the templates with what `value` makes of each expression.
    pub(crate) fn request(&self, value: &dyn Fn(&str) -> Option<String>) -> FlowRequest {
        let fill = |text: &str| self.fill(text, value);
        let mut target =
            utf8_percent_encode(fill(&self.path).trim_start_matches('/'), ILLEGAL).to_string();
        for (name, text) in &self.query {
            let text = fill(text);
            target.push(if target.contains('?') { '&' } else { '?' });
            target.extend(utf8_percent_encode(name, UNRESERVED));
            target.push('=');
            target.extend(utf8_percent_encode(&text, UNRESERVED));
        }
        let body = self.body.as_deref().map(fill).unwrap_or_default();
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, text)| (name.clone(), fill(text)))
            .collect();
        if !body.is_empty() {
            fields.push(("Content-Type".to_owned(), self.content_type.clone()));
        }
        FlowRequest {
            method: self.method.clone(),
            target,
            fields,
            body,
        }
    }

    fn fill(&self, text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, template)) = rest.split_once("{{") {
            let (expression, after) = template
                .split_once("}}")
                .unwrap_or_else(|| panic!("{}: a template without an end: {text}", self.name));
            // A mistake of a real export: `{{[phoneNumber}}` is read as `{{phoneNumber}}`.
            let expression = expression.trim().trim_start_matches('[');
            filled.push_str(before);
            filled.push_str(
                &value(expression)
                    .unwrap_or_else(|| panic!("{}: no value for {expression}", self.name)),
            );
            rest = after;
        }
        filled + rest
    }
}

fn json_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    found.sort();
    found
}

fn collect(value: &Value, found: &mut Vec<Activity>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(activities)) = members.get("activities") {
                let properties = activities.values().map(|activity| &activity["properties"]);
                found.extend(properties.filter_map(activity));
            }
            let others = members.iter().filter(|(name, _)| *name != "diagram");
            others.for_each(|(_, member)| collect(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn activity(properties: &Value) -> Option<Activity> {
    if properties["activityId"] != "http-request-v2" || properties["authenticated"] != true {
        return None;
    }
    let text = |name: &str| properties[name].as_str().map(str::to_owned);
    Some(Activity {
        name: text("name")?,
        connector: text("connectorId")?,
        method: text("httpRequestMethod")?,
        path: text("httpRequestPath")?,
        query: pairs(&properties["httpQueryParameters"]),
        fields: pairs(&properties["httpRequestHeaders"]),
        content_type: text("httpContentType").unwrap_or_default(),
        body: text("httpRequestBody"),
    })
}

fn pairs(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}
