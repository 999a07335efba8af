//! Notices that a file of the configuration changed, or that somebody asked to have it read again.
//!
//! # Invariants
//!
//! Directories are watched, not files: editors and Kubernetes replace a file, or a symbolic link on
//! the way to it, instead of writing into it. What the system tells is a hint to look; whether a
//! file changed is judged by what identifies it, so a log written beside it reloads nothing. Where
//! the system tells nothing (a network file system, no watches left) looking every few seconds
//! does.
//!
//! Reading happens on one thread, so no two reloads run at once and the last one asked for wins.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// How long files must lie still before they are read: a change is seldom one write.
const SETTLE: Duration = Duration::from_millis(100);
/// How often a file that never lies still is looked at all the same.
const SETTLES_MAX: usize = 20;

/// How often files are looked at where the system tells nothing.
pub(super) const POLL: Duration = Duration::from_secs(5);

/// A running watch. Dropping it waits for a reload that is under way.
#[derive(Debug)]
pub(super) struct Watch {
    wishes: Sender<Wish>,
    thread: Option<JoinHandle<()>>,
}

/// What the watching thread is told.
#[derive(Debug)]
enum Wish {
    /// Something happened in a directory.
    Look,
    /// Read again, changed or not.
    Reload,
    /// End.
    Stop,
}

impl Watch {
    /// Watches the files of `seen`; `reload` is called after a change, a change since they were
    /// seen included, and returns the files to watch from then on. They are looked at every `poll`,
    /// whatever the system tells.
    ///
    /// # Errors
    ///
    /// If no thread can be started. That the system watches nothing is only logged.
    pub(super) fn start(
        seen: Seen,
        poll: Duration,
        reload: impl FnMut() -> Vec<PathBuf> + Send + 'static,
    ) -> io::Result<Self> {
        let (wishes, wished) = channel();
        let mut directories = Directories::new(wishes.clone());
        directories.follow(&seen);
        let watching = Watching {
            wished,
            directories,
            seen,
            poll,
            reload,
        };
        let thread = thread::Builder::new()
            .name("attache-watch".into())
            .spawn(move || watching.run())?;
        // What changed before the directories were watched gave no hint.
        let _sent = wishes.send(Wish::Look);
        Ok(Self {
            wishes,
            thread: Some(thread),
        })
    }

    /// Asks for a reload, whether or not anything changed.
    pub(super) fn reload(&self) {
        // The thread is gone only if a reload panicked, which was logged as a defect.
        let _sent = self.wishes.send(Wish::Reload);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _sent = self.wishes.send(Wish::Stop);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

struct Watching<F> {
    wished: Receiver<Wish>,
    directories: Directories,
    seen: Seen,
    poll: Duration,
    reload: F,
}

impl<F: FnMut() -> Vec<PathBuf>> Watching<F> {
    fn run(mut self) {
        loop {
            match self.wished.recv_timeout(self.poll) {
                Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wish::Reload) => self.read_again(),
                Ok(Wish::Look) | Err(RecvTimeoutError::Timeout) => {
                    if self.seen.changed() {
                        match self.settle() {
                            Settled::Stop => return,
                            Settled::Still => self.read_again(),
                        }
                    }
                }
            }
        }
    }

    /// Waits until the files lie still: one that is written in place is empty at first, and an
    /// empty configuration is a good one.
    fn settle(&self) -> Settled {
        let mut before = self.seen.again();
        for _ in 0..SETTLES_MAX {
            match self.wished.recv_timeout(SETTLE) {
                // It is read in any case, and soon.
                Ok(Wish::Look | Wish::Reload) => {}
                Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return Settled::Stop,
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.seen.again();
                    if now == before {
                        break;
                    }
                    before = now;
                }
            }
        }
        Settled::Still
    }

    fn read_again(&mut self) {
        // Looked at before they are read: a change amid the reading is a change after it.
        self.seen = self.seen.again();
        self.seen.follow((self.reload)());
        self.directories.follow(&self.seen);
    }
}

/// What happened while files were given time to lie still.
enum Settled {
    Still,
    Stop,
}

/// The files of a configuration as they were when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<PathBuf, Option<Identity>>);

impl Seen {
    /// These files, as they are now.
    pub(super) fn now(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |file: PathBuf| (file.clone(), identity(&file));
        Self(files.into_iter().map(look).collect())
    }

