//! `--against URL`: the load-testing tool for a gateway that runs already. benches/README.md has a
//! section of its own about it.
//!
//! What it ends with: 0 if every bound that was asked for holds, 1 if one is broken or nothing was
//! answered at all, 2 if it was asked for something that cannot be.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval};

use super::crew::{Crew, Orders, Watch};
use super::request::RequestError;

mod options;
mod summary;

pub(crate) use options::{Options, OptionsError};
pub(crate) use summary::Summary;
use summary::{Measured, shown};

const GOOD: u8 = 0;
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgainstError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("nothing was answered: {0}")]
    Silence(String),
    #[error("interrupted before the clock started")]
    Interrupted,
    #[error("what was measured cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl AgainstError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Options(
                OptionsError::CaWithoutTls(_)
                | OptionsError::Ca { .. }
                | OptionsError::Tls(_)
                | OptionsError::Body { .. },
            )
            | Self::Request(_) => WRONG_USAGE,
            Self::Options(
                OptionsError::Name { .. }
                | OptionsError::NoAddress { .. }
                | OptionsError::Unreached { .. },
            )
            | Self::Silence(_)
            | Self::Interrupted
            | Self::Output(_) => FAILED,
        }
    }
}

/// Does what `words` ask for, the program's own name first, and says what the process answers;
/// `None` if they do not say `--against`. Ctrl-C ends it with what was measured by then.
pub(crate) fn run_from_words(words: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let words: Vec<OsString> = words.into_iter().collect();
    let is_meant = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "--against" || word.starts_with("--against=")
    };
    if !words.iter().any(is_meant) {
        return None;
    }
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    let progress: &mut dyn Write = match io::stderr().is_terminal() {
        true => &mut io::stderr(),
        false => &mut io::sink(),
    };
    let screen = Screen {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        progress,
    };
    Some(perform(words, interrupted, screen))
}

/// Where it writes.
pub(crate) struct Screen<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
    /// What is written over again each second.
    pub(crate) progress: &'a mut dyn Write,
}

/// The same, told by whom it is interrupted and where it writes.
pub(crate) fn perform(
    mut words: Vec<OsString>,
    interrupted: impl Future<Output = ()>,
    screen: Screen<'_>,
) -> u8 {
    let Screen { out, err, progress } = screen;
    // Whoever asks for help need not have a URL, which `--against` would miss.
    if words.iter().any(|word| word == "--help" || word == "-h") {
        words.truncate(1);
        words.push("--help".into());
    }
    let options = match options::Arguments::try_parse_from(words) {
        Ok(arguments) => arguments.options,
        Err(error) => {
            // Help is no failure.
            let to = if error.use_stderr() { err } else { out };
            let _nobody_reads = write!(to, "{error}");
            return u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE);
        }
    };
    match measure(&options, interrupted, progress).and_then(|summary| tell(&options, summary, out))
    {
        Ok(true) => GOOD,
        Ok(false) => FAILED,
        Err(error) => {
            let _nobody_reads = writeln!(err, "{error}");
            error.exit_code()
        }
    }
}

/// Says whether all bounds hold.
fn tell(options: &Options, summary: Summary, out: &mut dyn Write) -> Result<bool, AgainstError> {
    write!(out, "{summary}")?;
    if let Some(path) = &options.json {
        let mut json = serde_json::to_string_pretty(&summary).map_err(io::Error::from)?;
        json.push('\n');
        std::fs::write(path, json)?;
    }
    Ok(summary.holds())
}

fn measure(
    options: &Options,
    interrupted: impl Future<Output = ()>,
    progress: &mut dyn Write,
) -> Result<Summary, AgainstError> {
    let orders = options.orders()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(load(options, &orders, interrupted, progress))
}

async fn load(
    options: &Options,
    orders: &Orders,
    interrupted: impl Future<Output = ()>,
    progress: &mut dyn Write,
) -> Result<Summary, AgainstError> {
    let mut interrupted = std::pin::pin!(interrupted);
    let connections = orders.connections;
    let _nobody_reads = write!(progress, "opening {connections} connections");
    let mustering = Crew::muster(orders);
    let (crew, warm) = tokio::select! {
        mustered = mustering => mustered?,
        () = &mut interrupted => return Err(AgainstError::Interrupted),
    };
    if warm.statuses.is_empty() {
        return Err(AgainstError::Silence(warm.told.join("; ")));
    }
    let (start, ran) = (Instant::now(), processor_time());
    let (watch, ending) = crew.set_off(options.pace(), options.seconds);
    let (mut ending, mut cut_short) = (std::pin::pin!(ending), false);
    let mut seconds = interval(PROGRESS);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = 0;
    let tally = loop {
        tokio::select! {
            tally = &mut ending => break tally,
            () = &mut interrupted, if !cut_short => {
                cut_short = true;
                watch.cut_short();
            }
            _ = seconds.tick() => before = show(&watch, start, before, progress),
        }
    };
    let _nobody_reads = write!(progress, "\r\x1b[K");
    let measured = Measured {
        took: tally.last.map_or(Duration::ZERO, |last| last - start),
        tally,
        address: orders.target.address.to_string(),
        cut_short,
        own: processor_time().zip(ran).map(|(now, then)| now - then),
    };
    Ok(Summary::new(options, &measured))
}

/// Writes over the line of progress. Returns how many requests are over.
fn show(watch: &Watch, start: Instant, before: u64, progress: &mut dyn Write) -> u64 {
    let (over, failures, p99) = watch.counted(|tally| {
        let p99 = tally.latencies.value_at_quantile(0.99) as f64 / 1e3;
        (tally.requests + tally.failures, tally.failures, shown(p99))
    });
    let (now, second) = (start.elapsed().as_secs(), over - before);
    let _nobody_reads = write!(
        progress,
        "\r\x1b[K{now:4} s   {second} requests in the last second   p99 {p99}   {failures} failures"
    )
    .and_then(|()| progress.flush());
    over
}

/// How long this thread has run so far, where the system tells (proc_pid_schedstat(5)).
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
