//! Answers for people and for programs.

use std::io::Write;

use serde_json::Value;

use super::Output;
use super::input::own_keys;
use crate::cli::remote::legs;
use crate::cli::table::{Table, harmless};

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
    let (id, name) = (harmless(&id), harmless(&name));
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

/// As JSON or YAML; nothing in either can act on a terminal, since both escape.
pub(super) fn write(out: &mut impl Write, output: Output, value: &Value) -> anyhow::Result<()> {
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Output::Table | Output::Yaml => {
            let text = serde_yaml::to_string(value)?;
            writeln!(out, "{}", text.trim_end_matches('\n'))?;
        }
    }
    Ok(())
}

/// The value of a key, in words; nothing where it is null.
pub(super) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
