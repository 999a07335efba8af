//! The clients of a run: their connections are opened and tried first, then the clock starts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::answer::{Answer, Fault};
use super::http1::Http1;
use super::http2::{Http2, Link};
use super::pace::{Pacer, Turn};
use super::request::{Closing, Request, RequestError};
use super::tally::{Expected, Tally};
use super::target::Target;
use super::{Client, Pace};

/// How long answers are waited for where the run was cut short.
const CUT_SHORT_GRACE: Duration = Duration::from_millis(500);
/// How long a client that got no answer keeps still, lest it does nothing but try.
const PAUSE: Duration = Duration::from_millis(10);

/// What a run is made of.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) target: Target,
    pub(crate) request: Request,
    pub(crate) client: Client,
    pub(crate) connections: usize,
    pub(crate) expected: Expected,
    /// How long each answer may take.
    pub(crate) timeout: Option<Duration>,
    /// How long they are waited for before the clock starts and when the run is over, unless they
    /// may take less or more.
    pub(crate) grace: Duration,
    /// Over how long connections are opened, one after the other.
    pub(crate) ramp: Duration,
}

/// The clients, ready to begin.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
    timeout: Option<Duration>,
    grace: Duration,
    expected: Expected,
}

/// A run that goes on.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    tally: Arc<Mutex<Tally>>,
    pacer: Arc<Pacer>,
}

/// One client: sends a request at a time.
#[derive(Debug)]
enum Member {
    Http1(Http1),
    Http2(Http2),
}

impl Member {
    async fn exchange(&mut self, within: Option<Duration>) -> Result<Answer, Fault> {
        let Some(within) = within else {
            return self.attempt().await;
        };
        let outcome = timeout(within, self.attempt()).await;
        outcome.unwrap_or_else(|_late| {
            self.give_up();
            Err(Fault::TimedOut(within))
        })
    }

    async fn attempt(&mut self) -> Result<Answer, Fault> {
        match self {
            Self::Http1(client) => client.exchange().await,
            Self::Http2(client) => client.exchange().await,
        }
    }

    /// Leaves an answer to itself that did not come.
    fn give_up(&mut self) {
        match self {
            Self::Http1(client) => client.hang_up(),
            // The stream was reset when it was dropped.
            Self::Http2(_) => {}
        }
    }

    /// Ends a connection that was for one request. Says whether there was one.
    async fn part(&mut self) -> bool {
        match self {
            Self::Http1(client) => client.part().await,
            Self::Http2(_) => false,
        }
    }
}

impl Crew {
    /// Opens the connections and sends one request over each. What comes of that is the second
    /// thing returned; a client whose connection failed tries again when it is its turn.
    pub(crate) async fn muster(orders: &Orders) -> Result<(Self, Tally), RequestError> {
        let mut members = orders.members()?;
        let total = members.len().max(1);
        let begin = tokio::time::Instant::now();
        let mut opening = JoinSet::new();
        for (place, mut member) in members.drain(..).enumerate() {
            let turn = begin + orders.ramp.mul_f64(place as f64 / total as f64);
            let within = orders.timeout.unwrap_or(orders.grace);
            opening.spawn(async move {
                sleep_until(turn).await;
                let sent = Instant::now();
                let outcome = member.exchange(Some(within)).await;
                member.part().await;
                (place, member, sent, Instant::now(), outcome)
            });
        }
        let mut warm = Tally::new(orders.expected);
        let mut opened = Vec::with_capacity(total);
        while let Some(done) = opening.join_next().await {
            let (place, member, sent, now, outcome) = done.expect("a client that did not panic");
            let turn = Turn {
                due: sent,
                is_kept_waiting: false,
            };
            warm.count(turn, sent, now, &outcome);
            opened.push((place, member));
        }
        opened.sort_by_key(|(place, _)| *place);
        let crew = Self {
            members: opened.into_iter().map(|(_, member)| member).collect(),
            timeout: orders.timeout,
            grace: orders.grace,
            expected: orders.expected,
        };
        Ok((crew, warm))
    }

