//! The corpus, made wrong by chance, frame by frame.

use futures_util::StreamExt;

use crate::support::frames::{
    self, CONTINUATION, DATA, Frame, HEADERS, RST_STREAM, field, frame, head,
};
use crate::support::wire::mutator::{self, Chance};

use super::corpus::{self, Gets};
use super::{LANES, Room, seen, to_be_answered};

/// Mutants before one gateway.
const BATCH: usize = 5_000;

/// Fields that mean something, or nothing good.
const FIELDS: &[(&[u8], &[u8])] = &[
    (b":method", b"POST"),
    (b":method", b"CONNECT"),
    (b":path", b"/crm/smuggled"),
    (b":path", b"/orders/x y"),
    (b":authority", b"evil.example"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b"host", b"localhost"),
    (b"host", b"evil.example"),
    (b"content-length", b"5"),
    (b"content-length", b"0"),
    (b"transfer-encoding", b"chunked"),
    (b"transfer_encoding", b"chunked"),
    (b"content_length", b"9"),
    (b"connection", b"authorization"),
    (b"te", b"trailers"),
    (b"te", b"gzip"),
    (b"trailer", b"x-sum"),
    (b"expect", b"100-continue"),
    (b"upgrade", b"h2c"),
    (b"authorization", b"Bearer flow"),
    (b"connector-id", b"crm"),
    (b"cookie", b"a=b"),
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"x", b"a\r\nContent-Length: 5"),
    (b"x\r\ny", b"z"),
    (b"", b""),
];

/// Bytes that mean something to who reads frames, fields or HTTP/1.1.
const TELLING: &[u8] =
    b"\0\x01\x04\x05\x09\x0a\x0d\x10\x20\x23\x25\x2e\x2f\x3a\x40\x41\x7f\x80\xff";

/// Mostly of what is `good`: of the rest, most is refused for one reason more.
fn mutant(good: &[Vec<u8>], all: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let of = match chance.below(4) {
        0 => all,
        _ => good,
    };
    let mut said = split(&of[chance.below(of.len())]);
    for _ in 0..=chance.below(3) {
        mutate(&mut said, all, chance);
    }
    said.iter().flat_map(bytes).collect()
}

fn split(mut said: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while let Some((frame, taken)) = frames::read(said) {
        all.push(frame);
        said = &said[taken..];
    }
    all
}

fn bytes(one: &Frame) -> Vec<u8> {
    frame(one.kind, one.flags, one.stream, &one.payload)
}

fn mutate(said: &mut Vec<Frame>, all: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(said.len());
    if said.is_empty() {
        return;
    }
    match chance.below(14) {
        0 => drop(said.remove(at)),
        1 => said.insert(at, said[at].clone()),
        2 => {
            let other = chance.below(said.len());
            said.swap(at, other);
        }
        3 => said[at].flags ^= 1 << chance.below(8),
        4 => said[at].stream = [0, 1, 2, 3, 5, 101, 0x7fff_ffff][chance.below(7)],
        5 => said[at].kind = u8::try_from(chance.below(11)).unwrap(),
        6 => {
            let length = chance.below(said[at].payload.len() + 1);
            said[at].payload.truncate(length);
        }
        7 => flip(&mut said[at].payload, chance),
        8 => replace(&mut said[at].payload, chance),
        9 | 10 => add_field(&mut said[at], chance),
        11 => cut(said, at, chance),
        12 => said.insert(at + 1, extra(chance)),
        _ => {
            let other = split(&all[chance.below(all.len())]);
            said.truncate(at + 1);
            said.extend(other);
        }
    }
}

fn flip(payload: &mut [u8], chance: &mut Chance) {
    let at = chance.below(payload.len());
    if let Some(byte) = payload.get_mut(at) {
        *byte ^= 1 << chance.below(8);
    }
}

fn replace(payload: &mut [u8], chance: &mut Chance) {
    let at = chance.below(payload.len());
    if let Some(byte) = payload.get_mut(at) {
        *byte = TELLING[chance.below(TELLING.len())];
    }
}

