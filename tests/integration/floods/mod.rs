//! Clients that send what costs a server more than it costs them.
//!
//! The gateway is a process of its own, so that its memory and its time can be read off. Of each
//! flood the same is claimed: what it cost in memory is bounded, no token was fetched for it, the
//! origin was asked no more than the limits allow, and the process serves the next client.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::child::Child;
use crate::support::client::Client;
use crate::support::connector::{connector, connectors, with_secret};
use crate::support::frames::{self, ACK, Frame, GOAWAY, PING, PREFACE, SETTINGS, frame};
use crate::support::gateway::process;
use crate::support::origin::{self, Origin, Setup};
use crate::support::sockets;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::within;

mod http1;
mod http2;

/// What a flood may cost the process, whatever it is: the gateway's buffers for a connection. The
/// system gives memory by pages of 2 MiB where it can, so that less cannot be told from nothing.
const COST_KIB_MAX: usize = 12 * 1024;
/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u32 = 11;
/// What tells that all of a flood was read.
const DONE: [u8; 8] = *b"all done";
/// More than a kernel and the gateway hold for a client that takes nothing.
const LARGE_BYTES: usize = 24 * 1024 * 1024;

/// A gateway that is a process, with the connector `orders`, whose tokens and requests are counted.
struct Target {
    _stage: Stage,
    origin: Origin,
    authority: Authority,
    child: Child,
    flows: SocketAddr,
    /// Its memory and the requests its origin had before the flood.
    before_kib: usize,
    before_heads: usize,
}

impl Target {
    /// Starts one, and lets it serve long enough to have what it needs.
    async fn start(settings: &str) -> Self {
        sockets::allow_a_crowd();
        let stage = Stage::new();
        let handler = origin::scripted(|mut exchange| async move {
            exchange.finish().await;
            match exchange.recorded().target.as_str() {
                "/large" => Answer::status(200).body(vec![7; LARGE_BYTES]),
                _ => Answer::text("ok"),
            }
        });
        let setup = Setup {
            protocols: Protocols::Http1,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, handler).await;
        let authority = Authority::plain(&stage.server()).await;
        let orders = connector(
            "orders",
            &origin.url("/"),
            &with_secret(&authority.token_url()),
        );
        let logs = "logs: { level: info, access: off }\nworkers: 1\n";
        let yaml = connectors(&[orders]) + logs + settings;
        let child = process(&stage.config_file(&yaml));
        let line = child
            .stderr
            .line("flows are served", |line| line.contains("flows are served"))
            .await;
        let flows = line.rsplit_once("address=").unwrap().1.parse().unwrap();
        let mut clients = [Client::http1(flows).await, Client::http2(flows).await];
        for client in &mut clients {
            for _ in 0..32 {
                assert_eq!(client.get("/orders/x").await.status, 200);
            }
        }
        assert_eq!(authority.requests().len(), 1);
        Self {
            before_kib: child.memory_kib("VmRSS"),
            before_heads: origin.tally().heads,
            _stage: stage,
            origin,
            authority,
            child,
            flows,
        }
    }

    /// How many requests the origin was asked since.
    fn asked(&self) -> usize {
        self.origin.tally().heads - self.before_heads
    }

    /// Claims what the head of this file says; the origin may have been asked `asked_max` times.
    async fn claim_unharmed(mut self, what: &str, asked_max: usize) {
        let asked = self.asked();
        let cost = self
            .child
            .memory_kib("VmHWM")
            .saturating_sub(self.before_kib);
        println!("{what}: {cost} KiB, {asked} requests");
        assert!(cost < COST_KIB_MAX, "{what} cost {cost} KiB");
        assert!(asked <= asked_max, "{what}: {asked} requests");
        assert_eq!(self.authority.requests().len(), 1, "{what}: token requests");
        for mut client in [
            Client::http1(self.flows).await,
            Client::http2(self.flows).await,
        ] {
            assert_eq!(client.get("/orders/next").await.text(), "ok", "{what}");
        }
        assert!(self.child.is_running(), "{what}");
        assert_eq!(self.authority.requests().len(), 1, "{what}: token requests");
    }

    /// Sends `pieces` over HTTP/2 and reads what comes, until the gateway ends the connection or has
    /// read all of them.
    async fn flood(&self, pieces: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
        let stream = within("a connection", TcpStream::connect(self.flows)).await;
        let (mut reading, mut writing) = stream.unwrap().into_split();
        let write = async {
            let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            let done = frame(PING, 0, 0, &DONE);
            for piece in [opening].into_iter().chain(pieces).chain([done]) {
                if writing.write_all(&piece).await.is_err() {
                    break;
                }
            }
            // Kept open: the end is the gateway's to make.
            std::future::pending::<()>().await;
        };
        let read = async {
            let mut read = Vec::new();
            let mut seen = Vec::new();
            loop {
                while let Some((frame, taken)) = frames::read(&read) {
                    read.drain(..taken);
                    let over = Outcome::of(&frame);
                    seen.push(frame);
                    if let Some(ended) = over {
                        return Outcome { seen, ended };
                    }
                }
                if !matches!(reading.read_buf(&mut read).await, Ok(1..)) {
                    let ended = Ended::Closed;
                    return Outcome { seen, ended };
                }
            }
        };
        within("the end of a flood", async {
            tokio::select! {
                outcome = read => outcome,
                () = write => unreachable!("it is pending"),
            }
        })
        .await
    }
}

/// What became of a connection.
struct Outcome {
    /// Every frame that the gateway sent on it.
    seen: Vec<Frame>,
    ended: Ended,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// With GOAWAY and this code.
    Told(u32),
    /// Without a word.
    Closed,
    /// Not at all: everything was read, and it goes on.
    Not,
}

impl Outcome {
    fn of(frame: &Frame) -> Option<Ended> {
        match (frame.kind, frame.flags, frame.payload.as_slice()) {
            (GOAWAY, _, [_, _, _, _, code @ ..]) => {
                let code = [code[0], code[1], code[2], code[3]];
                Some(Ended::Told(u32::from_be_bytes(code)))
            }
            (PING, ACK, payload) if payload == DONE => Some(Ended::Not),
            _ => None,
        }
    }

    /// Whether the stream of this number got an answer of 200.
    fn is_answered_well(&self, stream: u32) -> bool {
        self.seen.iter().any(|frame| {
            // `:status: 200` (RFC 7541, appendix A).
            let good = frame.payload.first() == Some(&0x88);
            frame.stream == stream && frame.kind == frames::HEADERS && good
        })
    }
}

/// The head of a request for `/orders/x`, with these fields beside.
fn asking(flags: u8, stream: u32, method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/orders/x"),
    ];
    all.extend(fields);
    frames::head(flags, stream, &all)
}

/// The number of a client's `n`th stream (RFC 9113 §5.1.1).
fn stream(n: u32) -> u32 {
    2 * n + 1
}