    /// Starts the clock. The run ends by itself; what came of it is the future's.
    pub(crate) fn set_off(
        self,
        pace: Pace,
        lasts: Duration,
    ) -> (Watch, impl Future<Output = Tally>) {
        let start = Instant::now();
        let pacer = Arc::new(Pacer::new(pace, start, lasts));
        let watch = Watch {
            tally: Arc::new(Mutex::new(Tally::new(self.expected))),
            pacer: Arc::clone(&pacer),
        };
        let mut clients = JoinSet::new();
        for member in self.members {
            clients.spawn(work(member, self.timeout, watch.clone()));
        }
        let ticker = pacer.tick();
        let within = self.timeout.unwrap_or(self.grace);
        let ending = {
            let watch = watch.clone();
            async move {
                watch.finish(clients, start + lasts, within).await;
                if let Some(ticker) = ticker {
                    ticker.join().expect("a ticker that did not panic");
                }
                watch.tally()
            }
        };
        (watch, ending)
    }
}

/// Sends one request after the other until the run is over.
async fn work(mut member: Member, within: Option<Duration>, watch: Watch) {
    let mut now = Instant::now();
    while let Some(turn) = watch.pacer.next(now).await {
        let flight = Flight {
            watch: &watch,
            turn,
            sent: watch.pacer.sent(turn.due),
            over: false,
        };
        let outcome = member.exchange(within).await;
        now = Instant::now();
        flight.land(now, &outcome);
        if outcome.is_err() {
            sleep(PAUSE).await;
        }
        if member.part().await || outcome.is_err() {
            now = Instant::now();
        }
    }
}

/// A request that is under way; counted as not answered when it is dropped.
struct Flight<'a> {
    watch: &'a Watch,
    turn: Turn,
    sent: Instant,
    over: bool,
}

impl Flight<'_> {
    fn count(&self, now: Instant, outcome: &Result<Answer, Fault>) {
        let (turn, sent) = (self.turn, self.sent);
        self.watch
            .counted(|tally| tally.count(turn, sent, now, outcome));
    }

    fn land(mut self, now: Instant, outcome: &Result<Answer, Fault>) {
        self.over = true;
        self.count(now, outcome);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.over || self.watch.pacer.is_cut_short() {
            return;
        }
        let now = Instant::now();
        let never = Err(Fault::TimedOut(now - self.sent));
        self.count(now, &never);
    }
}

impl Orders {
    fn members(&self) -> Result<Vec<Member>, RequestError> {
        let target = Arc::new(self.target());
        let http1 = |closing| {
            let one = || Member::Http1(Http1::new(Arc::clone(&target), &self.request, closing));
            (0..self.connections).map(|_| one()).collect()
        };
        match self.client {
            Client::KeptAlive => Ok(http1(Closing::Kept)),
            Client::NewEach => Ok(http1(Closing::Closed)),
            Client::Http2 { streams } => {
                let mut members = Vec::with_capacity(self.connections * streams);
                for _ in 0..self.connections {
                    let link = Link::new(Arc::clone(&target));
                    for _ in 0..streams {
                        let one = Http2::new(Arc::clone(&link), &self.request)?;
                        members.push(Member::Http2(one));
                    }
                }
                Ok(members)
            }
        }
    }

    /// The target, asked for the protocol that the clients speak.
    fn target(&self) -> Target {
        let protocol: &[u8] = match self.client {
            Client::KeptAlive | Client::NewEach => b"http/1.1",
            Client::Http2 { .. } => b"h2",
        };
        Target {
            tls: self.target.tls.as_ref().map(|tls| tls.speaking(protocol)),
            ..self.target.clone()
        }
    }
}

impl Watch {
    /// What came of the requests so far.
    pub(crate) fn tally(&self) -> Tally {
        self.counted(|tally| tally.clone())
    }

    /// Looks at what came of the requests so far, or adds to it.
    pub(crate) fn counted<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the run before its time: what is under way then is not waited for for long.
    pub(crate) fn cut_short(&self) {
        self.pacer.cut_short();
    }

    /// Waits for the clients to end, which they do at `end` or when the run is stopped, and
    /// `within` longer for answers they wait for then.
    async fn finish(&self, mut clients: JoinSet<()>, end: Instant, within: Duration) {
        let ended = async {
            while let Some(done) = clients.join_next().await {
                done.expect("a client that did not panic");
            }
        };
        let bound = async {
            tokio::select! {
                () = sleep_until(end.into()) => {}
                () = self.pacer.stopped() => {}
            }
            self.pacer.stop();
            let within = match self.pacer.is_cut_short() {
                true => within.min(CUT_SHORT_GRACE),
                false => within,
            };
            sleep(within).await;
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = bound => {}
        }
        clients.shutdown().await;
        self.counted(|tally| tally.count_unsent(self.pacer.left(Instant::now())));
    }
}
