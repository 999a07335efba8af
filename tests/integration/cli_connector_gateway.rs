//! `attache connector` against a gateway that is a process of its own, from the first token on.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::child::{Child, Ended};
use crate::support::gateway::process;
use crate::support::origin::Origin;
use crate::support::stage::Stage;

const MASTER_KEY: &str = "attache-key-1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECRET: &str = "a-password-for-nobody-else";

/// A gateway with a store, and a token for whoever runs it.
struct Room {
    stage: Stage,
    gateway: Child,
    server: String,
}

impl Room {
    async fn open() -> Self {
        let stage = Stage::new();
        stage.write("master.key", MASTER_KEY);
        let config = stage.config_file(
            "store: { url: 'sqlite:attache.db', master_keys: [{ file: master.key }] }\n",
        );
        let first = ["--name", "first", "--role", "full-admin"];
        let command = [
            "admin",
            "create-token",
            "--config",
            config.to_str().unwrap(),
        ];
        let created = Child::attache(&[&command[..], &first].concat())
            .exited()
            .await;
        assert_eq!(created.status.code(), Some(0), "{created:?}");
        let gateway = process(&config);
        let told = "served to administrators";
        let line = gateway.stderr.line(told, |line| line.contains(told)).await;
        let (_, admin) = line.rsplit_once("address=").unwrap();
        let room = Self {
            stage,
            gateway,
            server: format!("http://{admin}"),
        };
        room.write("token", &created.stdout);
        room.write("password", SECRET);
        room
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.stage.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attache"));
        command.env_clear().env("HOME", self.stage.directory());
        command.env("ATTACHE_SERVER", &self.server);
        command.env("ATTACHE_TOKEN_FILE", self.stage.directory().join("token"));
        command.args(arguments);
        let mut child = Child::start(command);
        child.close_stdin();
        child.exited().await
    }

    /// What a command that goes well prints.
    async fn good(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.status.code(), Some(0), "{arguments:?} {ended:?}");
        ended.stdout
    }
}

#[tokio::test]
async fn a_connector_lives_its_life_by_commands_alone() {
    let room = Room::open().await;
    let origin = Origin::plain(&room.stage.server()).await;
    let document = format!(
        "id: orders\nname: Orders\nresource_domain: {}\nauth: {{ basic: {{ username: svc }} }}\n",
        origin.url("")
    );
    let file = room.write("orders.yaml", &document);
    let secret = format!("/auth/basic/password=@{}", room.write("password", SECRET));

    room.good(&["connector", "create", "--file", &file, "--secret", &secret])
        .await;
    let listed = room.good(&["connector", "list"]).await;
    assert!(
        listed.lines().nth(1).unwrap().starts_with("orders  Orders"),
        "{listed}"
    );
    let refused = room.run(&["connector", "delete", "orders"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("(connector-active)"), "{refused:?}");
    room.good(&["connector", "test", "orders"]).await;
    room.good(&["connector", "stage", "orders", "--secret", &secret])
        .await;
    room.good(&["connector", "test", "orders", "--staged"])
        .await;
    room.good(&["connector", "promote", "orders"]).await;
    room.good(&["connector", "roll-back", "orders"]).await;
    let exported = room.good(&["connector", "export"]).await;
    let copy = room.write("copy.yaml", &exported);
    let imported = room.good(&["connector", "import", &copy]).await;
    assert_eq!(imported, "orders: unchanged");
    let renamed = room.write("renamed.yaml", "name: Orders 2\n");
    room.good(&["connector", "edit", "orders", "--patch", "--file", &renamed])
        .await;
    room.good(&["connector", "deactivate", "orders"]).await;
    room.good(&["connector", "delete", "orders"]).await;
    let restored = room.good(&["connector", "restore", "orders"]).await;
    assert!(
        restored.starts_with("orders (Orders 2) is inactive"),
        "{restored}"
    );

    let log = room.good(&["audit", "export"]).await;
    let actions: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        actions.contains(&"connector.restore".to_owned()),
        "{actions:?}"
    );
    let shown = [
        listed,
        exported,
        log,
        room.gateway.stderr.text(),
        room.gateway.stdout.text(),
    ];
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");
}

#[tokio::test]
async fn a_token_that_was_revoked_ends_what_the_command_can_do() {
    let room = Room::open().await;
    room.good(&["connector", "list"]).await;
    let token = std::fs::read_to_string(room.stage.directory().join("token")).unwrap();
    let id = token.split('_').nth(1).unwrap();
    let config = room.stage.directory().join("attache.yaml");

    room.good(&[
        "admin",
        "revoke-token",
        "--config",
        config.to_str().unwrap(),
        id,
    ])
    .await;

    let refused = room.run(&["connector", "list"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("(unauthenticated)"), "{refused:?}");
}

#[tokio::test]
async fn no_name_forges_a_line_or_acts_on_a_terminal() {
    // protocol.md, row 50 (CVE-2024-45808, RUSTSEC-2025-0055).
    let room = Room::open().await;
    let origin = Origin::plain(&room.stage.server()).await;
    let acts = |c: char| {
        c != '\n'
            && (c.is_control() || "\u{61c}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}".contains(c))
    };
    let document = |id: &str, name: &str| {
        let written = serde_json::json!({
            "id": id, "name": name, "auth": "none", "resource_domain": origin.url(""),
        });
        // YAML takes no such character as it is.
        let escaped = |c: char| match c.is_ascii() {
            true => c.to_string(),
            false => format!("\\u{:04x}", u32::from(c)),
        };
        written.to_string().chars().map(escaped).collect::<String>()
    };
    // What ends lines and steers terminals is refused; what turns directions is a part of names.
    for (name, code) in [
        ("a\n{\"id\":1}", 1),
        ("\u{1b}[2J", 1),
        ("\u{85}\u{9b}31m", 1),
        ("\u{61c}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\"", 0),
    ] {
        let file = room.write("c.yaml", &document("orders", name));
        let ended = room.run(&["connector", "create", "--file", &file]).await;

        assert_eq!(ended.status.code(), Some(code), "{name:?}: {ended:?}");
        let said = ended.stdout + &ended.stderr;
        assert!(!said.contains(acts), "{name:?}: {said:?}");
    }

    let mut said = String::new();
    for command in [
        &["connector", "list"][..],
        &["connector", "list", "--output", "json"],
        &["connector", "list", "--output", "yaml"],
        &["connector", "show", "orders"],
        &["connector", "show", "orders", "--output", "json"],
    ] {
        said += &room.good(command).await;
    }
    let log = room.good(&["audit", "export"]).await;

    assert!(said.contains("orders"));
    assert!(!said.contains(acts), "{said:?}");
    assert!(!log.contains(acts), "{log:?}");
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry["id"].is_u64(), "{line}");
    }
    assert!(room.gateway.stderr.text().chars().all(|c| !acts(c)));
}
