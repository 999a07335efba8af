//! A strict reader of HTTP/1.1 messages: the oracle for what is on the wire.
//!
//! It is written from RFC 9112 alone and shares no code with the gateway or with hyper. Whatever a
//! lenient peer might read in two ways is an error here.

/// One message as it stood on the wire. Bytes become the characters of the same number, so that
/// any byte can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) start: String,
    /// The fields, in order, names as written, values without surrounding whitespace.
    pub(crate) fields: Vec<(String, String)>,
    /// The content, unchunked.
    pub(crate) body: Vec<u8>,
    /// The trailer fields, in order.
    pub(crate) trailers: Vec<(String, String)>,
}

/// Which kind of message is read, since that decides the framing (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request.
    Request,
    /// An answer.
    Response,
    /// An answer to HEAD, which never has content.
    ResponseToHead,
}

/// Whether more bytes can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// They can.
    Open,
    /// The other side has closed.
    Ended,
}

impl Message {
    /// The method of a request.
    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request, byte for byte.
    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer; 0 for a request.
    pub(crate) fn status(&self) -> u16 {
        self.target().parse().unwrap_or_default()
    }

    /// Every value of `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    /// The only value of `name`; fails the test if it stands there twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.all(name);
        assert!(found.len() < 2, "{name} stands {} times", found.len());
        found.first().copied()
    }

    /// Why the gateway refused: the end of the problem's `type`; empty if it is no problem of its.
    pub(crate) fn reason(&self) -> String {
        reason(&self.body)
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The reason that a problem document of the gateway's gives; empty if `content` is none.
pub(crate) fn reason(content: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(content).unwrap_or_default();
    let of_type = problem["type"].as_str().unwrap_or_default();
    let reason = of_type.strip_prefix("urn:attache:problem:");
    reason.unwrap_or_default().to_owned()
}

/// Every value of `name` among `fields`, in order; names are compared without case.
pub(crate) fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

/// Reads every message of `bytes`, of which nothing may be left over.
pub(crate) fn read_all(bytes: &[u8], kind: Kind) -> Result<Vec<Message>, String> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match read(rest, kind, Stream::Ended)? {
            Some((message, taken)) => {
                found.push(message);
                rest = rest.get(taken..).unwrap_or_default();
            }
            None => return Err(format!("{} bytes are no whole message", rest.len())),
        }
    }
    Ok(found)
}

/// What there is of a message whose end is missing; `None` if its head is not all there.
pub(crate) fn begun(bytes: &[u8], kind: Kind) -> Result<Option<Message>, String> {
    let Some((mut message, head_len)) = read_head(bytes, kind)? else {
        return Ok(None);
    };
    let rest = &bytes[head_len..];
    match framing(&message, kind)? {
        Framing::Length(_) | Framing::UntilClose => message.body = rest.to_vec(),
        Framing::Chunked => {
            read_chunks(rest, &mut message)?;
        }
    }
    Ok(Some(message))
}

/// Reads one message from the front of `bytes`, and says how many bytes it took; `None` if it is
/// not all there yet.
pub(crate) fn read(
    bytes: &[u8],
    kind: Kind,
    stream: Stream,
) -> Result<Option<(Message, usize)>, String> {
    let Some((mut message, head_len)) = read_head(bytes, kind)? else {
        return match stream {
            Stream::Ended if !bytes.is_empty() => Err("ended within a head".to_owned()),
            Stream::Ended | Stream::Open => Ok(None),
        };
    };
    let rest = &bytes[head_len..];
    let taken = match framing(&message, kind)? {
        Framing::Length(length) => rest.get(..length).map(|body| {
            message.body = body.to_vec();
            length
        }),
        Framing::Chunked => read_chunks(rest, &mut message)?,
        Framing::UntilClose => (stream == Stream::Ended).then(|| {
            message.body = rest.to_vec();
            rest.len()
        }),
    };
    match (taken, stream) {
        (Some(taken), _) => Ok(Some((message, head_len + taken))),
        (None, Stream::Open) => Ok(None),
        // RFC 9112 §8: the receiver has to notice.
        (None, Stream::Ended) => Err(format!("ended within the content of {}", message.start)),
    }
}

