//! `attache connector` and `attache audit` against an admin API that answers as it is told.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::child::{Child, Ended};
use crate::support::exchange::Recorded;
use crate::support::origin::{self, Origin, Setup};
use crate::support::stage::Stage;

const TOKEN: &str = "attache_cliclicliclic_token-that-nobody-shows";
const SECRET: &str = "hunter2: \"never\" shown";

/// An admin API, and a place to call it from.
struct Desk {
    stage: Stage,
    api: Origin,
    /// Secrets that were seen among the arguments of any process while a request was answered.
    overheard: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    async fn open(answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Self {
        let stage = Stage::new();
        let overheard = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&overheard);
        let handler = origin::whole(move |request| {
            heard.lock().unwrap().extend(secrets_in_arguments());
            answer(request)
        });
        let api = Origin::start(Setup::new(&stage.server()), handler).await;
        let desk = Self {
            stage,
            api,
            overheard,
        };
        desk.write("token", TOKEN, 0o600);
        desk.write("password", &format!("{SECRET}\n"), 0o600);
        desk
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.stage.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.stage
            .directory()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Runs `attache connector …`.
    async fn connector(&self, arguments: &[&str]) -> Ended {
        self.run(
            &[&["connector"], arguments].concat(),
            &["--ca", &self.path("ca.pem")],
        )
        .await
    }

    async fn run(&self, arguments: &[&str], more: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
        command.env_clear().env("HOME", self.stage.directory());
        command
            .args(arguments)
            .args(["--server", &self.api.url("")]);
        command
            .args(["--token-file", &self.path("token")])
            .args(more);
        let mut child = Child::start(command);
        child.close_stdin();
        child.exited().await
    }

    /// What was sent, as `METHOD target`.
    fn sent(&self) -> Vec<String> {
        let requests = self.api.requests();
        let line = |one: &Recorded| format!("{} {}", one.method, one.target);
        requests.iter().map(line).collect()
    }
}

fn secrets_in_arguments() -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        // A process may end while it is looked at.
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        if arguments.contains(SECRET) || arguments.contains(TOKEN) {
            found.push(arguments);
        }
    }
    found
}

fn orders(state: &str) -> Value {
    json!({
        "id": "orders", "organization": "default", "name": "Orders", "kind": "custom",
        "state": state, "source": "store", "revision": 7,
        "created_at": "2027-01-15T08:00:00.000Z", "updated_at": "2027-01-15T08:00:00.000Z",
        "deleted_at": null, "staged": null, "previous_until": null,
        "resource_domain": "https://orders.example.com",
        "auth": { "basic": { "username": "svc", "password": { "kept": true } } },
    })
}

fn tagged(body: &Value) -> Answer {
    Answer::json(body).field("etag", "\"7\"")
}

fn problem(status: u16, reason: &str, more: Value) -> Answer {
    let mut body = json!({
        "type": format!("urn:attache:problem:{reason}"),
        "status": status,
        "detail": "It cannot be.",
        "request_id": "request-1",
    });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Answer::json(&body).with_status(status)
}

const NEW: &str = "id: orders
name: Orders
resource_domain: https://orders.example.com
auth: { basic: { username: svc } }
";

#[tokio::test]
async fn a_list_is_a_table_for_people_and_whole_for_programs() {
    let desk = Desk::open(|request| {
        let more = request.target.contains("after=a");
        let item = if more {
            orders("inactive")
        } else {
            orders("active")
        };
        Answer::json(&json!({ "items": [item], "next": if more { None } else { Some("a") } }))
    })
    .await;

    let table = desk.connector(&["list", "--state", "active"]).await;
    let listed = desk.connector(&["list", "--output", "json"]).await;

    assert_eq!(table.status.code(), Some(0), "{table:?}");
    let lines: Vec<_> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{table:?}");
    assert!(
        lines[0].starts_with("ID      NAME") && lines[1].contains("active"),
        "{lines:?}"
    );
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[1], orders("inactive"));
    assert_eq!(
        desk.sent(),
        [
            "GET /api/v1/connectors?state=active&limit=200",
            "GET /api/v1/connectors?state=active&limit=200&after=a",
            "GET /api/v1/connectors?limit=200",
            "GET /api/v1/connectors?limit=200&after=a",
        ]
    );
    let bearer = format!("Bearer {TOKEN}");
    let requests = desk.api.requests();
    assert!(
        requests
            .iter()
            .all(|one| one.field("authorization") == Some(&bearer))
    );
}

