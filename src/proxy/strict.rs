//! A second reading of what an HTTP/1.1 client sends, by the letter of RFC 9112.
//!
//! hyper reads requests and frames them; this frames nothing, and can only say no. It follows the
//! bytes on their way to hyper from message to message, and stops at the first that two readers
//! could take for different things while hyper, which takes it for one of them, does not let us see:
//! a line that ends with a bare LF (§2.2, in heads and in trailers), a `#` in a target, which hyper
//! cuts off (§3.2), `Content-Length` beside `Transfer-Encoding`, of which hyper forgets the length
//! (§6.1), and a chunk's size with anything behind it that is no extension (§7.1.1).
//!
//! # Invariants
//!
//! What passes is what came. Where messages end it must know as well as hyper does, and it can:
//! what could end in two places is refused, by one of the two or by both. A refused stream is never
//! followed again.

use memchr::memchr;

/// What is put where a refused stream stops. In no place of a message can CR and NUL follow each
/// other, so hyper refuses the message; it looks at a head once a blank line has come.
pub(super) const POISON: &[u8] = b"\r\0\r\n\r\n";

/// How much is kept of a line that does not arrive at once, in bytes: more than one that frames
/// needs, which is refused if it is longer.
const LINE_BYTES_MAX: usize = 1024;

/// How far a client's stream was followed.
#[derive(Debug, Default)]
pub(super) struct Strict {
    at: At,
    head: Head,
    /// The beginning of a line that has not arrived whole.
    begun: Vec<u8>,
    /// Whether that ends, so far, with a CR.
    ends_with_cr: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a request line, or empty lines that precede one (§2.2).
    #[default]
    Start,
    Fields,
    /// So many bytes of content are left.
    Content(u64),
    ChunkSize,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Behind a request that may leave HTTP: what comes next is HTTP only if it does not.
    Held,
    Refused,
}

/// What the fields of a head said so far of what follows it.
#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    has_codings: bool,
    upgrades: bool,
}

/// The client's stream is no longer what RFC 9112 says.
struct Refused;

impl Strict {
    /// Follows `bytes`, and says how many of them hyper may have. Fewer than all: what comes behind
    /// them is refused for ever, or is to wait ([`Strict::is_held`]).
    pub(super) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest.len();
            let taken = match self.at {
                At::Held | At::Refused => break,
                At::Content(left) => {
                    let (taken, left) = skip(rest, left);
                    self.at = if left == 0 {
                        At::Start
                    } else {
                        At::Content(left)
                    };
                    Ok(taken)
                }
                At::Chunk(left) => {
                    let (taken, left) = skip(rest, left);
                    self.at = if left == 0 {
                        At::ChunkEnd
                    } else {
                        At::Chunk(left)
                    };
                    Ok(taken)
                }
                At::Start | At::Fields | At::ChunkSize | At::ChunkEnd | At::Trailers => {
                    self.follow_line(rest)
                }
            };
            let Ok(taken) = taken else {
                self.at = At::Refused;
                return bytes.len() - before;
            };
            rest = &rest[taken..];
        }
        bytes.len() - rest.len()
    }

    /// Whether nothing of the stream may follow what was followed.
    pub(super) fn is_refused(&self) -> bool {
        self.at == At::Refused
    }

    /// Whether what follows is to wait for the answer to what was followed.
    pub(super) fn is_held(&self) -> bool {
        self.at == At::Held
    }

    /// The answer is out, and HTTP goes on.
    pub(super) fn go_on(&mut self) {
        if self.is_held() {
            self.at = At::Start;
        }
    }

    /// The stream is followed again from the beginning of a message.
    pub(super) fn begin_again(&mut self) {
        if !self.is_refused() {
            *self = Self::default();
        }
    }

    /// Takes a line, or what there is of it.
    fn follow_line(&mut self, rest: &[u8]) -> Result<usize, Refused> {
        let end = memchr(b'\n', rest);
        let piece = &rest[..end.unwrap_or(rest.len())];
        if self.at == At::Start && memchr(b'#', piece).is_some() {
            return Err(Refused);
        }
        if end.is_none() || !self.begun.is_empty() {
            return self.follow_piece(piece, end);
        }
        let line = piece.strip_suffix(b"\r").ok_or(Refused)?;
        self.end_line(line)?;
        Ok(piece.len() + 1)
    }

    /// Takes a part of a line that does not arrive at once.
    fn follow_piece(&mut self, piece: &[u8], end: Option<usize>) -> Result<usize, Refused> {
        let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
        self.begun
            .extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(last) = piece.last() {
            self.ends_with_cr = *last == b'\r';
        }
        if end.is_none() {
            return Ok(piece.len());
        }
        let line = std::mem::take(&mut self.begun);
        if !std::mem::take(&mut self.ends_with_cr) {
            return Err(Refused);
        }
        let is_cut = line.len() == LINE_BYTES_MAX;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if is_cut && (self.at == At::ChunkSize || value_of(line, b"content-length").is_some()) {
            return Err(Refused);
        }
        self.end_line(line)?;
        Ok(piece.len() + 1)
    }

    /// A line has ended, as a line should.
    fn end_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        match self.at {
            At::Start if line.is_empty() => {}
            At::Start => self.at = At::Fields,
            At::Fields if line.is_empty() => self.at = std::mem::take(&mut self.head).end()?,
            At::Fields => self.head.read(line)?,
            At::ChunkSize => {
                self.at = match chunk_size(line)? {
                    0 => At::Trailers,
                    size => At::Chunk(size),
                };
            }
            At::ChunkEnd if line.is_empty() => self.at = At::ChunkSize,
            At::ChunkEnd => return Err(Refused),
            At::Trailers if line.is_empty() => self.at = At::Start,
            At::Trailers | At::Content(_) | At::Chunk(_) | At::Held | At::Refused => {}
        }
        Ok(())
    }
}

