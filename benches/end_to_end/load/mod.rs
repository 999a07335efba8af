//! What is sent, and what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What clients do in a round.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Names it in figures' files: `small-get-64`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) exchange: Exchange,
    pub(crate) client: Client,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
}

/// One request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// GET of an answer with that many bytes.
    Get { answer_bytes: usize },
    /// POST of that many bytes, answered with 100.
    Upload { request_bytes: usize },
}

/// How clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// HTTP/1.1, one connection kept for all requests.
    KeptAlive,
    /// HTTP/1.1, a new connection for each request.
    NewEach,
    /// HTTP/2 without TLS and without upgrade (prior knowledge), some requests side by side on each connection.
    Http2 { streams: usize },
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// When the last one is answered.
    Closed,
    /// At a fixed rate, answered or not. Latency counts from when a request was due, so that one
    /// slow answer is seen by all the requests that should have been sent meanwhile.
    Open { per_second: u32 },
}

/// Where requests are sent.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// What `Host` says.
    pub(crate) host: String,
    /// Stands before the origin's own paths, without a slash at its end: `/o`, or nothing.
    pub(crate) prefix: String,
}

/// What came of a round's requests.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Answered with anything but 200 and the bytes expected, or not at all.
    pub(crate) failures: u64,
    pub(crate) took: Duration,
    /// In nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}