#[tokio::test]
async fn a_secret_goes_from_its_file_into_the_request_and_nowhere_else() {
    let desk = Desk::open(|_| tagged(&orders("active")).with_status(201)).await;
    let file = desk.write("orders.yaml", NEW, 0o644);
    let secret = format!("/auth/basic/password=@{}", desk.path("password"));

    let created = desk
        .connector(&["create", "--file", &file, "--secret", &secret])
        .await;

    assert_eq!(created.status.code(), Some(0), "{created:?}");
    assert_eq!(created.stdout, "orders (Orders) is active; revision 7");
    let sent = desk.api.only_request();
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["auth"]["basic"]["password"], SECRET);
    assert_eq!(body["name"], "Orders");
    assert!(
        sent.field("idempotency-key")
            .is_some_and(|key| key.len() == 36)
    );
    let shown = created.stdout + &created.stderr;
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN), "{shown}");
    assert!(desk.overheard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_given_as_it_has_to_be_is_not_sent() {
    let desk = Desk::open(|_| tagged(&orders("active"))).await;
    let file = desk.write("orders.yaml", NEW, 0o644);
    let argument = format!("/auth/basic/password={SECRET}");
    let missing = desk.path("nowhere");
    let nowhere = format!("/auth/oauth2/client_secret=@{}", desk.path("password"));
    let broken = desk.write("broken.yaml", &format!("auth: [{SECRET}"), 0o644);
    for (arguments, code, said) in [
        (
            &["create", "--file", &file, "--secret", &argument][..],
            2,
            "never written into an argument",
        ),
        (
            &["stage", "orders", "--secret", &argument],
            2,
            "never written into an argument",
        ),
        (
            &["create", "--file", &file],
            1,
            "no terminal to ask for /auth/basic/password at",
        ),
        (&["create", "--file", &missing], 1, "cannot be read"),
        (
            &["create", "--file", &file, "--secret", &nowhere],
            2,
            "there is no place at /auth/oauth2/client_secret",
        ),
        (&["create", "--file", &broken], 2, "neither YAML nor JSON"),
        (&["create"], 2, "--file"),
    ] {
        let ended = desk.connector(arguments).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?} {ended:?}");
        assert!(
            ended.stderr.contains(said),
            "{arguments:?} {}",
            ended.stderr
        );
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    }
    assert_eq!(desk.sent(), [""; 0]);
}

#[tokio::test]
async fn an_edit_is_for_the_state_that_was_read() {
    let desk = Desk::open(|_| tagged(&orders("inactive"))).await;
    let shown = desk
        .connector(&["show", "orders", "--output", "yaml"])
        .await;
    let older = shown.stdout.replace("revision: 7", "revision: 5");
    let older = desk.write("older.yaml", &older, 0o644);
    let patch = desk.write("patch.yaml", "name: Orders 2\n", 0o644);

    let replaced = desk.connector(&["edit", "orders", "--file", &older]).await;
    let patched = desk
        .connector(&["edit", "orders", "--patch", "--file", &patch])
        .await;

    assert_eq!(replaced.status.code(), Some(0), "{replaced:?}");
    assert_eq!(patched.status.code(), Some(0), "{patched:?}");
    let requests = desk.api.requests();
    let [_, put, get, patch] = &requests[..] else {
        panic!("{:?}", desk.sent());
    };
    assert_eq!(
        (put.method.as_str(), put.field("if-match")),
        ("PUT", Some("\"5\""))
    );
    let body: Value = serde_json::from_slice(&put.body).unwrap();
    assert!(body.get("revision").is_none() && body["auth"]["basic"]["password"]["kept"] == true);
    assert_eq!(get.method, "GET");
    assert_eq!(
        (patch.method.as_str(), patch.field("if-match")),
        ("PATCH", Some("\"7\""))
    );
    assert_eq!(
        patch.field("content-type"),
        Some("application/merge-patch+json")
    );
}

