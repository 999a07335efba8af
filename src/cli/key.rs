//! `attache key`: makes master keys, tells which are in use, and moves everything to a new one.
//!
//! # Invariants
//!
//! A key is written to a file that nobody else may read, or to standard output, and nowhere else:
//! never over another file, which could be the only copy of a key.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use tokio::runtime::Builder;

use super::failure::{Failure, wrong};
use super::{CONFIG, FAILED, GOOD, WRONG};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::store::{
    AuditEntry, AuditOutcome, KeyId, Keyring, OpenError, Rewrapped, SnapshotFile, Store,
    keys_in_use, new_master_key,
};
use crate::logging::with_sources;

/// What to do with master keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a master key.
    Generate {
        /// Write it to this file, which only its owner may read and which must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Tell which master keys are held, which are in use and which may be removed.
    Status {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Seal everything under the first master key; the others may be removed afterwards. Gateways
    /// may run meanwhile, and a rotation that was ended is taken up where it ended.
    Rotate {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
}

/// Does it, says on `out` what came of it and on `err` what did not work, and returns what the
/// process answers.
///
/// # Errors
///
/// Only if `out` or `err` cannot be written to.
pub fn run(command: &KeyCommand, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let done = match command {
        KeyCommand::Generate { out: None } => show_new(out, err),
        KeyCommand::Generate { out: Some(file) } => write_new(file, out),
        KeyCommand::Status { config } => status(config, out),
        KeyCommand::Rotate { config } => rotate(config, out),
    };
    match done {
        Ok(code) => Ok(code),
        Err(failure) => {
            writeln!(err, "attache: {:#}", failure.error)?;
            Ok(failure.code)
        }
    }
}

/// The key alone on `out`, so that it can be sent to a file or a vault; its ID beside it.
fn show_new(out: &mut impl Write, err: &mut impl Write) -> Result<u8, Failure> {
    let key = new_master_key()?;
    writeln!(out, "{}", key.write().expose())?;
    writeln!(err, "master key {}", KeyId::of(&key))?;
    Ok(GOOD)
}

fn write_new(path: &Path, out: &mut impl Write) -> Result<u8, Failure> {
    let key = new_master_key()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    let written = writeln!(file, "{}", key.write().expose())
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(directory(path))?.sync_all());
    if let Err(error) = written {
        // Half a key is none.
        let _gone = std::fs::remove_file(path);
        let sentence = format!("{} cannot be written", path.display());
        return Err(anyhow!(error).context(sentence).into());
    }
    writeln!(out, "{}: master key {}", path.display(), KeyId::of(&key))?;
    Ok(GOOD)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// What a configuration says of the store, and its snapshot.
struct Room {
    settings: config::Store,
    keyring: Keyring,
    snapshot: SnapshotFile,
}

fn room(path: &Path) -> Result<Room, Failure> {
    let config = Config::load(path).map_err(wrong)?;
    let file = path.display();
    let settings = config.store.ok_or_else(|| {
        wrong(anyhow!(
            "{file}: `store` is null, so there is nothing sealed"
        ))
    })?;
    Ok(Room {
        keyring: Keyring::new(&settings.master_keys).map_err(wrong)?,
        snapshot: SnapshotFile::new(settings.snapshot.clone(), &settings.url),
        settings,
    })
}

/// A wrong or missing key, or a store that is not for this program, is a wrong configuration.
fn opening(error: OpenError) -> Failure {
    match error {
        OpenError::Unavailable { .. } | OpenError::Corrupt { .. } => error.into(),
        OpenError::File { .. }
        | OpenError::Url
        | OpenError::NewerSchema { .. }
        | OpenError::Encoding { .. }
        | OpenError::Migration { .. }
        | OpenError::KeyMissing { .. }
        | OpenError::NoKey => wrong(error),
    }
}

fn status(path: &Path, out: &mut impl Write) -> Result<u8, Failure> {
    let room = room(path)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let used = runtime.block_on(keys_in_use(&room.settings, Clock::system()));
    let used = used.map_err(opening)?;
    let snapshot = room.snapshot.key_id();
    let records = |id: &KeyId| used.get(id).copied().unwrap_or(0);
    for id in room.keyring.ids() {
        let of_snapshot = matches!(&snapshot, Ok(Some(key)) if key == id);
        let what = match (id == room.keyring.current(), records(id), of_snapshot) {
            (true, _, _) => "current",
            (false, 0, false) => "may be removed, unless it is another gateway's first",
            (false, 0, true) | (false, 1.., _) => "in use; `attache key rotate` frees it",
        };
        writeln!(out, "{id}  records: {}  {what}", records(id))?;
    }
    let mut code = GOOD;
    for (id, records) in used.iter().filter(|(id, _)| !room.keyring.holds(id)) {
        writeln!(
            out,
            "{id}  records: {records}  not held: store.master_keys lacks it"
        )?;
        code = WRONG;
    }
    let file = room.snapshot.path().display();
    match snapshot {
        Ok(None) => writeln!(out, "snapshot {file}: none")?,
        Ok(Some(id)) => writeln!(out, "snapshot {file}: {id}")?,
        Err(error) => writeln!(out, "snapshot: {}", with_sources(&error))?,
    }
    Ok(code)
}

fn rotate(path: &Path, out: &mut impl Write) -> Result<u8, Failure> {
    let room = room(path)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let left = runtime.block_on(rotate_store(&room, out))?;
    let file = room.snapshot.path().display();
    match room.snapshot.rewrap(&room.keyring)? {
        Rewrapped::Done => writeln!(out, "snapshot {file}: sealed anew")?,
        Rewrapped::Already | Rewrapped::Nothing => {}
    }
    let current = room.keyring.current();
    if left > 0 {
        writeln!(
            out,
            "{left} records do not lie under {current}: run this again once every gateway has it first"
        )?;
        return Ok(FAILED);
    }
    writeln!(
        out,
        "everything lies under {current}; other master keys may be removed"
    )?;
    Ok(GOOD)
}

/// How many records do not lie under the current key afterwards.
async fn rotate_store(room: &Room, out: &mut impl Write) -> Result<u64, Failure> {
    let clock = Clock::system();
    let store = Store::open(&room.settings, clock.clone()).await;
    let store = store.map_err(opening)?;
    let total = store.keys_to_rewrap().await?;
    let entry = entry(room.keyring.current(), clock.wall());
    let mut told = Ok(());
    let rotation = store
        .rewrap(&entry, |rotation| {
            if told.is_ok() {
                told = writeln!(out, "{} of {total} records", rotation.rewrapped);
            }
        })
        .await?;
    told?;
    for unopened in &rotation.unopened {
        writeln!(out, "{unopened}")?;
    }
    let left = store.keys_to_rewrap().await?;
    store.close().await;
    Ok(left)
}

/// What the audit log says of a rotation.
fn entry(current: &KeyId, at: SystemTime) -> AuditEntry {
    AuditEntry {
        id: 0,
        at,
        actor: "cli".to_owned(),
        role: None,
        organization: None,
        action: "key.rotate".to_owned(),
        target: current.to_string(),
        outcome: AuditOutcome::Done,
        address: String::new(),
        request_id: String::new(),
        before: None,
        after: None,
    }
}
