//! Connectors from one gateway to another: all of them but their secrets, and back.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::show::{self, text};
use super::{Output, create, input};
use crate::cli::failure::{Failure, wrong};
use crate::cli::remote::{Ask, Client};
use crate::cli::{FAILED, GOOD};

/// What is read, and from where.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// YAML or JSON: a list of connectors as `export` writes it, or a configuration with
    /// `connectors`; - is standard input.
    file: PathBuf,
    /// Secrets of new connectors: a directory with DIR/ID/POINTER (DIR/orders/auth/basic/password),
    /// or a YAML file with ID: { POINTER: SECRET }. What is not there is asked for.
    #[arg(long, value_name = "DIR|FILE")]
    secrets: Option<PathBuf>,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What becomes of a connector of the file.
#[derive(Debug, PartialEq)]
enum Plan {
    Create(Value),
    Change {
        document: Value,
        tag: String,
        /// What it is, and is to be.
        active: (bool, bool),
    },
    Leave,
}

/// Writes `found`, but for those of the gateway's own configuration, which are not to be imported.
pub(super) fn export(out: &mut impl Write, found: &[Value]) -> anyhow::Result<()> {
    let stored = found.iter().filter(|one| text(one, "source") != "file");
    let stored: Vec<Value> = stored.map(exported).collect();
    show::write(out, Output::Yaml, &Value::Array(stored))
}

/// A connector as `import` reads it.
fn exported(connector: &Value) -> Value {
    let active = text(connector, "state") == "active";
    let mut document = input::own_keys(connector.clone());
    if let Value::Object(keys) = &mut document {
        keys.insert("enabled".to_owned(), json!(active));
    }
    document
}

/// Brings a gateway's connectors to what the file says; 1 if one of them could not be.
pub(super) async fn import(
    client: &Client,
    import: &Import,
    out: &mut impl Write,
) -> Result<u8, Failure> {
    let connectors = connectors(&import.file).map_err(wrong)?;
    let secrets = import.secrets.as_deref().map(Secrets::open).transpose();
    let secrets = secrets.map_err(wrong)?;
    let mut outcome = GOOD;
    for connector in connectors {
        let id = text(&connector, "id");
        let brought = bring(client, import, connector, secrets.as_ref()).await;
        match brought {
            Ok(done) => writeln!(out, "{id}: {done}")?,
            Err(failure) => {
                outcome = FAILED;
                writeln!(out, "{id}: failed: {:#}", failure.error)?;
            }
        }
    }
    Ok(outcome)
}

/// Every connector of the file; each has an ID, and none is there twice.
fn connectors(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut listed = input::parse(&input::text(path)?, path)?;
    if let Value::Object(keys) = &mut listed {
        listed = keys.remove("connectors").unwrap_or_default();
    }
    let shown = path.display();
    let Value::Array(mut listed) = listed else {
        bail!("{shown} is neither a list of connectors nor has one under `connectors`");
    };
    let mut ids = std::collections::BTreeSet::new();
    for connector in &mut listed {
        input::resolve(connector, &input::base(path))?;
        let id = text(connector, "id");
        if id.is_empty() || !ids.insert(id) {
            bail!("{shown}: every connector needs an `id` of its own");
        }
    }
    Ok(listed)
}

/// Brings one connector to what the file says, and tells what was done.
async fn bring(
    client: &Client,
    import: &Import,
    connector: Value,
    secrets: Option<&Secrets>,
) -> Result<&'static str, Failure> {
    let id = text(&connector, "id");
    let now = client.find(&Ask::get(&["connectors", &id])).await?;
    let now = now.map(|answer| (answer.body, answer.etag));
    match plan(connector, now)? {
        Plan::Leave => Ok("unchanged"),
        Plan::Create(_) | Plan::Change { .. } if import.dry_run => Ok("would be written"),
        Plan::Create(document) => {
            let given = secrets
                .map(|secrets| secrets.of(&id, &document))
                .transpose()?;
            let mut document = document;
            for (pointer, secret) in given.into_iter().flatten() {
                input::put(&mut document, &pointer, secret)?;
            }
            create(client, input::complete(document)?).await?;
            Ok("created")
        }
        Plan::Change {
            document,
            tag,
            active,
        } => {
            change(client, &id, (document, tag), active).await?;
            Ok("changed")
        }
    }
}

/// Credentials can be edited while it is inactive, so that it is deactivated first and activated
/// last.
async fn change(
    client: &Client,
    id: &str,
    (document, tag): (Value, String),
    (is, is_to_be): (bool, bool),
) -> Result<(), Failure> {
    let mut tag = tag;
    let act =
        |what: &str, tag: String| Ask::new(Method::POST, &["connectors", id, what]).if_match(tag);
    let next = |etag: Option<String>| etag.context("the gateway gave no ETag");
    if is && !is_to_be {
        let answer = client.send(&act("deactivate", tag)).await?;
        tag = next(answer.etag)?;
    }
    let ask = Ask::new(Method::PUT, &["connectors", id]).if_match(tag);
    let answer = client.send(&ask.body(document)).await?;
    if !is && is_to_be {
        client.send(&act("activate", next(answer.etag)?)).await?;
    }
    Ok(())
}

