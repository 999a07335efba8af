//! The access log: a line about a request, put into words away from the worker that carried it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};

use super::line::{Line, Value, clip, milliseconds};
use super::queue::{Entry, Queue};
use crate::config::AccessLog as Filter;
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
    /// The request's ID, as the flow and the origin see it.
    pub request_id: Box<str>,
    /// The connector's ID; `none` if there is no such connector.
    pub connector: Arc<str>,
    /// The method.
    pub method: Method,
    /// The path; make it with [`path_of`].
    pub path: Box<str>,
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

/// The path of a target, without its query, cut to what a record keeps.
pub fn path_of(target: &str) -> Box<str> {
    let path = target.find('?').map_or(target, |query| &target[..query]);
    clip(path, KEPT_BYTES_MAX).into()
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

/// Puts an entry of the access log into words.
pub(super) fn words(
    entry: Entry<Record>,
    format: crate::config::LogFormat,
    now: SystemTime,
) -> String {
    match entry {
        Entry::Item(record) => line(&record, format),
        Entry::Lost(lost) => {
            let message = "lines of the access log were dropped: it is written too slowly";
            let mut line = Line::new(format, now, "WARN", TARGET, message);
            line.field("lines", Value::Plain(&lost));
            line.end()
        }
    }
}

fn line(record: &Record, format: crate::config::LogFormat) -> String {
    let message = match record.refusal {
        None => "request answered",
        Some(_) => "request refused",
    };
    let mut line = Line::new(format, record.at, "INFO", TARGET, message);
    line.field(
        "request_id",
        Value::Text(clip(&record.request_id, KEPT_BYTES_MAX)),
    );
    line.field("connector", Value::Text(&record.connector));
    line.field("method", Value::Text(record.method.as_str()));
    line.field("path", Value::Text(clip(&record.path, KEPT_BYTES_MAX)));
    line.field("status", Value::Plain(&record.status.as_u16()));
    if let Some(reason) = record.refusal {
        line.field("reason", Value::Text(reason));
    }
    if let Some(cause) = &record.cause {
        line.field("cause", Value::Text(cause));
    }
    line.field("duration_ms", Value::Plain(&milliseconds(record.duration)));
    if let Some(upstream) = record.upstream_duration {
        line.field("upstream_ms", Value::Plain(&milliseconds(upstream)));
    }
    line.field("request_bytes", Value::Plain(&record.request_bytes));
    line.field("response_bytes", Value::Plain(&record.response_bytes));
    line.field("peer", Value::Text(&record.peer.to_string()));
    line.field("protocol", Value::Text(protocol(record.protocol)));
    line.end()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "other",
    }
}
