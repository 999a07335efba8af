//! A peer that does one thing wrong, until it is told to stop.
//!
//! # Invariants
//!
//! It has one address for its whole life, also while nobody listens there. While no fault is on, it
//! answers every request with 200 and its content. What it says over HTTP/1.1 and HTTP/2 is written
//! byte by byte here: no library that knows the rules stands in a fault's way.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::message::Kind;
use super::pki::Identity;
use super::stage::Stage;
use super::tls::{self, Ask, Protocols};
use super::wire::Wire;
use super::within;

mod door;
mod fault;
pub(crate) mod http2;

use door::Door;
use fault::Step;

pub(crate) use fault::{Fault, Said, Then};

/// What a peer is called beside `localhost`.
pub(crate) const NAME: &str = "trouble.example";

/// How long a peer that drips waits between two bytes. The pause is the fault: nothing waits for it
/// to pass.
const DRIP: Duration = Duration::from_millis(10);

/// A running peer.
pub(crate) struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Mutex<Door>,
}

struct Shared {
    content: &'static str,
    good: TlsAcceptor,
    bad: HashMap<&'static str, TlsAcceptor>,
    fault: watch::Sender<Fault>,
    tally: watch::Sender<Tally>,
}

/// What has happened to a peer so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Connections accepted and not ended.
    pub(crate) open: usize,
    /// Requests that arrived whole.
    pub(crate) heard: usize,
}

impl Chaos {
    /// Starts one on loopback that is called `localhost` and [`NAME`], whose CA is the stage's, with `fault` on.
    pub(crate) async fn start(
        stage: &Stage,
        protocols: Protocols,
        content: &'static str,
        fault: Fault,
    ) -> Self {
        let acceptor = |identity: &Identity| {
            TlsAcceptor::from(tls::server(identity, &Ask::Nothing, protocols))
        };
        let bad = stage.ca.bad_servers().into_iter();
        let bad = bad.map(|(name, identity)| (name, acceptor(&identity)));
        let shared = Arc::new(Shared {
            content,
            good: acceptor(&stage.ca.server(&[NAME])),
            bad: bad.collect(),
            fault: watch::Sender::new(fault.clone()),
            tally: watch::Sender::default(),
        });
        let accepting = Arc::clone(&shared);
        let door = Door::new(move |tcp| serve(tcp, Arc::clone(&accepting)));
        let door = match fault {
            Fault::Refuse => door,
            Fault::Swallow => door.jammed(),
            Fault::Nothing
            | Fault::Deaf
            | Fault::NoTls(_)
            | Fault::Certificate(_)
            | Fault::Answer(_)
            | Fault::AnswerOpen(_)
            | Fault::Greet(_)
            | Fault::Idle(_) => door.opened(),
        };
        Self {
            address: door.address(),
            shared,
            door: Mutex::new(door),
        }
    }

    /// Where it listens, or does not.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `fault` is on.
    pub(crate) fn inflict(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// From now on all is well.
    pub(crate) fn lift(&self) {
        self.inflict(Fault::Nothing);
        self.door.lock().unwrap().open();
    }

    /// What has happened so far.
    pub(crate) fn tally(&self) -> Tally {
        *self.shared.tally.borrow()
    }

    /// Waits until `reached`.
    pub(crate) async fn until(&self, reached: impl Fn(&Tally) -> bool) {
        let mut tally = self.shared.tally.subscribe();
        let waiting = tally.wait_for(|tally| reached(tally));
        within("a peer's tally", waiting).await.map(drop).unwrap();
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.fault.borrow().clone()
    }

    async fn lifted(&self) {
        let mut fault = self.fault.subscribe();
        // The sender lives as long as `self`.
        let lifted = fault
            .wait_for(|fault| matches!(fault, Fault::Nothing))
            .await;
        lifted.map(drop).unwrap();
    }

    /// What is to be said on an idle connection, once there is something.
    async fn idle(&self) -> Said {
        let mut fault = self.fault.subscribe();
        let idle = fault.wait_for(|fault| matches!(fault, Fault::Idle(_)));
        let idle = idle.await.unwrap().clone();
        let Fault::Idle(said) = idle else {
            unreachable!("this was waited for")
        };
        said
    }

    fn heard(&self) {
        self.tally.send_modify(|tally| tally.heard += 1);
    }
}

/// One connection, and the socket beneath.
struct Peer {
    wire: Wire,
    socket: std::net::TcpStream,
    shared: Arc<Shared>,
}

/// Whether a connection goes on.
enum Ended {
    /// It does.
    No,
    /// It does, and owes an answer.
    Owing,
    /// It does not.
    Yes,
}

/// Counts an open connection.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tally.send_modify(|tally| tally.open -= 1);
    }
}

