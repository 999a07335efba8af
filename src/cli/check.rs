//! `attache check`: reads a configuration as `serve` would, and serves nothing.

use std::io::{self, Write};
use std::path::Path;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::expiry::{Standing, sentence};
use crate::control::publisher::expiries;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// `serve` would start with it.
    Good,
    /// `serve` would start with it, but a connector does not reach what it leads to.
    Unreached,
    /// It is refused.
    Faulty,
}

impl CheckOutcome {
    /// What the process answers: 2 is a wrong configuration, 1 anything else that failed.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Unreached => 1,
            Self::Faulty => 2,
        }
    }
}

/// Reads the configuration at `path`. Says how it is on `out`, and what is wrong or unwise, one
/// line each, on `err`.
///
/// # Errors
///
/// Only if `out` or `err` cannot be written to.
pub fn run(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<CheckOutcome> {
    let config = read(path, out, err)?;
    Ok(config.map_or(CheckOutcome::Faulty, |_| CheckOutcome::Good))
}

/// Reads the configuration at `path` as [`run`] does; `None` if it is refused.
///
/// # Errors
///
/// Only if `out` or `err` cannot be written to.
pub(super) fn read(
    path: &Path,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<Config>> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            write!(err, "{error}")?;
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                write!(err, ": {cause}")?;
                source = cause.source();
            }
            writeln!(err)?;
            return Ok(None);
        }
    };
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    let ending = write_ending(&config, err)?;
    let inactive = config.connectors.iter().filter(|one| !one.enabled).count();
    let (connectors, warnings) = (config.connectors.len(), config.warnings.len() + ending);
    let file = path.display();
    writeln!(
        out,
        "{file}: good; connectors: {connectors}, of which inactive: {inactive}; warnings: {warnings}"
    )?;
    Ok(Some(config))
}

/// Says which certificates and revocation lists of `config` end soon, or have ended, one line each;
/// returns how many those are.
fn write_ending(config: &Config, err: &mut impl Write) -> io::Result<usize> {
    let now = Clock::system().wall();
    let mut ending = 0;
    for expiry in expiries(config) {
        if let Some(standing) = Standing::of(&expiry, now) {
            writeln!(err, "warning: {}", sentence(&expiry, standing))?;
            ending += 1;
        }
    }
    Ok(ending)
}
