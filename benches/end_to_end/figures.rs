//! What a run measured, as data: every other file makes figures or shows them.
//!
//! Invariants: a ratio is made of pairs of rounds that were run one after the other, so that what
//! the machine does besides falls on both alike; a ratio that spreads too far, stands on too few
//! pairs, or on rounds that went wrong is no figure ([`Comparison`]).

use std::time::Duration;

use serde::{Serialize, Serializer};

/// No ratio is shown whose interquartile range is more than this part of its median.
pub(crate) const SPREAD_MAX: f64 = 0.05;
/// Fewer pairs of rounds than these say nothing about how far they spread.
pub(crate) const PAIRS_MIN: usize = 3;
/// No ratio is shown of rounds in which more than this part of all requests failed.
pub(crate) const FAILED_MAX: f64 = 0.001;

/// Where contenders waited longer for a processor, in percent of a round, other programs ran.
pub(crate) const WAITED_MAX: f64 = 5.0;

/// What contenders are called in figures: goals and ratios go by these names.
pub(crate) mod names {
    pub(crate) const ATTACHE: &str = "Attaché";
    pub(crate) const NGINX: &str = "nginx";
    pub(crate) const NGINX_LUA: &str = "nginx + lua";
    pub(crate) const HAPROXY: &str = "HAProxy";
    /// The floor: TLS to the origin, and no HTTP.
    pub(crate) const FLOOR: &str = "HAProxy (TCP)";
    pub(crate) const ENVOY: &str = "Envoy";
    /// No contender: the load calls the origin itself. What the others add is counted from it.
    pub(crate) const DIRECT: &str = "the origin directly";
}

/// The percentiles of a round's latencies that [`Round::percentiles`] holds.
pub(crate) const PERCENTILES: [f64; 7] = [10.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];

/// How a run is made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// Rounds of each load with each contender.
    pub(crate) rounds: usize,
    #[serde(rename = "round_seconds", serialize_with = "seconds")]
    pub(crate) round: Duration,
    /// Threads of each contender.
    pub(crate) threads: usize,
    /// What was typed.
    pub(crate) command: String,
}

/// One round: one load sent to one contender.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Round {
    /// Requests answered as expected.
    pub(crate) requests: u64,
    /// Requests answered otherwise, or not at all.
    pub(crate) failures: u64,
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub(crate) took: Duration,
    /// Processor time of the contender's own process, all threads.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub(crate) cpu: Duration,
    /// What those threads waited for a processor while they could have run.
    #[serde(rename = "waited_seconds", serialize_with = "seconds")]
    pub(crate) waited: Duration,
    /// Resident memory of the process at the round's end, in bytes.
    pub(crate) resident_bytes: u64,
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub(crate) p50: Duration,
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub(crate) p99: Duration,
    /// Latencies at [`PERCENTILES`], in their order; may be empty, then `p50` and `p99` are all.
    #[serde(rename = "percentiles_seconds", serialize_with = "all_seconds")]
    pub(crate) percentiles: Vec<Duration>,
}

/// A load's rounds with one contender, in the order they were run: the n-th rounds of all
/// contenders were run one after the other.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) contender: String,
    pub(crate) rounds: Vec<Round>,
}

/// Everything that was measured with one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// Names it in figures' files: `small-get-64`.
    pub(crate) load: String,
    pub(crate) title: String,
    /// What is compared.
    pub(crate) measure: Measure,
    pub(crate) series: Vec<Series>,
}

/// What of a round is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Processor time per request.
    CpuPerRequest,
    /// What the contender added to the 99th percentile of the origin's own answers.
    AddedP99,
}

/// A single figure of a scenario that has no rounds to compare: bytes per connection, a share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The scenario: `100,000 connectors`.
    pub(crate) scenario: String,
    /// What was measured: `start`.
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What it is compared with, in words: `nginx: 31 KiB`.
    pub(crate) beside: Option<String>,
    /// Of a ratio, how its pairs spread; the rule about noise holds for it, too.
    pub(crate) spread: Option<Spread>,
}

impl Finding {
    /// What stands alone, compared with nothing.
    pub(crate) fn new(scenario: &str, what: &str, value: f64, unit: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            what: what.to_owned(),
            value,
            unit: unit.to_owned(),
            beside: None,
            spread: None,
        }
    }

    /// It is a ratio whose median is not to be shown.
    pub(crate) fn is_too_noisy(&self) -> bool {
        self.spread.as_ref().is_some_and(Spread::is_too_noisy)
    }
}

/// Which program a contender was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) contender: String,
    pub(crate) version: String,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) versions: Vec<Version>,
    pub(crate) tables: Vec<Table>,
    pub(crate) findings: Vec<Finding>,
}

/// The median of some values and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) upper_quartile: f64,
}

