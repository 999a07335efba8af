//! The access log: a line about a request, put into words away from the worker that carried it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};

use super::line::{Dates, Head, Line, Value, clip};
use super::queue::Queue;
use crate::config::{AccessLog as Filter, LogFormat};
use crate::metrics::WorkerCounters;

/// The target of the access log's lines.
pub(super) const TARGET: &str = "access";
/// The most bytes of a path or a request ID that are kept.
const KEPT_BYTES_MAX: usize = 1024;

/// Whether a request gets a line. Asked before its record is made.
pub fn wants(filter: Filter, status: StatusCode, refusal: Option<&str>) -> bool {
    match filter {
        Filter::Off => false,
        Filter::Errors => refusal.is_some() || status.is_server_error(),
        Filter::All => true,
    }
}

/// What is told of a request.
///
/// The query is not: flows put telephone numbers, names and keys there. Nor is any field of a head.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the answer ended.
    pub at: SystemTime,
    /// The request's ID, as the flow and the origin see it, its connector, who called, and its path.
    pub texts: Texts,
    /// The beginning of the digest of the key that was shown: which of a principal's it was.
    pub key: Option<[u8; 4]>,
    /// The method.
    pub method: Method,
    /// The status the flow got.
    pub status: StatusCode,
    /// Why the gateway itself answered, if it did: the end of the problem's `type`.
    pub refusal: Option<&'static str>,
    /// What an operator is told of the failure.
    pub cause: Option<Box<str>>,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
    /// From handing the request to the origin to the head of its answer.
    pub upstream_duration: Option<Duration>,
    /// Body bytes received from the flow.
    pub request_bytes: u64,
    /// Body bytes sent to the flow.
    pub response_bytes: u64,
    /// Where the flow connected from.
    pub peer: SocketAddr,
    /// What the flow spoke.
    pub protocol: Version,
}

/// The texts of a record, in one piece: one allocation, which another thread gives back.
///
/// They are copies: what they are taken from lies in the buffer of a whole head.
#[derive(Clone, Debug)]
pub struct Texts {
    all: Box<str>,
    connector_from: usize,
    principal_from: usize,
    path_from: usize,
}

impl Texts {
    /// What a record keeps of a request's ID, its connector's ID (`none` if there is no such
    /// connector), the name of who called, and its path, or its target, whose query is left out.
    pub fn of(request_id: &str, connector: &str, principal: Option<&str>, path: &str) -> Self {
        let principal = principal.unwrap_or_default();
        let path = path.find('?').map_or(path, |query| &path[..query]);
        let (request_id, path) = (clip(request_id, KEPT_BYTES_MAX), clip(path, KEPT_BYTES_MAX));
        let connector_from = request_id.len();
        let principal_from = connector_from + connector.len();
        let path_from = principal_from + principal.len();
        let mut all = String::with_capacity(path_from + path.len());
        all.push_str(request_id);
        all.push_str(connector);
        all.push_str(principal);
        all.push_str(path);
        Self {
            all: all.into_boxed_str(),
            connector_from,
            principal_from,
            path_from,
        }
    }

    fn request_id(&self) -> &str {
        &self.all[..self.connector_from]
    }

    fn connector(&self) -> &str {
        &self.all[self.connector_from..self.principal_from]
    }

    /// No principal's name is empty.
    fn principal(&self) -> Option<&str> {
        let principal = &self.all[self.principal_from..self.path_from];
        (!principal.is_empty()).then_some(principal)
    }

    fn path(&self) -> &str {
        &self.all[self.path_from..]
    }
}

/// Takes records and hands them to the thread that writes them. Cheap to clone.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<Queue<Record>>>);

impl AccessLog {
    /// An access log that writes nothing anywhere.
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn to(queue: Queue<Record>) -> Self {
        Self(Some(Arc::new(queue)))
    }

    /// Hands a record over. Never waits: if there is no room, the record is dropped and counted.
    pub fn write(&self, record: Record, worker: &WorkerCounters) {
        if let Some(queue) = &self.0
            && queue.push(record).is_err()
        {
            worker.access_log_dropped();
        }
    }

    pub(super) fn flush(&self) {
        if let Some(queue) = &self.0 {
            queue.flush();
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

/// Puts a record into words.
pub(super) fn tell(record: &Record, format: LogFormat, dates: &mut Dates, out: &mut String) {
    let head = Head {
        at: dates.show(record.at),
        level: "INFO",
        target: TARGET,
        message: match record.refusal {
            None => "request answered",
            Some(_) => "request refused",
        },
    };
    let mut line = Line::begin(out, format, &head);
    line.field("request_id", Value::Text(record.texts.request_id()));
    line.field("connector", Value::Text(record.texts.connector()));
    if let Some(principal) = record.texts.principal() {
        line.field("principal", Value::Text(principal));
    }
    if let Some(key) = record.key {
        let digits = format!("{:08x}", u32::from_be_bytes(key));
        line.field("key", Value::Text(&digits));
    }
    line.field("method", Value::Text(record.method.as_str()));
    line.field("path", Value::Text(record.texts.path()));
    line.field("status", Value::Number(record.status.as_u16().into()));
    if let Some(reason) = record.refusal {
        line.field("reason", Value::Text(reason));
    }
    if let Some(cause) = &record.cause {
        line.field("cause", Value::Text(cause));
    }
    line.field("duration_ms", Value::Milliseconds(record.duration));
    if let Some(upstream) = record.upstream_duration {
        line.field("upstream_ms", Value::Milliseconds(upstream));
    }
    line.field("request_bytes", Value::Number(record.request_bytes));
    line.field("response_bytes", Value::Number(record.response_bytes));
    line.field("peer", Value::Address(record.peer));
    line.field("protocol", Value::Text(protocol(record.protocol)));
    line.end();
}

/// Says how many records are missing.
pub(super) fn tell_lost(lost: u64, format: LogFormat, at: &str, out: &mut String) {
    let head = Head {
        at,
        level: "WARN",
        target: TARGET,
        message: "lines of the access log were dropped: it is written too slowly",
    };
    let mut line = Line::begin(out, format, &head);
    line.field("lines", Value::Number(lost));
    line.end();
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_to_its_bound_and_its_characters() {
        let path_of = |path: &str| {
            Texts::of("r-1", "orders", Some("ivr"), path)
                .path()
                .to_owned()
        };

        assert_eq!(path_of(&"é".repeat(1000)).chars().count(), 512);
        assert_eq!(path_of("/a?b?c"), "/a");
        assert_eq!(path_of("/a%3Fb"), "/a%3Fb");
    }

    #[test]
    fn the_texts_of_a_record_stay_apart_whatever_their_length() {
        let long = "é".repeat(1000);
        for (request_id, connector, principal, path) in [
            ("", "", None, ""),
            ("", "orders", Some("ivr"), ""),
            ("r", "none", None, "/"),
            (&long, "orders", Some("é"), &long),
        ] {
            let texts = Texts::of(request_id, connector, principal, path);
            assert_eq!(texts.principal(), principal);
            assert_eq!(texts.request_id(), clip(request_id, KEPT_BYTES_MAX));
            assert_eq!(texts.connector(), connector);
            assert_eq!(texts.path(), clip(path, KEPT_BYTES_MAX));
        }
    }
}
