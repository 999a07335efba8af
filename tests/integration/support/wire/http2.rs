//! The strict reading of what a client sent over HTTP/2: the requests that are in it.
//!
//! Written from RFC 9113 and RFC 7541 alone; it shares no code with the gateway or with h2. What it
//! refuses of a message (§8.1.1) is no request, or one that is never whole. What ends a connection
//! (§5.4.1) it mostly skips: what comes behind may be refused by a gateway, and is then not missed.
//!
//! Two things are forgiven, since h2 forgives them before the gateway looks, and what is wrong then
//! reaches nobody: pseudo-headers in trailers, and, in a head that CONTINUATION goes on with, whatever
//! makes it malformed in the frames before the last (h2 0.4.20 forgets that it was).
//!
//! Of HPACK it knows literals with a new name and without Huffman's code, which is all that the tests
//! write. Who reads anything else in a mutant's bytes is told nothing by it.

use std::collections::BTreeMap;

use super::model::{Asked, Version};
use crate::support::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PADDED, PREFACE, RST_STREAM,
};

/// Of HEADERS (RFC 9113 §6.2).
const PRIORITY: u8 = 0x20;
/// What a frame may hold where nobody said otherwise (RFC 9113 §4.2).
const FRAME_BYTES_MAX: usize = 16_384;

/// Every pseudo-header (RFC 9113 §8.3).
const PSEUDO: [&[u8]; 5] = [b":method", b":scheme", b":authority", b":path", b":status"];

/// A request as far as it was read.
struct Reading {
    asked: Asked,
    /// Whether more may come.
    is_open: bool,
}

/// The fields of a head, in order.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a block of fields was not read.
enum Unread {
    /// It is none.
    Malformed,
    /// It is written in a way that is not known here.
    Unknown,
}

/// The requests in `bytes` by their streams; `None` where that cannot be said.
pub(crate) fn read(bytes: &[u8]) -> Option<BTreeMap<u32, Asked>> {
    let mut readings: BTreeMap<u32, Reading> = BTreeMap::new();
    let mut last = 0;
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or_default();
    while let Some((frame, taken)) = frames::read(rest) {
        rest = &rest[taken..];
        if frame.payload.len() > FRAME_BYTES_MAX {
            break;
        }
        match frame.kind {
            HEADERS => {
                // A head without its end is none. What is behind it may be refused with it.
                let Some((block, behind)) = whole_block(&frame, rest) else {
                    continue;
                };
                let is_split = behind.len() < rest.len();
                rest = behind;
                let fields = match decode(&block) {
                    Ok(fields) => fields,
                    Err(Unread::Malformed) => break,
                    Err(Unread::Unknown) => return None,
                };
                let ends = frame.flags & END_STREAM != 0;
                if let Some(reading) = readings.get_mut(&frame.stream) {
                    reading.trailers(&fields, ends, is_split);
                } else if frame.stream % 2 == 1 && frame.stream > last {
                    last = frame.stream;
                    let forgiven = || head(&forgive(&fields)).filter(|_| is_split);
                    if let Some(asked) = head(&fields).or_else(forgiven) {
                        let is_open = true;
                        let mut reading = Reading { asked, is_open };
                        reading.grew();
                        reading.ended(ends);
                        readings.insert(frame.stream, reading);
                    }
                }
            }
            DATA => {
                if let (Some(reading), Some(content)) =
                    (readings.get_mut(&frame.stream), unpadded(&frame))
                    && reading.is_open
                {
                    reading.take(content, frame.flags & END_STREAM != 0);
                }
            }
            RST_STREAM => {
                if let Some(reading) = readings.get_mut(&frame.stream) {
                    reading.is_open = false;
                }
            }
            // Only what belongs to a head that is unfinished, which is read with it.
            CONTINUATION => break,
            _ => {}
        }
    }
    let asked = readings
        .into_iter()
        .map(|(stream, reading)| (stream, reading.asked));
    Some(asked.collect())
}

impl Reading {
    /// Takes content; more than the length is none of the request any more, which was whole before.
    fn take(&mut self, content: &[u8], ends: bool) {
        if self.asked.whole && !content.is_empty() {
            self.is_open = false;
            return;
        }
        self.asked.body.extend_from_slice(content);
        self.grew();
        self.ended(ends);
    }

    /// Content is all there once it is as long as it was to be, whether its stream has ended or not.
    fn grew(&mut self) {
        let body = self.asked.body.len();
        let reached = |length: &&str| length.parse() == Ok(body);
        self.asked.whole |= self.asked.all("content-length").iter().any(reached);
    }

    fn ended(&mut self, ends: bool) {
        if !ends {
            return;
        }
        self.is_open = false;
        // RFC 9113 §8.1.1: the sum of the DATA is the length.
        let lengths = self.asked.all("content-length");
        let fits = |length: &&str| length.parse() == Ok(self.asked.body.len());
        self.asked.whole = lengths.iter().all(fits);
    }

    fn trailers(&mut self, fields: &Fields, ends: bool, is_split: bool) {
        if !self.is_open {
            return;
        }
        // h2 lets go of pseudo-headers that stand here (RFC 9113 §8.1: none may), so that nobody
        // hears of them.
        // A name that only h2 takes for one is dropped, as what else may not stand here.
        let goes =
            |name: &[u8]| PSEUDO.contains(&name) || name == b":protocol" || name.contains(&b'"');
        let kept = fields.iter().filter(|(name, _)| !goes(name));
        let kept: Fields = kept.cloned().collect();
        let kept = match is_split {
            true => forgive(&kept),
            false => kept,
        };
        match regular(&kept) {
            Some(trailers) if ends => {
                self.asked.trailers = trailers;
                self.ended(true);
            }
            Some(_) | None => self.is_open = false,
        }
    }
}

