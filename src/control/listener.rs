//! The listeners of the control plane.
//!
//! # Invariants
//!
//! Nobody who connects costs more than a connection for a minute: connections, the time to a
//! handshake and to a head, a head's bytes and a connection's age are bounded.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::api::Security;
use super::host::HostRule;
use super::{Control, routes};
use crate::doorkeeper::Doorkeeper;
use crate::metrics::Listener;
use crate::proxy_protocol::{Balancers, Ends};
use crate::tls::server::{ClientCertificates, Renewable, ServerIdentity, Stream, Verified, shown};

/// Connections open at once, per listener.
const CONNECTIONS_MAX: usize = 256;
/// A request's head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A request's fields.
const FIELDS_MAX: usize = 64;
/// A TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time to a request's head, an idle connection's included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection's life; also bounds a client that takes nothing of its answer.
const AGE_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take to end once its listener closes.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long it may take once its connection is too old: a connector that is tried takes a while.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// A pause when the system has no descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a listener receives its clients.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its TLS identity, if any; offer HTTP/1.1 alone. If it asks for client certificates, nothing is
    /// told to those who show none.
    pub tls: Option<Renewable>,
    /// Which names it answers to.
    pub hosts: HostRule,
    /// The balancers in front of it, where connections begin with a PROXY protocol header.
    pub front: Option<Balancers>,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Our address, or that of the balancer in front of us.
    pub(super) local: SocketAddr,
    /// The client's.
    pub(super) peer: SocketAddr,
    /// How the connection is protected.
    pub(super) security: Security,
    /// Whom it shows.
    pub(super) caller: Caller,
}

/// Who is at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// One who may be told.
    Admitted,
    /// One who was asked for a certificate and showed none, or one that holds no more.
    Unknown,
}

/// Serves health and metrics on `listener` until `shutdown`, and then for a moment those who are
/// being answered.
///
/// # Errors
///
/// If the listener cannot be used by this runtime; nothing else ends it.
pub async fn serve(
    listener: std::net::TcpListener,
    door: Door,
    control: Arc<Control>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (stop, stopping) = watch::channel(());
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let door = Arc::new(door);
    // Scrapers' listener turns nobody away, so that what is counted here is the other one's.
    let metrics = control.metrics.doors();
    let clock = control.health.clock().clone();
    let doorkeeper = Arc::new(Doorkeeper::new(Listener::Admin, metrics, clock));
    let mut shutdown = pin!(shutdown);
    loop {
        let (tcp, permit) = tokio::select! {
            () = &mut shutdown => break,
            next = next(&listener, &room) => next,
        };
        let visit = Visit {
            door: Arc::clone(&door),
            doorkeeper: Arc::clone(&doorkeeper),
            control: Arc::clone(&control),
            stopping: stopping.clone(),
            _permit: permit,
        };
        tokio::spawn(visit.receive(tcp));
    }
    drop((listener, stopping));
    stop.send_replace(());
    // Those who are not done by then are cut off with the runtime.
    let _all_gone = timeout(FAREWELL, stop.closed()).await;
    Ok(())
}