/// What two contenders' rounds say of each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Comparison {
    /// The ratios of all pairs of rounds.
    Clear(Spread),
    /// The same, but they spread so far that their median is not to be shown.
    TooNoisy(Spread),
    /// Fewer than [`PAIRS_MIN`] pairs.
    TooFewRounds,
    /// More than [`FAILED_MAX`] of one contender's requests failed.
    Failed,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len().checked_sub(1)? as f64);
            let (below, above) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            Some(below + (above - below) * place.fract())
        };
        Some(Self {
            median: at(0.5)?,
            lower_quartile: at(0.25)?,
            upper_quartile: at(0.75)?,
        })
    }

    /// The interquartile range as a part of the median.
    pub(crate) fn relative(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median.abs()
    }

    /// Also where the median is nought, and the range is no part of it that could be named.
    pub(crate) fn is_too_noisy(&self) -> bool {
        let is_clear = self.relative() <= SPREAD_MAX;
        !is_clear
    }
}

impl Round {
    /// Microseconds of processor time per request.
    pub(crate) fn cpu_per_request(&self) -> f64 {
        micros(self.cpu) / self.requests as f64
    }

    /// Requests answered as expected, each second.
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// What its threads waited for a processor, in percent of the round.
    pub(crate) fn waited_percent(&self) -> f64 {
        self.waited.as_secs_f64() / self.took.as_secs_f64() * 100.0
    }
}

impl Series {
    /// How one figure of its rounds spreads.
    pub(crate) fn spread(&self, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }

    /// Requests not answered as expected, and all requests.
    pub(crate) fn failures(&self) -> (u64, u64) {
        let failed: u64 = self.rounds.iter().map(|round| round.failures).sum();
        let answered: u64 = self.rounds.iter().map(|round| round.requests).sum();
        (failed, failed + answered)
    }

    fn went_wrong(&self) -> bool {
        let (failed, all) = self.failures();
        all == 0 || failed as f64 > all as f64 * FAILED_MAX
    }
}

impl Results {
    /// What was measured with the load of that name.
    pub(crate) fn table(&self, load: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.load == load)
    }
}

impl Table {
    /// The rounds of one contender.
    pub(crate) fn of(&self, contender: &str) -> Option<&Series> {
        let mut all = self.series.iter();
        all.find(|series| series.contender == contender)
    }

    /// What is compared, of each of a contender's rounds: `NaN` where it cannot be told.
    fn values(&self, series: &Series) -> Vec<f64> {
        match self.measure {
            Measure::CpuPerRequest => series.rounds.iter().map(Round::cpu_per_request).collect(),
            Measure::AddedP99 => self.added(series, |round| round.p99),
        }
    }

    /// Microseconds of latency that each round of `series` added to those of the round in which
    /// the origin was called directly.
    pub(crate) fn added(&self, series: &Series, latency: impl Fn(&Round) -> Duration) -> Vec<f64> {
        let Some(direct) = self.of(names::DIRECT) else {
            return vec![f64::NAN; series.rounds.len()];
        };
        let pairs = series.rounds.iter().zip(&direct.rounds);
        pairs
            .map(|(round, direct)| micros(latency(round)) - micros(latency(direct)))
            .collect()
    }

    /// The ratios of `contender` to `other`. `None` if one was not there.
    pub(crate) fn ratio(&self, contender: &str, other: &str) -> Option<Comparison> {
        self.compare(
            contender,
            other,
            |one, other| one / other,
            Spread::is_too_noisy,
        )
    }

    /// What `contender` has more than `other`, for figures that may be nought, of which a ratio
    /// says nothing: too noisy where the quartiles do not agree on who has more.
    pub(crate) fn difference(&self, contender: &str, other: &str) -> Option<Comparison> {
        let is_undecided =
            |spread: &Spread| spread.lower_quartile < 0.0 && spread.upper_quartile > 0.0;
        self.compare(contender, other, |one, other| one - other, is_undecided)
    }

    fn compare(
        &self,
        contender: &str,
        other: &str,
        of: impl Fn(f64, f64) -> f64,
        is_too_noisy: impl Fn(&Spread) -> bool,
    ) -> Option<Comparison> {
        let (one, other) = (self.of(contender)?, self.of(other)?);
        if one.went_wrong() || other.went_wrong() {
            return Some(Comparison::Failed);
        }
        let pairs = self.values(one).into_iter().zip(self.values(other));
        let figures: Vec<f64> = pairs
            .map(|(one, other)| of(one, other))
            .filter(|figure| figure.is_finite())
            .collect();
        if figures.len() < PAIRS_MIN {
            return Some(Comparison::TooFewRounds);
        }
        let spread = Spread::of(figures)?;
        Some(if is_too_noisy(&spread) {
            Comparison::TooNoisy(spread)
        } else {
            Comparison::Clear(spread)
        })
    }
}

/// `duration` in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

fn all_seconds<S: Serializer>(durations: &[Duration], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(durations.iter().map(Duration::as_secs_f64))
}
