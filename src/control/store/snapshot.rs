//! A sealed copy of the stored connectors on this machine's disk, from which flows are served when
//! the store is away at the start.
//!
//! ```text
//! attache-snapshot-1      format
//! key 6a7ec4103fe5fd9d    the master key
//! store 9f86d0818…        SHA-256 of where the store is
//!                         an empty line; then the wrapped data key, and the sealed contents
//! ```
//!
//! # Invariants
//!
//! The file is whole or it is not there: it is written beside its place and moved there once it is
//! on disk. Nobody but its owner may read it, and nobody without the master key can. Who writes it
//! holds the directory's lock, so that no older copy takes a newer one's place. What it opens to is
//! overwritten when it is dropped.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

use super::feed::Changes;
use super::keyring::{KeyId, Keyring};
use super::seal::{SealError, SealedValue, WRAPPED_BYTES, WrappedKey};
use crate::config::StoreUrl;

mod contents;

const MAGIC: &str = "attache-snapshot-";
const FORMAT: &str = "1";
/// The longest header: its lines are 21, 21 and 71 bytes long.
const HEADER_BYTES_MAX: usize = 256;
/// The largest snapshot that is read: 100,000 connectors take about 200 MiB.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// How often, and how many times, a directory that another process writes to is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);
const LOCK_TRIES: u32 = 500;

/// Why a snapshot was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refused.
    #[error("the snapshot {} cannot be {doing}", path.display())]
    File {
        /// The snapshot, or the file or directory that goes with it.
        path: PathBuf,
        /// "read", "written" …
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no snapshot of Attaché's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another version wrote it.
    #[error(
        "the snapshot {} is in format {found}, and this program reads format {FORMAT}: it is written anew once the store can be used",
        path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is of another store.
    #[error("the snapshot {} was taken of another store than `store.url` names", path.display())]
    OtherStore {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be sealed, or does not open.
    #[error("the snapshot {} cannot be sealed or opened", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// What a snapshot holds.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: SystemTime,
    /// Every connector that was not deleted, and the revision of all that.
    pub changes: Changes,
}

/// Where the snapshot of one store is.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    store: String,
}

