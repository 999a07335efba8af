//! `attache check --connect`: walks each connector's way and names the leg that fails.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use futures_util::stream::{self, StreamExt};
use tokio::runtime::{Builder, Handle};

use super::check::{self, CheckOutcome};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::validate::{Leg, LegOutcome, Report, Validator};
use crate::dial::{Dialer, Lookup, Resolver};
use crate::metrics::Metrics;

/// Connectors that are walked at once.
const WALKS_MAX: usize = 16;

/// Reads the configuration at `path` as `check` does; then walks the way of every connector that
/// is enabled, and says of each leg on `out` how it went.
///
/// # Errors
///
/// If `out` or `err` cannot be written to, or the system has no thread to give.
pub fn run(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<CheckOutcome> {
    let Some(config) = check::read(path, out, err)? else {
        return Ok(CheckOutcome::Faulty);
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let reached = runtime.block_on(walk_all(&config, out));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    reached
}

async fn walk_all(config: &Config, out: &mut impl Write) -> io::Result<CheckOutcome> {
    let validator = &validator(config)?;
    let (walked, inactive): (Vec<_>, Vec<_>) =
        config.connectors.iter().partition(|one| one.enabled);
    let mut reports = stream::iter(&walked)
        .map(|connector| async move { (connector, validator.walk(connector).await) })
        .buffered(WALKS_MAX);
    let mut reached = 0;
    while let Some((connector, report)) = reports.next().await {
        write!(out, "{}", Shown(connector.id.as_str(), &report))?;
        reached += usize::from(report.failed().is_none());
    }
    for connector in inactive {
        writeln!(out, "{}: inactive, not walked", connector.id)?;
    }
    writeln!(out, "connectors reached: {reached} of {}", walked.len())?;
    Ok(match reached == walked.len() {
        true => CheckOutcome::Good,
        false => CheckOutcome::Unreached,
    })
}

fn validator(config: &Config) -> io::Result<Validator> {
    let (clock, runtime) = (Clock::system(), Handle::current());
    let lookups = Metrics::new(1, 1).lookups();
    let resolver = Resolver::new(Lookup::System, clock.clone(), runtime.clone(), lookups);
    Validator::new(config, Dialer::new(resolver), clock, runtime).map_err(io::Error::other)
}

/// A connector's walk as people read it: a line for each leg that was walked.
struct Shown<'a>(&'a str, &'a Report);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(connector, report) = self;
        for Leg {
            name,
            step,
            outcome,
        } in &report.legs
        {
            match outcome {
                LegOutcome::Good { found } => writeln!(f, "{connector}: {name}: good ({found})")?,
                LegOutcome::Skipped { .. } => {}
                LegOutcome::Failed { reason, hint } => {
                    write!(f, "{connector}: {name}")?;
                    if let Some(step) = step {
                        write!(f, " ({step})")?;
                    }
                    writeln!(f, ": failed: {reason}; {hint}")?;
                }
            }
        }
        Ok(())
    }
}
