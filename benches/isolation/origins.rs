//! Two resource domains, each on a thread of its own: one that is well, and one that hangs, floods
//! or answers as its path says. The second one is the token endpoint that hangs, too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the good one answers with, in bytes.
const ANSWER_BYTES: usize = 1024;
/// The pieces of the flood, in bytes.
const FLOOD_BYTES: usize = 64 * 1024;
/// The thread of the one that is not well.
const NEIGHBOUR: &str = "origin-bad";

/// Where they listen.
pub(crate) struct Origins {
    pub(crate) good: SocketAddr,
    pub(crate) bad: SocketAddr,
    /// Nothing listens here.
    pub(crate) down: SocketAddr,
    /// Who signed their certificates.
    pub(crate) ca_pem: String,
}

/// A body: so many pieces, or endless.
struct Pieces {
    piece: Bytes,
    left: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

impl Origins {
    /// Starts both; they end with the process.
    pub(crate) fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = (super::today() - std::time::Duration::from_secs(3600)).into();
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_before = (super::today() - std::time::Duration::from_secs(3600)).into();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        let acceptor = acceptor(&certificate, &key);
        let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            good: serve("origin-good", acceptor.clone()),
            bad: serve(NEIGHBOUR, acceptor),
            down: down.local_addr().unwrap(),
            ca_pem: ca.pem(),
        }
    }
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves on a thread of its own, and says where.
fn serve(thread: &'static str, acceptor: TlsAcceptor) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(converse(tcp, acceptor.clone()));
        }
    };
    std::thread::Builder::new()
        .name(thread.to_owned())
        .spawn(move || {
            if thread == NEIGHBOUR {
                super::threads::give_way();
            }
            super::load::runtime().block_on(serving);
        })
        .unwrap();
    address
}

async fn converse(tcp: TcpStream, acceptor: TlsAcceptor) {
    tcp.set_nodelay(true).unwrap();
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    // How a connection ends is the gateway's affair.
    if http2 {
        let server = http2::Builder::new(TokioExecutor::new());
        drop(server.serve_connection(stream, service_fn(answer)).await);
    } else {
        let server = http1::Builder::new();
        drop(server.serve_connection(stream, service_fn(answer)).await);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Pieces>, Infallible> {
    let (bytes, left) = match request.uri().path() {
        path if path.starts_with("/hang") => std::future::pending().await,
        path if path.starts_with("/flood") => (FLOOD_BYTES, usize::MAX),
        _ => (ANSWER_BYTES, 1),
    };
    Ok(Response::new(Pieces {
        piece: vec![b'x'; bytes].into(),
        left,
    }))
}