#[tokio::test]
async fn a_refusal_is_told_with_its_fields_and_legs() {
    let desk = Desk::open(|_| {
        let more = json!({
            "errors": [{ "field": "/auth/basic/username", "detail": "is required" }],
            "legs": [{ "leg": "tls", "outcome": "failed", "reason": "expired", "hint": "renew it" }],
        });
        problem(422, "invalid", more)
    })
    .await;

    let ended = desk.connector(&["activate", "orders"]).await;

    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(1), ""));
    for said in [
        "attache: It cannot be. (invalid)",
        "  /auth/basic/username: is required",
        "  tls  failed   expired; renew it",
        "  request request-1",
    ] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let sent = desk.api.only_request();
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/api/v1/connectors/orders/activate")
    );
    assert_eq!(sent.field("if-match"), Some("*"));
}

#[tokio::test]
async fn a_token_is_shown_to_the_server_it_is_for_and_read_from_where_nobody_else_reads() {
    let desk = Desk::open(|_| tagged(&orders("active"))).await;

    let untrusted = desk.run(&["connector", "list"], &[]).await;
    assert_eq!(untrusted.status.code(), Some(1));
    assert!(
        untrusted
            .stderr
            .contains("the TLS handshake with localhost failed"),
        "{untrusted:?}"
    );
    desk.write("token", TOKEN, 0o644);
    let open = desk.connector(&["list"]).await;
    assert_eq!(open.status.code(), Some(2));
    assert!(open.stderr.contains("everybody may read it"), "{open:?}");
    let clear = [
        "--server",
        "http://192.0.2.1:9901",
        "--token-file",
        &desk.path("token"),
    ];
    desk.write("token", TOKEN, 0o600);
    let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
    command.env_clear().args(["connector", "list"]).args(clear);
    let clear = Child::start(command).exited().await;
    assert_eq!(clear.status.code(), Some(2));
    assert!(clear.stderr.contains("would show the token"), "{clear:?}");

    assert_eq!(desk.sent(), [""; 0]);
}

#[tokio::test]
async fn a_test_that_fails_is_a_failure() {
    let desk = Desk::open(|request| {
        let passed = request.target.contains("staged");
        let outcome = if passed { "good" } else { "failed" };
        Answer::json(
            &json!({ "passed": passed, "legs": [{ "leg": "resolve", "outcome": outcome }] }),
        )
    })
    .await;

    let failed = desk.connector(&["test", "orders"]).await;
    let staged = desk.connector(&["test", "orders", "--staged"]).await;

    assert_eq!(
        (failed.status.code(), staged.status.code()),
        (Some(1), Some(0))
    );
    assert!(failed.stdout.contains("resolve  failed"), "{failed:?}");
}

#[tokio::test]
async fn secrets_are_staged_promoted_and_gone_back_to() {
    let desk = Desk::open(|_| tagged(&orders("active"))).await;
    let secret = format!("/auth/basic/password=@{}", desk.path("password"));
    for arguments in [
        &["stage", "orders", "--secret", &secret][..],
        &["promote", "orders", "--keep-previous-for", "2h"],
        &["roll-back", "orders"],
        &["stage", "orders", "--discard"],
        &["purge-token", "orders"],
        &["deactivate", "orders"],
        &["delete", "orders"],
        &["restore", "orders"],
    ] {
        let ended = desk.connector(arguments).await;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
    let place = "/api/v1/connectors/orders";
    assert_eq!(
        desk.sent(),
        [
            format!("PUT {place}/staged-secrets"),
            format!("POST {place}/staged-secrets/promote"),
            format!("POST {place}/roll-back"),
            format!("DELETE {place}/staged-secrets"),
            format!("POST {place}/purge-token"),
            format!("POST {place}/deactivate"),
            format!("DELETE {place}"),
            format!("POST {place}/restore"),
        ]
    );
    let bodies: Vec<Value> = desk.api.requests()[..2]
        .iter()
        .map(|one| serde_json::from_slice(&one.body).unwrap())
        .collect();
    assert_eq!(
        bodies[0],
        json!({ "secrets": { "/auth/basic/password": SECRET } })
    );
    assert_eq!(bodies[1], json!({ "keep_previous_for": "2h" }));
    assert!(
        desk.api
            .requests()
            .iter()
            .all(|one| one.field("if-match") == Some("*"))
    );
}

/// An API that has `orders` and not `maps`, and refuses `crm`.
fn half_full(request: &Recorded) -> Answer {
    match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/api/v1/connectors/orders") => tagged(&orders("active")),
        ("GET", _) if request.target.starts_with("/api/v1/connectors?") => {
            Answer::json(&json!({ "items": [orders("active")], "next": null }))
        }
        ("GET", "/api/v1/connectors/crm") => problem(503, "store-unavailable", json!({})),
        ("GET", _) => problem(404, "not-found", json!({})),
        _ => tagged(&orders("active")),
    }
}

