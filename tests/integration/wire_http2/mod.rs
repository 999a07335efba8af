//! From HTTP/2 to HTTP/1.1: the frames that a flow sends, and the bytes that an origin receives.
//!
//! Every case of `corpus.rs` says what becomes of it; what arrives of it, and of each mutant, is held
//! against the strict reading of its frames (`support/wire/http2.rs`) by the oracle of HTTP/1.1.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpSocket;

use crate::support::connector::{basic, connector_with, connectors};
use crate::support::frames::{
    self, ACK, DATA, END_STREAM, Frame, Frames, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
};
use crate::support::gateway::Running;
use crate::support::stage::Stage;
use crate::support::wire::http2;
use crate::support::wire::model::{Asked, End, Seen};
use crate::support::wire::oracle;
use crate::support::wire::recorder::{Arrived, Ledger, Recorder};
use crate::support::wire::room::CONNECTORS;
use crate::support::{PATIENCE, sockets, within};

mod cases;
mod corpus;
mod mutants;

/// Connections at once.
const LANES: usize = 32;
/// Tells that all that was sent has been read.
const DONE: [u8; 8] = *b"all done";

/// A gateway with the connectors of the oracle, and their origins.
struct Room {
    gateway: Running,
    recorders: Vec<Recorder>,
    ledger: Arc<Ledger>,
    clients: AtomicU32,
}

/// What a client got on one stream.
#[derive(Clone, Debug, Default)]
struct Got {
    head: Option<Vec<u8>>,
    content: Vec<u8>,
    ended: bool,
    reset: bool,
}

/// One client's connection, when it is over.
struct Played {
    client: Ipv4Addr,
    got: BTreeMap<u32, Got>,
    /// Whether the gateway ended it.
    closed: bool,
}

impl Room {
    async fn start() -> Self {
        sockets::allow_a_crowd();
        let stage = Stage::new();
        let ledger = Arc::new(Ledger::default());
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
        let logs = "logs: { level: error, access: off }\n";
        Self {
            gateway: Running::start(&stage, &(connectors(&lines) + logs)).await,
            recorders,
            ledger,
            clients: AtomicU32::new(0),
        }
    }

    /// Sends `said` behind a client's preface, from an address that no other connection has, and
    /// reads until the gateway has read it and ended the streams `awaited`, or has hung up.
    async fn play(&self, said: &[u8], awaited: &[u32]) -> Result<Played, String> {
        let [_, high, middle, low] = self.clients.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let client = Ipv4Addr::new(127, 1 + high % 0xf0, middle, low);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((client, 0))).unwrap();
        let connecting = socket.connect(self.gateway.flows());
        let mut frames = Frames::over(within("a connection", connecting).await.unwrap());
        let done = frame(PING, 0, 0, &DONE);
        // It may be closed before all is written.
        let _ = frames.write([&opened(said), &done[..]].concat()).await;
        let mut got: BTreeMap<u32, Got> = BTreeMap::new();
        // What the gateway has to say of a frame is out when a second ping comes back.
        let mut acks = 0;
        let reading = async {
            loop {
                let is_over = |stream: &u32| got.get(stream).is_some_and(|got| got.ended);
                if acks == 2 && awaited.iter().all(is_over) {
                    return false;
                }
                let Some(frame) = frames.next().await else {
                    return true;
                };
                if note(&mut got, frame) {
                    acks += 1;
                    // It may have been closed by now, which reading tells.
                    let again = if acks == 1 { &done[..] } else { &[] };
                    let _ = frames.write(again).await;
                }
            }
        };
        let closed = tokio::time::timeout(PATIENCE, reading).await;
        match closed {
            Ok(closed) => Ok(Played {
                client,
                got,
                closed,
            }),
            Err(_) => Err(format!("no end: {got:?} of {awaited:?}")),
        }
    }

    /// Ends the gateway, so that all that it sent has arrived, and says what did of each client.
    async fn end(self) -> Ended {
        self.gateway.drain().await;
        self.ledger.until_all_closed().await;
        drop(self.recorders);
        Ended(self.ledger)
    }
}

/// What reached the origins.
struct Ended(Arc<Ledger>);

