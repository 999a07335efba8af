//! A gateway between clients that send anything and two origins that keep everything.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::corpus::{After, Stream};
use super::model;
use super::oracle::{self, Connector};
use super::recorder::{Ledger, Recorder};
use crate::support::connector::{basic, connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::stage::Stage;
use crate::support::{PATIENCE, sockets, within};

/// The two connectors: one that carries `Authorization`, and one a field of its own.
pub(crate) const CONNECTORS: [Connector; 2] = [
    Connector {
        id: "orders",
        base: "/api",
        field: "authorization",
        credential: "Basic c3ZjOm9yZGVycy1jYW5hcnk=",
    },
    Connector {
        id: "crm",
        base: "",
        field: "x-api-key",
        credential: "crm-canary",
    },
];

/// What streams hold wherever a client says something of itself or of credentials, and nowhere else.
const FLOWS_OWN: &str = "flows-own";

/// Asked on a connection that is to be open still.
const PROBE: &[u8] = b"GET /orders/probe HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A gateway with both connectors, and their origins.
pub(crate) struct Room {
    gateway: Running,
    recorders: Vec<Recorder>,
    ledger: Arc<Ledger>,
    clients: AtomicU32,
}

/// What one connection sent, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) client: Ipv4Addr,
    pub(crate) bytes: Vec<u8>,
}

impl Room {
    /// Starts them for clients that may send anything.
    pub(crate) async fn start() -> Self {
        Self::start_with(Ledger::default()).await
    }

    /// Starts them for clients whose own word stands only where it may not travel.
    pub(crate) async fn start_for_streams() -> Self {
        Self::start_with(Ledger::without(FLOWS_OWN)).await
    }

    async fn start_with(ledger: Ledger) -> Self {
        sockets::allow_a_crowd();
        let stage = Stage::new();
        let ledger = Arc::new(ledger);
        let mut recorders = Vec::new();
        for number in 0..CONNECTORS.len() {
            let ledger = Arc::clone(&ledger);
            recorders.push(Recorder::start(number, &stage.server(), ledger).await);
        }
        let auths = [
            basic("svc", "orders-canary"),
            "{ header: { name: X-Api-Key, value: crm-canary } }".to_owned(),
        ];
        let lines: Vec<_> = CONNECTORS
            .iter()
            .zip(&recorders)
            .zip(&auths)
            .map(|((connector, recorder), auth)| {
                let url = format!("https://{}{}", recorder.host(), connector.base);
                connector_with(connector.id, &url, auth, "forwarded: true")
            })
            .collect();
        // No machine is so busy that a limit on time is what ends a stream.
        let yaml = connectors(&lines)
            + "logs: { level: error, access: off }\n\
               timeouts: { drain_delay: 0s, handshake: 5m, head: 5m, body: 5m, write: 5m }\n\
               upstream: { connect: 1m, response_head: 5m, stall: 5m }\n\
               limits: { request_body_bytes_max: 1MiB, connections_max: 4096 }\n";
        Self {
            gateway: Running::start(&stage, &yaml).await,
            recorders,
            ledger,
            clients: AtomicU32::new(0),
        }
    }

