//! The contenders: Attaché, and what users would pick instead. Each is configured as somebody would
//! who knows it well and wants it fast for this one task, and does no less than the task: every
//! HTTP gateway verifies the origin's certificate and its name, keeps connections to it, attaches
//! the credential, and writes no access log. Requests carry `/o` before the origin's own path, by
//! which each chooses the origin; only Attaché takes it off, as the origin does not mind it: the
//! others are spared the rewriting. They are spared metrics, limits, `Via` and a request's id, too,
//! where they have none by default.

mod attache;
mod envoy;
mod haproxy;
mod nginx;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use attache::AttacheExtra;

use crate::figures::names;
use crate::load::Target;
use crate::origin;
use crate::running::Running;
use crate::stage::{ORIGIN_NAME, Stage};

/// How long a contender may take until it answers its first request.
const START: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Before the origin's own paths, to choose the origin.
const PREFIX: &str = "/o";

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Attache,
    Nginx,
    NginxLua,
    Haproxy,
    /// TLS to the origin for each client connection, without reading HTTP: the floor.
    HaproxyTcp,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Attache,
        Self::Nginx,
        Self::NginxLua,
        Self::Haproxy,
        Self::HaproxyTcp,
        Self::Envoy,
    ];

    /// As it stands in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attache => names::ATTACHE,
            Self::Nginx => names::NGINX,
            Self::NginxLua => names::NGINX_LUA,
            Self::Haproxy => names::HAPROXY,
            Self::HaproxyTcp => names::FLOOR,
            Self::Envoy => names::ENVOY,
        }
    }

    /// The word for it where contenders are chosen.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Attache => "attache",
            Self::Nginx => "nginx",
            Self::NginxLua => "nginx-lua",
            Self::Haproxy => "haproxy",
            Self::HaproxyTcp => "haproxy-tcp",
            Self::Envoy => "envoy",
        }
    }
}

/// Where a contender takes requests, by what it does with them.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    /// HTTP/1.1 clients, an origin that speaks HTTP/1.1.
    pub(crate) http1_origin: Target,
    /// HTTP/2 clients, an origin that speaks HTTP/1.1.
    pub(crate) http2_clients: Option<Target>,
    /// HTTP/2 clients, an origin that speaks HTTP/2.
    pub(crate) http2_origin: Option<Target>,
    /// As `http1_origin`, with a token from the cache instead of a password.
    pub(crate) token: Option<Target>,
}

/// A gateway that runs.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// From its start to its first answer from the origin.
    pub(crate) start: Duration,
    pub(crate) targets: Targets,
    running: Running,
}

/// Starts `kind` with that many threads; `None`, with a word on standard error, where it is not
/// installed or does not come up.
pub(crate) fn start(
    kind: Kind,
    stage: &Stage,
    threads: usize,
    extra: &AttacheExtra,
) -> Option<Contender> {
    let started = match kind {
        Kind::Attache => attache::start(stage, threads, extra),
        Kind::Nginx | Kind::NginxLua => nginx::start(kind, stage, threads)?,
        Kind::Haproxy | Kind::HaproxyTcp => haproxy::start(kind, stage, threads)?,
        Kind::Envoy => envoy::start(stage, threads)?,
    };
    started.ready(kind)
}

/// A contender that may not be ready yet.
struct Started {
    version: String,
    running: Running,
    targets: Targets,
}

impl Started {
    fn ready(mut self, kind: Kind) -> Option<Contender> {
        let late = Instant::now() + START;
        let target = self.targets.http1_origin.clone();
        loop {
            let answered = ask(&target);
            if answered.as_deref() == Some("200") {
                break;
            }
            if self.running.ended() || Instant::now() > late {
                let words = self.running.last_words();
                eprintln!("{} does not come up ({answered:?}):\n{words}", kind.name());
                return None;
            }
            thread::sleep(ASK_AGAIN);
        }
        Some(Contender {
            kind,
            name: kind.name().to_owned(),
            version: self.version,
            start: self.running.since.elapsed(),
            targets: self.targets,
            running: self.running,
        })
    }
}

impl Contender {
    /// All processes whose processor time counts. Looked at anew each time: a first answer may come
    /// before a master process has started the last of its workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.family()
    }

    /// Where it writes what it has to say.
    pub(crate) fn log(&self) -> &Path {
        self.running.log()
    }
}

/// The status that a small GET is answered with.
fn ask(target: &Target) -> Option<String> {
    let Target {
        address,
        host,
        prefix,
        tls: _,
    } = target;
    let mut tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(START)).unwrap();
    let request =
        format!("GET {prefix}/b/100 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).map(str::to_owned)
}

/// `port` of loopback, and the path to the origin there.
fn target(port: u16, prefix: &str) -> Target {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Target {
        address,
        host: address.to_string(),
        prefix: prefix.to_owned(),
        tls: None,
    }
}

/// Where `program` is: beside the peers that benches/peers/install has put below the build
/// directory, or where the system has its programs.
fn find(program: &str) -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let mut directories = vec![build.join("peers/bin")];
    directories.extend(std::env::split_paths(&std::env::var_os("PATH")?));
    // Debian keeps servers out of a user's path.
    directories.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = directories
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("{program} is not installed: benches/peers/install gets it.");
    }
    found
}

/// What `program` says of itself when asked by `argument`, on either stream.
fn words(program: &Path, argument: &str) -> String {
    let said = Command::new(program).arg(argument).output().unwrap();
    let (out, err) = (said.stdout, said.stderr);
    [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat()
}

/// Writes `template` to `file` of the stage, each `@word@` replaced, by `words` first: what stands for
/// one of them may itself have words, of the stage.
fn configure(stage: &Stage, file: &str, template: &str, words: &[(&str, &str)]) -> PathBuf {
    let (origin1, origin2) = (stage.origin.port(), stage.origin_http2.port());
    let of_stage = [
        ("origin1", origin1.to_string()),
        ("origin2", origin2.to_string()),
        ("host1", format!("{ORIGIN_NAME}:{origin1}")),
        ("host2", format!("{ORIGIN_NAME}:{origin2}")),
        ("name", ORIGIN_NAME.to_owned()),
        ("ca", stage.ca().display().to_string()),
        ("basic", origin::basic()),
        ("token", origin::lasting_token()),
    ];
    let of_stage = of_stage.iter().map(|(word, value)| (*word, value.as_str()));
    let words = words.iter().copied().chain(of_stage);
    let text = words.fold(template.to_owned(), |text, (word, value)| {
        text.replace(&format!("@{word}@"), value)
    });
    let configuration = stage.file(file);
    fs::write(&configuration, text).unwrap();
    configuration
}

/// The first word of `text` behind `mark`.
fn behind<'a>(text: &'a str, mark: &str) -> &'a str {
    let rest = text.split_once(mark).map(|(_, rest)| rest);
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.unwrap_or("unknown")
}
