//! A small HTTPS server on loopback for the demonstration's two stand-ins.
//!
//! # Invariants
//!
//! It listens on loopback only. Connections, bodies and waits are bounded. What it answers comes
//! from a function of the whole request and the client's certificate, so the stand-ins themselves
//! do no I/O.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::pki::Pki;
use crate::config::ServerTls;
use crate::tls::server::{Protocols, server_config};

/// Connections served at once: more than the gateway's pools for four connectors may open.
const CONNECTIONS_MAX: usize = 2048;
/// A request's body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait for a request's head, an idle connection's wait for its next request included: longer
/// than the gateway keeps a connection idle, so that it is always the gateway who closes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// The wait before accepting again when the system refuses to give a connection out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a stand-in answers with.
pub(super) type Answer = Response<Full<Bytes>>;

/// One of the demonstration's stand-ins.
pub(super) trait StandIn: Send + Sync + 'static {
    /// Answers `request`, sent by a client that showed `certificate` in the handshake.
    fn answer(&self, request: &Request<Bytes>, certificate: Option<&CertificateDer<'_>>) -> Answer;
}

/// Serves `stand_in` on an ephemeral port of `at`, on `runtime`, until the runtime ends.
pub(super) fn start(
    runtime: &Handle,
    at: IpAddr,
    pki: &Pki,
    stand_in: Arc<impl StandIn>,
) -> anyhow::Result<SocketAddr> {
    let tls = ServerTls {
        certificate_pem: pki.server.certificate_pem.clone(),
        private_key_pem: pki.server.private_key_pem.clone(),
        client_ca_pem: Some(pki.ca_pem.clone()),
        client_crl_pem: None,
    };
    let acceptor = TlsAcceptor::from(server_config(&tls, Protocols::Http11)?);
    let listener = std::net::TcpListener::bind((at, 0))
        .with_context(|| format!("a stand-in of the demonstration found no port on {at}"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _inside = runtime.enter();
    runtime.spawn(accept(TcpListener::from_std(listener)?, acceptor, stand_in));
    Ok(address)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, stand_in: Arc<impl StandIn>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let (acceptor, stand_in) = (acceptor.clone(), Arc::clone(&stand_in));
                tokio::spawn(async move {
                    serve(tcp, acceptor, stand_in).await;
                    drop(permit);
                });
            }
            // No descriptors left, or a client that was gone already: neither ends the server.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection to its end. A client that breaks off is nobody's concern here: the
/// gateway at the other end is the one whose errors are shown.
async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, stand_in: Arc<impl StandIn>) {
    // Else an answer waits for the client to acknowledge the handshake's last bytes. A connection
    // that cannot be told this is slower, not wrong.
    let _slower = tcp.set_nodelay(true);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await else {
        return;
    };
    let certificate = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| leaf.clone().into_owned());
    let service = service_fn(move |request| {
        let (stand_in, certificate) = (Arc::clone(&stand_in), certificate.clone());
        async move {
            Ok::<_, Infallible>(match read(request).await {
                Ok(request) => stand_in.answer(&request, certificate.as_ref()),
                Err(status) => empty(status),
            })
        }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(tls), service)
        .await;
}

async fn read(request: Request<Incoming>) -> Result<Request<Bytes>, StatusCode> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| match error.is::<LengthLimitError>() {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        })?;
    Ok(Request::from_parts(head, body.to_bytes()))
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// An answer with a JSON body; the line's end is for those who read it in a terminal.
pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{body}\n")));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
