//! The resource domain and the token endpoint, over TLS, on threads of their own in the bench's
//! process, which valgrind does not see.
//!
//! It speaks just enough HTTP/1.1, by hand, so that every answer leaves in one write: how many pieces
//! the gateway reads must not depend on what else the machine does. At a second address it speaks
//! HTTP/2, as hyper does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Certificates hold from this long ago on.
const EARLIER: Duration = Duration::from_secs(3600);
/// As long as the credential that Basic makes, so that the two walks carry equally much.
const TOKEN: &str = "c3ZjOnBhc3N3b3JkLW9mLXNvbWUtbGVuZ3RoLW";

/// What the gateway calls.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Where it speaks HTTP/2.
    pub(crate) address_http2: SocketAddr,
    /// Who signed its certificate.
    pub(crate) ca_pem: String,
}

impl Origin {
    /// Starts it; it ends with the process.
    pub(crate) fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = (SystemTime::now() - EARLIER).into();
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - EARLIER).into();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let pems = (certificate.pem(), key.serialize_pem());
        Self {
            address: serve(acceptor(&pems, b"http/1.1"), converse),
            address_http2: serve(acceptor(&pems, b"h2"), converse_http2),
            ca_pem: ca.pem(),
        }
    }
}

fn acceptor((certificate, key): &(String, String), protocol: &[u8]) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Has every connection `converse`, on a thread of its own.
fn serve<F>(acceptor: TlsAcceptor, converse: fn(TlsStream<TcpStream>) -> F) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        super::runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                let shaken = acceptor.accept(tcp);
                tokio::spawn(async move {
                    // Whoever does not get through the handshake says so itself.
                    if let Ok(stream) = shaken.await {
                        converse(stream).await;
                    }
                });
            }
        });
    });
    address
}

/// Answers until the other side goes.
async fn converse(mut stream: TlsStream<TcpStream>) {
    let mut read = Vec::new();
    loop {
        while let Some((request_bytes, answer)) = answer(&read) {
            read.drain(..request_bytes);
            let written = stream.write_all(&answer).await;
            if written.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn converse_http2(stream: TlsStream<TcpStream>) {
    let answer = service_fn(async |request: Request<Incoming>| {
        let bytes = request.uri().path().strip_prefix("/b/").unwrap();
        let body = vec![b'a'; bytes.parse().unwrap()];
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body))))
    });
    let server = http2::Builder::new(TokioExecutor::new());
    // How a connection ends is the gateway's affair.
    drop(server.serve_connection(TokioIo::new(stream), answer).await);
}

/// How long the first request in `read` is, and what it is answered; `None` if it is not whole.
fn answer(read: &[u8]) -> Option<(usize, Vec<u8>)> {
    let head_bytes = read.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&read[..head_bytes]).unwrap();
    let body_bytes = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().unwrap())
    });
    let request_bytes = head_bytes + body_bytes.unwrap_or(0);
    if read.len() < request_bytes {
        return None;
    }
    let target = head.split(' ').nth(1).unwrap();
    let (media, body) = match target.strip_prefix("/b/") {
        Some(bytes) => ("text/plain", "a".repeat(bytes.parse().unwrap())),
        None => (
            "application/json",
            format!(
                "{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
            ),
        ),
    };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
         content-type: {media}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Some((request_bytes, answer.into_bytes()))
}
