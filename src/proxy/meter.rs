//! What is known of a connection from outside its task, and the limits it is held to.
//!
//! # Invariants
//!
//! A request costs no timer here, only a store to its connection's [`Meter`]. Who reads a meter, the
//! sweep or the drain, asks its connection's task to act; nobody else closes a connection.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::linger::LINGER;

/// How long nothing is asked on a connection before what is held for its next request is given up.
pub(super) const REST_AFTER: Duration = Duration::from_secs(1);

/// Time in whole milliseconds since the process began, as the sweep last saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tick(Arc<AtomicU64>);

impl Tick {
    pub(crate) fn set(&self, now: Duration) {
        let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client has not spoken yet, or not since its TLS handshake.
    Silent,
    /// It shakes hands, or begins to say which protocol it speaks.
    Greeting,
    /// The bytes of a head are awaited or arriving.
    Head,
    /// At least one request is being carried.
    Busy,
    /// Nothing is asked.
    Idle,
    /// The same, and no HTTP state is held until the client speaks again.
    Resting,
    /// The last answer is out, and what still comes is thrown away.
    Lingering,
}

/// What the sweep or the drain asks of a connection's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Signal {
    /// Go on.
    None,
    /// Give up what is held for a request that may never come, unless one has.
    Rest,
    /// Finish what is in flight, take nothing new.
    Drain,
    /// Close now.
    Close,
    /// The gateway ends: give up what is in flight, say so, and close.
    Stop,
}

/// What is known of a connection from outside its task.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) tick: Tick,
    phase: AtomicU8,
    /// When the phase began.
    since_ms: AtomicU64,
    /// When writing began to stall; 0 while it does not.
    pub(super) blocked_since_ms: AtomicU64,
    in_flight: AtomicU32,
    pub(super) bytes_read: AtomicU64,
    /// For each HTTP/2 stream with an answer, since when its client takes nothing; 0 while it does.
    pub(crate) untaken_since_ms: Mutex<slab::Slab<Arc<AtomicU64>>>,
    /// Whether the body of the last request has yet to arrive whole.
    pub(super) body_open: AtomicBool,
    /// Whether the client has shut its sending half down.
    pub(super) ended: AtomicBool,
    /// Whether hyper is to read again when nothing is in flight.
    is_waited_for: AtomicBool,
    /// Who waits for more of a request's body.
    pub(super) body_reader: AtomicWaker,
    /// Whether every answer so far was written out.
    pub(super) all_written: AtomicBool,
    /// Whether the connection is one that can rest.
    can_rest: AtomicBool,
    signal: AtomicU8,
    /// Who drives the connection. It stays when used, for only one who drives leaves it.
    waker: Mutex<Option<Waker>>,
    /// Whether the task is yet to say, again, how it is woken.
    unheard: AtomicBool,
    /// Who reads an HTTP/2 origin's connection, which is another task.
    reader: AtomicWaker,
}

/// The limits the sweep holds a connection to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a handshake, and for as much of a head as tells its protocol.
    pub(crate) handshake: Duration,
    /// For a head, from its first byte.
    pub(crate) head: Duration,
    /// Without a request.
    pub(crate) idle: Duration,
    /// Without the peer taking a byte that waits for it.
    pub(crate) write: Duration,
}

