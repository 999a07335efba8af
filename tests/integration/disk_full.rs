//! A full disk: what cannot be kept is not acknowledged, what was is there, flows notice nothing,
//! and once there is room again everything goes on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::administrator::{Administrator, Said, admin_address};
use crate::support::child::Child;
use crate::support::connector::{connector, connectors};
use crate::support::gateway::get;
use crate::support::island::Island;
use crate::support::origin::Origin;
use crate::support::postgres::{free_port, programs};
use crate::support::vault::{Vault, passwords};
use crate::support::within;

/// Changes after which a full disk must have shown: what is left of pages and of the log takes some.
const CHANGES_MAX: u64 = 5_000;
/// Refusals that are waited for, so that it is not one that was lucky.
const REFUSALS: u64 = 10;

/// A gateway whose store is on a small disk.
struct Flooded {
    island: Island,
    vault: Vault,
    config: PathBuf,
    token: String,
    origin: Origin,
    server: Option<Server>,
}

/// PostgreSQL with all its files there.
struct Server {
    port: u16,
    process: Child,
}

impl Flooded {
    async fn sqlite() -> Self {
        let island = Island::new(4 << 10).await;
        let file = island.path().join("attache.db");
        let vault = Vault::at(&format!("sqlite:{}", file.display()));
        Self::new(island, vault, None).await
    }

    async fn postgres() -> Self {
        let island = Island::new(96 << 10).await;
        let server = Server::make(&island).await;
        let url = format!(
            "postgres://postgres:pa55word@127.0.0.1:{}/postgres",
            server.port
        );
        Self::new(island, Vault::at(&url), Some(server)).await
    }

    async fn new(island: Island, vault: Vault, server: Option<Server>) -> Self {
        let origin = Origin::plain(&vault.stage.server()).await;
        let section = vault.section(&[1]);
        let flows = connectors(&[connector("flows", &origin.url(""), "none")]);
        let config = vault.stage.config_file(&format!("{section}{flows}"));
        let mut flooded = Self {
            island,
            vault,
            config,
            token: String::new(),
            origin,
            server,
        };
        let mut command = flooded.attache();
        command
            .args(["admin", "create-token", "--config"])
            .arg(&flooded.config);
        command.args(["--name", "test", "--role", "full-admin"]);
        let made = command.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        flooded.token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        flooded
    }

    fn attache(&self) -> std::process::Command {
        self.island.command(env!("CARGO_BIN_EXE_attache"))
    }

    /// Starts the gateway; gives its address for flows, and an administrator of it.
    async fn serve(&self) -> (Child, SocketAddr, Administrator) {
        let mut command = self.attache();
        command.args(["serve", "--config"]).arg(&self.config);
        let gateway = Child::start(command);
        let address = admin_address(&gateway).await;
        let flows = |line: &str| line.contains("flows are served");
        let line = gateway.stderr.line("the flows' listener", flows).await;
        let flows = line.rsplit_once("address=").unwrap().1.parse().unwrap();
        let administrator = Administrator::connect(address, &self.token).await;
        (gateway, flows, administrator)
    }

    /// There is room again; an operator starts the database if it did not outlive the flood.
    async fn drain(&mut self) {
        self.island.clear();
        if let Some(server) = &mut self.server
            && !server.process.is_running()
        {
            server.process = server.start(&self.island).await;
        }
    }

    /// What is kept, looked at when nobody uses it any more.
    async fn kept(&self) -> BTreeMap<String, String> {
        if self.server.is_some() {
            return passwords(&self.vault.open(&[1]).await).await;
        }
        // No process outside sees the disk itself.
        let copy = Vault::sqlite();
        for name in ["attache.db", "attache.db-wal"] {
            let file = self.island.seen().join(name);
            if file.exists() {
                std::fs::copy(file, copy.stage.directory().join(name)).unwrap();
            }
        }
        passwords(&copy.open(&[1]).await).await
    }
}

impl Server {
    async fn make(island: &Island) -> Self {
        let password_file = island.seen().join("password");
        std::fs::write(&password_file, "pa55word").unwrap();
        let mut initdb = island.command_as("postgres", programs().join("initdb"));
        initdb
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .args([
                "--encoding=UTF8",
                "--locale=C",
                "--wal-segsize=1",
                "--pwfile",
            ])
            .arg(island.path().join("password"))
            .arg("-D")
            .arg(island.path().join("data"));
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let process = Self::run(port, island).await;
        Self { port, process }
    }

    async fn start(&self, island: &Island) -> Child {
        Self::run(self.port, island).await
    }

