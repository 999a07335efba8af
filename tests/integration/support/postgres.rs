//! PostgreSQL: a real server on a free loopback port, and a database for each test.
//!
//! `ATTACHE_TEST_POSTGRES` names a server that `tests/run` started; without it, and for tests that
//! stop or freeze theirs, a test has a server of its own, which ends with it.
//!
//! # Invariants
//!
//! A server keeps its files in a temporary directory, listens on loopback alone and asks for a
//! password that nobody but its test knows. It runs as `postgres` where the tests run as root,
//! which PostgreSQL refuses to.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::pki::Identity;

/// What names a server that is there already.
const SHARED: &str = "ATTACHE_TEST_POSTGRES";

/// A server.
pub(crate) struct Postgres {
    /// Where it is, without the name of a database.
    address: String,
    own: Option<Own>,
}

/// A server of a test's own.
struct Own {
    directory: TempDir,
    user: Option<User>,
    port: u16,
}

/// Whom a server runs as, where that is not who runs the tests.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// Whether what a server has acknowledged outlives a crash of the machine. It outlives one of the
/// server either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fsync {
    On,
    Off,
}

impl Postgres {
    /// A server to make databases on, and nothing else.
    pub(crate) fn shared() -> Self {
        let Ok(url) = std::env::var(SHARED) else {
            return Self::own(Fsync::Off);
        };
        let (address, _) = url.rsplit_once('/').unwrap();
        Self {
            address: address.to_owned(),
            own: None,
        }
    }

    /// A server of this test's own.
    pub(crate) fn own(fsync: Fsync) -> Self {
        let password = Uuid::new_v4().simple().to_string();
        let mut own = Own {
            directory: TempDir::new().unwrap(),
            user: user(),
            port: 0,
        };
        own.make(&password, fsync);
        // Somebody may take a free port before the server does.
        let started = (0..20).any(|_| {
            own.port = free_port();
            own.start()
        });
        assert!(started, "PostgreSQL does not start: {}", own.log());
        let port = own.port;
        Self {
            address: format!("postgres://postgres:{password}@127.0.0.1:{port}"),
            own: Some(own),
        }
    }

    /// The URL of a new, empty database, which by itself would sort texts as people do and not by
    /// their bytes.
    pub(crate) async fn database(&self) -> String {
        self.database_with("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
            .await
    }

    /// As [`Postgres::database`], made with `options`.
    pub(crate) async fn database_with(&self, options: &'static str) -> String {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let url = format!("{}/postgres", self.address);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = AssertSqlSafe(format!("CREATE DATABASE {name} {options}"));
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        format!("{}/{name}", self.address)
    }

    /// Has it show `identity` to whoever asks for TLS, from now on.
    pub(crate) fn show(&self, identity: &Identity) {
        let own = self.owned();
        let (certificate, key) = identity.write(&own.data(), "server");
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        own.give(&certificate);
        own.give(&key);
        own.append("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
        self.stop();
        self.start();
    }

    /// Stops it as an operator would; its connections are cut.
    pub(crate) fn stop(&self) {
        assert!(self.owned().control(&["stop", "-m", "fast"]));
    }

    /// Kills it, as `kill -9` or a power cut would.
    pub(crate) fn kill(&self) {
        let own = self.owned();
        let processes = own.processes();
        own.signal("KILL", &processes);
        while processes.iter().any(|pid| is_alive(*pid)) {
            std::thread::yield_now();
        }
        // It cannot do so itself, and whoever inherits what is left of it may be slow to reap.
        std::fs::remove_file(own.data().join("postmaster.pid")).unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn start(&self) {
        assert!(self.owned().start(), "{}", self.owned().log());
    }

    /// Keeps every process of it from doing anything, without cutting a connection.
    pub(crate) fn freeze(&self) {
        let own = self.owned();
        own.signal("STOP", &own.processes());
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        let own = self.owned();
        own.signal("CONT", &own.processes());
    }

    /// Where it keeps its files: what a thief of its disk would read.
    pub(crate) fn directory(&self) -> PathBuf {
        self.owned().data()
    }

    fn owned(&self) -> &Own {
        self.own.as_ref().expect("a server of the test's own")
    }
}

impl Own {
    /// Makes its files.
    fn make(&self, password: &str, fsync: Fsync) {
        let directory = self.directory.path();
        let password_file = directory.join("password");
        std::fs::write(&password_file, password).unwrap();
        self.give(directory);
        self.give(&password_file);
        let mut initdb = self.program("initdb");
        initdb
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(self.data());
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let settings = format!(
            "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             max_connections = 200\nfsync = {}\n",
            match fsync {
                Fsync::On => "on",
                Fsync::Off => "off",
            }
        );
        self.append(&settings);
    }

    /// Lets the server read a file.
    fn give(&self, path: &Path) {
        if let Some(User { uid, gid }) = self.user {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    fn append(&self, settings: &str) {
        let file = self.data().join("postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, before + settings).unwrap();
    }

    fn start(&self) -> bool {
        let port = format!("-p {}", self.port);
        self.control(&["start", "-o", &port])
    }

    /// Runs `pg_ctl`, which waits until the server has done so.
    fn control(&self, arguments: &[&str]) -> bool {
        let mut control = self.program("pg_ctl");
        control.args(arguments).args(["-s", "-w", "-t", "60", "-D"]);
        control.arg(self.data());
        control.arg("-l").arg(self.directory.path().join("log"));
        control.status().unwrap().success()
    }

    fn signal(&self, name: &str, processes: &[u32]) {
        let mut kill = Command::new("sh");
        kill.args([
            "-c",
            "name=$1; shift; kill -s \"$name\" \"$@\"",
            "kill",
            name,
        ]);
        kill.args(processes.iter().map(u32::to_string));
        // One that has ended meanwhile is no failure.
        kill.output().unwrap();
    }

    /// The server's first process and those it has started.
    fn processes(&self) -> Vec<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let first: u32 = file.lines().next().unwrap().trim().parse().unwrap();
        let others = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
            let (_, parent) = state_and_parent(pid)?;
            (parent == first).then_some(pid)
        });
        std::iter::once(first).chain(others).collect()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(programs().join(name));
        command.current_dir(self.directory.path());
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// Ends with its test, frozen or not.
impl Drop for Own {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.signal("CONT", &self.processes());
            self.control(&["stop", "-m", "immediate"]);
        }
    }
}

/// Of a process that there is (proc_pid_stat(5)).
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z")
}

/// Whom to run a server as: nobody else, or `postgres` if we are root.
fn user() -> Option<User> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let found = id(&["-u", "postgres"]).zip(id(&["-g", "postgres"]));
    let (uid, gid) = found.expect("a user postgres, as Debian's postgresql makes it");
    Some(User { uid, gid })
}

/// Where the server's programs are: in the path, or where Debian keeps its newest.
pub(crate) fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut versions: Vec<PathBuf> = debian.map(|entry| entry.unwrap().path()).collect();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.sort_by_key(|path| std::cmp::Reverse(number(path)));
    // The path may hold a link to one of them; all of them are where that leads.
    let initdb = std::env::split_paths(&path)
        .chain(versions.into_iter().map(|version| version.join("bin")))
        .find_map(|directory| directory.join("initdb").canonicalize().ok())
        .expect("PostgreSQL is installed: tests/run does it");
    initdb.parent().unwrap().to_owned()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
