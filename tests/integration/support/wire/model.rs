//! The strict reading of what a client sent: the requests that are in it, and nothing else.
//!
//! Written from RFC 9112 alone, over the whole stream at once; it shares no code with the gateway,
//! with hyper or with the reader of what origins receive. What it refuses ends the stream. Where the
//! RFC lets a recipient be lenient (a bare LF as a line's end, §2.2; both lengths, §6.1), it is not.
//!
//! It lets stand in a target what RFC 3986 wants encoded (`{`, `"`, UTF-8): it delimits nothing, so
//! all read it alike, and the gateway promises to pass it on as it came.

/// What is in a client's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The requests, in order. Only the last may be without its end.
    pub(crate) requests: Vec<Asked>,
    /// What comes behind them.
    pub(crate) end: End,
}

/// One request as a client sent it. Bytes become the characters of the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) fields: Vec<(String, String)>,
    /// The content, or what there is of it.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether all of it is there.
    pub(crate) whole: bool,
    /// Why it may not be carried, though nobody doubts where it ends.
    pub(crate) fault: Option<&'static str>,
}

/// The version that a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// How a client's stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last request.
    Clean,
    /// Behind a request that was to be the last (RFC 9112 §9.3, §9.6); more bytes do not count.
    Closes,
    /// Amid a request.
    Incomplete,
    /// With what is no request, or none of this protocol.
    Refused(&'static str),
}

impl Asked {
    /// Every value of `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        crate::support::message::all(&self.fields, name)
    }

    /// Whether the connection ends with its answer (RFC 9112 §9.3).
    pub(crate) fn closes(&self) -> bool {
        let lines = self.all("connection");
        let options: Vec<_> = lines.iter().flat_map(|line| line.split(',')).collect();
        let says = |word| options.iter().any(|it| trim(it).eq_ignore_ascii_case(word));
        match self.version {
            Version::Http11 => says("close"),
            // Whatever it asks for: nobody has to keep it (appendix C.2.2), and this gateway does not.
            Version::Http10 => true,
        }
    }
}

/// Reads a client's stream.
pub(crate) fn read(stream: &[u8]) -> Seen {
    let mut requests = Vec::new();
    let mut rest: &[u8] = stream;
    let end = loop {
        // RFC 9112 §2.2: empty lines before a request are ignored.
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        if rest.is_empty() {
            break End::Clean;
        }
        // RFC 9113 §3.4: another protocol, in which nothing is said here of what is wrong.
        if rest.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
            break End::Incomplete;
        }
        let (mut asked, behind) = match read_head(rest) {
            Ok(read) => read,
            Err(end) => break end,
        };
        rest = match framing(&asked).and_then(|framing| read_body(behind, framing, &mut asked)) {
            Ok(behind) => behind,
            // A head that is refused begins no request; one whose body is, does.
            Err(Stop::Head(why)) => break End::Refused(why),
            Err(Stop::Body(end)) => {
                requests.push(asked);
                break end;
            }
        };
        asked.whole = true;
        let closes = asked.closes();
        requests.push(asked);
        if closes {
            break End::Closes;
        }
    };
    Seen { requests, end }
}

enum Stop {
    Head(&'static str),
    Body(End),
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
}

fn read_head(bytes: &[u8]) -> Result<(Asked, &[u8]), End> {
    let Some(length) = find(bytes, b"\r\n\r\n") else {
        return Err(End::Incomplete);
    };
    let asked = parse_head(&latin1(&bytes[..length])).map_err(End::Refused)?;
    Ok((asked, &bytes[length + 4..]))
}

fn parse_head(head: &str) -> Result<Asked, &'static str> {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let (method, rest) = start
        .split_once(' ')
        .ok_or("no space in the request line")?;
    let (target, version) = rest
        .split_once(' ')
        .ok_or("one space in the request line")?;
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return Err("another version"),
    };
    if !is_token(method) {
        return Err("the method is no token");
    }
    let fields = lines.map(parse_field).collect::<Result<Vec<_>, _>>()?;
    let mut asked = Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        version,
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
        whole: false,
        fault: check_target(method, target)?,
    };
    let of_host = match (asked.all("host").as_slice(), version) {
        ([host], _) if is_host(host) => None,
        ([], Version::Http10) => None,
        ([], Version::Http11) => Some("no Host"),
        ([_], _) => Some("an invalid Host"),
        (_, _) => Some("several Host fields"),
    };
    asked.fault = asked.fault.or(of_host);
    Ok(asked)
}

/// RFC 9112 §3.2: no byte that ends or divides a target, and one of four forms.
fn check_target(method: &str, target: &str) -> Result<Option<&'static str>, &'static str> {
    let bytes: Vec<u8> = target
        .chars()
        .filter_map(|c| u8::try_from(c).ok())
        .collect();
    if bytes.iter().any(|b| *b <= 0x20 || *b == 0x7f) {
        return Err("a byte that no target holds");
    }
    if std::str::from_utf8(&bytes).is_err() {
        return Err("a target that is no text");
    }
    if bytes.contains(&b'#') {
        return Ok(Some("a fragment"));
    }
    let absolute = target
        .split_once("://")
        .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.starts_with(['/', '?']));
    let fits = target.starts_with('/')
        || absolute
        || method == "OPTIONS" && target == "*"
        || method == "CONNECT" && is_host(target);
    Ok((!fits).then_some("a target of no form"))
}

fn is_scheme(text: &str) -> bool {
    text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("https")
}

