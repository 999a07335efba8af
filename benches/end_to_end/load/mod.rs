//! What is sent, and what came of it.
//!
//! | file | what is in it |
//! |---|---|
//! | `target` | where requests are sent; connections, plain and over TLS |
//! | `request` | what is sent |
//! | `head` · `body` | an answer over HTTP/1.1: where it ends |
//! | `refusal` | answers that a gateway made up itself |
//! | `http1` · `http2` | one client |
//! | `pace` | when requests are due: closed and open loops |
//! | `crew` | all clients: opened, tried, then let loose |
//! | `tally` · `answer` | what came of it |
//! | `against/` | the tool for a gateway that runs already |

use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;

pub(crate) mod against;
mod answer;
pub(crate) mod body;
mod crew;
pub(crate) mod head;
mod http1;
mod http2;
pub(crate) mod pace;
pub(crate) mod refusal;
mod request;
mod tally;
pub(crate) mod target;

use crew::{Crew, Orders};
use request::Request;
use tally::{Expected, Tally};
pub(crate) use target::Target;

/// What an upload is answered with.
const UPLOAD_ANSWER_BYTES: u64 = 100;

/// How long answers are waited for before the clock starts and when a run is over.
const GRACE: Duration = Duration::from_secs(2);
/// The same of a target that is known to answer.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// What came of a round's requests.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Answered with 200 and the bytes expected.
    pub(crate) requests: u64,
    /// Answered with anything else, or not at all; those that could not be sent are among them.
    pub(crate) failures: u64,
    /// What the first different failures were.
    pub(crate) told: Vec<String>,
    /// Requests of an open loop that were sent more than a millisecond after they were due, for no
    /// connection was free.
    pub(crate) late: u64,
    /// Requests of an open loop that were due and not sent when the round was over.
    pub(crate) unsent: u64,
    /// From the first request to the end of the last.
    pub(crate) took: Duration,
    /// In nanoseconds; in an open loop since a request was due.
    pub(crate) latencies: Histogram<u64>,
}

/// Sends `load` to `target` for as long as it `lasts`. Connections are opened and have carried a
/// request each before the clock starts. Blocks; everything runs on this thread, but for what
/// tells an open loop the time.
pub(crate) fn run(load: &Load, target: &Target, lasts: Duration) -> Outcome {
    let orders = load.orders(target);
    send(&orders, load.pace, lasts, || {})
}

/// As [`run`], for a target that is known to answer, however slowly: a busy machine is no reason to
/// count its answers as missing. Tells when the clock starts.
pub(crate) fn run_observed(
    load: &Load,
    target: &Target,
    lasts: Duration,
    starts: impl FnOnce(),
) -> Outcome {
    let orders = Orders {
        grace: PATIENCE,
        ..load.orders(target)
    };
    send(&orders, load.pace, lasts, starts)
}

fn send(orders: &Orders, pace: Pace, lasts: Duration, starts: impl FnOnce()) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (crew, warm) = Crew::muster(orders).await.unwrap();
        starts();
        let start = Instant::now();
        let (_watch, ending) = crew.set_off(pace, lasts);
        Outcome::new(warm, ending.await, start)
    })
}

impl Load {
    fn orders(&self, target: &Target) -> Orders {
        let (request, bytes) = match self.exchange {
            Exchange::Get { answer_bytes } => {
                let path = target.path(&format!("/b/{answer_bytes}"));
                (Request::get(path, &target.host), answer_bytes as u64)
            }
            Exchange::Upload { request_bytes } => {
                let path = target.path("/upload");
                let body = Bytes::from(vec![b'u'; request_bytes]);
                (Request::post(path, &target.host, body), UPLOAD_ANSWER_BYTES)
            }
        };
        Orders {
            target: target.clone(),
            request,
            client: self.client,
            connections: self.connections,
            expected: Expected::Bytes(bytes),
            timeout: None,
            grace: GRACE,
            ramp: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// What failed before the clock started, `warm`, is no request of the round, but has to be
    /// known.
    fn new(warm: Tally, tally: Tally, start: Instant) -> Self {
        let told = warm
            .told
            .into_iter()
            .map(|told| format!("to begin with, {told}"));
        Self {
            requests: tally.requests,
            failures: tally.failures + warm.failures,
            told: told.chain(tally.told).collect(),
            late: tally.late,
            unsent: tally.unsent,
            took: tally.last.map_or(Duration::ZERO, |last| last - start),
            latencies: tally.latencies,
        }
    }
}
