//! The load: steady requests to `good`, and the neighbour's trouble beside them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;

use crate::cpu::Used;
use crate::threads;

/// Requests a second to the good connector.
pub(crate) const GOOD_PER_SECOND: u32 = 1_000;
const GOOD_CONNECTIONS: u32 = 8;
/// The neighbour's connections where each carries one request at a time, and their requests a
/// second.
const BAD_CONNECTIONS: u32 = 16;
const BAD_PER_SECOND: u32 = 800;
/// The neighbour's requests that hang: more than its connector takes, over HTTP/2.
const HANGING_CONNECTIONS: usize = 9;
const HANGING_STREAMS: u32 = 64;
/// Those that are flooded.
const FLOODED: usize = 4;
/// What each of them takes where it does not take all it can, in bytes a second.
const PACED_BYTES_PER_SECOND: u32 = 16 * 1024 * 1024;
/// How long one that was refused waits before it asks again.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// What the neighbour suffers from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    None,
    Hangs,
    Floods(Pace, Way),
    IsDown,
    NoToken,
    OverRate,
}

/// How fast a flooded client reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as it can.
    Full,
    /// [`PACED_BYTES_PER_SECOND`].
    Bounded,
}

/// Which way a flood takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Through the gateway.
    Through,
    /// From the origin to the client, to tell what the gateway costs from what the machine does.
    Past,
}

/// Who listens where.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) gateway: SocketAddr,
    /// The neighbour's resource domain.
    pub(crate) bad: SocketAddr,
    /// Whom its certificate is signed by.
    pub(crate) ca_pem: String,
}

/// The neighbour's load, as long as this lives.
pub(crate) struct Running {
    /// Bytes of floods that were read.
    read: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Bytes of floods that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A runtime for one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `task` on a thread of its own, with its own runtime.
fn on_thread<T: Send + 'static>(
    name: &str,
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime().block_on(task))
        .unwrap()
}

/// Sends the good connector's load for `round`, and says what each request took, and what was used
/// by then: a thread that has ended tells nothing any more.
pub(crate) fn good(gateway: SocketAddr, round: Duration) -> (Vec<Duration>, Used) {
    let sending = async move {
        let period = Duration::from_secs(1) * GOOD_CONNECTIONS / GOOD_PER_SECOND;
        let start = Instant::now();
        let senders: Vec<_> = (0..GOOD_CONNECTIONS)
            .map(|n| {
                let first = start + period * n / GOOD_CONNECTIONS;
                tokio::spawn(steadily(gateway, "good", first, period, start + round))
            })
            .collect();
        let mut took = Vec::new();
        for sender in senders {
            took.extend(sender.await.unwrap());
        }
        (took, Used::now())
    };
    on_thread("load-good", sending).join().unwrap()
}

/// One connection that sends a request each `period`. A request that is due while the one before
/// is under way counts from when it was due.
async fn steadily(
    gateway: SocketAddr,
    connector: &'static str,
    first: Instant,
    period: Duration,
    end: Instant,
) -> Vec<Duration> {
    let mut sender = http1(gateway).await;
    let mut took = Vec::new();
    let mut due = first;
    while due < end {
        let behind = Instant::now() > due;
        sleep_until(due).await;
        let began = if behind { due } else { Instant::now() };
        sender.ready().await.unwrap();
        let answer = sender.send_request(get(connector)).await.unwrap();
        answer.into_body().collect().await.unwrap();
        took.push(began.elapsed());
        due += period;
    }
    took
}

/// Starts the neighbour's load.
pub(crate) fn trouble(scene: &Scene, trouble: Trouble) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let read = Arc::new(AtomicU64::new(0));
    let (scene, counted) = (scene.clone(), Arc::clone(&read));
    let sending = async move {
        threads::give_way();
        let gateway = scene.gateway;
        match trouble {
            Trouble::None => {}
            Trouble::Hangs => {
                for _ in 0..HANGING_CONNECTIONS {
                    tokio::spawn(hang(gateway));
                }
            }
            Trouble::Floods(pace, way) => {
                for _ in 0..FLOODED {
                    let counted = Arc::clone(&counted);
                    tokio::spawn(be_flooded(scene.clone(), pace, way, counted));
                }
            }
            Trouble::IsDown => insist(gateway, "down"),
            Trouble::NoToken => insist(gateway, "tokenless"),
            Trouble::OverRate => insist(gateway, "over"),
        }
        let _ended = stopped.await;
    };
    Running {
        read,
        stop: Some(stop),
        thread: Some(on_thread("load-bad", sending)),
    }
}

fn insist(gateway: SocketAddr, connector: &'static str) {
    let period = Duration::from_secs(1) * BAD_CONNECTIONS / BAD_PER_SECOND;
    let start = Instant::now();
    for n in 0..BAD_CONNECTIONS {
        let first = start + period * n / BAD_CONNECTIONS;
        let end = start + Duration::from_secs(3600);
        tokio::spawn(steadily(gateway, connector, first, period, end));
    }
}

async fn hang(gateway: SocketAddr) {
    let tcp = connect(gateway).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    for turn in 0..HANGING_STREAMS {
        let mut sender = sender.clone();
        // Flows do not ask in step.
        let first = REFUSED_PAUSE * turn / HANGING_STREAMS;
        tokio::spawn(async move {
            sleep(first).await;
            loop {
                let mut request = get("hangs");
                *request.uri_mut() = format!("http://{gateway}/hangs/x").parse().unwrap();
                sender.ready().await.unwrap();
                if let Ok(refused) = sender.send_request(request).await {
                    drop(refused.into_body().collect().await);
                }
                sleep(REFUSED_PAUSE).await;
            }
        });
    }
    std::future::pending().await
}

async fn be_flooded(scene: Scene, pace: Pace, way: Way, counted: Arc<AtomicU64>) {
    let (mut sender, request) = match way {
        Way::Through => (http1(scene.gateway).await, get("floods")),
        Way::Past => (http1_past(&scene).await, get("flood")),
    };
    let mut answer = sender.send_request(request).await.unwrap();
    let began = Instant::now();
    let mut read = 0;
    while let Some(Ok(frame)) = answer.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        counted.fetch_add(bytes, Ordering::Relaxed);
        read += bytes;
        match pace {
            Pace::Full => {}
            Pace::Bounded => {
                let due = read as f64 / f64::from(PACED_BYTES_PER_SECOND);
                sleep_until(began + Duration::from_secs_f64(due)).await;
            }
        }
    }
}

fn get(connector: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("/{connector}/x"))
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

async fn http1(gateway: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    speak(TokioIo::new(connect(gateway).await)).await
}

/// To the neighbour's resource domain itself.
async fn http1_past(scene: &Scene) -> http1::SendRequest<Empty<Bytes>> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(scene.ca_pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::IpAddress(scene.bad.ip().into());
    let tcp = connect(scene.bad).await;
    let connector = TlsConnector::from(Arc::new(config));
    speak(TokioIo::new(connector.connect(name, tcp).await.unwrap())).await
}

async fn speak<S>(stream: TokioIo<S>) -> http1::SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn connect(gateway: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(gateway).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}
