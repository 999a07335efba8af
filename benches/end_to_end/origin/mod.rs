//! The origin and the token endpoint: a process of its own, so that what it uses is nobody's else,
//! kept to the load's processors. It is this very program, started with [`WORD`] in front.
//!
//! Over TLS 1.3 with tickets: an origin that speaks HTTP/1.1, one that also speaks HTTP/2, and the
//! token endpoint. Without TLS: the origin as the load reaches it directly, to tell what a
//! contender added. `GET /b/{n}` answers with n bytes, `POST /upload` reads everything and answers
//! with 100. A path may have `/o` or `/h2/o` before it, by which contenders choose the origin: those
//! that need not rewrite it save that work.
//!
//! Without the right `Authorization` the answer is 401, so that no contender can do well by leaving
//! out what it is there for. Paths below `/open` ask for none: a relay that does not read HTTP
//! cannot add it, and the load itself sends none.
//!
//! The parent asks over standard input, a line each (`handshakes`, `token-requests`,
//! `lifetime 5000`), and is answered on standard output. When standard input ends, as it does
//! however the parent ends, so does the process, and takes the directory along.

mod http1;
mod http2;
mod room;

use std::fs;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ServerConfig, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use room::Room;
pub(crate) use room::{PASSWORD, USERNAME, basic, lasting_token};

/// The first argument that makes this program the origin.
pub(crate) const WORD: &str = "--serve-as-origin";
/// The files it reads, in the directory that is the second argument.
pub(crate) const CERTIFICATE: &str = "origin.crt";
pub(crate) const KEY: &str = "origin.key";

/// Where its listeners are, in the order it prints them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listeners {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
    pub(crate) token_endpoint: SocketAddr,
    pub(crate) plain: SocketAddr,
}

impl Listeners {
    /// From the line that the process begins with.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut addresses = line.split_whitespace().map(str::parse);
        let mut next = || addresses.next()?.ok();
        Some(Self {
            http1: next()?,
            http2: next()?,
            token_endpoint: next()?,
            plain: next()?,
        })
    }

    fn line(&self) -> String {
        let Self {
            http1,
            http2,
            token_endpoint,
            plain,
        } = self;
        format!("{http1} {http2} {token_endpoint} {plain}")
    }
}

/// Serves until standard input ends. `arguments` are the directory and the number of threads.
pub(crate) fn run(arguments: &[String]) {
    let [directory, threads] = arguments else {
        panic!("{WORD} DIRECTORY THREADS");
    };
    let runtime = match threads.parse().unwrap() {
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build(),
    };
    let (room, directory) = (Arc::new(Room::default()), PathBuf::from(directory));
    let served = Arc::clone(&room);
    let shared = directory.clone();
    thread::spawn(move || runtime.unwrap().block_on(serve(&shared, served)));
    converse(&room);
    // The parent does so itself, unless it was killed.
    drop(fs::remove_dir_all(directory));
}

/// Answers the parent until it says no more.
fn converse(room: &Room) {
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("handshakes", _) => room.handshakes.load(Ordering::Relaxed),
            ("token-requests", _) => room.token_requests.load(Ordering::Relaxed),
            ("lifetime", milliseconds) => {
                let milliseconds = milliseconds.parse().unwrap();
                room.lifetime_ms.store(milliseconds, Ordering::Relaxed);
                milliseconds
            }
            _ => panic!("{line}?"),
        };
        say(&answer.to_string());
    }
}

fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

async fn serve(directory: &Path, room: Arc<Room>) {
    let http1 = listener().await;
    let http2 = listener().await;
    let tokens = listener().await;
    let plain = listener().await;
    let listeners = Listeners {
        http1: http1.local_addr().unwrap(),
        http2: http2.local_addr().unwrap(),
        token_endpoint: tokens.local_addr().unwrap(),
        plain: plain.local_addr().unwrap(),
    };
    let only1 = acceptor(directory, &["http/1.1"]);
    let both = acceptor(directory, &["h2", "http/1.1"]);
    let origin: fn(&Room) -> &AtomicU64 = |room| &room.handshakes;
    let endpoint: fn(&Room) -> &AtomicU64 = |room| &room.token_handshakes;
    tokio::spawn(over_tls(http1, only1.clone(), Arc::clone(&room), origin));
    tokio::spawn(over_tls(http2, both, Arc::clone(&room), origin));
    tokio::spawn(over_tls(tokens, only1, Arc::clone(&room), endpoint));
    say(&listeners.line());
    loop {
        let tcp = accept(&plain).await;
        tokio::spawn(http1::converse(tcp, Arc::clone(&room)));
    }
}

/// Any free port, with room for all connections of a load to arrive at once.
async fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket.listen(4096).unwrap()
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (tcp, _) = listener.accept().await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

async fn over_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    room: Arc<Room>,
    handshakes: fn(&Room) -> &AtomicU64,
) {
    loop {
        let tcp = accept(&listener).await;
        let (acceptor, room) = (acceptor.clone(), Arc::clone(&room));
        tokio::spawn(async move {
            // Whoever does not finish the handshake is not answered.
            let Ok(stream) = acceptor.accept(tcp).await else {
                return;
            };
            handshakes(&room).fetch_add(1, Ordering::Relaxed);
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2::converse(stream, room).await;
            } else {
                http1::converse(stream, room).await;
            }
        });
    }
}

/// TLS 1.3 and one cipher suite, the one that OpenSSL and rustls would choose between them: everybody
/// encrypts alike, Envoy's BoringSSL included, which would rather have 128 bits.
fn acceptor(directory: &Path, protocols: &[&str]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(directory.join(CERTIFICATE)).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join(KEY)).unwrap();
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}