/// RFC 9112 §3.2, RFC 3986 §3.2.2 and §3.2.3: `uri-host [ ":" port ]`, which has no user in it.
fn is_host(text: &str) -> bool {
    let behind = match text.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, behind)) if address.parse::<std::net::Ipv6Addr>().is_ok() => behind,
            Some(_) | None => return false,
        },
        None => {
            let name = text.split(':').next().unwrap_or_default();
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b);
            if !name.bytes().all(fits) {
                return false;
            }
            &text[name.len()..]
        }
    };
    behind.is_empty()
        || behind
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// RFC 9112 §5, RFC 9110 §5.5.
fn parse_field(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
    if !is_token(name) {
        return Err("a field's name is no token");
    }
    if value.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
        return Err("a control byte in a value");
    }
    Ok((name.to_owned(), trim(value).to_owned()))
}

/// RFC 9112 §6.3, for requests.
fn framing(asked: &Asked) -> Result<Framing, Stop> {
    let (codings, lengths) = (asked.all("transfer-encoding"), asked.all("content-length"));
    if !codings.is_empty() {
        return match (asked.version, codings.as_slice(), lengths.as_slice()) {
            (Version::Http10, _, _) => Err(Stop::Head("Transfer-Encoding in HTTP/1.0")),
            (Version::Http11, _, [_, ..]) => Err(Stop::Head("both lengths")),
            (Version::Http11, [only], []) if only.eq_ignore_ascii_case("chunked") => {
                Ok(Framing::Chunked)
            }
            (Version::Http11, _, []) => Err(Stop::Head("another coding than chunked, once")),
        };
    }
    let mut length = None;
    for text in lengths.iter().flat_map(|line| line.split(',')).map(trim) {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = text.parse::<u64>().ok().filter(|_| digits);
        let value = value.ok_or(Stop::Head("an invalid Content-Length"))?;
        if length.is_some_and(|known| known != value) {
            return Err(Stop::Head("two lengths"));
        }
        length = Some(value);
    }
    Ok(Framing::Length(length.unwrap_or(0)))
}

fn read_body<'a>(bytes: &'a [u8], framing: Framing, asked: &mut Asked) -> Result<&'a [u8], Stop> {
    match framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            asked.body = bytes[..length.min(bytes.len())].to_vec();
            bytes.get(length..).ok_or(Stop::Body(End::Incomplete))
        }
        Framing::Chunked => read_chunks(bytes, asked).map_err(Stop::Body),
    }
}

/// RFC 9112 §7.1.
fn read_chunks<'a>(mut bytes: &'a [u8], asked: &mut Asked) -> Result<&'a [u8], End> {
    loop {
        let (line, behind) = take_line(bytes)?;
        let size = chunk_size(&line).map_err(End::Refused)?;
        bytes = behind;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        asked
            .body
            .extend_from_slice(&bytes[..size.min(bytes.len())]);
        bytes = bytes.get(size..).ok_or(End::Incomplete)?;
        bytes = match bytes {
            [b'\r', b'\n', behind @ ..] => behind,
            [] | [b'\r'] => return Err(End::Incomplete),
            _ => return Err(End::Refused("no line's end behind a chunk")),
        };
    }
    loop {
        let (line, behind) = take_line(bytes)?;
        bytes = behind;
        if line.is_empty() {
            return Ok(bytes);
        }
        asked
            .trailers
            .push(parse_field(&line).map_err(End::Refused)?);
    }
}

/// A line up to its CRLF, which no other CR or LF precedes.
fn take_line(bytes: &[u8]) -> Result<(String, &[u8]), End> {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let (text, behind) = match bytes.get(line.len()) {
        None => return Err(End::Incomplete),
        Some(_) => (line.strip_suffix(b"\r"), &bytes[line.len() + 1..]),
    };
    match text {
        Some(text) if !text.contains(&b'\r') => Ok((latin1(text), behind)),
        Some(_) | None => Err(End::Refused("a line that does not end with CRLF alone")),
    }
}

/// `chunk-size [ chunk-ext ]`, RFC 9112 §7.1 and §7.1.1.
fn chunk_size(line: &str) -> Result<u64, &'static str> {
    let digits = line.len()
        - line
            .trim_start_matches(|c: char| c.is_ascii_hexdigit())
            .len();
    let size = line[..digits].trim_start_matches('0');
    if digits == 0 {
        return Err("no chunk size");
    }
    if !are_extensions(&line[digits..]) {
        return Err("a malformed chunk extension");
    }
    match size {
        "" => Ok(0),
        size => u64::from_str_radix(size, 16).map_err(|_| "a chunk size that overflows"),
    }
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
fn are_extensions(mut text: &str) -> bool {
    while !text.is_empty() {
        let Some(name) = trim_start(text).strip_prefix(';').map(trim_start) else {
            return false;
        };
        let Some(behind) = behind_token(name) else {
            return false;
        };
        text = match trim_start(behind).strip_prefix('=').map(trim_start) {
            None => behind,
            Some(value) => match value.strip_prefix('"') {
                Some(quoted) => match behind_quoted(quoted) {
                    Some(behind) => behind,
                    None => return false,
                },
                None => match behind_token(value) {
                    Some(behind) => behind,
                    None => return false,
                },
            },
        };
    }
    true
}

fn behind_token(text: &str) -> Option<&str> {
    let behind = text.trim_start_matches(|c: char| is_token(c.encode_utf8(&mut [0; 4])));
    (behind.len() < text.len()).then_some(behind)
}

/// What stands behind the quotation mark that ends `quoted` (RFC 9110 §5.6.4).
fn behind_quoted(quoted: &str) -> Option<&str> {
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(&quoted[at + 1..]),
            '\\' => match chars.next() {
                Some((_, c)) if c == '\t' || c >= ' ' && c != '\x7f' => {}
                Some(_) | None => return None,
            },
            c if c != '\t' && (c < ' ' || c == '\x7f') => return None,
            _ => {}
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