impl Meter {
    pub(crate) fn new(tick: Tick) -> Arc<Self> {
        let now_ms = tick.now_ms();
        Arc::new(Self {
            tick,
            phase: AtomicU8::new(Phase::Silent as u8),
            since_ms: AtomicU64::new(now_ms),
            blocked_since_ms: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            bytes_read: AtomicU64::new(0),
            untaken_since_ms: Mutex::default(),
            body_open: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            is_waited_for: AtomicBool::new(false),
            body_reader: AtomicWaker::new(),
            all_written: AtomicBool::new(true),
            can_rest: AtomicBool::new(false),
            signal: AtomicU8::new(Signal::None as u8),
            waker: Mutex::default(),
            unheard: AtomicBool::new(true),
            reader: AtomicWaker::new(),
        })
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.since_ms.store(self.tick.now_ms(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    /// The client has sent its first bytes.
    pub(crate) fn spoke(&self) {
        if self.is(Phase::Silent) {
            self.enter(Phase::Greeting);
        }
    }

    /// The TLS handshake is done, and HTTP is awaited.
    pub(crate) fn shaken(&self) {
        self.enter(Phase::Silent);
    }

    /// The protocol is known. What told it is part of a head, whose time has begun with it.
    pub(crate) fn greeted(&self) {
        self.phase.store(Phase::Head as u8, Ordering::Release);
    }

    /// Lets a client that has not spoken yet begin anew.
    pub(crate) fn await_anew_if_silent(&self) {
        if self.is(Phase::Silent) {
            self.enter(Phase::Silent);
        }
    }

    /// A request has arrived.
    pub(crate) fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.all_written.store(false, Ordering::Release);
        self.enter(Phase::Busy);
    }

    /// The request that has arrived has a body, or has none.
    pub(crate) fn expect_body(&self, has_body: bool) {
        self.body_open.store(has_body, Ordering::Release);
    }

    /// All of the request's body has arrived.
    pub(crate) fn body_arrived(&self) {
        self.body_open.store(false, Ordering::Release);
    }

    /// Whether bytes wait for the peer to take them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since_ms.load(Ordering::Acquire) > 0
    }

    /// Whether the client will send nothing more. If not yet, `context` is woken when it is so.
    pub(crate) fn has_ended(&self, context: &Context<'_>) -> bool {
        self.body_reader.register(context.waker());
        self.ended.load(Ordering::Acquire)
    }

    /// A request's answer is out, or given up.
    pub(crate) fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.enter(Phase::Idle);
            let waited = self.is_waited_for.load(Ordering::Relaxed);
            if waited || self.ended.load(Ordering::Acquire) {
                // The end of the stream, or what follows a request that may leave HTTP, was kept
                // from hyper, which waits for a word of the socket.
                self.is_waited_for.store(false, Ordering::Relaxed);
                self.wake();
            }
        }
    }

    /// Something was kept from hyper until nothing is in flight.
    pub(super) fn wake_when_over(&self) {
        self.is_waited_for.store(true, Ordering::Release);
    }

    pub(crate) fn carries_nothing(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// The connection is of HTTP/1.1, which says nothing while nothing is asked.
    pub(crate) fn let_rest(&self) {
        self.can_rest.store(true, Ordering::Relaxed);
    }

    /// Whether nothing was asked for [`REST_AFTER`], the last answer is out and its request was read
    /// to its end, so that what is held for the connection can be given up.
    pub(crate) fn is_due_to_rest(&self) -> bool {
        self.is(Phase::Idle)
            && self.is_unchanged_for(REST_AFTER)
            && self.can_rest.load(Ordering::Relaxed)
            && self.signal.load(Ordering::Acquire) == Signal::None as u8
            && self.carries_nothing()
            && self.all_written.load(Ordering::Acquire)
            && !self.is_blocked()
            && !self.body_open.load(Ordering::Acquire)
            && !self.ended.load(Ordering::Acquire)
    }

    /// Answers [`Signal::Rest`]: whether the connection rests from now on. Its idle time goes on.
    pub(crate) fn begin_rest(&self) -> bool {
        let (rest, none) = (Signal::Rest as u8, Signal::None as u8);
        let asked = self
            .signal
            .compare_exchange(rest, none, Ordering::AcqRel, Ordering::Acquire);
        let begins = asked.is_ok() && self.is_due_to_rest();
        if begins {
            self.phase.store(Phase::Resting as u8, Ordering::Release);
        }
        begins
    }

    /// The client speaks again, or has gone.
    pub(crate) fn end_rest(&self) {
        self.phase.store(Phase::Idle as u8, Ordering::Release);
    }

    /// Bytes read so far: equal before and after means that nothing was answered.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Acquire)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        self.wake();
        self.reader.wake();
    }

    /// Whether the connection was told to close.
    pub(crate) fn is_closing(&self) -> bool {
        self.signal.load(Ordering::Acquire) >= Signal::Close as u8
    }

    /// The same for whoever reads the connection, and is woken (by `context`) when it is so.
    pub(crate) fn is_closing_reader(&self, context: &Context<'_>) -> bool {
        self.reader.register(context.waker());
        self.is_closing()
    }

    /// Whether what is in flight is to be given up.
    pub(crate) fn gives_up(&self) -> bool {
        self.signal.load(Ordering::Acquire) == Signal::Stop as u8
    }

    /// Takes a request to close back, for a connection that was idle when it was made and has read
    /// a request since.
    pub(crate) fn keep_open(&self) {
        self.signal.store(Signal::None as u8, Ordering::Release);
    }

    /// Wakes the task that drives the connection, on whatever thread this is. Its waker stays: were
    /// it taken, a task that is being polled meanwhile could go on without one.
    fn wake(&self) {
        let waker = self.waker.lock();
        let waker = waker.unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Another task drives the connection from here on.
    pub(crate) fn changes_hands(&self) {
        self.unheard.store(true, Ordering::Release);
    }

    /// What is asked of the task, which is woken (by `context`) when that changes.
    ///
    /// One task asks, and its waker is the same for all its life: it is left once. Another task that
    /// takes the connection over says so first, by [`Meter::changes_hands`].
    pub(crate) fn asked(&self, context: &Context<'_>) -> Signal {
        if self.unheard.load(Ordering::Acquire) {
            self.unheard.store(false, Ordering::Release);
            let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            *waker = Some(context.waker().clone());
        }
        match self.signal.load(Ordering::Acquire) {
            rest if rest == Signal::Rest as u8 => Signal::Rest,
            drain if drain == Signal::Drain as u8 => Signal::Drain,
            close if close == Signal::Close as u8 => Signal::Close,
            stop if stop == Signal::Stop as u8 => Signal::Stop,
            _none => Signal::None,
        }
    }

    /// Whether `patience` with this connection has run out.
    pub(crate) fn is_overdue(&self, patience: &Patience) -> bool {
        let over = |since_ms: u64, limit: Duration| {
            let waited_ms = self.tick.now_ms().saturating_sub(since_ms);
            Duration::from_millis(waited_ms) >= limit
        };
        let blocked_since_ms = self.blocked_since_ms.load(Ordering::Relaxed);
        if blocked_since_ms > 0 && over(blocked_since_ms, patience.write) {
            return true;
        }
        let streams = self.untaken_since_ms.lock();
        let streams = streams.unwrap_or_else(PoisonError::into_inner);
        let untaken = |(_, since_ms): (usize, &Arc<AtomicU64>)| {
            let since_ms = since_ms.load(Ordering::Relaxed);
            since_ms > 0 && over(since_ms, patience.write)
        };
        if streams.iter().any(untaken) {
            return true;
        }
        let since_ms = self.since_ms.load(Ordering::Relaxed);
        let limit = match self.phase.load(Ordering::Acquire) {
            silent if silent == Phase::Silent as u8 => patience.head,
            greeting if greeting == Phase::Greeting as u8 => patience.handshake,
            head if head == Phase::Head as u8 => patience.head,
            idle if idle == Phase::Idle as u8 => patience.idle,
            resting if resting == Phase::Resting as u8 => patience.idle,
            lingering if lingering == Phase::Lingering as u8 => LINGER,
            _busy => return false,
        };
        over(since_ms, limit)
    }

    pub(crate) fn is_idle_for(&self, grace: Duration) -> bool {
        let idles = self.is(Phase::Idle) || self.is(Phase::Resting) || self.is(Phase::Silent);
        idles && self.is_unchanged_for(grace)
    }

    fn is_unchanged_for(&self, grace: Duration) -> bool {
        let since_ms = self.since_ms.load(Ordering::Relaxed);
        let waited_ms = self.tick.now_ms().saturating_sub(since_ms);
        Duration::from_millis(waited_ms) >= grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::stall::Taking;

    const PATIENCE: Patience = Patience {
        handshake: Duration::from_secs(5),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    #[test]
    fn a_head_that_never_ends_is_overdue_and_a_busy_connection_never_is() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        tick.set(Duration::from_secs(9));
        assert!(!meter.is_overdue(&PATIENCE));
        tick.set(Duration::from_secs(10));
        assert!(meter.is_overdue(&PATIENCE));

        meter.request_began();
        tick.set(Duration::from_secs(1000));

        assert!(!meter.is_overdue(&PATIENCE));
    }

    #[test]
    fn one_untaken_stream_makes_its_connection_overdue() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        meter.request_began();
        let taking = Taking::new(&meter);
        taking.offered();
        tick.set(Duration::from_secs(31));
        assert!(meter.is_overdue(&PATIENCE));

        taking.taken();

        assert!(!meter.is_overdue(&PATIENCE));
    }

    #[test]
    fn an_idle_connection_is_overdue_after_the_idle_limit() {
        let tick = Tick::default();
        let meter = Meter::new(tick.clone());
        meter.request_began();
        meter.request_ended();
        tick.set(Duration::from_secs(74));
        assert!(!meter.is_overdue(&PATIENCE));

        tick.set(Duration::from_secs(75));

        assert!(meter.is_overdue(&PATIENCE));
    }

    #[test]
    fn a_task_that_left_its_waker_once_is_woken_by_every_signal() {
        use std::sync::atomic::AtomicUsize;
        use std::task::Wake;
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let meter = Meter::new(Tick::default());
        let (first, next) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let woken = |task: &Arc<Woken>| task.0.load(Ordering::SeqCst);
        let ask = |task: &Arc<Woken>| {
            let waker = Waker::from(Arc::clone(task));
            meter.asked(&Context::from_waker(&waker))
        };
        assert_eq!(ask(&first), Signal::None);

        // The second comes while the task is being polled for the first, as from another thread.
        meter.signal(Signal::Drain);
        meter.signal(Signal::Close);
        assert_eq!(woken(&first), 2);

        assert_eq!(ask(&first), Signal::Close);
        meter.changes_hands();
        assert_eq!(ask(&next), Signal::Close);
        meter.signal(Signal::Stop);
        assert_eq!((woken(&first), woken(&next)), (2, 1));
    }
}