impl Ended {
    /// Finds fault with what arrived of `said`, and gives it.
    fn judge(&self, said: &[u8], client: Ipv4Addr) -> Result<Vec<Arrived>, String> {
        let mut arrived = self.0.take(client);
        // Of two that broke off, the one of more content can be fewer others.
        arrived.sort_by_key(|arrival| std::cmp::Reverse(arrival.message.body.len()));
        let mut left: Vec<Asked> = seen(said).unwrap_or_default().into_values().collect();
        for arrival in &arrived {
            let mut why = "nothing is left that it could be".to_owned();
            let found = left.iter().position(|asked| {
                let seen = Seen {
                    requests: vec![asked.clone()],
                    end: End::Clean,
                };
                oracle::judge_arrivals(&CONNECTORS, &seen, std::slice::from_ref(arrival))
                    .map_err(|fault| why = fault)
                    .is_ok()
            });
            match found {
                Some(place) => drop(left.remove(place)),
                None => return Err(format!("{why}: {arrival:?}")),
            }
        }
        Ok(arrived)
    }
}

/// `said` behind what every client says first.
fn opened(said: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), said].concat()
}

/// The streams of what is whole in `said`, and is not taken back.
fn to_be_answered(said: &[u8]) -> Vec<u32> {
    let mut whole = seen(said).unwrap_or_default();
    whole.retain(|_, asked| asked.whole);
    let mut rest = said;
    while let Some((frame, taken)) = frames::read(rest) {
        if frame.kind == RST_STREAM {
            whole.remove(&frame.stream);
        }
        rest = &rest[taken..];
    }
    whole.into_keys().collect()
}

/// The requests in `said`.
fn seen(said: &[u8]) -> Option<BTreeMap<u32, Asked>> {
    http2::read(&opened(said))
}

/// Notes a frame; whether it says that everything was read.
fn note(got: &mut BTreeMap<u32, Got>, frame: Frame) -> bool {
    if frame.kind == PING {
        return frame.flags & ACK != 0 && frame.payload == DONE;
    }
    let of_stream = got.entry(frame.stream).or_default();
    let ends = frame.flags & END_STREAM != 0;
    match frame.kind {
        HEADERS => {
            of_stream.ended |= ends;
            of_stream.head.get_or_insert(frame.payload);
        }
        DATA => {
            of_stream.ended |= ends;
            of_stream.content.extend(frame.payload);
        }
        RST_STREAM => {
            of_stream.ended = true;
            of_stream.reset = true;
        }
        _ => {}
    }
    false
}

impl Got {
    /// The status, as h2 writes it: an entry of the static table, or its name and a text of digits
    /// (RFC 7541 §6.1, §6.2, appendices A and B).
    fn status(&self) -> Option<u16> {
        let block = self.head.as_deref()?;
        let known = [200, 204, 206, 304, 400, 404, 500];
        match block {
            [index @ 0x88..=0x8e, ..] => known.get(usize::from(index - 0x88)).copied(),
            [0x08 | 0x48, 3, digits @ ..] => {
                let digits = digits.get(..3)?;
                std::str::from_utf8(digits).ok()?.parse().ok()
            }
            [0x08 | 0x48, length, coded @ ..] if length & 0x80 != 0 => {
                huffman_digits(coded.get(..usize::from(length & 0x7f))?)
            }
            _ => None,
        }
    }
}

/// Three digits in Huffman's code: 0 to 2 have five bits, the others six.
fn huffman_digits(coded: &[u8]) -> Option<u16> {
    let bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let bits: Vec<u16> = bits.map(u16::from).collect();
    let take = |from: usize, count: usize| -> Option<u16> {
        let bits = bits.get(from..from + count)?;
        Some(bits.iter().fold(0, |number, bit| number << 1 | bit))
    };
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let short = take(at, 5)?;
        let digit = match short {
            0..=2 => {
                at += 5;
                short
            }
            _ => {
                let long = take(at, 6)?;
                at += 6;
                long.checked_sub(25)? + 3
            }
        };
        status = status * 10 + digit;
    }
    Some(status)
}

#[test]
fn the_statuses_that_h2_writes_are_read() {
    let got = |block: &[u8]| Got {
        head: Some(block.to_vec()),
        ..Got::default()
    };
    assert_eq!(got(&[0x88]).status(), Some(200));
    assert_eq!(got(&[0x8c, 1, 2]).status(), Some(400));
    assert_eq!(got(b"\x08\x03431").status(), Some(431));
    // RFC 7541, appendix C.6.1: 302.
    assert_eq!(got(&[0x48, 0x82, 0x64, 0x02]).status(), Some(302));
}
