//! What a run against a gateway showed: for a person, and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::super::tally::Tally;
use super::super::{Client, Pace};
use super::options::Options;

/// The percentiles that are shown.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.50),
    ("p90", 0.90),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("max", 1.0),
];
const P99: f64 = 0.99;
/// From when on the tool itself may be the slowest part.
const BUSY: f64 = 0.85;

/// What is known at the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) url: String,
    address: String,
    client: String,
    pace: String,
    connections: usize,
    /// From the first request to the end of the last.
    seconds: f64,
    /// Somebody ended it before its time.
    cut_short: bool,
    /// Answered with a status below 400.
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    requests_per_second: f64,
    /// Of content that came.
    content_bytes: u64,
    pub(crate) latency_us: BTreeMap<&'static str, f64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    unanswered: BTreeMap<String, u64>,
    late: u64,
    held_up: u64,
    unsent: u64,
    /// The part of the time in which the one thread that sends was running.
    busy: Option<f64>,
    pub(crate) bounds: Vec<Bound>,
}

/// A bound that was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bound {
    what: &'static str,
    measured: String,
    allowed: String,
    pub(crate) holds: bool,
}

/// What a summary is made of, beside the options.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) address: String,
    pub(super) took: Duration,
    pub(super) cut_short: bool,
    /// How long the thread that sends was running, where that is known.
    pub(super) own: Option<Duration>,
}

impl Summary {
    pub(super) fn new(options: &Options, measured: &Measured) -> Self {
        let Measured { tally, took, .. } = measured;
        let quantile = |part: f64| tally.latencies.value_at_quantile(part) as f64 / 1e3;
        let answered: u64 = tally.statuses.values().sum();
        Self {
            url: options.against.to_string(),
            address: measured.address.clone(),
            client: spoken(options.client()),
            pace: paced(options.pace()),
            connections: options.connections(),
            seconds: took.as_secs_f64(),
            cut_short: measured.cut_short,
            requests: tally.requests,
            failures: tally.failures,
            requests_per_second: answered as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE),
            content_bytes: tally.bytes,
            latency_us: QUANTILES
                .into_iter()
                .map(|(name, part)| (name, quantile(part)))
                .collect(),
            statuses: tally.statuses.clone(),
            refusals: tally.refusals.clone(),
            unanswered: tally.faults.clone(),
            late: tally.late,
            held_up: tally.held_up,
            unsent: tally.unsent,
            busy: measured.own.map(|own| own.div_duration_f64(*took)),
            bounds: bounds(options, tally),
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.bounds.iter().all(|bound| bound.holds)
    }
}

/// The bounds that were asked for. Where nothing was measured none of them holds.
fn bounds(options: &Options, tally: &Tally) -> Vec<Bound> {
    let all = tally.requests + tally.failures;
    let p99 = options.max_p99.map(|allowed| {
        let measured = Duration::from_nanos(tally.latencies.value_at_quantile(P99));
        Bound {
            what: "p99",
            measured: shown(measured.as_secs_f64() * 1e6),
            allowed: shown(allowed.as_secs_f64() * 1e6),
            holds: measured <= allowed && !tally.latencies.is_empty(),
        }
    });
    let failures = options.max_failures.map(|allowed| {
        let measured = tally.failures as f64 / all.max(1) as f64;
        Bound {
            what: "failures",
            measured: percent(measured),
            allowed: percent(allowed),
            holds: measured <= allowed && all > 0,
        }
    });
    p99.into_iter().chain(failures).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, address) = (&self.url, &self.address);
        writeln!(out, "{url} ({address})")?;
        let (connections, client, pace) = (self.connections, &self.client, &self.pace);
        write!(out, "{connections} connections, {client}, {pace}, ")?;
        let cut = if self.cut_short { ", cut short" } else { "" };
        writeln!(out, "{:.1} s{cut}\n", self.seconds)?;
        let per_second = self.requests_per_second;
        let mib = self.content_bytes as f64 / self.seconds.max(f64::MIN_POSITIVE) / 1_048_576.0;
        let answers: u64 = self.statuses.values().sum();
        writeln!(
            out,
            "answers     {per_second:.1} a second, {answers} in all, {mib:.2} MiB/s of content"
        )?;
        let latencies = QUANTILES.map(|(name, _)| {
            let value = self.latency_us.get(name).copied().unwrap_or_default();
            format!("{} {}", name.replace('_', "."), shown(value))
        });
        writeln!(out, "latency     {}", latencies.join(" · "))?;
        row(out, "statuses", &self.statuses)?;
        row(out, "refused", &self.refusals)?;
        row(out, "unanswered", &self.unanswered)?;
        writeln!(
            out,
            "failures    {} of {}",
            self.failures,
            self.requests + self.failures
        )?;
        if self.late + self.unsent > 0 {
            writeln!(
                out,
                "not in time {} were sent over 1 ms late, {} not at all: no connection was free",
                self.late, self.unsent
            )?;
        }
        if self.held_up > 0 {
            writeln!(
                out,
                "beware      {} were sent over 1 ms late, for this machine was busy",
                self.held_up
            )?;
        }
        if let Some(busy) = self.busy.filter(|busy| *busy > BUSY) {
            writeln!(
                out,
                "beware      this tool ran {:.0} % of the time: its own limit may be what is shown",
                busy * 100.0
            )?;
        }
        self.bounds.iter().try_for_each(|bound| bound.write(out))
    }
}

impl Bound {
    fn write(&self, out: &mut impl Write) -> fmt::Result {
        let (what, measured, allowed) = (self.what, &self.measured, &self.allowed);
        let word = if self.holds { "holds" } else { "BROKEN" };
        writeln!(
            out,
            "bound       {what} {measured}, at most {allowed}: {word}"
        )
    }
}

fn row(out: &mut impl Write, name: &str, counts: &BTreeMap<impl fmt::Display, u64>) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    writeln!(out, "{name:11} {}", counts.join(" · "))
}

fn spoken(client: Client) -> String {
    match client {
        Client::KeptAlive => "HTTP/1.1 kept alive".to_owned(),
        Client::NewEach => "HTTP/1.1, a new one for each request".to_owned(),
        Client::Http2 { streams } => format!("HTTP/2 with {streams} requests side by side"),
    }
}

fn paced(pace: Pace) -> String {
    match pace {
        Pace::Closed => "one request after the other".to_owned(),
        Pace::Open { per_second } => {
            format!("{per_second} requests a second, each timed from when it was due")
        }
    }
}

/// A time in microseconds as a person reads it.
pub(super) fn shown(us: f64) -> String {
    match us {
        1_000_000.0.. => format!("{:.2} s", us / 1e6),
        1_000.0.. => format!("{:.2} ms", us / 1e3),
        _ => format!("{us:.0} µs"),
    }
}

fn percent(part: f64) -> String {
    format!("{:.3} %", part * 100.0)
}
