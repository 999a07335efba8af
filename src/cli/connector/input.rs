//! What is sent: a connector's keys from a file, its secrets from files or the terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

use crate::cli::failure::{Failure, wrong};

/// The longest file, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the gateway sets itself.
const OF_THE_GATEWAY: [&str; 8] = [
    "state",
    "source",
    "revision",
    "created_at",
    "updated_at",
    "deleted_at",
    "staged",
    "previous_until",
];

/// Where secrets come from, by the JSON pointers (RFC 6901) of their places.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<String, From>);

#[derive(Debug)]
enum From {
    Terminal,
    File(PathBuf),
}

impl Given {
    /// Reads `POINTER` and `POINTER=@FILE`.
    ///
    /// # Errors
    ///
    /// Anything else, which is not repeated: it may be a secret.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut given = BTreeMap::new();
        for argument in arguments {
            let (pointer, from) = match argument.split_once('=') {
                None => (argument.as_str(), From::Terminal),
                Some((pointer, file)) => match file.strip_prefix('@') {
                    Some(file) => (pointer, From::File(file.into())),
                    None => return Err(wrong(anyhow!(NEVER))),
                },
            };
            if !pointer.starts_with('/') {
                return Err(wrong(anyhow!(NEVER)));
            }
            given.insert(pointer.to_owned(), from);
        }
        Ok(Self(given))
    }

    /// The secrets themselves.
    ///
    /// # Errors
    ///
    /// What cannot be read or asked for.
    pub(super) fn read(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let read = |(pointer, from): (&String, &From)| {
            let secret = match from {
                From::Terminal => ask(pointer)?,
                From::File(path) => without_line_end(text(path)?),
            };
            Ok((pointer.clone(), secret))
        };
        self.0.iter().map(read).collect()
    }
}

const NEVER: &str = "--secret takes the JSON pointer of a secret's place, and asks for the secret \
                     at the terminal, or reads it from a file: /auth/basic/password=@FILE. It is \
                     never written into an argument, which every process of this machine can read";

/// Asks for a secret at the terminal, which does not show it.
fn ask(pointer: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask for {pointer} at; write --secret {pointer}=@FILE");
    }
    let secret = rpassword::prompt_password(format!("{pointer}: "));
    secret.with_context(|| format!("{pointer} could not be asked for"))
}

/// The keys in the file at `path` (`-`: standard input) with the secrets that are `given`.
///
/// # Errors
///
/// What cannot be read, or has no place.
pub(super) fn read(path: &Path, given: &Given) -> Result<Value, Failure> {
    let mut document = parse(&text(path)?, path).map_err(wrong)?;
    resolve(&mut document, &base(path)).map_err(wrong)?;
    for (pointer, secret) in given.read()? {
        put(&mut document, &pointer, secret).map_err(wrong)?;
    }
    Ok(document)
}

/// Reads YAML, which JSON is too. The parser's own words could repeat a secret.
pub(super) fn parse(text: &str, path: &Path) -> anyhow::Result<Value> {
    let parsed = serde_yaml::from_str(text);
    parsed.map_err(|_| {
        anyhow!(
            "{} is neither YAML nor JSON that can be read",
            path.display()
        )
    })
}