    /// Connects from an address that no other connection has.
    async fn connect(&self) -> (TcpStream, Ipv4Addr) {
        let [_, high, middle, low] = self.clients.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // 127.0.0.1 is everybody's, and 127.255.255.255 nobody's.
        let client = Ipv4Addr::new(127, 1 + high % 0xf0, middle, low);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((client, 0))).unwrap();
        let connecting = socket.connect(self.gateway.flows());
        let stream = within("a connection", connecting).await.unwrap();
        stream.set_nodelay(true).unwrap();
        (stream, client)
    }

    /// Sends `writes`, ends the client's half, and reads whatever comes to the end.
    pub(crate) async fn send(&self, writes: &[Vec<u8>]) -> (Sent, Vec<u8>) {
        let (mut stream, client) = self.connect().await;
        let mut got = Vec::new();
        let (mut reading, mut writing) = stream.split();
        // The gateway may close before all is written, which is its right.
        let write = async {
            for piece in writes {
                if writing.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _ = writing.shutdown().await;
        };
        let read = reading.read_to_end(&mut got);
        let both = async { tokio::join!(write, read) };
        let _ = within("the end of a connection", both).await;
        let bytes = writes.concat();
        (Sent { client, bytes }, got)
    }

    /// Sends `stream` and judges everything, what it says of its answers included.
    pub(crate) async fn hold(&self, stream: &Stream) -> Result<Sent, String> {
        let (sent, got, stayed_open) = self.play(stream).await?;
        let seen = model::read(&sent.bytes);
        let mut statuses = oracle::judge_answers(&CONNECTORS, &seen, &got)
            .map_err(|fault| format!("{fault}\n  got: {}", super::corpus::escape(&got)))?;
        if stayed_open {
            statuses.pop();
        }
        let as_said = statuses.len() == stream.answers.len()
            && statuses
                .iter()
                .zip(&stream.answers)
                .all(|(status, may)| may.contains(status));
        if !as_said {
            return Err(format!("{statuses:?}, not {:?}", stream.answers));
        }
        Ok(sent)
    }

    /// Sends `stream` as it says; whether another request was answered behind it, and all that came.
    async fn play(&self, stream: &Stream) -> Result<(Sent, Vec<u8>, bool), String> {
        let (mut tcp, client) = self.connect().await;
        let mut sent = stream.writes.clone();
        let stays_open = stream.after == After::StaysOpen;
        if stays_open {
            sent.push(PROBE.to_vec());
        }
        let mut got = Vec::new();
        let (mut reading, mut writing) = tcp.split();
        let half_closes = stream.half_closes || stays_open;
        let write = async {
            for piece in &sent {
                if writing.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            if half_closes {
                let _ = writing.shutdown().await;
            }
        };
        let read = async {
            // What closes has to do so by itself.
            let reading = reading.read_to_end(&mut got);
            tokio::time::timeout(PATIENCE, reading).await
        };
        let (_, read) = tokio::join!(write, read);
        if read.is_err() {
            let got = super::corpus::escape(&got);
            return Err(format!("the connection stays open\n  got: {got}"));
        }
        let bytes = sent.concat();
        Ok((Sent { client, bytes }, got, stays_open))
    }

    /// Judges what came back.
    pub(crate) fn judge_answers(&self, sent: &Sent, got: &[u8]) -> Result<(), String> {
        let seen = model::read(&sent.bytes);
        // It begins HTTP/2 (RFC 9113 §3.4), whose frames are none of ours.
        if sent.bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
            return Ok(());
        }
        oracle::judge_answers(&CONNECTORS, &seen, got).map(|_| ())
    }

    /// Judges what reached the origins of what was sent, which is forgotten.
    pub(crate) fn judge_arrivals(&self, sent: &Sent) -> Result<(), String> {
        judge_arrivals(&self.ledger, sent)
    }

    /// Ends the gateway, so that all it sent arrives, and judges what is left: of `sent`, and of
    /// those who sent nothing that is left.
    pub(crate) async fn end(self, sent: &[Sent]) -> Vec<String> {
        let Self {
            gateway,
            recorders,
            ledger,
            ..
        } = self;
        gateway.drain().await;
        ledger.until_all_closed().await;
        drop(recorders);
        let judged = sent
            .iter()
            .filter_map(|sent| judge_arrivals(&ledger, sent).err());
        let mut faults: Vec<_> = judged.collect();
        faults.extend(ledger.faults());
        faults.extend(ledger.late());
        faults
    }
}

fn judge_arrivals(ledger: &Ledger, sent: &Sent) -> Result<(), String> {
    let arrived = ledger.take(sent.client);
    let seen = model::read(&sent.bytes);
    oracle::judge_arrivals(&CONNECTORS, &seen, &arrived).map_err(|fault| {
        let arrived: Vec<_> = arrived.iter().map(|arrived| &arrived.message).collect();
        format!("{fault}\n  arrived: {arrived:?}\n  seen: {seen:?}")
    })
}