async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
    shared.tally.send_modify(|tally| tally.open += 1);
    let _open = Open(Arc::clone(&shared));
    tcp.set_nodelay(true).unwrap();
    let tcp = tcp.into_std().unwrap();
    let socket = tcp.try_clone().unwrap();
    let tcp = TcpStream::from_std(tcp).unwrap();
    let fault = shared.fault();
    let acceptor = match &fault {
        Fault::Deaf => return shared.lifted().await,
        Fault::NoTls(said) => {
            let wire = Wire::over(tcp);
            let mut peer = Peer {
                wire,
                socket,
                shared,
            };
            // Its first byte: what was not read would be answered with RST.
            if peer.wire.exactly(1).await.is_some() {
                peer.say(said, 0).await;
            }
            return;
        }
        Fault::Certificate(name) => shared.bad[*name].clone(),
        Fault::Nothing
        | Fault::Refuse
        | Fault::Swallow
        | Fault::Answer(_)
        | Fault::AnswerOpen(_)
        | Fault::Greet(_)
        | Fault::Idle(_) => shared.good.clone(),
    };
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let http2 = is_http2(&stream);
    let wire = Wire::over(stream);
    let peer = Peer {
        wire,
        socket,
        shared,
    };
    peer.serve(http2, fault).await;
}

fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

impl Peer {
    /// Serves the connection; `fault` was on when it came.
    async fn serve(mut self, http2: bool, fault: Fault) {
        if http2 && !self.shake_hands().await {
            return;
        }
        let mut ended = Ended::No;
        if let Fault::Greet(said) = &fault {
            ended = self.say(said, 0).await;
        }
        let mut is_spared = matches!(fault, Fault::Idle(_) | Fault::AnswerOpen(_));
        while matches!(ended, Ended::No) {
            let shared = Arc::clone(&self.shared);
            ended = tokio::select! {
                biased;
                said = shared.idle(), if !is_spared => {
                    is_spared = true;
                    self.say(&said, 0).await
                }
                stream = self.request(http2) => match stream {
                    Some(stream) => self.respond(stream, &mut is_spared).await,
                    None => return,
                },
            };
        }
    }

    /// The stream of the next request that is whole, 0 over HTTP/1.1; `None` once the other side is
    /// gone.
    async fn request(&mut self, http2: bool) -> Option<u32> {
        match http2 {
            true => self.http2_request().await,
            false => self.wire.message(Kind::Request).await.ok().map(|_| 0),
        }
    }

    /// Answers the request on `stream`, 0 over HTTP/1.1, as the fault has it.
    async fn respond(&mut self, stream: u32, is_spared: &mut bool) -> Ended {
        self.shared.heard();
        let ended = match self.shared.fault() {
            Fault::Answer(said) => self.say(&said, stream).await,
            Fault::AnswerOpen(said) if !*is_spared => {
                *is_spared = true;
                self.say(&said, stream).await
            }
            Fault::Nothing
            | Fault::Refuse
            | Fault::Swallow
            | Fault::Deaf
            | Fault::NoTls(_)
            | Fault::Certificate(_)
            | Fault::AnswerOpen(_)
            | Fault::Greet(_)
            | Fault::Idle(_) => Ended::Owing,
        };
        if matches!(ended, Ended::Owing) {
            let said = match stream {
                0 => self.answer(),
                _ => http2::answer(self.shared.content),
            };
            return Box::pin(self.say(&said, stream)).await;
        }
        ended
    }

    fn answer(&self) -> Said {
        let content = self.shared.content;
        let length = content.len();
        Said::bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{content}"
        ))
    }

    async fn say(&mut self, said: &Said, stream: u32) -> Ended {
        for step in &said.steps {
            let written = match step {
                Step::Bytes(bytes) => self.wire.try_write(bytes).await,
                Step::Drip(bytes) => self.drip(bytes).await,
                Step::Frame(frame) => self.wire.try_write(frame.on(stream)).await,
            };
            if written.is_err() {
                return Ended::Yes;
            }
        }
        match said.then {
            Then::Serve => return Ended::No,
            Then::Reset => SockRef::from(&self.socket)
                .set_linger(Some(Duration::ZERO))
                .unwrap(),
            // Where the other side has gone already, there is nothing to end.
            Then::Close => drop(self.wire.try_half_close().await),
            Then::Cut => drop(self.socket.shutdown(Shutdown::Write)),
            Then::Silence => {
                let shared = Arc::clone(&self.shared);
                tokio::select! {
                    () = shared.lifted() => return Ended::Owing,
                    _ = self.wire.rest() => {}
                }
            }
            Then::Again(bytes) => while self.wire.try_write(bytes).await.is_ok() {},
            Then::DripAgain(bytes) => while self.drip(bytes).await.is_ok() {},
        }
        if matches!(said.then, Then::Close | Then::Cut) {
            // What is not read when a socket closes turns its FIN into RST.
            self.wire.rest().await;
        }
        Ended::Yes
    }

    async fn drip(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for byte in bytes {
            self.wire.try_write([*byte]).await?;
            tokio::time::sleep(DRIP).await;
        }
        Ok(())
    }
}

/// The tasks of one peer; they end with it.
type Tasks = JoinSet<()>;
