//! Streams of bytes as people write them down (`tests/wire/`), and back.
//!
//! A file holds streams, an empty line between two. Of each:
//!
//! ```text
//! # Why, with its RFC section.
//! name: a length beside chunks
//! each: 5 | 05 | +5
//! > POST /orders/x HTTP/1.1\r\n
//! > Content-Length: {}\r\n
//! pause
//! > \r\n
//! = 400 close
//! ```
//!
//! `>` are bytes, with Rust's escapes (`\r`, `\n`, `\t`, `\0`, `\xff`, `\\`) and `\{a*100}` for a
//! hundred times `a`. `each:` makes a stream of every variant, which stands where `{}` is; it may
//! stand twice, then every pair is one, the second's place being `{2}`. `pause` ends a write,
//! `half-close` the client's half. `=` are the statuses of the answers in order (`400/431`: either),
//! and `close` or `open`: what the gateway does with the connection then.

use std::fmt::Write as _;

/// One client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) name: String,
    /// What is written at once, in order.
    pub(crate) writes: Vec<Vec<u8>>,
    /// Whether the client ends its half behind them.
    pub(crate) half_closes: bool,
    /// For each answer, the statuses it may have.
    pub(crate) answers: Vec<Vec<u16>>,
    /// What becomes of the connection.
    pub(crate) after: After,
}

/// What the gateway does with a connection behind its last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It closes it.
    Closes,
    /// It serves another request on it.
    StaysOpen,
}

impl Stream {
    /// All that the client sends.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.writes.concat()
    }
}

/// Reads a file of streams.
///
/// # Panics
///
/// If it is not in the format, naming the stream.
pub(crate) fn parse(text: &str) -> Vec<Stream> {
    text.split("\n\n").flat_map(parse_family).collect()
}

fn parse_family(text: &str) -> Vec<Stream> {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let of = |key: &str| -> Vec<&str> {
        let values = lines.iter().filter_map(|line| line.strip_prefix(key));
        values.collect()
    };
    let [name] = of("name: ")[..] else {
        panic!("a stream has one name: {text}");
    };
    let eaches: Vec<Vec<&str>> = of("each: ")
        .iter()
        .map(|each| each.split(" | ").collect())
        .collect();
    match eaches.as_slice() {
        [] => vec![parse_one(name.to_owned(), &lines, &[])],
        [each] => each
            .iter()
            .map(|one| parse_one(format!("{name}: {one}"), &lines, &[("{}", one)]))
            .collect(),
        [first, second] => first
            .iter()
            .flat_map(|one| second.iter().map(move |two| (one, two)))
            .map(|(one, two)| {
                let name = format!("{name}: {one}, {two}");
                parse_one(name, &lines, &[("{}", one), ("{2}", two)])
            })
            .collect(),
        _ => panic!("{name}: more than two variants"),
    }
}

fn parse_one(name: String, lines: &[&str], variants: &[(&str, &&str)]) -> Stream {
    let mut stream = Stream {
        name,
        writes: Vec::new(),
        half_closes: false,
        answers: Vec::new(),
        after: After::Closes,
    };
    let mut write = Vec::new();
    let mut judged = false;
    for line in lines {
        if let Some(bytes) = line.strip_prefix("> ") {
            let mut bytes = bytes.to_owned();
            for (place, variant) in variants {
                bytes = bytes.replace(place, variant);
            }
            unescape(&bytes, &mut write);
        } else if let Some(answers) = line.strip_prefix("= ") {
            judged = true;
            (stream.answers, stream.after) = parse_answers(&stream.name, answers);
        } else if *line == "pause" {
            stream.writes.push(std::mem::take(&mut write));
        } else if *line == "half-close" {
            stream.half_closes = true;
        } else {
            let known = line.starts_with("name: ") || line.starts_with("each: ");
            assert!(known, "{}: {line:?}", stream.name);
        }
    }
    assert!(judged, "{} says nothing of its answers", stream.name);
    stream.writes.push(write);
    stream
}

fn parse_answers(name: &str, text: &str) -> (Vec<Vec<u16>>, After) {
    let mut words: Vec<_> = text.split(' ').collect();
    let after = match words.pop() {
        Some("close") => After::Closes,
        Some("open") => After::StaysOpen,
        Some(_) | None => panic!("{name}: neither open nor close"),
    };
    let status = |word: &str| {
        word.parse()
            .unwrap_or_else(|_| panic!("{name}: {word} is no status"))
    };
    let answers = words
        .iter()
        .map(|word| word.split('/').map(status).collect())
        .collect();
    (answers, after)
}

fn unescape(text: &str, into: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        into.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let taken = match escape.as_bytes() {
            [b'r', ..] => push(into, b'\r'),
            [b'n', ..] => push(into, b'\n'),
            [b't', ..] => push(into, b'\t'),
            [b'0', ..] => push(into, b'\0'),
            [b'\\', ..] => push(into, b'\\'),
            [b'x', ..] => {
                push(into, u8::from_str_radix(&escape[1..3], 16).unwrap());
                3
            }
            [b'{', ..] => {
                let (repeated, _) = escape[1..].split_once('}').unwrap();
                let (what, times) = repeated.rsplit_once('*').unwrap();
                let mut once = Vec::new();
                unescape(what, &mut once);
                into.extend(once.repeat(times.parse().unwrap()));
                repeated.len() + 2
            }
            _ => panic!("\\{escape} is no escape"),
        };
        rest = &escape[taken..];
    }
    into.extend_from_slice(rest.as_bytes());
}

fn push(into: &mut Vec<u8>, byte: u8) -> usize {
    into.push(byte);
    1
}

/// Writes a stream down as a file holds it, without what is expected of it.
pub(crate) fn show(name: &str, writes: &[Vec<u8>]) -> String {
    let mut text = format!("name: {name}\n");
    for (number, write) in writes.iter().enumerate() {
        if number > 0 {
            text += "pause\n";
        }
        for line in write.split_inclusive(|byte| *byte == b'\n') {
            let _ = writeln!(text, "> {}", escape(line));
        }
    }
    text + "= 400 close\n"
}

/// Bytes as a file holds them.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text += "\\r",
            b'\n' => text += "\\n",
            b'\t' => text += "\\t",
            b'\\' => text += "\\\\",
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}