/// What a frame's padding leaves of it (RFC 9113 §6.1).
fn unpadded(frame: &Frame) -> Option<&[u8]> {
    if frame.flags & PADDED == 0 {
        return Some(&frame.payload);
    }
    let (length, content) = frame.payload.split_first()?;
    let end = content.len().checked_sub(usize::from(*length))?;
    content.get(..end)
}

/// A head's block with its continuations, and what is behind them (RFC 9113 §6.10).
fn whole_block<'a>(frame: &Frame, mut rest: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut block = unpadded(frame)?;
    if frame.flags & PRIORITY != 0 {
        block = block.get(5..)?;
    }
    let mut block = block.to_vec();
    let mut flags = frame.flags;
    while flags & END_HEADERS == 0 {
        let (next, taken) = frames::read(rest)?;
        if next.kind != CONTINUATION || next.stream != frame.stream {
            return None;
        }
        block.extend(next.payload);
        rest = &rest[taken..];
        flags = next.flags;
    }
    Some((block, rest))
}

/// RFC 7541 §6.2.
fn decode(mut block: &[u8]) -> Result<Fields, Unread> {
    let mut fields = Vec::new();
    while let Some((kind, rest)) = block.split_first() {
        if ![0, 0x10, 0x40].contains(kind) {
            return Err(Unread::Unknown);
        }
        let (name, rest) = text(rest)?;
        let (value, rest) = text(rest)?;
        fields.push((name, value));
        block = rest;
    }
    Ok(fields)
}

/// RFC 7541 §5.2.
fn text(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Unread> {
    let (first, mut rest) = bytes.split_first().ok_or(Unread::Malformed)?;
    if first & 0x80 != 0 {
        return Err(Unread::Unknown);
    }
    let mut length = usize::from(*first);
    if *first == 0x7f {
        let mut shift = 0;
        loop {
            let (byte, behind) = rest.split_first().ok_or(Unread::Malformed)?;
            rest = behind;
            if shift > 28 {
                return Err(Unread::Malformed);
            }
            length += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let text = rest.get(..length).ok_or(Unread::Malformed)?;
    Ok((text.to_vec(), &rest[length..]))
}

/// A request's head (RFC 9113 §8.3.1), without content yet.
fn head(fields: &Fields) -> Option<Asked> {
    let pseudo = fields.iter().take_while(|(name, _)| name.starts_with(b":"));
    let count = pseudo.clone().count();
    let fields_behind = regular(&fields[count..].to_vec())?;
    let mut known: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for (name, value) in pseudo {
        if !PSEUDO[..4].contains(&name.as_slice()) || known.insert(name, value).is_some() {
            return None;
        }
    }
    let (method, path) = (*known.get(&b":method"[..])?, *known.get(&b":path"[..])?);
    // A fragment is none of a target (RFC 9112 §3.2); h2 lets go of it before the gateway looks.
    let path = path.split(|byte| *byte == b'#').next()?;
    known.get(&b":scheme"[..])?;
    if !is_token(method) || method == b"CONNECT" || !is_path(method, path) {
        return None;
    }
    let asked = Asked {
        method: latin1(method),
        target: latin1(path),
        version: Version::Http11,
        fields: fields_behind,
        body: Vec::new(),
        trailers: Vec::new(),
        whole: false,
        fault: None,
    };
    let authority = known.get(&b":authority"[..]).map(|it| latin1(it));
    match (authority, asked.all("host").as_slice()) {
        (None, [_]) => {}
        (Some(_), []) => {}
        (Some(authority), [host]) if authority.eq_ignore_ascii_case(host) => {}
        (_, _) => return None,
    }
    let lengths = asked.all("content-length");
    let is_number =
        |length: &&str| !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let agree = lengths.windows(2).all(|two| two[0] == two[1]);
    if !agree || !lengths.iter().all(is_number) {
        return None;
    }
    Some(asked)
}

/// Pseudo-headers, each as it came first and before all else, and the fields that may stand in HTTP/2.
fn forgive(fields: &Fields) -> Fields {
    let mut kept = Fields::new();
    for pseudo in PSEUDO {
        kept.extend(fields.iter().find(|(name, _)| name == pseudo).cloned());
    }
    let is_good = |field: &&(Vec<u8>, Vec<u8>)| {
        !field.0.starts_with(b":") && regular(&vec![(*field).clone()]).is_some()
    };
    kept.extend(fields.iter().filter(is_good).cloned());
    kept
}

/// RFC 9113 §8.3.1, RFC 3986 §3.3.
fn is_path(method: &[u8], path: &[u8]) -> bool {
    let clean = path.iter().all(|byte| *byte > 0x20 && *byte != 0x7f);
    let form = path.starts_with(b"/") || method == b"OPTIONS" && path == b"*";
    clean && form && std::str::from_utf8(path).is_ok()
}

/// Fields that are no pseudo-headers and may stand in HTTP/2 (RFC 9113 §8.2); `None` if one may not.
fn regular(fields: &Fields) -> Option<Vec<(String, String)>> {
    let of_one_connection = [
        &b"connection"[..],
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    ];
    for (name, value) in fields {
        let good_name = is_token(name) && !name.iter().any(u8::is_ascii_uppercase);
        let good_value = !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
        let travels = !of_one_connection.contains(&name.as_slice());
        if !good_name || !good_value || !travels || (name == b"te" && value != b"trailers") {
            return None;
        }
    }
    let texts = fields.iter().map(|(name, value)| {
        let value = latin1(value);
        let white: &[char] = &[' ', '\t'];
        (latin1(name), value.trim_matches(white).to_owned())
    });
    Some(texts.collect())
}

fn is_token(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(fits)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