/// A message that has only its head yet, and how long that is.
fn read_head(bytes: &[u8], kind: Kind) -> Result<Option<(Message, usize)>, String> {
    let Some(head_len) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let mut lines = head_lines(&bytes[..head_len - 4])?.into_iter();
    let start = lines.next().unwrap_or_default();
    check_start(&start, kind)?;
    let fields = lines
        .map(|line| parse_field(&line))
        .collect::<Result<Vec<_>, _>>()?;
    let message = Message {
        start,
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
    };
    Ok(Some((message, head_len)))
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// RFC 9112 §6.3, with everything that §6.1 calls an attack refused.
fn framing(message: &Message, kind: Kind) -> Result<Framing, String> {
    let codings = message.all("transfer-encoding");
    let lengths = message.all("content-length");
    if kind == Kind::Request && message.all("host").len() != 1 {
        return Err(format!("{} Host fields", message.all("host").len()));
    }
    if !codings.is_empty() && !lengths.is_empty() {
        return Err("both Transfer-Encoding and Content-Length".to_owned());
    }
    if kind != Kind::Request && without_content(message.status(), kind) {
        return Ok(Framing::Length(0));
    }
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) if kind == Kind::Request => Ok(Framing::Length(0)),
        ([], []) => Ok(Framing::UntilClose),
        (["chunked"], _) => Ok(Framing::Chunked),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length
                .parse()
                .map(Framing::Length)
                .map_err(|error| format!("Content-Length {length}: {error}"))
        }
        (codings, lengths) => Err(format!("framing {codings:?} {lengths:?}")),
    }
}

fn without_content(status: u16, kind: Kind) -> bool {
    kind == Kind::ResponseToHead || status < 200 || status == 204 || status == 304
}

/// RFC 9112 §7.1; extensions are refused, since nobody here has a use for one, and so are sizes with
/// zeros before them.
fn read_chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line_len) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let line = latin1(&bytes[at..at + line_len]);
        let minimal = line == "0" || !line.starts_with('0');
        let digits = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
        if !minimal || !digits || line.len() > 8 {
            return Err(format!("chunk size {line:?}"));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|error| error.to_string())?;
        at += line_len + 2;
        if size == 0 {
            return read_trailers(bytes, at, message);
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk is longer than its size".to_owned());
        }
        message.body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
}

fn read_trailers(
    bytes: &[u8],
    from: usize,
    message: &mut Message,
) -> Result<Option<usize>, String> {
    let rest = &bytes[from..];
    if rest.starts_with(b"\r\n") {
        return Ok(Some(from + 2));
    }
    let Some(len) = find(rest, b"\r\n\r\n") else {
        return Ok(None);
    };
    message.trailers = head_lines(&rest[..len])?
        .iter()
        .map(|line| parse_field(line))
        .collect::<Result<_, _>>()?;
    Ok(Some(from + len + 4))
}

fn check_start(start: &str, kind: Kind) -> Result<(), String> {
    let parts: Vec<_> = start.splitn(3, ' ').collect();
    let good = match (kind, parts.as_slice()) {
        (Kind::Request, [method, target, version]) => {
            is_token(method) && !target.is_empty() && *version == "HTTP/1.1"
        }
        (Kind::Response | Kind::ResponseToHead, [version, status, _]) => {
            *version == "HTTP/1.1"
                && status.len() == 3
                && status.bytes().all(|b| b.is_ascii_digit())
        }
        (Kind::Request | Kind::Response | Kind::ResponseToHead, _) => false,
    };
    if good {
        Ok(())
    } else {
        Err(format!("start line {start:?}"))
    }
}

/// Splits at CRLF; a CR or LF that stands alone is an error (RFC 9112 §2.2).
fn head_lines(head: &[u8]) -> Result<Vec<String>, String> {
    let text = latin1(head);
    let lines: Vec<_> = text.split("\r\n").map(str::to_owned).collect();
    match lines.iter().find(|line| line.contains(['\r', '\n', '\0'])) {
        Some(line) => Err(format!("a bare CR, LF or NUL in {line:?}")),
        None => Ok(lines),
    }
}

/// RFC 9112 §5: a token, a colon, a value; no folding, nothing before the colon.
fn parse_field(line: &str) -> Result<(String, String), String> {
    match line.split_once(':') {
        Some((name, value)) if is_token(name) => {
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        }
        Some(_) | None => Err(format!("field line {line:?}")),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in [
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n01\r\na\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nshort",
        ] {
            let outcome = read_all(bad.as_bytes(), Kind::Request);
            assert!(outcome.is_err(), "{bad:?} was read as {outcome:?}");
        }
    }

    #[test]
    fn pipelined_requests_are_told_apart() {
        let stream = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                      3\r\nabc\r\n0\r\nTrail: t\r\n\r\nGET /b?q HTTP/1.1\r\nHost: x\r\n\r\n";

        let found = read_all(stream.as_bytes(), Kind::Request).unwrap();

        assert_eq!(found.len(), 2);
        assert_eq!(found[0].text(), "abc");
        assert_eq!(found[0].trailers, [("Trail".to_owned(), "t".to_owned())]);
        assert_eq!(found[1].target(), "/b?q");
    }
}
