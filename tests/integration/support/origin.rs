//! A resource domain: an HTTPS server that records what reaches it and answers as it is told.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answer::Answer;
use super::body::{Outgoing, Pen};
use super::exchange::{Exchange, Recorded};
use super::message::{self, Kind, Message};
use super::pki::Identity;
use super::stage::Stage;
use super::tee::Tee;
use super::tls::{self, Ask, Protocols};
use super::within;

/// How a stand-in presents itself.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Its certificate.
    pub(crate) identity: Identity,
    /// The client certificates it asks for.
    pub(crate) ask: Ask,
    /// The protocols it offers.
    pub(crate) protocols: Protocols,
    /// The loopback address it binds.
    pub(crate) bind: IpAddr,
}

impl Setup {
    /// Asks for no client certificate and offers both protocols on 127.0.0.1.
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            ask: Ask::Nothing,
            protocols: Protocols::Both,
            bind: Ipv4Addr::LOCALHOST.into(),
        }
    }
}

/// What happened to a stand-in so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// TCP connections accepted.
    pub(crate) accepted: usize,
    /// TLS handshakes that succeeded.
    pub(crate) handshaken: usize,
    /// Connections that ended, handshake or not.
    pub(crate) closed: usize,
    /// Requests whose head arrived.
    pub(crate) heads: usize,
    /// Requests that arrived whole.
    pub(crate) whole: usize,
}

/// Answers a request.
pub(crate) type Handler = Arc<dyn Fn(Exchange) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Answers once the request is there, whole.
pub(crate) fn whole(answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Handler {
    let answer = Arc::new(answer);
    scripted(move |mut exchange| {
        let answer = Arc::clone(&answer);
        async move { answer(&exchange.finish().await) }
    })
}

/// Answers as `script` does, which reads the body, or does not, when it likes. It is dropped when
/// the client gives up.
pub(crate) fn scripted<F>(script: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Handler
where
    F: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move |exchange| Box::pin(script(exchange)))
}

/// An origin that offers one protocol and hands out a pen for each answer.
pub(crate) async fn held(
    stage: &Stage,
    protocols: Protocols,
) -> (Origin, mpsc::UnboundedReceiver<Pen>) {
    let (give, pens) = mpsc::unbounded_channel();
    let handler = scripted(move |_| {
        let (pen, answer) = Answer::streamed();
        assert!(give.send(pen).is_ok());
        async { answer }
    });
    let setup = Setup {
        protocols,
        ..Setup::new(&stage.server())
    };
    (Origin::start(setup, handler).await, pens)
}

/// A running resource domain.
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

pub(super) struct Shared {
    handler: Handler,
    pub(super) tally: watch::Sender<Tally>,
    pub(super) records: Mutex<Vec<Recorded>>,
    /// The bytes each HTTP/1.1 connection brought, by number.
    wires: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
}

impl Origin {
    /// Answers every whole request with 200 and `ok`.
    pub(crate) async fn plain(identity: &Identity) -> Self {
        Self::start(Setup::new(identity), whole(|_| Answer::text("ok"))).await
    }

    /// Starts a stand-in that answers with `handler`.
    pub(crate) async fn start(setup: Setup, handler: Handler) -> Self {
        let listener = TcpListener::bind((setup.bind, 0)).await.unwrap();
        Self::start_on(listener, setup, handler)
    }

    /// The same on a listener that is there already.
    pub(crate) fn start_on(listener: TcpListener, setup: Setup, handler: Handler) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler,
            tally: watch::Sender::default(),
            records: Mutex::default(),
            wires: Mutex::default(),
        });
        let config = tls::server(&setup.identity, &setup.ask, setup.protocols);
        let acceptor = TlsAcceptor::from(config);
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting: accepting.abort_handle(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://localhost:{port}{path}`.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_as("localhost", path)
    }

    /// The same under another name.
    pub(crate) fn url_as(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.address.port())
    }

    /// What happened so far.
    pub(crate) fn tally(&self) -> Tally {
        *self.shared.tally.borrow()
    }

    /// Waits until `reached`, and says what has happened by then.
    pub(crate) async fn until(&self, reached: impl Fn(&Tally) -> bool) -> Tally {
        let mut tally = self.shared.tally.subscribe();
        let waiting = tally.wait_for(|tally| reached(tally));
        *within("an origin's tally", waiting).await.unwrap()
    }

    /// Every request so far, in the order of their heads.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.records.lock().unwrap().clone()
    }

    /// The only request so far; fails the test if there are others.
    pub(crate) fn only_request(&self) -> Recorded {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at the origin: {requests:#?}");
        requests.remove(0)
    }

    /// Every HTTP/1.1 request as it stood on the wire, over all connections in the order they were
    /// accepted; fails the test if a strict reader finds fault with one.
    pub(crate) fn wire(&self) -> Vec<Message> {
        let wires = self.shared.wires.lock().unwrap();
        wires
            .iter()
            .flat_map(|wire| message::read_all(&wire.lock().unwrap(), Kind::Request).unwrap())
            .collect()
    }

    /// The bytes of every HTTP/1.1 connection, in the order they were accepted.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        let wires = self.shared.wires.lock().unwrap();
        wires
            .iter()
            .map(|wire| wire.lock().unwrap().clone())
            .collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let number = shared.tally.borrow().accepted;
        shared.tally.send_modify(|tally| tally.accepted += 1);
        let wire = Arc::new(Mutex::default());
        shared.wires.lock().unwrap().push(Arc::clone(&wire));
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let _closed = Closed(Arc::clone(&shared));
            serve(number, tcp, acceptor, wire, shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts the end of a connection, however it comes.
struct Closed(Arc<Shared>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.tally.send_modify(|tally| tally.closed += 1);
    }
}

async fn serve(
    connection: usize,
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    wire: Arc<Mutex<Vec<u8>>>,
    shared: Arc<Shared>,
) {
    tcp.set_nodelay(true).unwrap();
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    shared.tally.send_modify(|tally| tally.handshaken += 1);
    let certificate = client_certificate(&stream);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        respond(
            request,
            connection,
            certificate.clone(),
            Arc::clone(&shared),
        )
    });
    // A connection's end, clean or not, is what a test looks for at the other side.
    if http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(Tee::new(stream, wire)), service)
            .await;
    }
}

async fn respond(
    request: Request<Incoming>,
    connection: usize,
    certificate: Option<CertificateDer<'static>>,
    shared: Arc<Shared>,
) -> Result<Response<Outgoing>, std::convert::Infallible> {
    let http1 = request.version() != Version::HTTP_2;
    let handler = Arc::clone(&shared.handler);
    let exchange = Exchange::record(request, connection, certificate, shared);
    let mut response = handler(exchange).await.into_response();
    if http1 {
        *response.version_mut() = Version::HTTP_11;
    }
    Ok(response)
}

fn client_certificate(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let chain = stream.get_ref().1.peer_certificates()?;
    chain.first().map(|leaf| leaf.clone().into_owned())
}
