//! Answers for people and for programs.

use std::io::Write;

use serde_json::Value;

use super::Output;
use super::input::own_keys;
use crate::cli::remote::legs;
use crate::cli::table::Table;
use crate::harmless;

/// Several connectors.
pub(super) fn list(out: &mut impl Write, output: Output, found: &[Value]) -> anyhow::Result<()> {
    if output != Output::Table {
        return write(out, output, &Value::Array(found.to_vec()));
    }
    let head = [
        "ID",
        "NAME",
        "ORGANIZATION",
        "STATE",
        "SOURCE",
        "RESOURCE DOMAIN",
    ];
    let mut table = Table::new(head);
    for one in found {
        let keys = [
            "id",
            "name",
            "organization",
            "state",
            "source",
            "resource_domain",
        ];
        table.row(keys.map(|key| text(one, key)));
    }
    Ok(write!(out, "{table}")?)
}

/// One connector.
pub(super) fn one(out: &mut impl Write, output: Output, connector: &Value) -> anyhow::Result<()> {
    if output != Output::Table {
        return write(out, output, connector);
    }
    let mut table = Table::new(["KEY", "VALUE"]);
    for key in [
        "state",
        "source",
        "revision",
        "created_at",
        "updated_at",
        "deleted_at",
        "previous_until",
    ] {
        let value = text(connector, key);
        if !value.is_empty() {
            table.row([key.to_owned(), value]);
        }
    }
    if let Some(fields) = connector
        .pointer("/staged/fields")
        .and_then(Value::as_array)
    {
        let fields: Vec<_> = fields.iter().filter_map(Value::as_str).collect();
        table.row(["staged".to_owned(), fields.join(", ")]);
    }
    writeln!(out, "{table}")?;
    write(out, Output::Yaml, &own_keys(connector.clone()))
}

/// What a change came to, in a line.
pub(super) fn changed(out: &mut impl Write, connector: &Value) -> anyhow::Result<()> {
    let [id, name, state, revision] =
        ["id", "name", "state", "revision"].map(|key| text(connector, key));
    let (id, name) = (harmless::shown(&id), harmless::shown(&name));
    Ok(writeln!(
        out,
        "{id} ({name}) is {state}; revision {revision}"
    )?)
}

/// How far a connector's way was walked.
pub(super) fn report(out: &mut impl Write, output: Output, report: &Value) -> anyhow::Result<()> {
    if output != Output::Table {
        return write(out, output, report);
    }
    let walked = report.get("legs").and_then(Value::as_array);
    let walked = walked.map(Vec::as_slice).unwrap_or_default();
    Ok(write!(out, "{}", legs(walked))?)
}

/// As JSON or YAML, in which nothing acts on a terminal. YAML's writer escapes all that could, except
/// marks of direction; a value with one is shown as JSON, which is YAML too (YAML 1.2 §1.3).
pub(super) fn write(out: &mut impl Write, output: Output, value: &Value) -> anyhow::Result<()> {
    let text = match output {
        Output::Json => None,
        Output::Table | Output::Yaml => Some(serde_yaml::to_string(value)?),
    };
    let is_harmless = |text: &String| text.chars().all(|c| c == '\n' || !harmless::is_hostile(c));
    let text = match text.filter(is_harmless) {
        Some(text) => text,
        None => harmless::json(serde_json::to_string_pretty(value)?),
    };
    Ok(writeln!(out, "{}", text.trim_end_matches('\n'))?)
}

/// The value of a key, in words; nothing where it is null.
pub(super) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_a_connector_is_called_it_steers_no_terminal() {
        for hostile in [
            "\u{1b}[2J",
            "\u{7f}",
            "\u{9b}31m",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "a\nb",
        ] {
            let connector = json!({ "id": hostile, "name": hostile, "retry": { "at": hostile } });
            for output in [Output::Json, Output::Yaml, Output::Table] {
                let mut said = Vec::new();
                one(&mut said, output, &connector).unwrap();
                list(&mut said, output, std::slice::from_ref(&connector)).unwrap();
                changed(&mut said, &connector).unwrap();

                let said = String::from_utf8(said).unwrap();
                let acts = |c: char| c != '\n' && harmless::is_hostile(c);
                assert!(!said.contains(acts), "{hostile:?}: {said:?}");
            }
            for output in [Output::Json, Output::Yaml] {
                let mut written = Vec::new();
                write(&mut written, output, &connector).unwrap();

                let read: Value = serde_yaml::from_slice(&written).unwrap();
                assert_eq!(read, connector, "{hostile:?}");
            }
        }
    }
}
