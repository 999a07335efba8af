//! The judge of one client connection: what was sent, what arrived, what came back.
//!
//! # What it holds
//!
//! 1. Every request that reached an origin is one that the strict reading ([`model`]) sees in the
//!    client's bytes: in its place, once, with its method, its path and query, its content. Of a
//!    request that breaks off or whose body is malformed, a beginning may arrive, and never as whole.
//! 2. It carries the credential of its connector, once, at its connector's origin; and beside what
//!    the gateway sets no field but the client's own that may travel.
//! 3. Every answer is well-formed, in its request's place and about it. What no origin answered is a
//!    refusal of the gateway's; behind one that closes, or a request that does, comes nothing.
//!
//! It binds one way. A gateway may refuse what the reading admits: a Host that is not its own, a
//! connector that does not exist, dot segments, fields over a limit, a body over one.

use super::model::{Asked, End, Seen, Version};
use super::recorder::{self, Arrived};
use crate::support::message::{self, Kind, Message, Stream};

/// A connector of the gateway under test, whose origin is the recorder of its place in the list.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) id: &'static str,
    /// The base path of its resource domain, without a slash at its end.
    pub(crate) base: &'static str,
    /// The field that carries its credential, in lower case.
    pub(crate) field: &'static str,
    pub(crate) credential: &'static str,
}

/// What the gateway sets and a client cannot, beside credentials.
const SET: [&str; 9] = [
    "host",
    "via",
    "forwarded",
    "x-request-id",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "te",
    "connection",
];

/// What never travels, whoever sent it.
const KEPT_BACK: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "connector-id",
    "cookie",
];

/// Finds fault with what arrived of the requests that `seen` sees.
pub(crate) fn judge_arrivals(
    connectors: &[Connector],
    seen: &Seen,
    arrived: &[Arrived],
) -> Result<(), String> {
    let mut candidates = seen.requests.iter();
    for arrival in arrived {
        judge_credential(connectors, arrival)?;
        let mut why = "there is no request left that it could be".to_owned();
        let found = candidates.by_ref().any(|asked| {
            let verdict = is_of(connectors, asked, arrival);
            verdict.map_err(|error| why = error).is_ok()
        });
        if !found {
            let message = &arrival.message;
            return Err(format!("nobody sent {:?}: {why}", message.start));
        }
    }
    Ok(())
}

/// Exactly one credential, the connector's own.
fn judge_credential(connectors: &[Connector], arrival: &Arrived) -> Result<(), String> {
    let own = &connectors[arrival.recorder];
    let found = all_spellings(&arrival.message, own.field);
    if found != [own.credential] {
        return Err(format!("{} at {}: {found:?}", own.field, own.id));
    }
    let fields = &arrival.message.fields;
    let mut values = fields.iter().chain(&arrival.message.trailers);
    let is_anothers = |value: &str| {
        let mut others = connectors.iter().filter(|other| other.id != own.id);
        others.any(|other| value.contains(other.credential))
    };
    match values.find(|(_, value)| is_anothers(value)) {
        Some((name, _)) => Err(format!("another's credential at {}, in {name}", own.id)),
        None => Ok(()),
    }
}

/// Every value of `name`, and of what is the same name to servers that read `_` as `-` (RFC 3875
/// §4.1.18).
fn all_spellings<'a>(message: &'a Message, name: &str) -> Vec<&'a str> {
    let fields = message.fields.iter().chain(&message.trailers);
    let spelled = fields.filter(|(found, _)| dashed(found) == name);
    spelled.map(|(_, value)| value.as_str()).collect()
}

fn dashed(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Whether `arrival` is `asked`, after it went through the gateway.
fn is_of(connectors: &[Connector], asked: &Asked, arrival: &Arrived) -> Result<(), String> {
    if let Some(fault) = asked.fault {
        return Err(fault.to_owned());
    }
    let message = &arrival.message;
    let (recorder, target) = upstream(connectors, asked).ok_or("its connector is another")?;
    if recorder != arrival.recorder {
        return Err("its connector is another".to_owned());
    }
    if message.method() != asked.method || message.target() != target {
        return Err(format!("{} {target} was sent", asked.method));
    }
    let early = recorder::is_early(&target);
    // An origin that answers early makes the gateway end the upload.
    let begins = asked.body.starts_with(&message.body);
    let fits = match arrival.whole {
        true => asked.whole && message.body == asked.body,
        false => begins,
    };
    if !(fits || early && begins) {
        return Err("with another content".to_owned());
    }
    judge_fields(connectors[recorder].field, asked, message)
}

fn judge_fields(credential: &str, asked: &Asked, message: &Message) -> Result<(), String> {
    for (name, value) in &message.fields {
        let plain = dashed(name);
        let set = SET.contains(&name.to_ascii_lowercase().as_str());
        if plain == credential || set {
            continue;
        }
        if KEPT_BACK.contains(&plain.as_str())
            || SET.contains(&plain.as_str())
            || plain.starts_with("x-forwarded-")
        {
            return Err(format!("with {name}, which never travels"));
        }
        if name == "max-forwards" && asked.method == "OPTIONS" {
            continue;
        }
        if !has(&asked.fields, name, value) {
            return Err(format!("{name}: {value:?} was not sent"));
        }
    }
    match message
        .trailers
        .iter()
        .find(|(name, value)| !has(&asked.trailers, name, value))
    {
        Some((name, value)) => Err(format!("the trailer {name}: {value:?} was not sent")),
        None => Ok(()),
    }
}

fn has(fields: &[(String, String)], name: &str, value: &str) -> bool {
    let mut fields = fields.iter();
    fields.any(|(known, sent)| known.eq_ignore_ascii_case(name) && sent == value)
}

/// Where a request belongs: its connector's place, and path and query on that one's origin.
fn upstream(connectors: &[Connector], asked: &Asked) -> Option<(usize, String)> {
    let place = |id: &str| connectors.iter().position(|connector| connector.id == id);
    let target = match asked.target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            match &rest[at..] {
                behind if behind.starts_with('/') => behind.to_owned(),
                behind => format!("/{behind}"),
            }
        }
        Some(_) | None => asked.target.clone(),
    };
    let (recorder, rest) = match asked.all("connector-id")[..] {
        [] => {
            let behind = target.strip_prefix('/')?;
            let at = behind.find(['/', '?']).unwrap_or(behind.len());
            (place(&behind[..at])?, behind[at..].to_owned())
        }
        [id] => (place(id)?, target),
        [_, _, ..] => return None,
    };
    let base = connectors[recorder].base;
    Some((recorder, join(base, &rest)))
}

