//! A small disk that a test can fill: a file system of its own, which only the processes that were
//! sent there see.
//!
//! # Invariants
//!
//! It is a tmpfs in a mount namespace of its own, held by a process that does nothing else; both end
//! with the value. Whoever runs the tests need not be root where the system lets users have
//! namespaces.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::child::Child;

/// A disk of its own.
pub(crate) struct Island {
    holder: Child,
    directory: TempDir,
    is_root: bool,
}

impl Island {
    /// A disk of `kib` KiB.
    pub(crate) async fn new(kib: u32) -> Self {
        let is_root = is_root();
        let directory = TempDir::new().unwrap();
        let mut command = Command::new("unshare");
        command.arg(if is_root { "-m" } else { "-rm" });
        let script =
            "mount -t tmpfs -o \"size=$1k,mode=1777\" tmpfs \"$2\" && echo there && exec cat";
        command.args(["sh", "-c", script, "island", &kib.to_string()]);
        command.arg(directory.path());
        let holder = Child::start(command);
        holder.stdout.line("a disk", |line| line == "there").await;
        Self {
            holder,
            directory,
            is_root,
        }
    }

    /// Where it is, for processes that were sent there.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The same place, as a test sees it.
    pub(crate) fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path().strip_prefix("/").unwrap())
    }

    /// What sends `program` there.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.enter();
        command.arg("--").arg(program);
        command
    }

    /// As [`Island::command`], as a user that is not root: `name` where the tests run as root, and
    /// otherwise whoever runs them.
    pub(crate) fn command_as(&self, name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.enter();
        match self.is_root {
            true => command.args([
                "--",
                "setpriv",
                "--reuid",
                name,
                "--regid",
                name,
                "--clear-groups",
                "--",
            ]),
            false => command.args(["--", "unshare", "--map-user=1000", "--map-group=1000", "--"]),
        };
        command.arg(program);
        command
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !self.is_root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
    }

    /// Leaves no room for another byte.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.seen().join("ballast")).unwrap();
        for chunk in [1 << 16, 1 << 12, 1] {
            let bytes = vec![b'x'; chunk];
            let full = loop {
                match file.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.seen().join("ballast")).unwrap();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
