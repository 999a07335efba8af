//! Whoever gets hold of a store's disk, its dump, its snapshot or its log has no secret: every one
//! of a connector's whole life is looked for, where it lies and where it went by.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::administrator::{Administrator, Said, admin_address, create_token};
use crate::support::authority::Authority;
use crate::support::canary::Canaries;
use crate::support::gateway::process;
use crate::support::origin::Origin;
use crate::support::pki::Leaf;
use crate::support::postgres::{Fsync, Postgres, programs};
use crate::support::vault::{Vault, master_key, path};

/// Stands in every secret, so that all of them are found by looking for one text.
const MARK: &str = "c4nary/of+a&secret";

/// What the master key is made of.
const KEY: u8 = b'q';
const KEY_BYTES: &str = "q";

fn secret(name: &str) -> String {
    format!("{MARK} {name}")
}

/// Everything that an administrator does with secrets, and everything it leaves.
struct Life {
    canaries: Canaries,
    /// What was sent: each canary is there.
    sent: String,
    /// What the API answered.
    answered: String,
}

impl Life {
    fn new(token: &str) -> Self {
        let mut canaries = Canaries::default();
        canaries.watch("a connector's secret", MARK);
        canaries.watch("the administrator's token", token);
        let master_key = master_key(KEY).write();
        let (_, encoded) = master_key.expose().split_once(':').unwrap();
        canaries.watch("the master key", encoded);
        canaries.watch("the master key's bytes", &KEY_BYTES.repeat(32));
        Self {
            canaries,
            sent: format!("{token}\n{encoded}\n{}\n", KEY_BYTES.repeat(32)),
            answered: String::new(),
        }
    }

    async fn ask(
        &mut self,
        administrator: &mut Administrator,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) -> Said {
        if let Some(body) = &body {
            self.sent.push_str(&body.to_string());
        }
        let said = administrator.call(method, target, body.as_ref()).await;
        let said = said.unwrap();
        self.answered.push_str(&said.text);
        said
    }

    /// As [`Life::ask`], which goes well.
    async fn good(
        &mut self,
        administrator: &mut Administrator,
        method: &str,
        target: &str,
        body: Option<Value>,
    ) {
        let said = self.ask(administrator, method, target, body).await;
        assert!(said.status.is_success(), "{method} {target}: {}", said.text);
    }

    async fn lead(
        &mut self,
        administrator: &mut Administrator,
        vault: &Vault,
        [origin, authority]: [&str; 2],
    ) {
        for (id, auth) in schemes(vault, authority) {
            let body = json!({ "id": id, "name": id, "resource_domain": origin, "auth": auth });
            self.good(administrator, "POST", "/connectors", Some(body))
                .await;
        }
        let staged = |name: &str| json!({ "secrets": { "/auth/basic/password": secret(name) } });
        let place = "/connectors/basic/staged-secrets";
        self.good(administrator, "PUT", place, Some(staged("staged")))
            .await;
        let promote = format!("{place}/promote");
        let kept = json!({ "keep_previous_for": "1h" });
        self.good(administrator, "POST", &promote, Some(kept)).await;
        self.good(administrator, "PUT", place, Some(staged("discarded")))
            .await;
        self.good(administrator, "DELETE", place, None).await;
        self.good(administrator, "PUT", place, Some(staged("waiting")))
            .await;
        self.good(administrator, "POST", "/connectors/header/deactivate", None)
            .await;
        let patch = json!({ "auth": { "header": { "value": secret("edited") } } });
        self.good(administrator, "PATCH", "/connectors/header", Some(patch))
            .await;
        self.good(administrator, "POST", "/connectors/oauth2/deactivate", None)
            .await;
        self.good(administrator, "DELETE", "/connectors/oauth2", None)
            .await;
        self.refused(administrator, origin).await;
        self.good(administrator, "GET", "/connectors", None).await;
        self.good(administrator, "GET", "/audit", None).await;
    }

    /// Secrets where none belongs, and changes that are not made.
    async fn refused(&mut self, administrator: &mut Administrator, origin: &str) {
        let auth = json!({ "basic": { "username": "svc", "password": secret("refused") } });
        let good = json!({ "id": "new", "name": "new", "resource_domain": origin, "auth": auth });
        let with = |key: &str, value: Value| {
            let mut body = good.clone();
            body[key] = value;
            body
        };
        for body in [
            with("passwort", json!(secret("misspelt"))),
            with("cookies", json!(secret("misplaced"))),
            with(
                "auth",
                json!({ "basic": { "username": "svc", "passwort": secret("misspelt") } }),
            ),
            with("auth", json!({ "basic": secret("misplaced") })),
            with(
                "auth",
                json!({ "basic": { "username": "svc", "password": { "env": secret("env") } } }),
            ),
            with("id", json!("basic")),
            with("resource_domain", json!("https://127.0.0.1:1")),
        ] {
            let said = self
                .ask(administrator, "POST", "/connectors", Some(body))
                .await;
            assert!(said.status.is_client_error(), "{}", said.text);
        }
        let active = json!({ "auth": { "basic": { "password": secret("active") } } });
        let said = self
            .ask(administrator, "PATCH", "/connectors/basic", Some(active))
            .await;
        assert_eq!(said.status, 409, "{}", said.text);
    }
}