const MAPS: &str = "- { id: maps, name: Maps, resource_domain: 'https://maps.example.com', auth: { header: { name: X-Key } } }\n";

#[tokio::test]
async fn an_import_creates_what_is_missing_and_leaves_what_is_the_same() {
    let desk = Desk::open(half_full).await;
    let exported = desk.connector(&["export"]).await;
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    assert!(exported.stdout.contains("kept: true"), "{exported:?}");
    let file = desk.write("all.yaml", &format!("{}\n{MAPS}", exported.stdout), 0o644);
    let secrets = desk.stage.directory().join("secrets/maps/auth/header");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("value"), format!("{SECRET}\n")).unwrap();
    let secrets = desk.path("secrets");

    let planned = desk
        .connector(&["import", &file, "--secrets", &secrets, "--dry-run"])
        .await;
    let only_read = desk.sent().iter().all(|line| line.starts_with("GET "));
    let imported = desk
        .connector(&["import", &file, "--secrets", &secrets])
        .await;

    assert_eq!(planned.stdout, "orders: unchanged\nmaps: would be written");
    assert!(only_read, "{:?}", desk.sent());
    assert_eq!(
        imported.stdout, "orders: unchanged\nmaps: created",
        "{imported:?}"
    );
    let requests = desk.api.requests();
    let posted: Vec<_> = requests.iter().filter(|one| one.method != "GET").collect();
    assert_eq!(posted.len(), 1);
    let body: Value = serde_json::from_slice(&posted[0].body).unwrap();
    assert_eq!(body["auth"]["header"]["value"], SECRET);
    assert!(desk.overheard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_import_goes_on_after_a_connector_that_fails_and_says_so() {
    let desk = Desk::open(half_full).await;
    let changed = "- { id: orders, name: Orders 2, resource_domain: 'https://orders.example.com', auth: { basic: { username: svc, password: { kept: true } } } }\n";
    let refused =
        "- { id: crm, name: CRM, resource_domain: 'https://crm.example.com', auth: none }\n";
    let file = desk.write("all.yaml", &format!("{refused}{changed}{MAPS}"), 0o644);

    let ended = desk.connector(&["import", &file]).await;

    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stdout
            .contains("crm: failed: It cannot be. (store-unavailable)"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("orders: changed"), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("maps: failed: there is no terminal to ask for /auth/header/value"),
        "{ended:?}"
    );
    let requests = desk.api.requests();
    let put = requests.iter().find(|one| one.method == "PUT").unwrap();
    assert_eq!(
        (put.field("if-match"), put.target.as_str()),
        (Some("\"7\""), "/api/v1/connectors/orders")
    );
    let twice = desk.write("twice.yaml", &format!("{MAPS}{MAPS}"), 0o644);
    let twice = desk.connector(&["import", &twice]).await;
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
}

#[tokio::test]
async fn the_audit_log_is_written_as_it_comes() {
    let desk = Desk::open(|_| Answer::text("{\"id\":1}\n{\"id\":2}\n")).await;

    let ca = desk.path("ca.pem");
    let ended = desk
        .run(
            &["audit", "export", "--actor", "cli", "--after", "0"],
            &["--ca", &ca],
        )
        .await;

    assert_eq!(
        (ended.status.code(), ended.stdout.as_str()),
        (Some(0), "{\"id\":1}\n{\"id\":2}")
    );
    let sent = desk.api.only_request();
    assert_eq!(sent.target, "/api/v1/audit?actor=cli&after=0");
    assert_eq!(sent.field("accept"), Some("application/x-ndjson"));
}