    /// Exchanges the files for others; what was seen before stays as it was seen.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        let before = std::mem::replace(self, Self::now(files));
        for (file, seen) in before.0 {
            self.0.entry(file).and_modify(|now| *now = seen);
        }
    }

    /// The same files, as they are now.
    fn again(&self) -> Self {
        Self::now(self.0.keys().cloned())
    }

    fn changed(&self) -> bool {
        self.again() != *self
    }
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The identity of what `file` leads to; `None` if that is nothing.
fn identity(file: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(file).ok()?;
    Some(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// The directories the system watches for us.
struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Directories {
    fn new(wishes: Sender<Wish>) -> Self {
        let hint = move |event: notify::Result<notify::Event>| {
            // An error may stand for events that were lost. Our own reading is no event to heed.
            if event.map_or(true, |event| !event.kind.is_access()) {
                let _sent = wishes.send(Wish::Look);
            }
        };
        let watcher = notify::recommended_watcher(hint);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of files will be noticed late");
        }
        Self {
            watcher: watcher.ok(),
            watched: BTreeSet::new(),
        }
    }

    fn follow(&mut self, seen: &Seen) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = seen.0.keys().map(|file| directory(file)).collect();
        for gone in self.watched.difference(&wanted) {
            // It fails if the directory is gone, and the watch with it.
            let _unwatched = watcher.unwatch(gone);
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            let new = !self.watched.contains(&directory);
            match new.then(|| watcher.watch(&directory, RecursiveMode::NonRecursive)) {
                None | Some(Ok(())) => {
                    watched.insert(directory);
                }
                Some(Err(error)) => {
                    let directory = directory.display();
                    tracing::warn!(%directory, %error, "changes of files will be noticed late");
                }
            }
        }
        self.watched = watched;
    }
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Stage {
        directory: TempDir,
        reloads: Receiver<String>,
        watch: Watch,
    }

    /// Watches `names` within a directory that `prepare` fills; each reload sends the content of
    /// the first.
    fn stage(poll: Duration, names: &[&str], prepare: impl FnOnce(&Path)) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let files: Vec<PathBuf> = names
            .iter()
            .map(|name| directory.path().join(name))
            .collect();
        let (sender, reloads) = channel();
        let again = files.clone();
        let watch = Watch::start(Seen::now(files), poll, move || {
            let content = fs::read_to_string(&again[0]).unwrap_or_else(|_| "missing".into());
            let _sent = sender.send(content);
            again.clone()
        });
        Stage {
            directory,
            reloads,
            watch: watch.unwrap(),
        }
    }

    impl Stage {
        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn next_reload(&self) -> String {
            self.reloads.recv_timeout(PATIENCE).unwrap()
        }
    }

    #[test]
    fn a_file_beside_the_configuration_reloads_nothing() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            fs::write(at.join("a.yaml"), "1").unwrap()
        });

        fs::write(stage.path("access.log"), "a line").unwrap();
        stage.watch.reload();
        assert_eq!(stage.next_reload(), "1");
        fs::write(stage.path("access.log"), "another line").unwrap();
        fs::write(stage.path("a.yaml"), "2").unwrap();
        assert_eq!(stage.next_reload(), "2");

        drop(stage.watch);
        assert_eq!(stage.reloads.try_iter().count(), 0);
    }

    #[test]
    fn a_file_that_is_replaced_is_read_again() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            fs::write(at.join("a.yaml"), "1").unwrap()
        });

        fs::write(stage.path("a.yaml.new"), "2").unwrap();
        fs::rename(stage.path("a.yaml.new"), stage.path("a.yaml")).unwrap();

        assert_eq!(stage.next_reload(), "2");
    }

    #[test]
    fn a_file_that_is_written_into_is_read_again() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            fs::write(at.join("a.yaml"), "1").unwrap()
        });

        fs::write(stage.path("a.yaml"), "2").unwrap();

        assert_eq!(stage.next_reload(), "2");
    }

    #[test]
    fn a_link_swapped_as_kubernetes_does_is_noticed() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            for (name, content) in [("..1", "1"), ("..2", "2")] {
                fs::create_dir(at.join(name)).unwrap();
                fs::write(at.join(name).join("a.yaml"), content).unwrap();
            }
            symlink("..1", at.join("..data")).unwrap();
            symlink("..data/a.yaml", at.join("a.yaml")).unwrap();
        });

        symlink("..2", stage.path("..data_tmp")).unwrap();
        fs::rename(stage.path("..data_tmp"), stage.path("..data")).unwrap();

        assert_eq!(stage.next_reload(), "2");
    }

    #[test]
    fn a_file_that_the_configuration_names_is_watched_too() {
        let stage = stage(NEVER, &["a.yaml", "secrets/crm"], |at| {
            fs::create_dir(at.join("secrets")).unwrap();
            fs::write(at.join("a.yaml"), "1").unwrap();
            fs::write(at.join("secrets/crm"), "old").unwrap();
        });

        fs::write(stage.path("secrets/crm"), "new").unwrap();

        assert_eq!(stage.next_reload(), "1");
    }

    #[test]
    fn without_a_word_from_the_system_a_change_is_found_by_looking() {
        let stage = stage(Duration::from_millis(10), &["linked/a.yaml"], |at| {
            for (name, content) in [("one", "1"), ("two", "2")] {
                fs::create_dir(at.join(name)).unwrap();
                fs::write(at.join(name).join("a.yaml"), content).unwrap();
            }
            symlink("one", at.join("linked")).unwrap();
        });

        // The watched directory is "one"; nothing happens in it.
        symlink("two", stage.path("link")).unwrap();
        fs::rename(stage.path("link"), stage.path("linked")).unwrap();

        assert_eq!(stage.next_reload(), "2");
    }

    #[test]
    fn a_change_between_the_reading_and_the_watching_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "1").unwrap();
        let mut seen = Seen::now([file.clone()]);
        fs::write(&file, "changed").unwrap();
        seen.follow(vec![file.clone()]);

        let (sender, reloads) = channel();
        let _watch = Watch::start(seen, NEVER, move || {
            let _sent = sender.send(());
            vec![file.clone()]
        });

        assert_eq!(reloads.recv_timeout(PATIENCE), Ok(()));
    }

    #[test]
    fn a_reload_that_is_asked_for_happens_without_a_change() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            fs::write(at.join("a.yaml"), "1").unwrap()
        });

        stage.watch.reload();

        assert_eq!(stage.next_reload(), "1");
    }

    #[test]
    fn a_file_that_vanishes_is_a_change() {
        let stage = stage(NEVER, &["a.yaml"], |at| {
            fs::write(at.join("a.yaml"), "1").unwrap()
        });

        fs::remove_file(stage.path("a.yaml")).unwrap();

        assert_eq!(stage.next_reload(), "missing");
    }
}
