//! What all contenders share: a directory with certificates made for this run, and the process that
//! is the origin and the token endpoint.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use crate::origin::{self, Listeners};
use crate::processors::{Place, Processors};
use crate::running::Running;

/// The origin's name, which its certificate is for and which contenders ask for in TLS (SNI). It has
/// to be one that every machine resolves to itself.
pub(crate) const ORIGIN_NAME: &str = "localhost";
/// Below the ports that systems give to outgoing connections, so that none of a load's takes one
/// that a contender is about to listen on.
const PORTS_FROM: u16 = 20_000;
const PORTS_TO: u16 = 32_000;

/// Everything the contenders talk to, and where they live. It ends with this value.
pub(crate) struct Stage {
    /// TLS, HTTP/1.1 alone.
    pub(crate) origin: SocketAddr,
    /// TLS, HTTP/2 and HTTP/1.1.
    pub(crate) origin_http2: SocketAddr,
    /// TLS, HTTP/1.1: `/token`.
    pub(crate) token_endpoint: SocketAddr,
    /// The origin without TLS, HTTP/1.1: what a load reaches with nothing between.
    pub(crate) origin_plain: SocketAddr,
    pub(crate) processors: Processors,
    process: Mutex<Process>,
    // Fields are dropped in order: the directory goes last.
    directory: TempDir,
}

struct Process {
    running: Running,
    says: BufReader<ChildStdout>,
}

impl Stage {
    pub(crate) fn start(processors: &Processors) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("attache-bench-")
            .tempdir()
            .unwrap();
        write_certificates(directory.path());
        let threads = processors.load_threads().div_ceil(2);
        let program = std::env::current_exe().unwrap();
        let mut command = processors.command(Place::Load, &program);
        command
            .arg(origin::WORD)
            .arg(directory.path())
            .arg(threads.to_string());
        let mut running = Running::start_piped(&mut command, directory.path().join("origin.log"));
        let mut says = BufReader::new(running.child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let listeners = Listeners::read(&line)
            .unwrap_or_else(|| panic!("the origin: {line}{}", running.last_words()));
        Self {
            origin: listeners.http1,
            origin_http2: listeners.http2,
            token_endpoint: listeners.token_endpoint,
            origin_plain: listeners.plain,
            processors: processors.clone(),
            process: Mutex::new(Process { running, says }),
            directory,
        }
    }

    /// Who signed the origin's and the token endpoint's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// A file of that name in the directory that ends with this.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// TLS handshakes that contenders have finished with the origin so far, full or resumed.
    pub(crate) fn origin_handshakes(&self) -> u64 {
        self.ask("handshakes")
    }

    /// Tokens that were asked for so far.
    pub(crate) fn token_requests(&self) -> u64 {
        self.ask("token-requests")
    }

    /// How long tokens are good for that are given out from now on.
    pub(crate) fn set_token_lifetime(&self, lifetime: Duration) {
        self.ask(&format!("lifetime {}", lifetime.as_millis()));
    }

    fn ask(&self, line: &str) -> u64 {
        let mut process = self.process.lock().unwrap();
        let stdin = process.running.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        process.says.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

/// A port of loopback on which nothing listens.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs side by side begin at different ones.
    let first = (std::process::id() % 100) as u16 * 100;
    loop {
        let step = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS_FROM + step % (PORTS_TO - PORTS_FROM);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A CA and the origin's certificate: ECDSA with P-256, as public CAs give out by default. The keys
/// live as long as the directory.
fn write_certificates(directory: &Path) {
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_before = yesterday.into();
    params
        .distinguished_name
        .push(DnType::CommonName, "CA of one run of the bench");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = [ORIGIN_NAME.to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = yesterday.into();
    params
        .distinguished_name
        .push(DnType::CommonName, ORIGIN_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::write(directory.join("ca.crt"), ca.pem()).unwrap();
    fs::write(directory.join(origin::CERTIFICATE), certificate.pem()).unwrap();
    fs::write(directory.join(origin::KEY), key.serialize_pem()).unwrap();
}