/// Puts another field before the others or behind them.
fn add_field(to: &mut Frame, chance: &mut Chance) {
    let (name, value) = FIELDS[chance.below(FIELDS.len())];
    let line = field(name, value);
    match (to.kind, chance.below(3)) {
        (HEADERS | CONTINUATION, 0) => drop(to.payload.splice(..0, line)),
        (HEADERS | CONTINUATION, _) => to.payload.extend(line),
        (_, _) => to.payload.extend_from_slice(value),
    }
}

/// Cuts a head in two, or content.
fn cut(said: &mut Vec<Frame>, at: usize, chance: &mut Chance) {
    let whole = said[at].clone();
    let middle = chance.below(whole.payload.len() + 1);
    let kind = match whole.kind {
        HEADERS => CONTINUATION,
        kind => kind,
    };
    let moved = frames::END_HEADERS;
    said[at].payload.truncate(middle);
    said[at].flags &= match kind {
        CONTINUATION => !moved,
        _ => !frames::END_STREAM,
    };
    let behind = Frame {
        kind,
        payload: whole.payload[middle..].to_vec(),
        ..whole
    };
    said.insert(at + 1, behind);
}

fn extra(chance: &mut Chance) -> Frame {
    let stream = [0, 1, 3, 5][chance.below(4)];
    let flags = u8::try_from(chance.below(2)).unwrap();
    let written = match chance.below(4) {
        0 => frame(DATA, flags, stream, b"hello"),
        1 => frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        2 => head(flags, stream, &[("x-sum", "1")]),
        _ => head(
            flags,
            stream,
            &[
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "localhost"),
                (":path", "/crm/extra"),
            ],
        ),
    };
    frames::read(&written).unwrap().0
}

/// What mutants are made of.
struct Stock {
    good: Vec<Vec<u8>>,
    all: Vec<Vec<u8>>,
}

impl Stock {
    fn new() -> Self {
        let cases = corpus::all();
        let is_good = |gets: &Gets| matches!(gets, Gets::Arrives(_) | Gets::Cut | Gets::TakenBack);
        let good = cases.iter().filter(|case| is_good(&case.gets));
        Self {
            good: good.map(|case| case.said.clone()).collect(),
            all: cases.into_iter().map(|case| case.said).collect(),
        }
    }

    /// The mutant of this number. What the strict reading cannot say anything of, it cannot judge.
    fn mutant(&self, number: u64) -> Vec<u8> {
        let mut chance = Chance::new(number);
        loop {
            let said = mutant(&self.good, &self.all, &mut chance);
            if said.len() < 60_000 && seen(&said).is_some() {
                return said;
            }
        }
    }

    /// Tries the mutants of these numbers before one gateway: how many requests arrived, and what is
    /// wrong with them.
    async fn try_out(&self, numbers: std::ops::Range<u64>) -> (usize, Vec<String>) {
        let room = Room::start().await;
        let played: Vec<_> = futures_util::stream::iter(numbers)
            .map(|number| {
                let (room, said) = (&room, self.mutant(number));
                async move {
                    let played = room.play(&said, &to_be_answered(&said)).await;
                    (number, said, played)
                }
            })
            .buffer_unordered(LANES)
            .collect()
            .await;
        let ended = room.end().await;
        let (mut arrived, mut faults) = (0, ended.0.faults());
        for (number, said, played) in played {
            match played.and_then(|played| ended.judge(&said, played.client)) {
                Ok(requests) => arrived += requests.len(),
                Err(fault) => faults.push(format!("{number}: {fault}\n  of {:?}", split(&said))),
            }
        }
        faults.extend(ended.0.late());
        (arrived, faults)
    }
}

#[tokio::test]
async fn no_mutant_of_frames_brings_an_origin_what_nobody_asked() {
    let numbers = mutator::numbers();
    let stock = Stock::new();
    let (mut arrived, mut faults) = (0, Vec::new());
    for from in numbers.clone().step_by(BATCH) {
        let to = numbers.end.min(from + u64::try_from(BATCH).unwrap());
        let tried = stock.try_out(from..to).await;
        arrived += tried.0;
        faults.extend(tried.1);
    }

    let tried = numbers.end - numbers.start;
    println!("{tried} mutants, of which {arrived} requests arrived");
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} of {tried}:\n{}",
        faults.join("\n")
    );
    // Or it would hold for a gateway that refuses everything.
    let arrived = u64::try_from(arrived).unwrap();
    assert!(arrived > tried / 20, "{arrived} of {tried}");
}
