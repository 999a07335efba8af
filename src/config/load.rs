//! From a file to a [`Config`]: bounded reading, parsing, then everything the walk found.

use std::io::Read;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use super::document::{Document, Position};
use super::error::{ConfigError, Faults, Problem};
use super::files::{Environment, Files};
use super::reader::{self, Reader};
use super::units::Size;
use super::{Config, settings};
use crate::secret;

/// Reads the configuration file at `path`.
///
/// That is done on a thread of its own, because the allocator holds what a thread has freed for
/// that thread's next wish: what parsing took would stay with one that goes on, and is given back
/// by one that ends.
pub(super) fn file(path: &Path) -> Result<Config, ConfigError> {
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("attache-config".into());
        let reading = reader.spawn_scoped(scope, || read(path));
        match reading {
            Ok(reading) => reading.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // There is no thread to be had: more memory is better than no configuration.
            Err(_) => read(path),
        }
    })
}

fn read(path: &Path) -> Result<Config, ConfigError> {
    let environment = |name: &str| std::env::var_os(name);
    let unreadable = |source| ConfigError::Unreadable {
        file: path.to_path_buf(),
        source,
    };
    let bytes_max = settings::CONFIG_BYTES_MAX.max;
    let too_large = || ConfigError::TooLarge {
        file: path.to_path_buf(),
        allowed: bytes_max.to_string(),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // The length that is told may be wrong or none (a pipe), so what is read is bounded too.
    let told = Size(file.metadata().map_err(unreadable)?.len());
    if told > bytes_max {
        return Err(too_large());
    }
    let expected = told.as_usize();
    let bytes = secret::read_all(file.take(bytes_max.0 + 1), expected).map_err(unreadable)?;
    if bytes.len() > bytes_max.as_usize() {
        return Err(too_large());
    }
    let Ok(written) = std::str::from_utf8(&bytes) else {
        return Err(ConfigError::NotText {
            file: path.to_path_buf(),
        });
    };
    let base_dir = path.parent().unwrap_or(Path::new(""));
    text(written, Some(path), base_dir, &environment)
}

/// Reads a configuration's text. `file` is only named; paths are relative to `base_dir`.
pub(super) fn text(
    text: &str,
    file: Option<&Path>,
    base_dir: &Path,
    environment: Environment<'_>,
) -> Result<Config, ConfigError> {
    text_with(text, Files::new(file, base_dir, environment))
}

/// The same, with what it may name beside itself.
pub(super) fn text_with(text: &str, files: Files<'_>) -> Result<Config, ConfigError> {
    let file = files.named().map(Path::to_path_buf);
    let faulty = |faults, unlisted| {
        ConfigError::Faulty(Faults {
            file: file.clone(),
            faults,
            unlisted,
        })
    };
    let document = Document::parse(text).map_err(|fault| faulty(vec![fault], 0))?;
    let mut reader = Reader::new(&document, files);
    let config = settings::read(&mut reader);
    if let Some(config) = &config {
        check_length(&mut reader, text, config);
    }
    match config {
        Some(mut config) if reader.faults.is_empty() => {
            config.files = reader.files.read();
            config.warnings = reader.into_warnings();
            Ok(config)
        }
        Some(_) | None => {
            reader.faults.sort_by_key(super::error::Fault::position);
            Err(faulty(reader.faults, reader.unlisted))
        }
    }
}

/// The bound of the configuration's own making; the one that holds for all was kept before.
fn check_length(reader: &mut Reader<'_>, text: &str, config: &Config) {
    let allowed = Size(config.limits.config_bytes_max);
    let found = Size(text.len() as u64);
    if found > allowed {
        let problem = Problem::FileTooLong {
            found: found.to_string(),
            allowed: allowed.to_string(),
        };
        reader.fault(Position::START, &reader::Path::ROOT, problem);
    }
}
