//! Handshakes that begin with anything but a ClientHello as it should be.
//!
//! protocol.md row 42 (RUSTSEC-2024-0399, RUSTSEC-2024-0336): none makes a listener panic, or spin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::child::Child;
use crate::support::gateway::{process, sample};
use crate::support::stage::Stage;
use crate::support::tls::{Protocols, client, handshake};
use crate::support::within;

/// How many are tried on the data listener, and how many at once.
const HELLOS: u64 = 10_000;
const AT_ONCE: usize = 64;
/// How many on the admin listener, which takes 256 connections at once.
const ADMIN_HELLOS: u64 = 1_000;

/// The same numbers in every run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// The ClientHello of a client that means well.
fn hello(stage: &Stage) -> Vec<u8> {
    let config = client(&stage.ca, None, Protocols::Both);
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// One that does not.
fn spoiled(hello: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = hello.to_vec();
    match chance.below(6) {
        // Breaks off.
        0 => bytes.truncate(chance.below(hello.len())),
        // Noise, and noise in a handshake record (RFC 8446 §5.1).
        1 => bytes = (0..chance.below(600)).map(|_| chance.byte()).collect(),
        2 => {
            let noise: Vec<u8> = (0..chance.below(600)).map(|_| chance.byte()).collect();
            let length = u16::try_from(noise.len()).unwrap().to_be_bytes();
            bytes = [&[22, 3, 1], &length[..], &noise].concat();
        }
        // A few bits, a length among the first fields, a piece that is there twice or not at all.
        3 => {
            for _ in 0..=chance.below(8) {
                let at = chance.below(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
            }
        }
        4 => {
            let at = chance.below(bytes.len().min(160));
            bytes[at] = chance.byte();
        }
        _ => {
            let (from, to) = (chance.below(hello.len()), chance.below(hello.len()));
            let piece = &hello[from.min(to)..from.max(to)];
            bytes = [&hello[..to], piece, &hello[from..]].concat();
        }
    }
    bytes
}

/// Says `bytes` and no more, and returns once the other side has hung up.
async fn say(address: SocketAddr, bytes: Vec<u8>) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // Whoever is hung up on amid its words has been heard enough of.
    let _sent = tcp.write_all(&bytes).await;
    let _ended = tcp.shutdown().await;
    let mut rest = Vec::new();
    let _read = within("the listener to hang up", tcp.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP"));
}

async fn claim_refused(address: SocketAddr, stage: &Stage, count: u64) {
    let hello = hello(stage);
    let mut chance = Chance(0x0bad_5eed_0bad_5eed);
    let mut talking = JoinSet::new();
    for _ in 0..count {
        if talking.len() == AT_ONCE {
            talking.join_next().await.unwrap().unwrap();
        }
        talking.spawn(say(address, spoiled(&hello, &mut chance)));
    }
    while let Some(said) = talking.join_next().await {
        said.unwrap();
    }
}

async fn address(child: &Child, whom: &str) -> SocketAddr {
    let line = child.stderr.line(whom, |line| line.contains(whom)).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_spoiled_hellos_neither_break_a_listener_nor_keep_it_busy() {
    // protocol.md, row 42.
    let stage = Stage::new();
    stage.server().write(stage.directory(), "gw");
    let tls = "{ certificate: { file: gw.pem }, private_key: { file: gw.key } }";
    let own = format!(
        "tls: {tls}\nadmin: {{ listen: 127.0.0.1:0, tls: {tls} }}\nmetrics: {{ listen: 127.0.0.1:0 }}\n\
         logs: {{ level: info, access: off }}\ntimeouts: {{ handshake: 1s, drain_delay: 0s }}\nconnectors: []\n"
    );
    let mut child = process(&stage.config_file(&own));
    let flows = address(&child, "flows are served").await;
    let admin = address(&child, "served to administrators").await;
    let metrics = address(&child, "served to probes and scrapers").await;

    claim_refused(flows, &stage, HELLOS).await;
    claim_refused(admin, &stage, ADMIN_HELLOS).await;

    // Those who break off and stay are hung up on in time, and cost nothing until then.
    let hello = hello(&stage);
    let before = child.worked();
    let mut silent = JoinSet::new();
    for at in 0..AT_ONCE {
        let bytes = hello[..hello.len() * at / AT_ONCE].to_vec();
        silent.spawn(async move {
            let mut tcp = TcpStream::connect(flows).await.unwrap();
            tcp.write_all(&bytes).await.unwrap();
            let mut rest = Vec::new();
            let _read = within("the listener to hang up", tcp.read_to_end(&mut rest)).await;
        });
    }
    while let Some(ended) = silent.join_next().await {
        ended.unwrap();
    }
    let cost = child.worked() - before;
    assert!(cost < Duration::from_secs(1), "{cost:?} for silence");
    let open = async { while sample(metrics, "attache_client_connections", &[]).await > 0.0 {} };
    within("all of them to be gone", open).await;
    let config = client(&stage.ca, None, Protocols::Http1);
    handshake(flows, &Arc::clone(&config)).await;
    handshake(admin, &config).await;
    assert!(child.is_running());
    let log = child.stderr.text();
    assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
}