impl Head {
    /// Takes a field. What is malformed otherwise is hyper's to refuse.
    fn read(&mut self, line: &[u8]) -> Result<(), Refused> {
        // Most names begin otherwise.
        match line.first() {
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(line, b"content-length") {
                    let length = content_length(value)?;
                    if self.length.is_some_and(|known| known != length) {
                        return Err(Refused);
                    }
                    self.length = Some(length);
                }
            }
            Some(b't' | b'T') => {
                self.has_codings |= value_of(line, b"transfer-encoding").is_some();
            }
            Some(b'u' | b'U') => self.upgrades |= value_of(line, b"upgrade").is_some(),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Says what follows the head. Codings other than one `chunked` are refused where the request
    /// is authorised, or by hyper.
    fn end(self) -> Result<At, Refused> {
        match (self.has_codings, self.length) {
            (true, Some(_)) => Err(Refused),
            (true, None) => Ok(At::ChunkSize),
            (false, Some(length)) if length > 0 => Ok(At::Content(length)),
            (false, Some(_) | None) if self.upgrades => Ok(At::Held),
            (false, Some(_) | None) => Ok(At::Start),
        }
    }
}

/// How many of `bytes` belong to the `left` that are skipped, and how many are left then.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let skipped = here.min(left);
    (
        usize::try_from(skipped).unwrap_or(bytes.len()),
        left - skipped,
    )
}

/// The value of `line` if it is the field of this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (named, behind) = line.split_at_checked(name.len())?;
    let value = behind.strip_prefix(b":")?;
    named.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// §6.3: digits and nothing else.
fn content_length(value: &[u8]) -> Result<u64, Refused> {
    if value.is_empty() {
        return Err(Refused);
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .ok_or(Refused),
        _ => Err(Refused),
    })
}

/// §7.1: `chunk-size [ chunk-ext ]`.
fn chunk_size(line: &[u8]) -> Result<u64, Refused> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, extensions) = line.split_at(digits);
    if digits == 0 || !(extensions.is_empty() || are_extensions(extensions)) {
        return Err(Refused);
    }
    size.iter().try_fold(0_u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16).map_or(0, u64::from);
        let size = size.checked_mul(16).ok_or(Refused)?;
        Ok(size | digit)
    })
}

/// §7.1.1: `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
fn are_extensions(text: &[u8]) -> bool {
    let mut text = text;
    while !text.is_empty() {
        let name = behind_blanks(text).strip_prefix(b";").map(behind_blanks);
        let Some(behind) = name.and_then(behind_token) else {
            return false;
        };
        text = match behind_blanks(behind).strip_prefix(b"=").map(behind_blanks) {
            None => behind,
            Some(value) => match behind_token(value).or_else(|| behind_quoted(value)) {
                Some(behind) => behind,
                None => return false,
            },
        };
    }
    true
}

fn behind_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    &text[blanks.count()..]
}

/// RFC 9110 §5.6.2.
fn behind_token(text: &[u8]) -> Option<&[u8]> {
    let fits = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().take_while(fits).count();
    (length > 0).then(|| &text[length..])
}

/// RFC 9110 §5.6.4.
fn behind_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        let (first, behind) = rest.split_first()?;
        rest = match first {
            b'"' => return Some(behind),
            b'\\' => match behind.split_first()? {
                (escaped, behind) if is_text(*escaped) => behind,
                _ => return None,
            },
            byte if is_text(*byte) => behind,
            _ => return None,
        };
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