fn plan(connector: Value, now: Option<(Value, Option<String>)>) -> anyhow::Result<Plan> {
    let mut connector = input::own_keys(connector);
    let Some((now, tag)) = now else {
        return Ok(Plan::Create(connector));
    };
    if text(&now, "source") == "file" {
        bail!("it stands in the gateway's configuration file and is changed there");
    }
    let (now, tag) = (exported(&now), tag.context("the gateway gave no ETag")?);
    let is = now["enabled"] == json!(true);
    let is_to_be = connector
        .get("enabled")
        .is_none_or(|enabled| *enabled == json!(true));
    if let Value::Object(keys) = &mut connector {
        // These never change; that they differ would be told by the gateway.
        for key in ["organization", "kind"] {
            keys.entry(key).or_insert_with(|| now[key].clone());
        }
        keys.insert("enabled".to_owned(), json!(is_to_be));
    }
    if connector == now {
        return Ok(Plan::Leave);
    }
    let mut document = connector;
    if let Value::Object(keys) = &mut document {
        keys.remove("enabled");
    }
    Ok(Plan::Change {
        document,
        tag,
        active: (is, is_to_be),
    })
}

/// Secrets of new connectors.
enum Secrets {
    Directory(PathBuf),
    File(BTreeMap<String, BTreeMap<String, String>>),
}

impl Secrets {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let listed = serde_yaml::from_str(&input::text(path)?);
        // The parser's own words could repeat a secret.
        let listed = listed.map_err(|_| {
            anyhow!(
                "{} is not YAML with ID: {{ POINTER: SECRET }}",
                path.display()
            )
        })?;
        Ok(Self::File(listed))
    }

    /// What is there of what `document` lacks.
    fn of(&self, id: &str, document: &Value) -> anyhow::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for pointer in input::missing(document) {
            let secret = match self {
                Self::File(listed) => listed.get(id).and_then(|own| own.get(&pointer)).cloned(),
                Self::Directory(directory) => read(directory, id, &pointer)?,
            };
            found.extend(secret.map(|secret| (pointer, secret)));
        }
        Ok(found)
    }
}

/// The secret at `pointer` of the connector `id`, if it is there.
fn read(directory: &Path, id: &str, pointer: &str) -> anyhow::Result<Option<String>> {
    let steps = pointer.split('/').skip(1).chain([id]);
    // Keys are other people's words: none leads out of the directory.
    if steps
        .into_iter()
        .any(|step| matches!(step, "" | "." | "..") || step.contains('/'))
    {
        bail!("there can be no file for {pointer}");
    }
    let path = directory.join(id).join(pointer.trim_start_matches('/'));
    match path.exists() {
        true => input::text(&path).map(input::without_line_end).map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(state: &str) -> Value {
        json!({
            "id": "orders", "organization": "default", "name": "Orders", "kind": "custom",
            "state": state, "source": "store", "revision": 7, "created_at": "x", "updated_at": "x",
            "deleted_at": null, "staged": null, "previous_until": null,
            "resource_domain": "https://a.example",
            "auth": { "basic": { "username": "a", "password": { "kept": true } } },
        })
    }

    fn planned(document: Value, now: Value) -> Plan {
        plan(document, Some((now, Some("\"7\"".to_owned())))).unwrap()
    }

    #[test]
    fn what_was_exported_changes_nothing_where_it_came_from() {
        for state in ["active", "inactive"] {
            let now = stored(state);
            assert_eq!(planned(exported(&now), now), Plan::Leave);
        }
    }

    #[test]
    fn a_difference_is_written_for_the_state_that_was_read() {
        let mut wished = exported(&stored("active"));
        wished["name"] = json!("Orders 2");
        wished["enabled"] = json!(false);

        let Plan::Change {
            document,
            tag,
            active,
        } = planned(wished, stored("active"))
        else {
            panic!("nothing is changed");
        };

        assert_eq!((tag.as_str(), active), ("\"7\"", (true, false)));
        assert_eq!(document["name"], "Orders 2");
        assert_eq!(
            document["auth"]["basic"]["password"],
            json!({ "kept": true })
        );
        assert!(document.get("enabled").is_none() && document.get("revision").is_none());
    }

    #[test]
    fn one_of_the_configuration_file_is_not_changed() {
        let mut now = stored("active");
        now["source"] = json!("file");

        assert!(plan(exported(&now), Some((now, None))).is_err());
    }

    #[test]
    fn no_pointer_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x"), "secret").unwrap();
        for (id, pointer) in [
            ("..", "/x"),
            ("a", "/../x"),
            ("a", "/./../x"),
            ("a/..", "/x"),
            ("a", "//x"),
        ] {
            assert!(
                read(directory.path(), id, pointer).is_err(),
                "{id} {pointer}"
            );
        }
    }
}
