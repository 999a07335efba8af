//! What flows send over HTTP/2, and what becomes of it.

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};

mod bodies;
mod fields;
mod heads;

/// What a client says behind its preface, and what becomes of the request on stream 1.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) what: String,
    pub(super) said: Vec<u8>,
    pub(super) gets: Gets,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gets {
    /// It is malformed (RFC 9113 §8.1.1): its stream is reset or its connection ended, or it is
    /// answered with 400; and no origin hears of it.
    Malformed,
    /// The same, when an origin may have heard its beginning; never all of it.
    Cut,
    /// The flow takes it back, and no origin gets all of it.
    TakenBack,
    /// The gateway's own refusal, and no origin hears of it.
    Refused(u16),
    /// It arrives as these lines, but for those that the gateway adds, and is answered.
    Arrives(String),
}

type Field<'a> = (&'a [u8], &'a [u8]);

const METHOD: Field = (b":method", b"GET");
const SCHEME: Field = (b":scheme", b"http");
const AUTHORITY: Field = (b":authority", b"localhost");
const PATH: Field = (b":path", b"/orders/x");
const POST: Field = (b":method", b"POST");

/// A request that is all head.
fn of(fields: &[Field]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

/// GET with these fields.
fn with(fields: &[Field]) -> Vec<u8> {
    of(&[&[METHOD, SCHEME, AUTHORITY, PATH], fields].concat())
}

/// POST with these fields, whose content and end are to follow.
fn begun(fields: &[Field]) -> Vec<u8> {
    let all = [&[POST, SCHEME, AUTHORITY, PATH], fields].concat();
    frame(HEADERS, END_HEADERS, 1, &block(&all))
}

/// GET with one of its pseudo-headers replaced.
fn changed(name: &[u8], value: &[u8]) -> Vec<u8> {
    let all = [METHOD, SCHEME, AUTHORITY, PATH];
    let all = all.map(|(known, old)| match known == name {
        true => (known, value),
        false => (known, old),
    });
    of(&all)
}

fn data(flags: u8, content: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, content)
}

fn case(what: impl Into<String>, said: Vec<u8>, gets: Gets) -> Case {
    Case {
        what: what.into(),
        said,
        gets,
    }
}

fn malformed(what: impl Into<String>, said: Vec<u8>) -> Case {
    case(what, said, Gets::Malformed)
}

fn refused(what: impl Into<String>, said: Vec<u8>, status: u16) -> Case {
    case(what, said, Gets::Refused(status))
}

fn arrives(what: impl Into<String>, said: Vec<u8>, lines: &str) -> Case {
    case(what, said, Gets::Arrives(lines.to_owned()))
}

/// As GET for `/orders/x` arrives, with these lines.
fn plain(lines: &str) -> String {
    format!("GET /api/x HTTP/1.1\n{lines}\n")
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    [fields::all(), heads::all(), bodies::all()].concat()
}