/// Nothing behind the ID means the base path as it is written.
fn join(base: &str, rest: &str) -> String {
    match base.is_empty() && !rest.starts_with('/') {
        true => format!("/{rest}"),
        false => format!("{base}{rest}"),
    }
}

/// Finds fault with the answers to the requests that `seen` sees; says their statuses.
pub(crate) fn judge_answers(
    connectors: &[Connector],
    seen: &Seen,
    got: &[u8],
) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    let mut rest = got;
    let mut answered = 0;
    let mut over: Option<&str> = None;
    while !rest.is_empty() {
        let asked = seen.requests.get(answered);
        let (answer, taken) = read_answer(rest, asked)?;
        rest = &rest[taken..];
        if let Some(why) = over {
            return Err(format!("{} behind {why}", answer.start));
        }
        statuses.push(answer.status());
        if answer.status() == 100 {
            continue;
        }
        answered += 1;
        judge_answer(connectors, seen, answered - 1, &answer)?;
        if answer.all("connection").contains(&"close") {
            over = Some("an answer that closes");
        } else if asked.is_some_and(Asked::closes) {
            over = Some("the answer to a request that closes");
        }
    }
    let whole = seen.requests.iter().filter(|asked| asked.whole).count();
    if over.is_none() && answered < whole {
        return Err(format!("{answered} answers to {whole} requests"));
    }
    // Who was answered early is not told what was wrong later.
    let last = seen.requests.last().filter(|last| !last.whole);
    let early = last.is_some_and(|last| recorder::is_early(&last.target));
    let told = over == Some("an answer that closes") || early && answered == seen.requests.len();
    if !told && matches!(seen.end, End::Refused(_)) {
        return Err(format!("no word of what is wrong: {:?}", seen.end));
    }
    Ok(statuses)
}

/// An answer, and how long it is. HEAD is answered without content, unless it is not even read as a
/// request.
fn read_answer(bytes: &[u8], asked: Option<&Asked>) -> Result<(Message, usize), String> {
    let mut bytes = bytes.to_vec();
    // hyper answers HTTP/1.0 with that version.
    let of_http10 = asked.is_none_or(|asked| asked.version == Version::Http10);
    if of_http10 && bytes.starts_with(b"HTTP/1.0 ") {
        bytes[7] = b'1';
    }
    let read = |kind| message::read(&bytes, kind, Stream::Ended)?.ok_or("no answer".to_owned());
    match asked.map(|asked| asked.method == "HEAD") {
        Some(false) => read(Kind::Response),
        Some(true) => match read(Kind::ResponseToHead)? {
            (answer, taken) if taken < bytes.len() && closes(&answer) => read(Kind::Response),
            read => Ok(read),
        },
        None => read(Kind::Response).or_else(|error| {
            let of_head = read(Kind::ResponseToHead);
            of_head
                .ok()
                .filter(|(_, taken)| *taken == bytes.len())
                .ok_or(error)
        }),
    }
}

fn closes(answer: &Message) -> bool {
    answer.all("connection").contains(&"close")
}

/// Whether the answer of this number is one to the request of that number.
fn judge_answer(
    connectors: &[Connector],
    seen: &Seen,
    number: usize,
    answer: &Message,
) -> Result<(), String> {
    let asked = seen.requests.get(number);
    if let Some(echo) = answer.field("x-echo") {
        let belongs = asked
            .filter(|asked| asked.fault.is_none())
            .filter(|asked| asked.whole || recorder::is_early(&asked.target))
            .and_then(|asked| Some((asked, upstream(connectors, asked)?)))
            .map(|(asked, (place, target))| {
                recorder::echo(place, &asked.method, &target, &asked.body)
            });
        return match belongs {
            Some(expected) if expected == echo => Ok(()),
            other => Err(format!(
                "answer {number} is {echo:?} and belongs to {other:?}"
            )),
        };
    }
    if asked.is_none() && matches!(seen.end, End::Clean | End::Closes) {
        return Err(format!("{} answers no request", answer.start));
    }
    // RFC 9110 §7.6.2: OPTIONS that may go no further.
    let faultless = asked.filter(|asked| asked.fault.is_none());
    if answer.status() == 204 && faultless.is_some_and(|asked| asked.method == "OPTIONS") {
        return Ok(());
    }
    let is_problem = answer.field("content-type") == Some("application/problem+json")
        && (!answer.reason().is_empty() || answer.body.is_empty())
        && answer.status() >= 400;
    match is_problem {
        true => Ok(()),
        false => Err(format!(
            "{:?} is neither an origin's nor a refusal",
            answer.start
        )),
    }
}
