//! The streams of `tests/wire/` made wrong by chance.
//!
//! `ATTACHE_TEST_MUTANTS` says how many, `ATTACHE_TEST_SEED` from which number on: each mutant is
//! made by the number that is its own, so that one that fails is the same again alone.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;

use super::streams;
use crate::support::wire::corpus;
use crate::support::wire::mutator::{self, Chance};
use crate::support::wire::room::{Room, Sent};

/// Connections at once. Many: one that is cut amid a body takes a second.
const LANES: usize = 192;
/// How many connections later a lane looks at what arrived of one, for what its gateway still has
/// to send.
const LATER: usize = 8;
/// Longer streams take their time and are little else than long, in bytes.
const STREAM_BYTES_MAX: usize = 4096;
/// After as many findings nobody reads on.
const FINDINGS_MAX: usize = 20;

/// What lanes share.
struct Hunt {
    room: Room,
    streams: Vec<Vec<u8>>,
    next: AtomicU64,
    end: u64,
    findings: Mutex<Vec<String>>,
}

impl Hunt {
    async fn run_lane(&self) -> Vec<(u64, Sent)> {
        let mut sent = VecDeque::new();
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end || self.findings.lock().unwrap().len() >= FINDINGS_MAX {
                return sent.into();
            }
            let writes = self.mutant(seed);
            let (of_mutant, got) = self.room.send(&writes).await;
            if let Err(fault) = self.room.judge_answers(&of_mutant, &got) {
                self.find(seed, &format!("{fault}\n  got: {}", corpus::escape(&got)));
            }
            sent.push_back((seed, of_mutant));
            if sent.len() > LATER
                && let Some((seed, earlier)) = sent.pop_front()
                && let Err(fault) = self.room.judge_arrivals(&earlier)
            {
                self.find(seed, &fault);
            }
        }
    }

    fn mutant(&self, seed: u64) -> Vec<Vec<u8>> {
        mutator::mutant(&self.streams, &mut Chance::new(seed))
    }

    fn find(&self, seed: u64, fault: &str) {
        let shown = corpus::show(&format!("mutant {seed}"), &self.mutant(seed));
        let mut findings = self.findings.lock().unwrap();
        findings.push(format!("{shown}# {fault}\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mutant_of_a_stream_smuggles_anything() {
    // protocol.md, point 18, lines 18 to 29: as the streams, and whatever lies between them.
    let streams = streams::all();
    let streams = streams.iter().map(corpus::Stream::bytes);
    let numbers = mutator::numbers();
    let hunt = Hunt {
        room: Room::start().await,
        streams: streams
            .filter(|bytes| bytes.len() <= STREAM_BYTES_MAX)
            .collect(),
        next: AtomicU64::new(numbers.start),
        end: numbers.end,
        findings: Mutex::default(),
    };

    let left = join_all((0..LANES).map(|_| hunt.run_lane())).await.concat();
    let sent: Vec<_> = left.iter().map(|(_, sent)| sent.clone()).collect();

    let mut findings = hunt.findings.into_inner().unwrap();
    findings.extend(hunt.room.end(&sent).await);
    assert!(
        findings.is_empty(),
        "{}:\n{}",
        findings.len(),
        findings.join("\n")
    );
}
