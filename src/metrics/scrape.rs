//! Adds the workers up and writes them out. The only file that names `prometheus`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Registry, TextEncoder};

use super::families::{self, FAMILIES, Family, Kind};
use super::histogram::{BOUNDS_US, Totals};
use super::lookups::LOOKUP_OUTCOMES;
use super::series::{RETRY_CAUSES, SeriesTotals};
use super::tokens::{FAILURE_CLASSES, SHARED_OUTCOMES, TOKEN_OUTCOMES};
use super::worker::{CACHE_OUTCOMES, WorkerTotals};
use super::{Counters, RELOAD_OUTCOMES};

/// The registry behind `/metrics`.
pub(super) struct Scrape(Registry);

impl Scrape {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        let registry = Registry::new();
        let own = Own {
            counters,
            descriptions: FAMILIES.iter().filter_map(description).collect(),
        };
        for collector in [
            Box::new(own) as Box<dyn Collector>,
            Box::new(ProcessCollector::for_self()),
        ] {
            if let Err(error) = registry.register(collector) {
                tracing::error!(%error, "some metrics will be missing");
            }
        }
        Self(registry)
    }

    pub(super) fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.0.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written out");
        }
        text
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

fn description(family: &Family) -> Option<Desc> {
    let labels = family.labels.iter().map(|label| (*label).into()).collect();
    Desc::new(
        family.name.into(),
        family.help.into(),
        labels,
        Default::default(),
    )
    .ok()
}

/// The gateway's own counters as a collector.
struct Own {
    counters: Arc<Counters>,
    descriptions: Vec<Desc>,
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = connectors(&self.counters);
        families.extend(workers(&self.counters));
        families.extend(tokens(&self.counters));
        families.extend(store(&self.counters));
        families.extend(rest(&self.counters));
        families
    }
}

fn connectors(counters: &Counters) -> Vec<MetricFamily> {
    let all: Vec<(Arc<str>, SeriesTotals)> = counters
        .all_series()
        .iter()
        .filter_map(|series| Some((Arc::clone(series.label()), series.totals()?)))
        .collect();
    let mut requests = Rows::of(families::REQUESTS);
    let mut took = Rows::of(families::REQUEST_DURATION);
    let mut upstream = Rows::of(families::UPSTREAM_DURATION);
    let mut refused = Rows::of(families::REFUSED);
    let mut scrubbed = Rows::of(families::SCRUBBED);
    let mut connections = Rows::of(families::UPSTREAM_CONNECTIONS);
    let mut in_flight = Rows::of(families::CONNECTOR_REQUESTS_IN_FLIGHT);
    let mut breakers = Rows::of(families::BREAKER_OPEN);
    let mut tunnels = Rows::of(families::TUNNELS);
    let mut retries = Rows::of(families::UPSTREAM_RETRIES);
    for (label, totals) in &all {
        in_flight.number(&[label], totals.requests_in_flight as f64);
        breakers.number(&[label], totals.breakers_open as f64);
        for (answered, count) in &totals.requests {
            let code = answered
                .code
                .map_or_else(|| super::OTHER.into(), |code| code.to_string());
            requests.number(&[label, answered.method, &code], *count as f64);
        }
        took.histogram(&[label], &totals.total);
        upstream.histogram(&[label], &totals.upstream);
        for (reason, count) in &totals.refused {
            refused.number(&[label, reason], *count as f64);
        }
        scrubbed.number(&[label], totals.scrubbed as f64);
        connections.number(&[label, "idle"], totals.idle as f64);
        connections.number(&[label, "busy"], totals.busy as f64);
        tunnels.number(&[label], totals.tunnels as f64);
        for (cause, count) in RETRY_CAUSES.iter().zip(totals.retries) {
            retries.number(&[label, cause], count as f64);
        }
    }
    let gauges = [in_flight, breakers, connections, tunnels];
    let rows = [requests, took, upstream, refused, scrubbed, retries]
        .into_iter()
        .chain(gauges);
    rows.map(Rows::done).collect()
}

fn workers(counters: &Counters) -> Vec<MetricFamily> {
    let mut totals = WorkerTotals::default();
    for worker in &counters.workers {
        totals.add(worker);
    }
    let mut cache = Rows::of(families::TOKEN_CACHE);
    for (outcome, count) in CACHE_OUTCOMES.iter().zip(totals.token_cache) {
        cache.number(&[outcome], count as f64);
    }
    vec![
        cache.done(),
        single(
            families::CLIENT_CONNECTIONS,
            totals.client_connections as f64,
        ),
        single(
            families::REQUESTS_IN_FLIGHT,
            totals.requests_in_flight as f64,
        ),
        single(families::PANICS, totals.panics as f64),
        single(
            families::ACCESS_LOG_DROPPED,
            totals.access_log_dropped as f64,
        ),
    ]
}

