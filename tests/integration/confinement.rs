//! Who sees into the process: nobody but root, and no core tells of it afterwards.
//!
//! Root sees everything, so where the tests are root's the gateway and its neighbours run as
//! somebody else.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::TcpStream;

use crate::support::child::Child;
use crate::support::gateway::sample;
use crate::support::stage::Stage;
use crate::support::within;

/// Nobody of this machine.
const SOMEBODY: u32 = 54_321;

const ORDERS: &str = "connectors:
  - id: orders
    name: Orders
    resource_domain: https://orders.example
    auth: { basic: { username: svc, password: { env: ORDERS_PASSWORD } } }
";

/// A place that everybody may enter, with the program in it.
struct Room {
    stage: Stage,
}

impl Room {
    fn new() -> Self {
        let room = Self {
            stage: Stage::new(),
        };
        let built = Path::new(env!("CARGO_BIN_EXE_attache"));
        std::fs::hard_link(built, room.program())
            .or_else(|_| std::fs::copy(built, room.program()).map(drop))
            .unwrap();
        // Into it a core could be dumped.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(room.stage.directory(), open).unwrap();
        room
    }

    fn program(&self) -> PathBuf {
        self.stage.directory().join("attache")
    }

    /// `program`, as somebody who is not root and keeps a secret in the environment.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.stage.directory())
            .env("ORDERS_PASSWORD", "c4nary-s3cret");
        if rustix::process::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    }

    /// A gateway that serves, and where its administrators connect.
    async fn gateway(&self) -> (Child, SocketAddr) {
        let config = self.stage.config_file(ORDERS);
        let arguments = ["serve", "--config", config.to_str().unwrap()];
        let child = Child::start(self.command(self.program(), &arguments));
        let serves = |line: &str| line.contains("served to administrators");
        let line = child.stderr.line("a gateway that serves", serves).await;
        let address = line.rsplit_once("address=").unwrap().1.parse().unwrap();
        (child, address)
    }

    /// Whether another process of the same user can open `file` of the process.
    fn opens(&self, process: &Child, file: &str) -> bool {
        let path = format!("/proc/{}/{file}", process.id());
        let arguments = ["-c", "exec 2>/dev/null <\"$1\"", "sh", &path];
        self.command("sh", &arguments).status().unwrap().success()
    }
}

/// Soft and hard limit on what a core may hold.
fn core_limits(process: &Child) -> Vec<String> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let line = limits
        .lines()
        .find(|it| it.starts_with("Max core file size"));
    let numbers = line.unwrap().split_whitespace().skip(4).take(2);
    numbers.map(str::to_owned).collect()
}

#[tokio::test]
async fn no_other_process_of_the_same_user_sees_memory_environment_or_files() {
    let room = Room::new();
    let (gateway, _admin) = room.gateway().await;
    // What is true of any program that does nothing about it.
    let neighbour = Child::start(room.command("sh", &["-c", "read nothing"]));

    for file in ["environ", "maps", "auxv", "fd"] {
        assert!(room.opens(&neighbour, file), "{file} shows nothing here");
        assert!(!room.opens(&gateway, file), "{file}");
    }
    assert!(!room.opens(&gateway, "mem"), "mem");
    assert!(room.opens(&gateway, "status"), "what everybody may see");
}

#[tokio::test]
async fn the_metrics_of_the_process_are_right_all_the_same() {
    let room = Room::new();
    let (gateway, admin) = room.gateway().await;
    let of_process = async |name| sample(admin, &format!("process_{name}"), &[]).await;

    let open = of_process("open_fds").await;
    assert!(open > 5.0, "{open} files are open");
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(TcpStream::connect(admin).await.unwrap());
    }
    within("20 more open files", async {
        while of_process("open_fds").await < open + 20.0 {}
    })
    .await;

    let resident = of_process("resident_memory_bytes").await;
    let said = gateway.memory_kib("VmRSS") as f64 * 1024.0;
    assert!((0.5..2.0).contains(&(resident / said)), "{resident} {said}");
    for name in [
        "max_fds",
        "start_time_seconds",
        "virtual_memory_bytes",
        "threads",
    ] {
        assert!(of_process(name).await >= 2.0, "{name}");
    }
}

#[tokio::test]
async fn a_process_that_is_aborted_leaves_no_core() {
    let room = Room::new();
    let config = room.stage.config_file(ORDERS);
    let config = config.to_str().unwrap();
    let program = room.program();
    let program = program.to_str().unwrap();
    let demo = ["demo", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
    for (arguments, begins) in [
        (&["serve", "--config", config][..], "are served"),
        (&demo[..], "are served"),
    ] {
        let unlimited = [
            "-c",
            "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\"",
            program,
        ];
        let child = Child::start(room.command("sh", &[&unlimited, arguments].concat()));
        let serves = |line: &str| line.contains(begins) || line.starts_with("curl");
        tokio::select! {
            _ = child.stderr.line("a gateway that serves", serves) => {}
            _ = child.stdout.line("a demonstration", serves) => {}
        }

        assert_eq!(core_limits(&child), ["0", "0"], "{arguments:?}");
        child.signal("ABRT");
        let ended = child.exited().await;

        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
        assert!(!ended.status.core_dumped(), "{arguments:?}");
        let left = std::fs::read_dir(room.stage.directory()).unwrap();
        let names = left.map(|it| it.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|it| it.starts_with("core")).count(), 0);
    }
}
