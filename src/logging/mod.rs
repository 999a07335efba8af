//! The log: what the program says of itself, and the access log.
//!
//! # Invariants
//!
//! Nobody who logs waits: lines go through bounded queues to threads that write them to standard
//! error, and what finds no room is dropped, counted and told. One event is one line, whatever text
//! from outside it holds. Foreign crates are heard from `warn` on only, whatever the level: below
//! that some of them write out what they carry.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, panic};

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use crate::clock::{Clock, rfc3339};
use crate::config::{LogFormat, Logs};

mod access;
mod events;
mod line;
mod queue;

pub use access::{AccessLog, Record, Texts, wants};
pub use events::with_sources;

use events::Events;
use line::{Dates, Head, Line, Value};
use queue::{Entry, Queue, Sink};

/// Lines of the program that may wait to be written.
const EVENTS_MAX: usize = 4096;
/// Records of the access log that may wait to be written.
const RECORDS_MAX: usize = 16384;

/// The running log. Dropping it writes out what is queued.
pub struct Logging {
    events: Arc<Queue<String>>,
    access: AccessLog,
    format: FormatChoice,
    level: reload::Handle<Targets, Registry>,
}

/// Why the log could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// There is no thread to write it.
    #[error("the thread that writes the log could not be started")]
    Thread(#[source] io::Error),
    /// Something else receives the program's events already.
    #[error("the log was started already")]
    Started(#[source] tracing::dispatcher::SetGlobalDefaultError),
    /// The level could not be changed.
    #[error("the log level could not be changed")]
    Level(#[source] reload::Error),
}

/// Starts the process's log, on standard error, panics included.
///
/// # Errors
///
/// [`LoggingError`] if it was started before, or cannot be.
pub fn init(logs: &Logs) -> Result<Logging, LoggingError> {
    let (logging, dispatch) = Logging::new(logs, Clock::system(), io::stderr())?;
    tracing::dispatcher::set_global_default(dispatch).map_err(LoggingError::Started)?;
    panic::set_hook(Box::new(tell_panic));
    Ok(logging)
}

impl Logging {
    /// Starts a log that is written to `sink`. The caller decides where the dispatch is the default.
    ///
    /// # Errors
    ///
    /// [`LoggingError::Thread`].
    pub fn new(
        logs: &Logs,
        clock: Clock,
        sink: impl Write + Send + 'static,
    ) -> Result<(Self, Dispatch), LoggingError> {
        let sink: Sink = Arc::new(Mutex::new(Box::new(sink)));
        let format = FormatChoice::new(logs.format);
        let events = Arc::new(event_queue(&sink, &clock, &format)?);
        let access = AccessLog::to(record_queue(sink, &clock, &format)?);
        let (filter, level) = reload::Layer::new(targets(logs));
        let subscriber = Registry::default().with(filter).with(Events {
            clock,
            format: format.clone(),
            queue: Arc::clone(&events),
        });
        let logging = Self {
            events,
            access,
            format,
            level,
        };
        Ok((logging, Dispatch::new(subscriber)))
    }

    /// Where records of requests go.
    pub fn access_log(&self) -> AccessLog {
        self.access.clone()
    }

    /// Takes another level and format into use, as a reload does.
    ///
    /// # Errors
    ///
    /// [`LoggingError::Level`] if the program's events no longer come here.
    pub fn apply(&self, logs: &Logs) -> Result<(), LoggingError> {
        self.format.set(logs.format);
        self.level
            .reload(targets(logs))
            .map_err(LoggingError::Level)
    }

    /// Waits until what is queued is written, but not for long if nobody reads the log.
    pub fn flush(&self) {
        self.events.flush();
        self.access.flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").finish_non_exhaustive()
    }
}

/// The shape of a line, which a reload may change.
#[derive(Clone)]
struct FormatChoice(Arc<AtomicBool>);

impl FormatChoice {
    fn new(format: LogFormat) -> Self {
        Self(Arc::new(AtomicBool::new(format == LogFormat::Json)))
    }

    fn set(&self, format: LogFormat) {
        self.0.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn get(&self) -> LogFormat {
        if self.0.load(Ordering::Relaxed) {
            LogFormat::Json
        } else {
            LogFormat::Text
        }
    }
}

fn event_queue(
    sink: &Sink,
    clock: &Clock,
    format: &FormatChoice,
) -> Result<Queue<String>, LoggingError> {
    let (clock, format) = (clock.clone(), format.clone());
    let words = move |entry: Entry<String>, out: &mut String| match entry {
        Entry::Item(line) => out.push_str(&line),
        Entry::Lost(lost) => {
            let head = Head {
                at: &rfc3339(clock.wall()).to_string(),
                level: "WARN",
                target: module_path!(),
                message: "lines of the log were dropped: it is written too slowly",
            };
            let mut line = Line::begin(out, format.get(), &head);
            line.field("lines", Value::Number(lost));
            line.end();
        }
    };
    Queue::start("attache-log", EVENTS_MAX, Arc::clone(sink), words).map_err(LoggingError::Thread)
}

fn record_queue(
    sink: Sink,
    clock: &Clock,
    format: &FormatChoice,
) -> Result<Queue<Record>, LoggingError> {
    let (clock, format) = (clock.clone(), format.clone());
    let mut dates = Dates::default();
    let words = move |entry: Entry<Record>, out: &mut String| match entry {
        Entry::Item(record) => access::tell(&record, format.get(), &mut dates, out),
        Entry::Lost(lost) => {
            access::tell_lost(lost, format.get(), dates.show(clock.wall()), out);
        }
    };
    Queue::start("attache-access", RECORDS_MAX, sink, words).map_err(LoggingError::Thread)
}

/// Our own events at the level asked for, everybody else's from `warn` on.
fn targets(logs: &Logs) -> Targets {
    let own = LevelFilter::from_level(logs.level);
    Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), own)
        .with_default(own.min(LevelFilter::WARN))
}

/// Tells where it was. What a panic says of itself may quote what it was about, a secret included,
/// and so may a trace of the stack of what called it; neither is written.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        place = place.as_deref().unwrap_or("unknown"),
        "a defect: a task panicked"
    );
}

#[cfg(test)]
mod tests;
