//! `/openapi.json` held against the running server by PyPI's schemathesis: no 5xx, no answer that is
//! not described, in no other type, with no other fields.
//!
//! `openapi/schemathesis.toml` says which checks are off, and why; with `openapi/deep.toml` requests
//! are made to things that there are. `ignored_auth` is off, because whoever fails to authenticate too
//! often is turned away with everybody at their address; `document.rs` has a test in its place.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attache::connector::Role;
use serde_json::{Value, json};

use super::desk::{ANY, Desk, JSON, staged};
use crate::registry::room::Room;

/// How long each run may try.
const SECONDS: &str = "35";
/// When it is ended, whatever it does.
const PATIENCE_SECONDS: &str = "240";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program() -> PathBuf {
    let program = root().join("target/schemathesis/bin/schemathesis");
    assert!(
        program.is_file(),
        "schemathesis is not installed: run tests/run, or install tests/openapi/requirements.txt \
         into a virtual environment at target/schemathesis"
    );
    program
}

/// Runs it, and fails with what it said.
async fn run(desk: &Desk, token: &str, rules: &str, arguments: &[&str]) {
    let authorization = format!("Authorization: Bearer {token}");
    let mut command = Command::new("timeout");
    command
        .arg(PATIENCE_SECONDS)
        .arg(program())
        .arg("--config-file")
        .arg(root().join("tests/openapi").join(rules))
        .args(["run", "--header", &authorization, "--seed", "1"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(["--max-time", SECONDS])
        .args(arguments)
        .arg(format!("http://{}/openapi.json", desk.address))
        .current_dir(desk.room.stage.directory())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("No issues found"), "{said}");
}

/// Connectors in every state, so that every operation finds some to be done to.
async fn furnished() -> (Desk, String) {
    let room = Room::with(
        "[{ id: billing, organization: acme, name: Billing, resource_domain: UP, auth: none }]",
    )
    .await;
    let desk = Desk::over(room).await;
    desk.room.widen().await;
    for id in ["orders", "prices", "maps", "ledger"] {
        let mut body = desk.room.basic(id);
        body["id"] = id.into();
        body["organization"] = "acme".into();
        let made = desk.ask(("POST", "/connectors"), &[JSON], &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let none = Value::Null;
    for (method, path, body) in [
        ("PUT", "/connectors/orders/staged-secrets", staged("x")),
        ("POST", "/connectors/maps/deactivate", none.clone()),
        ("POST", "/connectors/ledger/deactivate", none.clone()),
        ("DELETE", "/connectors/ledger", none),
        ("POST", "/connectors/nowhere/activate", json!({})),
    ] {
        desk.ask((method, path), &[JSON, ANY], &body).await;
    }
    let token = desk.token(Role::FullAdmin, None).await;
    (desk, token)
}

/// What could end the token that all the others are sent with.
const BUT_REVOKE: [&str; 2] = ["--exclude-operation-id", "revoke-admin-token"];

/// The longest runs: everything but what has a run of its own.
async fn everything(rules: &str) {
    let (desk, token) = furnished().await;

    let arguments = [
        ["--exclude-checks", "ignored_auth"],
        ["--max-examples", "30"],
        BUT_REVOKE,
    ];
    run(&desk, &token, rules, arguments.as_flattened()).await;

    let asked = desk.as_who(&token, ("GET", "/whoami"), &[], &Value::Null);
    assert_eq!(asked.await.status, 200, "it was somebody to the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_can_be_made_of_the_description_is_answered_otherwise() {
    everything("schemathesis.toml").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_one_to_what_there_is() {
    everything("deep.toml").await;
}