/// Puts what stands in files and the environment into the place of `{ file: … }` and `{ env: … }`,
/// as a gateway does that reads its configuration.
pub(super) fn resolve(value: &mut Value, base: &Path) -> anyhow::Result<()> {
    match value {
        Value::Object(keys) => match elsewhere(keys, base)? {
            Some(found) => *value = Value::String(found),
            None => {
                for inner in keys.values_mut() {
                    resolve(inner, base)?;
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                resolve(item, base)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn elsewhere(keys: &Map<String, Value>, base: &Path) -> anyhow::Result<Option<String>> {
    let mut entries = keys.iter();
    let (Some((name, Value::String(place))), None) = (entries.next(), entries.next()) else {
        return Ok(None);
    };
    match name.as_str() {
        "file" => text(&base.join(place)).map(without_line_end).map(Some),
        "env" => {
            let value = std::env::var(place);
            let value = value.with_context(|| format!("the variable {place} is not set"))?;
            Ok(Some(value))
        }
        _ => Ok(None),
    }
}

/// Asks for the secrets that a new connector needs and that were not given.
///
/// # Errors
///
/// If one cannot be asked for.
pub(super) fn complete(mut document: Value) -> Result<Value, Failure> {
    for pointer in missing(&document) {
        let secret = ask(&pointer)?;
        put(&mut document, &pointer, secret).map_err(wrong)?;
    }
    Ok(document)
}

/// The places of a new connector where a secret belongs and none stands.
pub(super) fn missing(document: &Value) -> Vec<String> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let mut needed = Vec::new();
    for (parent, key) in [
        ("/auth/basic", "password"),
        ("/auth/header", "value"),
        ("/auth/client_certificate", "private_key"),
        ("/auth/oauth2/client_certificate", "private_key"),
    ] {
        if document.pointer(parent).is_some_and(Value::is_object) {
            needed.push(format!("{parent}/{key}"));
        }
    }
    if document
        .pointer("/auth/oauth2")
        .is_some_and(Value::is_object)
    {
        let method = text("/auth/oauth2/client_authentication");
        if method.is_none_or(|method| method.starts_with("client_secret_")) {
            needed.push("/auth/oauth2/client_secret".to_owned());
        }
        if text("/auth/oauth2/grant") == Some("password") {
            needed.push("/auth/oauth2/password".to_owned());
        }
    }
    for parent in [
        "/auth/oauth2/token_parameters",
        "/auth/oauth2/token_headers",
    ] {
        let keys = document.pointer(parent).and_then(Value::as_object);
        for name in keys.into_iter().flat_map(Map::keys) {
            let name = name.replace('~', "~0").replace('/', "~1");
            needed.push(format!("{parent}/{name}"));
        }
    }
    needed.retain(|pointer| text(pointer).is_none());
    needed
}

/// Puts `secret` at `pointer`, whose parent is there.
pub(super) fn put(document: &mut Value, pointer: &str, secret: String) -> anyhow::Result<()> {
    let place = pointer.rsplit_once('/').and_then(|(parent, name)| {
        let keys = document.pointer_mut(parent)?.as_object_mut()?;
        Some((keys, name.replace("~1", "/").replace("~0", "~")))
    });
    let (keys, name) = place.with_context(|| format!("there is no place at {pointer}"))?;
    keys.insert(name, Value::String(secret));
    Ok(())
}

/// A connector without what the gateway sets itself.
pub(super) fn own_keys(mut document: Value) -> Value {
    if let Value::Object(keys) = &mut document {
        for name in OF_THE_GATEWAY {
            keys.remove(name);
        }
    }
    document
}

/// The directory that paths in the file at `path` are relative to.
pub(super) fn base(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The text of a file; `-` is standard input.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().take(BYTES_MAX + 1).read_to_string(&mut text),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text)),
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    if text.len() as u64 > BYTES_MAX {
        bail!("{} is longer than {BYTES_MAX} bytes", path.display());
    }
    Ok(text)
}

/// One line end at the end of a secret's file is the editor's, not the secret's.
pub(super) fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_in_an_argument_is_refused_and_not_repeated() {
        for argument in [
            "/auth/basic/password=hunter2",
            "hunter2",
            "auth=@x",
            "=hunter2",
        ] {
            let refused = Given::parse(&[argument.to_owned()]).unwrap_err();
            let said = format!("{:#}", refused.error);
            assert!(refused.code == 2 && !said.contains("hunter2"), "{said}");
        }
        assert!(Given::parse(&["/a".to_owned(), "/b=@c".to_owned()]).is_ok());
    }

    #[test]
    fn every_secret_that_a_new_connector_lacks_is_known() {
        for (document, needed) in [
            (json!({ "auth": "none" }), &[][..]),
            (
                json!({ "auth": { "basic": { "username": "a" } } }),
                &["/auth/basic/password"],
            ),
            (
                json!({ "auth": { "basic": { "password": { "kept": true } } } }),
                &["/auth/basic/password"],
            ),
            (json!({ "auth": { "basic": { "password": "x" } } }), &[]),
            (json!({ "auth": { "header": {} } }), &["/auth/header/value"]),
            (
                json!({ "auth": { "oauth2": {} } }),
                &["/auth/oauth2/client_secret"],
            ),
            (
                json!({ "auth": { "oauth2": {
                    "grant": "password",
                    "client_authentication": "none",
                    "token_headers": { "a/b": { "kept": true }, "c": "x" },
                } } }),
                &["/auth/oauth2/password", "/auth/oauth2/token_headers/a~1b"],
            ),
            (
                json!({ "auth": { "oauth2": {
                    "client_authentication": "private_key_jwt",
                    "client_certificate": { "certificate": "x" },
                } } }),
                &["/auth/oauth2/client_certificate/private_key"],
            ),
        ] {
            assert_eq!(missing(&document), needed, "{document}");
        }
    }

    #[test]
    fn a_secret_is_put_where_its_pointer_says() {
        let mut document =
            json!({ "auth": { "oauth2": { "token_headers": { "a/b": { "kept": true } } } } });

        put(
            &mut document,
            "/auth/oauth2/token_headers/a~1b",
            "x".to_owned(),
        )
        .unwrap();
        put(&mut document, "/auth/oauth2/client_secret", "y".to_owned()).unwrap();

        let whole = json!({ "auth": { "oauth2": { "client_secret": "y", "token_headers": { "a/b": "x" } } } });
        assert_eq!(document, whole);
        assert!(put(&mut document, "/auth/basic/password", "z".to_owned()).is_err());
        assert!(
            put(
                &mut document,
                "/auth/oauth2/client_secret/x",
                "z".to_owned()
            )
            .is_err()
        );
    }

    #[test]
    fn what_stands_in_files_is_read_from_beside_the_document() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "a b\r\n\n").unwrap();
        let mut document = json!({ "auth": { "basic": { "password": { "file": "secret" } } }, "retry": { "file": 1 } });

        resolve(&mut document, directory.path()).unwrap();

        let read =
            json!({ "auth": { "basic": { "password": "a b\r\n" } }, "retry": { "file": 1 } });
        assert_eq!(document, read);
        let mut absent = json!([{ "env": "ATTACHE_TEST_NO_SUCH_VARIABLE" }]);
        assert!(resolve(&mut absent, directory.path()).is_err());
    }
}
