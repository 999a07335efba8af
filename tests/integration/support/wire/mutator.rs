//! Streams made wrong by chance, the same again for the same seed.

use std::ops::Range;

/// Bytes that mean something to who reads HTTP.
const TELLING: &[u8] = b"\r\n\0 \t,;:#\"\\%/?@[_-+0159afx\x7f\x80\xff";
/// Words of the same kind.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"\r\n\t",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"content-length:6\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Host: localhost\r\n",
    b"Host: evil.example\r\n",
    b"Connection: close\r\n",
    b"Connection: authorization, host\r\n",
    b"Connection: keep-alive\r\n",
    b"Connector-Id: crm\r\n",
    b"Authorization: Basic ZmxvdzpmbG93\r\n",
    b"X-Api-Key: flow\r\n",
    b"X_Api_Key: flow\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"TE: trailers\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"5\r\nhello\r\n",
    b";a=\"b\"",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"GET /crm/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"/../",
    b"#",
];

/// The numbers of the mutants to be tried: `ATTACHE_TEST_MUTANTS` says how many, and
/// `ATTACHE_TEST_SEED` from which on.
pub(crate) fn numbers() -> Range<u64> {
    let told = |name: &str, otherwise: u64| {
        let told = std::env::var(name).ok();
        told.map_or(otherwise, |told| told.parse().unwrap())
    };
    let first = told("ATTACHE_TEST_SEED", 0);
    first..first + told("ATTACHE_TEST_MUTANTS", 20_000)
}

/// A source of chance (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// One mutant of `streams`, in the pieces it is written in.
pub(crate) fn mutant(streams: &[Vec<u8>], chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut bytes = chance.of(streams).clone();
    for _ in 0..=chance.below(3) {
        mutate(&mut bytes, streams, chance);
    }
    split(bytes, chance)
}

fn mutate(bytes: &mut Vec<u8>, streams: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(12) {
        0 => flip(bytes, chance),
        1 | 2 => bytes.insert(at, *chance.of(TELLING)),
        3 => replace(bytes, chance),
        4 => {
            let word = chance.of(WORDS);
            let at = line_starts(bytes)[chance.below(line_starts(bytes).len())];
            bytes.splice(at..at, word.iter().copied());
        }
        5 => {
            let word = chance.of(WORDS);
            bytes.splice(at..at, word.iter().copied());
        }
        6 => {
            let end = (at + 1 + chance.below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        7 => swap_lines(bytes, chance),
        8 => double_line(bytes, chance),
        9 => renumber(bytes, chance),
        10 => {
            let other = chance.of(streams);
            bytes.extend_from_slice(other);
        }
        _ => {
            let other = chance.of(streams);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
    }
}

fn flip(bytes: &mut [u8], chance: &mut Chance) {
    let (at, bit) = (chance.below(bytes.len()), chance.below(8));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn replace(bytes: &mut [u8], chance: &mut Chance) {
    let (at, with) = (chance.below(bytes.len()), *chance.of(TELLING));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = with;
    }
}

/// Where lines begin, 0 among them.
fn line_starts(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

fn swap_lines(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let mut lines = lines(bytes);
    if lines.len() > 1 {
        let (one, two) = (chance.below(lines.len()), chance.below(lines.len()));
        lines.swap(one, two);
        *bytes = lines.concat();
    }
}

fn double_line(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let mut lines = lines(bytes);
    if !lines.is_empty() {
        let line = chance.of(&lines).clone();
        lines.insert(chance.below(lines.len() + 1), line);
        *bytes = lines.concat();
    }
}

/// Makes one of the numbers another.
fn renumber(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let starts: Vec<_> = (0..bytes.len())
        .filter(|at| bytes[*at].is_ascii_digit())
        .filter(|at| *at == 0 || !bytes[at - 1].is_ascii_digit())
        .collect();
    if starts.is_empty() {
        return;
    }
    let at = *chance.of(&starts);
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let end = at + digits.count();
    let known: u64 = String::from_utf8_lossy(&bytes[at..end])
        .parse()
        .unwrap_or(9);
    let other = match chance.below(8) {
        0 => "0".to_owned(),
        1 => format!("0{known}"),
        2 => format!("+{known}"),
        3 => format!("{known},{known}"),
        4 => "18446744073709551616".to_owned(),
        5 => known.wrapping_sub(1).to_string(),
        6 => format!("{known:x}0"),
        _ => known.wrapping_add(1).to_string(),
    };
    bytes.splice(at..end, other.bytes());
}

/// Mostly in one piece; else cut at up to four places, or between any two bytes of a short stretch.
fn split(bytes: Vec<u8>, chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> = match chance.below(4) {
        0 => (0..=chance.below(4))
            .map(|_| chance.below(bytes.len() + 1))
            .collect(),
        1 if chance.below(4) == 0 => {
            let from = chance.below(bytes.len() + 1);
            (from..(from + 12).min(bytes.len())).collect()
        }
        _ => Vec::new(),
    };
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts
        .into_iter()
        .filter(|cut| *cut > 0 && *cut < bytes.len())
    {
        pieces.push(bytes[from..cut].to_vec());
        from = cut;
    }
    pieces.push(bytes[from..].to_vec());
    pieces
}