fn tokens(counters: &Counters) -> Vec<MetricFamily> {
    let mut requests = Rows::of(families::TOKEN_REQUESTS);
    let mut expiry = Rows::of(families::TOKEN_EXPIRY);
    let mut failing = Rows::of(families::TOKEN_FAILING);
    let mut fallbacks = Rows::of(families::TOKEN_FALLBACKS);
    let mut shared = Rows::of(families::SHARED_TOKENS);
    let mut revocations = Rows::of(families::TOKEN_REVOCATIONS);
    counters.tokens.read(|label, row| {
        for (outcome, count) in TOKEN_OUTCOMES.iter().zip(row.outcomes) {
            requests.number(&[label, outcome], count as f64);
        }
        for (class, count) in FAILURE_CLASSES.iter().zip(row.failing) {
            failing.number(&[label, class], count as f64);
        }
        fallbacks.number(&[label], row.fallbacks as f64);
        if let Some(at) = row.expires_at {
            expiry.number(&[label], timestamp(at));
        }
    });
    let mut totals = Totals::default();
    totals.add(&counters.tokens.took);
    let mut took = Rows::of(families::TOKEN_REQUEST_DURATION);
    took.histogram(&[], &totals);
    for (outcome, count) in SHARED_OUTCOMES.iter().zip(&counters.tokens.shared) {
        shared.number(&[outcome], count.load(Ordering::Relaxed) as f64);
    }
    for (outcome, count) in TOKEN_OUTCOMES.iter().zip(&counters.tokens.revocations) {
        revocations.number(&[outcome], count.load(Ordering::Relaxed) as f64);
    }
    let counted = [requests, expiry, failing, fallbacks, shared, revocations];
    counted.into_iter().chain([took]).map(Rows::done).collect()
}

fn store(counters: &Counters) -> Vec<MetricFamily> {
    let Some(figures) = counters.store.read() else {
        return Vec::new();
    };
    let mut connectors = Rows::of(families::STORE_CONNECTORS);
    connectors.number(&["served"], figures.served as f64);
    connectors.number(&["broken"], figures.broken as f64);
    vec![
        single(families::STORE_UP, f64::from(u8::from(figures.up))),
        single(families::STORE_REVISION, figures.revision as f64),
        connectors.done(),
    ]
}

fn rest(counters: &Counters) -> Vec<MetricFamily> {
    let mut certificates = Rows::of(families::CERTIFICATE_EXPIRY);
    for ((label, usage), at) in counters.certificates().iter() {
        certificates.number(&[label, usage], timestamp(*at));
    }
    let mut lookups = Rows::of(families::DNS_LOOKUPS);
    for (outcome, count) in LOOKUP_OUTCOMES.iter().zip(counters.lookups.read()) {
        lookups.number(&[outcome], count as f64);
    }
    let mut headers = Rows::of(families::PROXY_PROTOCOL_REFUSED);
    counters.doors.headers(|listener, reason, count| {
        headers.number(&[listener, reason], count as f64);
    });
    let mut handshakes = Rows::of(families::HANDSHAKES_REFUSED);
    counters.doors.handshakes(|listener, reason, count| {
        handshakes.number(&[listener, reason], count as f64);
    });
    let mut reloads = Rows::of(families::CONFIG_RELOADS);
    for (outcome, count) in RELOAD_OUTCOMES.iter().zip(&counters.reloads) {
        reloads.number(&[outcome], count.load(Ordering::Relaxed) as f64);
    }
    let mut build = Rows::of(families::BUILD_INFO);
    build.number(&[env!("CARGO_PKG_VERSION")], 1.0);
    let mut admin = Rows::of(families::ADMIN_REQUESTS);
    for ((operation, code), count) in counters.admin.read() {
        admin.number(&[&operation, &code.to_string()], count as f64);
    }
    [
        certificates,
        lookups,
        headers,
        handshakes,
        reloads,
        admin,
        build,
    ]
    .map(Rows::done)
    .into()
}

fn single(family: Family, value: f64) -> MetricFamily {
    let mut rows = Rows::of(family);
    rows.number(&[], value);
    rows.done()
}

/// Whole seconds since 1970; a date before that is 0.
fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs() as f64
}

/// The rows of one family, as they are put together.
struct Rows {
    family: Family,
    metrics: Vec<Metric>,
}

impl Rows {
    fn of(family: Family) -> Self {
        Self {
            family,
            metrics: Vec::new(),
        }
    }

    fn number(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.labelled(labels);
        match self.family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics.push(metric);
    }

    fn histogram(&mut self, labels: &[&str], totals: &Totals) {
        let mut cumulative = 0;
        let buckets = BOUNDS_US.iter().zip(&totals.buckets).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(totals.count());
        histogram.set_sample_sum(totals.sum_ns as f64 / 1e9);
        let mut metric = self.labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn labelled(&self, values: &[&str]) -> Metric {
        let pairs = self.family.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        });
        Metric::from_label(pairs.collect())
    }

    fn done(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.into());
        family.set_help(self.family.help.into());
        family.set_field_type(match self.family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(self.metrics);
        family
    }
}