/// The next connection, once there is room for it.
async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // Nobody closes the semaphore; if it were, there would be no room ever again.
        let Ok(permit) = Arc::clone(room).acquire_owned().await else {
            return pending().await;
        };
        match listener.accept().await {
            Ok((tcp, _)) => return (tcp, permit),
            Err(error) => {
                tracing::warn!(%error, "an administrative connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One client's connection.
struct Visit {
    door: Arc<Door>,
    doorkeeper: Arc<Doorkeeper>,
    control: Arc<Control>,
    stopping: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl Visit {
    async fn receive(self, mut tcp: TcpStream) {
        let ends = match timeout(HANDSHAKE_TIMEOUT, self.introduce(&mut tcp)).await {
            Ok(Ok(ends)) => ends,
            Ok(Err(error)) => return tracing::debug!(%error, "nobody is behind a connection"),
            Err(_) => return tracing::debug!("a PROXY protocol header took too long"),
        };
        let way = Way {
            local: ends.destination,
            peer: ends.source,
            security: Security::Plain,
            caller: Caller::Admitted,
        };
        let Some(identity) = &self.door.tls else {
            return self.converse(tcp, way, None).await;
        };
        let mut identity = identity.follow();
        let tls = identity.borrow_and_update().clone();
        match shake_hands(&tls, tcp).await {
            Ok(stream) => {
                let way = Way {
                    security: Security::Tls,
                    caller: identify(&stream, &tls, self.control.health.clock().wall()),
                    ..way
                };
                self.converse(stream, way, Some(identity)).await;
            }
            Err(error) => self.doorkeeper.handshake_failed(way.peer, &error),
        }
    }

    /// Learns who is at the other end of `tcp`, from the balancer if there is one.
    async fn introduce(&self, tcp: &mut TcpStream) -> io::Result<Ends> {
        let Some(balancers) = &self.door.front else {
            return Ok(Ends {
                source: tcp.peer_addr()?,
                destination: tcp.local_addr()?,
            });
        };
        self.doorkeeper.admit(tcp, balancers)?;
        Ok(self.doorkeeper.introduce(tcp).await?)
    }

    /// Answers requests until the connection ends, or `identity` is renewed: whom it was shown to,
    /// and who showed a certificate, have to shake hands anew.
    async fn converse(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        way: Way,
        identity: Option<watch::Receiver<ServerIdentity>>,
    ) {
        let (door, control) = (Arc::clone(&self.door), Arc::clone(&self.control));
        let service = service_fn(move |request: Request<Incoming>| {
            let (door, control) = (Arc::clone(&door), Arc::clone(&control));
            async move { Ok::<_, Infallible>(routes::respond(request, way, &door, &control).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(FIELDS_MAX)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = &mut connection => Ok(ended),
            _ = self.stopping.changed() => Err(FAREWELL),
            () = sleep(AGE_MAX) => Err(LAST_ANSWER),
            () = renewed(identity) => Err(LAST_ANSWER),
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(limit) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = timeout(limit, &mut connection) => ended.unwrap_or(Ok(())),
                    () = self.stopped_for(FAREWELL) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an administrative connection broke off");
        }
    }

    /// Returns once the listener has been closed for so long.
    async fn stopped_for(&mut self, time: Duration) {
        let _closed = self.stopping.changed().await;
        sleep(time).await;
    }
}

/// Shakes hands with a client in time. Who says nothing at all is gone, not late.
async fn shake_hands(identity: &ServerIdentity, tcp: TcpStream) -> io::Result<Stream> {
    let mut late = io::ErrorKind::UnexpectedEof;
    let shaken = timeout(HANDSHAKE_TIMEOUT, async {
        tcp.peek(&mut [0]).await?;
        late = io::ErrorKind::TimedOut;
        identity.accept(tcp).await
    });
    let shaken = shaken.await;
    shaken.unwrap_or_else(|_| Err(late.into()))
}

/// Who is at the other end of `stream`, after a handshake under `identity`, at the time `now`.
///
/// A handshake verifies the certificate that is shown in it, but lets those through who show none, so
/// that they get a readable refusal. A session that is resumed shows none anew (RFC 8446 §2.2): it
/// has the one that it began with, which may have ended since.
fn identify(stream: &Stream, identity: &ServerIdentity, now: SystemTime) -> Caller {
    let holds = match (identity.client_certificates(), shown(stream)) {
        (ClientCertificates::NotAsked, _) => true,
        (ClientCertificates::Asked, None) => false,
        (ClientCertificates::Asked, Some(shown)) => match shown.verified {
            Verified::Now => true,
            Verified::Before => identity.still_trusts(&shown.chain, now),
        },
    };
    match holds {
        true => Caller::Admitted,
        false => Caller::Unknown,
    }
}

/// Returns once `identity` is another one; never, where there is none.
async fn renewed(identity: Option<watch::Receiver<ServerIdentity>>) {
    let Some(mut identity) = identity else {
        return pending().await;
    };
    if identity.changed().await.is_err() {
        pending().await
    }
}