impl SnapshotFile {
    /// The snapshot at `path` of the store at `url`.
    pub fn new(path: PathBuf, url: &StoreUrl) -> Self {
        let store = hex(digest(&SHA256, url.place().as_bytes()).as_ref());
        Self { path, store }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `changes`, which are those since revision zero, in place of what it held. Takes as
    /// long as the disk does: not for a thread that serves others.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; what it held before is still there.
    pub fn write(
        &self,
        keyring: &Keyring,
        taken_at: SystemTime,
        changes: &Changes,
    ) -> Result<(), SnapshotError> {
        let plain = contents::write(taken_at, changes);
        let context = self.context();
        let sealed = keyring.seal_value(&context.parts(), &plain);
        let sealed = sealed.map_err(|source| self.sealed(source))?;
        drop(plain);
        let directory = self.lock()?;
        self.replace(&directory, &sealed)
    }

    /// Reads it; nothing if there is none.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn read(&self, keyring: &Keyring) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(sealed) = self.read_sealed()? else {
            return Ok(None);
        };
        let context = self.context();
        let plain = keyring.open_value(&context.parts(), &sealed);
        let plain = plain.map_err(|source| self.sealed(source))?;
        match contents::read(&plain) {
            Some(snapshot) => Ok(Some(snapshot)),
            None => Err(self.sealed(SealError::Unopened)),
        }
    }

    /// Which master key it is sealed under; nothing if there is none.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn key_id(&self) -> Result<Option<KeyId>, SnapshotError> {
        let Some(mut file) = self.open()? else {
            return Ok(None);
        };
        self.read_header(&mut file).map(Some)
    }

    /// Wraps its data key under the current master key, unless it is; whether that was done.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; it is as it was before.
    pub fn rewrap(&self, keyring: &Keyring) -> Result<Rewrapped, SnapshotError> {
        match self.key_id()? {
            None => return Ok(Rewrapped::Nothing),
            Some(id) if id == *keyring.current() => return Ok(Rewrapped::Already),
            Some(_) => {}
        }
        let directory = self.lock()?;
        // Another may have been written while the lock was waited for.
        let Some(sealed) = self.read_sealed()? else {
            return Ok(Rewrapped::Nothing);
        };
        let context = self.context();
        let key = keyring.rewrap(&context.parts(), &sealed.key);
        let key = key.map_err(|source| self.sealed(source))?;
        let bytes = sealed.bytes;
        self.replace(&directory, &SealedValue { key, bytes })?;
        Ok(Rewrapped::Done)
    }

    fn context(&self) -> Context<'_> {
        Context(&self.store)
    }

    fn open(&self) -> Result<Option<File>, SnapshotError> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    fn read_sealed(&self) -> Result<Option<SealedValue>, SnapshotError> {
        let Some(mut file) = self.open()? else {
            return Ok(None);
        };
        let key_id = self.read_header(&mut file)?;
        let mut bytes = Vec::new();
        file.take(SNAPSHOT_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed("read", error))?;
        if bytes.len() < WRAPPED_BYTES {
            return Err(self.sealed(SealError::Unopened));
        }
        let wrapped = bytes.drain(..WRAPPED_BYTES).collect();
        let key = WrappedKey {
            key_id,
            bytes: wrapped,
        };
        Ok(Some(SealedValue { key, bytes }))
    }

    /// Reads up to the empty line; says whose snapshot it is not.
    fn read_header(&self, file: &mut File) -> Result<KeyId, SnapshotError> {
        let foreign = || SnapshotError::Foreign {
            path: self.path.clone(),
        };
        let mut header = Vec::new();
        let mut byte = [0];
        while !header.ends_with(b"\n\n") {
            if header.len() == HEADER_BYTES_MAX
                || file
                    .read(&mut byte)
                    .map_err(|error| self.failed("read", error))?
                    == 0
            {
                return Err(foreign());
            }
            header.push(byte[0]);
        }
        let header = String::from_utf8(header).map_err(|_| foreign())?;
        let mut lines = header.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        let format: u32 = field(MAGIC)
            .and_then(|found| found.parse().ok())
            .ok_or_else(foreign)?;
        if format.to_string() != FORMAT {
            let path = self.path.clone();
            return Err(SnapshotError::OtherFormat {
                path,
                found: format,
            });
        }
        let key_id = field("key ").and_then(KeyId::read).ok_or_else(foreign)?;
        match field("store ").ok_or_else(foreign)? == self.store {
            true => Ok(key_id),
            false => Err(SnapshotError::OtherStore {
                path: self.path.clone(),
            }),
        }
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// Opens the directory and holds its lock for as long as the result lives.
    fn lock(&self) -> Result<File, SnapshotError> {
        let path = self.directory();
        let failed = |doing, source| SnapshotError::File {
            path: path.to_path_buf(),
            doing,
            source,
        };
        if !path.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| failed("given a directory", error))?;
        }
        let directory = File::open(path).map_err(|error| failed("written to", error))?;
        for _ in 0..LOCK_TRIES {
            match directory.try_lock() {
                Ok(()) => return Ok(directory),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_EVERY),
                Err(TryLockError::Error(error)) => return Err(failed("locked", error)),
            }
        }
        let busy = io::Error::from(io::ErrorKind::ResourceBusy);
        Err(failed("locked", busy))
    }

    /// Puts `sealed` in the file's place, atomically.
    fn replace(&self, directory: &File, sealed: &SealedValue) -> Result<(), SnapshotError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let written = self.write_beside(&beside, sealed).and_then(|()| {
            std::fs::rename(&beside, &self.path)?;
            directory.sync_all()
        });
        written.map_err(|error| {
            // What is left of it helps nobody, least of all on a full disk.
            let _gone = std::fs::remove_file(&beside);
            self.failed("written", error)
        })
    }

    fn write_beside(&self, beside: &Path, sealed: &SealedValue) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(beside)?;
        // One that a killed process left may have been made readable since.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let (key_id, store) = (&sealed.key.key_id, &self.store);
        write!(file, "{MAGIC}{FORMAT}\nkey {key_id}\nstore {store}\n\n")?;
        file.write_all(&sealed.key.bytes)?;
        file.write_all(&sealed.bytes)?;
        file.sync_all()
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> SnapshotError {
        SnapshotError::File {
            path: self.path.clone(),
            doing,
            source,
        }
    }

    fn sealed(&self, source: SealError) -> SnapshotError {
        SnapshotError::Sealed {
            path: self.path.clone(),
            source,
        }
    }
}

/// What came of re-wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrapped {
    /// There is nothing to wrap.
    Nothing,
    /// It was under the current key before.
    Already,
    /// It is now.
    Done,
}

/// What a snapshot's sealing is bound to.
struct Context<'a>(&'a str);

impl Context<'_> {
    fn parts(&self) -> [&[u8]; 3] {
        [b"snapshot", FORMAT.as_bytes(), self.0.as_bytes()]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