/// A connector for each place where a secret stands.
fn schemes(vault: &Vault, token_url: &str) -> Vec<(&'static str, Value)> {
    let identity = vault.stage.ca.issue(&Leaf::client("svc"));
    let (certificate, key) = identity.write(vault.stage.directory(), "client");
    let [certificate, key] = [certificate, key].map(|file| std::fs::read_to_string(file).unwrap());
    vec![
        (
            "basic",
            json!({ "basic": { "username": "svc", "password": secret("basic") } }),
        ),
        (
            "header",
            json!({ "header": { "name": "X-Key", "value": secret("header") } }),
        ),
        (
            "oauth2",
            json!({ "oauth2": {
                "grant": "password",
                "token_url": token_url,
                "client_id": "client",
                "client_secret": secret("client"),
                "username": "svc",
                "password": secret("password"),
                "token_parameters": { "tenant": secret("parameter") },
                "token_headers": { "X-Tenant": secret("field") },
            } }),
        ),
        (
            "certificate",
            json!({ "client_certificate": { "certificate": certificate, "private_key": key } }),
        ),
    ]
}

/// The private key that [`schemes`] wrote, as far as nothing else could hold it.
fn line_of_key(vault: &Vault) -> String {
    let key = std::fs::read_to_string(vault.stage.directory().join("client.key")).unwrap();
    key.lines().nth(1).unwrap().to_owned()
}

/// Every file under `directory` whose content is text or not, by its path.
fn files(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            // What is no text is of no interest: no shape of a secret holds any of it.
            match std::fs::read(&path) {
                Ok(bytes) => found.push((path, String::from_utf8_lossy(&bytes).into_owned())),
                // What is left of a killed server may still clear away after itself.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
    }
}

/// What a store leaves on its disk and in its dump, by name.
async fn remains(vault: &Vault) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    match &vault.server {
        None => {
            for name in ["attache.db", "attache.db-wal", "attache.snapshot"] {
                let file = vault.stage.directory().join(name);
                let Ok(bytes) = std::fs::read(&file) else {
                    continue;
                };
                found.push((file, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Some(server) => {
            let mut dump = Command::new(programs().join("pg_dump"));
            let dump = dump.arg(vault.url()).output().unwrap();
            assert!(dump.status.success(), "{dump:?}");
            found.push(("pg_dump".into(), String::from_utf8(dump.stdout).unwrap()));
            // Its log of changes is there whatever it has written since.
            server.kill();
            files(&server.directory(), &mut found);
        }
    }
    found
}

async fn no_secret_is_at_rest(vault: Vault) {
    let origin = Origin::plain(&vault.stage.server()).await;
    let authority = Authority::plain(&vault.stage.server()).await;
    let config = vault.stage.config_file(&vault.section(&[KEY]));
    let token = create_token(&config).await;
    let mut gateway = process(&config);
    let address = admin_address(&gateway).await;
    let mut administrator = Administrator::connect(address, &token).await;
    let mut life = Life::new(&token);

    let servers = [&origin.url("")[..], &authority.token_url()];
    life.lead(&mut administrator, &vault, servers).await;
    // Killed, so that what it wrote last still stands in the log of changes.
    gateway.kill();
    let log = format!("{}\n{}", gateway.stdout.text(), gateway.stderr.text());
    let told = vault.key("status", &[KEY]).await;
    let remains = remains(&vault).await;

    life.canaries.watch("a private key", &line_of_key(&vault));
    life.sent.push_str(&line_of_key(&vault));
    let missing = life.canaries.missing_from(&life.sent);
    assert!(missing.is_empty(), "{missing:?} were never in play");
    life.canaries.assert_absent("an answer", &life.answered);
    life.canaries.assert_absent("the log", &log);
    life.canaries
        .assert_absent("attache key status", &format!("{told:?}"));
    for (place, text) in &remains {
        life.canaries.assert_absent(path(place), text);
    }
    // It was looked for where it would be: beside its connector.
    let names = remains
        .iter()
        .filter(|(_, text)| text.contains("certificate"));
    assert!(names.count() >= 1, "the store was looked for elsewhere");
    assert!(
        life.answered.contains("connector.create"),
        "{}",
        life.answered
    );
}

#[tokio::test]
async fn nothing_that_sqlite_writes_shows_a_secret() {
    no_secret_is_at_rest(Vault::sqlite()).await;
}

#[tokio::test]
async fn nothing_that_postgresql_writes_shows_a_secret() {
    no_secret_is_at_rest(Vault::postgres(Postgres::own(Fsync::Off)).await).await;
}
