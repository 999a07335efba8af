//! The head of an answer over HTTP/1.1, as far as it matters here: where it ends, what it says of
//! the body's length and of the connection, and whether a gateway made it up itself.

use std::io::BufRead;

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) length: Length,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
    /// `Proxy-Status`, where there is one (RFC 9209).
    pub(crate) proxy_status: Option<String>,
    /// Of the head itself, with the empty line.
    pub(crate) bytes: usize,
}

/// How a body's end is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Bytes(u64),
    Chunked,
    /// The end of the connection is the end of the body.
    ToEnd,
}

/// Why bytes are no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("this is not HTTP/1.1: {0:?}")]
    NotHttp(String),
    #[error("a malformed Content-Length: {0:?}")]
    Length(String),
    #[error("a Transfer-Encoding that is not understood: {0:?}")]
    Coding(String),
}

/// Reads the head that `bytes` begin with; `None` until it is there whole. What a HEAD was
/// answered with has no body whatever this says (RFC 9112 §6.3, rule 1).
pub(crate) fn scan(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let Some(mut at) = line_end(bytes) else {
        return Ok(None);
    };
    let (status, mut closes) = status_line(&bytes[..at])?;
    let (mut counted, mut chunked, mut proxy_status) = (None, false, None);
    loop {
        let rest = &bytes[at..];
        let Some(end) = line_end(rest) else {
            return Ok(None);
        };
        at += end;
        let line = &rest[..end];
        match line[0] | 0x20 {
            b'c' => {
                if let Some(value) = value_of(line, b"content-length") {
                    counted = Some(length(value, counted)?);
                } else if let Some(value) = value_of(line, b"connection") {
                    closes = connection(value).unwrap_or(closes);
                }
            }
            b't' => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    chunked = coding(value)?;
                }
            }
            b'p' => {
                if let Some(value) = value_of(line, b"proxy-status") {
                    // Members of one list, whatever the lines (RFC 9110 §5.2).
                    let before = proxy_status.map(|before: String| before + ", ");
                    proxy_status = Some(before.unwrap_or_default() + &text(value));
                }
            }
            // CR and LF, with the bit that makes letters small.
            b'-' | b'*' if line == b"\r\n" || line == b"\n" => break,
            _ => {}
        }
    }
    let length = match (status, chunked, counted) {
        (100..=199 | 204 | 304, _, _) => Length::Bytes(0),
        (_, true, _) => Length::Chunked,
        (_, false, Some(bytes)) => Length::Bytes(bytes),
        (_, false, None) => Length::ToEnd,
    };
    Ok(Some(Head {
        status,
        length,
        closes: closes || length == Length::ToEnd,
        proxy_status,
        bytes: at,
    }))
}

/// Where the first line ends, behind its LF. Searches with the system's own `memchr`, which is
/// what this is called for: the loop over all bytes cost more than the rest of the scan.
fn line_end(mut bytes: &[u8]) -> Option<usize> {
    let all = bytes;
    let end = bytes.skip_until(b'\n').ok()?;
    (all.get(end.checked_sub(1)?) == Some(&b'\n')).then_some(end)
}

/// The status, and whether the version alone says that the connection ends (RFC 9112 §9.3).
fn status_line(line: &[u8]) -> Result<(u16, bool), HeadError> {
    let digits = |line: &[u8]| {
        let status = line.get(9..12)?;
        let all = status.iter().all(u8::is_ascii_digit);
        all.then(|| {
            status
                .iter()
                .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
        })
    };
    match digits(line) {
        Some(status) if line.starts_with(b"HTTP/1.1 ") => Ok((status, false)),
        Some(status) if line.starts_with(b"HTTP/1.0 ") => Ok((status, true)),
        Some(_) | None => Err(HeadError::NotHttp(text(&line[..line.len().min(80)]))),
    }
}

/// The value of a line whose name is `name`.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (is, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    is.eq_ignore_ascii_case(name).then_some(value.trim_ascii())
}

/// RFC 9110 §8.6; one that is given again has to be the same.
fn length(value: &[u8], before: Option<u64>) -> Result<u64, HeadError> {
    let number = || {
        let digits = value.iter().all(u8::is_ascii_digit);
        let parsed = str::from_utf8(value).ok()?.parse().ok()?;
        (digits && before.is_none_or(|before| before == parsed)).then_some(parsed)
    };
    number().ok_or_else(|| HeadError::Length(text(value)))
}

/// `chunked` is the only coding a client has to know (RFC 9112 §7).
fn coding(value: &[u8]) -> Result<bool, HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    Err(HeadError::Coding(text(value)))
}

/// What `Connection` says of the connection's end (RFC 9112 §9.3), if anything.
fn connection(value: &[u8]) -> Option<bool> {
    let has = |option: &[u8]| {
        value
            .split(|&byte| byte == b',')
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
    };
    match (has(b"close"), has(b"keep-alive")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
