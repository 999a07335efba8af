//! A bounded queue to a thread that writes, so that nobody who logs waits for a terminal or a disk.
//!
//! # Invariants
//!
//! Pushing never blocks: what finds no room is dropped and counted, and the next line that is
//! written says how many. The same goes for what could not be written.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the writer rests after a batch: a thread that is awake costs those who log nothing,
/// waking it would cost them a system call each time.
const REST: Duration = Duration::from_millis(5);
/// About how much is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long a flush waits for a slow reader of the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where lines end up; shared by the queues, so that their lines do not mix.
pub(super) type Sink = Arc<Mutex<Box<dyn Write + Send>>>;

/// What the writer is asked to put into words.
pub(super) enum Entry<T> {
    /// What was pushed.
    Item(T),
    /// So many items are missing here.
    Lost(u64),
}

enum Job<T> {
    Write(T),
    /// Answered by dropping it, once everything pushed before is written.
    Flush(SyncSender<()>),
}

/// The end that is pushed to.
pub(super) struct Queue<T> {
    sender: SyncSender<Job<T>>,
    lost: Arc<AtomicU64>,
}

/// An item found no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<T: Send + 'static> Queue<T> {
    /// Starts a writer that puts entries into words by `format` and writes them to `sink`. It ends
    /// when the queue is dropped.
    pub(super) fn start(
        thread_name: &str,
        items_max: usize,
        sink: Sink,
        format: impl FnMut(Entry<T>, &mut String) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(items_max);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            receiver,
            sink,
            lost: Arc::clone(&lost),
            format,
            text: String::new(),
        };
        thread::Builder::new()
            .name(thread_name.into())
            .spawn(move || writer.run())?;
        Ok(Self { sender, lost })
    }

    pub(super) fn push(&self, item: T) -> Result<(), Full> {
        self.sender.try_send(Job::Write(item)).map_err(|_| {
            self.lost.fetch_add(1, Ordering::Relaxed);
            Full
        })
    }

    /// Waits until everything pushed so far is written, for at most about a second.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(0);
        let mut job = Job::Flush(done);
        let mut waited = Duration::ZERO;
        while let Err(TrySendError::Full(back)) = self.sender.try_send(job) {
            if waited >= FLUSH_TIMEOUT {
                return;
            }
            job = back;
            thread::sleep(REST);
            waited += REST;
        }
        // The answer is that the other end is dropped; a timeout means a reader that is stuck.
        let _answer = written.recv_timeout(FLUSH_TIMEOUT);
    }
}

struct Writer<T, F> {
    receiver: Receiver<Job<T>>,
    sink: Sink,
    lost: Arc<AtomicU64>,
    format: F,
    /// The batch, kept from one to the next for its room.
    text: String,
}

impl<T, F: FnMut(Entry<T>, &mut String)> Writer<T, F> {
    fn run(mut self) {
        while let Ok(first) = self.receiver.recv() {
            let nobody_waits = self.batch(first).is_empty();
            // A full batch has left something in the queue.
            if nobody_waits && self.text.len() < BATCH_BYTES {
                thread::sleep(REST);
            }
        }
    }

    /// Writes what is queued and returns who waits for it.
    fn batch(&mut self, first: Job<T>) -> Vec<SyncSender<()>> {
        let (mut items, mut waiting) = (0, Vec::new());
        self.text.clear();
        let mut next = Ok(first);
        while let Ok(job) = next {
            match job {
                Job::Write(item) => {
                    (self.format)(Entry::Item(item), &mut self.text);
                    items += 1;
                }
                Job::Flush(waiter) => waiting.push(waiter),
            }
            next = if self.text.len() < BATCH_BYTES {
                self.receiver.try_recv()
            } else {
                Err(TryRecvError::Empty)
            };
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            (self.format)(Entry::Lost(lost), &mut self.text);
        }
        if self.write().is_err() {
            // There is nowhere to say so but here, later.
            self.lost.fetch_add(lost + items, Ordering::Relaxed);
        }
        waiting
    }

    fn write(&self) -> io::Result<()> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(self.text.as_bytes())?;
        sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Fails or blocks as told, and keeps what was written.
    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<TapeState>>);

    #[derive(Default)]
    struct TapeState {
        text: String,
        full_disk: bool,
    }

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            if state.full_disk {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn words(entry: Entry<u32>, out: &mut String) {
        out.push_str(&match entry {
            Entry::Item(item) => format!("{item}\n"),
            Entry::Lost(lost) => format!("lost {lost}\n"),
        });
    }

    fn sink(tape: &Tape) -> Sink {
        Arc::new(Mutex::new(Box::new(tape.clone())))
    }

    #[test]
    fn a_full_queue_drops_and_later_says_how_many() {
        let tape = Tape::default();
        let (entered, formatting) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let queue = Queue::start("test", 2, sink(&tape), move |entry, out| {
            entered.send(()).unwrap();
            let _released = held.recv();
            words(entry, out);
        })
        .unwrap();
        queue.push(1).unwrap();
        formatting.recv().unwrap();
        queue.push(2).unwrap();
        queue.push(3).unwrap();

        assert_eq!(queue.push(4), Err(Full));
        assert_eq!(queue.push(5), Err(Full));

        drop(release);
        queue.flush();
        assert_eq!(tape.0.lock().unwrap().text, "1\n2\n3\nlost 2\n");
    }

    #[test]
    fn what_a_full_disk_swallowed_is_told_once_there_is_room() {
        let tape = Tape::default();
        let queue = Queue::start("test", 8, sink(&tape), words).unwrap();
        tape.0.lock().unwrap().full_disk = true;
        queue.push(1).unwrap();
        queue.flush();

        tape.0.lock().unwrap().full_disk = false;
        queue.push(2).unwrap();
        queue.flush();

        assert_eq!(tape.0.lock().unwrap().text, "2\nlost 1\n");
    }

    #[test]
    fn everything_pushed_before_a_flush_is_written_after_it_in_order() {
        let tape = Tape::default();
        let queue = Queue::start("test", 10_000, sink(&tape), words).unwrap();
        let mut expected = String::new();
        for item in 0..10_000 {
            queue.push(item).unwrap();
            words(Entry::Item(item), &mut expected);
        }

        queue.flush();

        assert_eq!(tape.0.lock().unwrap().text, expected);
    }
}