    async fn run(port: u16, island: &Island) -> Child {
        // What is left of a killed one may be in its way for a moment.
        let starting = async {
            loop {
                let process = Self::begin(port, island);
                let ready = |line: &str| line.contains("ready to accept connections");
                if process.stderr.until(1, ready).await == 1 {
                    return process;
                }
            }
        };
        within("PostgreSQL", starting).await
    }

    fn begin(port: u16, island: &Island) -> Child {
        let mut command = island.command_as("postgres", programs().join("postgres"));
        command.arg("-D").arg(island.path().join("data"));
        for setting in [
            &format!("port={port}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_wal_size=8MB",
            "min_wal_size=2MB",
            "shared_buffers=16MB",
        ] {
            command.args(["-c", setting]);
        }
        Child::start(command)
    }
}

fn body(id: &str, number: u64, resource_domain: &str) -> Value {
    let password = format!("canary-of-change-{number}");
    json!({
        "id": id,
        "name": id,
        "enabled": false,
        "resource_domain": resource_domain,
        "auth": { "basic": { "username": "svc", "password": password } },
    })
}

/// Gives the connector the secret of this number.
async fn change(administrator: &mut Administrator, number: u64) -> Said {
    let password = format!("canary-of-change-{number}");
    let patch = json!({ "auth": { "basic": { "password": password } } });
    let said = administrator
        .call("PATCH", "/connectors/orders", Some(&patch))
        .await;
    said.unwrap()
}

async fn on_a_full_disk(mut flooded: Flooded) {
    let (mut gateway, flows, mut administrator) = flooded.serve().await;
    let first = body("orders", 0, &flooded.origin.url(""));
    let said = administrator
        .call("POST", "/connectors", Some(&first))
        .await
        .unwrap();
    assert_eq!(said.status, 201, "{}", said.text);

    flooded.island.fill();
    let (mut acknowledged, mut refusals) = (0, 0);
    for number in 1..CHANGES_MAX {
        let said = change(&mut administrator, number).await;
        match said.status.as_u16() {
            200 => acknowledged = number,
            503 => {
                assert_eq!(said.json["type"], "urn:attache:problem:store-unavailable");
                refusals += 1;
            }
            _ => panic!("{}: {}", said.status, said.text),
        }
        if refusals == REFUSALS {
            break;
        }
    }
    assert_eq!(refusals, REFUSALS, "the disk was never full");
    assert_eq!(get(flows, "/flows/x").await.status, 200);

    flooded.drain().await;
    let last = CHANGES_MAX;
    let again = async { while change(&mut administrator, last).await.status != 200 {} };
    within("changes to be kept again", again).await;
    let read = administrator
        .call("GET", "/connectors/orders", None)
        .await
        .unwrap();
    assert_eq!(read.status, 200, "{}", read.text);
    gateway.kill();

    let kept = flooded.kept().await;
    assert_eq!(kept["orders"], format!("canary-of-change-{last}"));
    println!("{acknowledged} changes found room, {refusals} did not");
}

#[tokio::test]
async fn what_sqlite_has_no_room_for_is_refused_and_the_rest_is_there() {
    on_a_full_disk(Flooded::sqlite().await).await;
}

#[tokio::test]
async fn what_postgresql_has_no_room_for_is_refused_and_the_rest_is_there() {
    on_a_full_disk(Flooded::postgres().await).await;
}

/// Fills the disk, then kills gateway and database at once.
async fn killed_on_a_full_disk(mut flooded: Flooded) {
    let (mut gateway, _, mut administrator) = flooded.serve().await;
    let first = body("orders", 0, &flooded.origin.url(""));
    let said = administrator
        .call("POST", "/connectors", Some(&first))
        .await
        .unwrap();
    assert_eq!(said.status, 201, "{}", said.text);

    flooded.island.fill();
    let (mut acknowledged, mut asked) = (0, 0);
    for number in 1..CHANGES_MAX {
        asked = number;
        if change(&mut administrator, number).await.status != 200 {
            break;
        }
        acknowledged = number;
    }
    gateway.kill();
    if let Some(server) = &mut flooded.server {
        server.process.kill();
    }
    flooded.drain().await;

    let kept = flooded.kept().await;
    let number = kept["orders"]
        .rsplit('-')
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    let known = acknowledged..=asked;
    assert!(known.contains(&number), "{number} of {known:?}");
    let (_gateway, _, mut administrator) = flooded.serve().await;
    assert_eq!(change(&mut administrator, asked + 1).await.status, 200);
}

#[tokio::test]
async fn what_sqlite_acknowledged_on_a_full_disk_outlives_a_kill() {
    killed_on_a_full_disk(Flooded::sqlite().await).await;
}

#[tokio::test]
async fn what_postgresql_acknowledged_on_a_full_disk_outlives_a_kill() {
    killed_on_a_full_disk(Flooded::postgres().await).await;
}
