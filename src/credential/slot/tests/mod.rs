//! A slot whose fetches are told what to come to, under a clock that is turned.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use http::StatusCode;

use super::*;
use crate::clock::Turned as TurnedClock;
use crate::connector::{ConnectorId, HttpsUrl};
use crate::credential::cache;
use crate::credential::rejection::Rejection;
use crate::credential::tests::within;
use crate::metrics::Metrics;

mod failures;
mod flights;
mod renewals;

/// What a fetch comes to.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// A token that lives this long.
    Token(Duration),
    /// A refusal with this status and code.
    Refused(u16, Option<&'static str>),
    /// The same with `Retry-After` in seconds.
    Busy(u64),
    /// No token response.
    Malformed,
    /// Nothing, for ever.
    Silence,
    /// A defect.
    Panic,
}

/// A slot and its surroundings.
struct Bench {
    slot: Arc<TokenSlot>,
    turned: TurnedClock,
    told: Arc<Mutex<Told>>,
    count: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

const LIFE: Duration = Duration::from_secs(100);

impl Bench {
    /// On the test's own runtime, where chance adds nothing to any time.
    fn new(told: Told) -> Self {
        Self::on(&Handle::current(), told)
    }

    /// The same, where chance adds all it can.
    fn late(told: Told) -> Self {
        Self::with(&Handle::current(), told, || 1.0)
    }

    fn on(runtime: &Handle, told: Told) -> Self {
        Self::with(runtime, told, || 0.0)
    }

    fn with(runtime: &Handle, told: Told, draw: fn() -> f64) -> Self {
        let turned =
            TurnedClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let clock = Clock::turned(&turned);
        let (told, count) = (Arc::new(Mutex::new(told)), Arc::new(AtomicUsize::new(0)));
        let fetch: Fetch = {
            let (clock, told, count) = (clock.clone(), Arc::clone(&told), Arc::clone(&count));
            Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                let (told, asked) = (*told.lock().expect("whole"), Moment::of(&clock));
                Box::pin(fetched(told, asked))
            })
        };
        let metrics = Metrics::new(1, 10);
        let surroundings = Surroundings {
            runtime: runtime.clone(),
            clock,
            tokens: Arc::new(Tokens {
                wait: Duration::from_secs(2),
                fetch: Duration::from_secs(10),
                default_lifetime: Duration::from_secs(300),
                renew_at_percent: 80,
                retries_per_minute_max: 30,
                entries_max: 10,
            }),
            draw,
        };
        let url = HttpsUrl::parse("https://login.example/token").expect("a URL");
        let report = Report {
            connector: ConnectorId::parse("crm").expect("an ID"),
            label: "crm".into(),
            endpoint: url.origin().clone(),
            metrics: metrics.tokens(),
        };
        let revoke: Revoke = Box::new(|_| Box::pin(std::future::ready(())));
        let slot = TokenSlot::new(
            cache::any_key(),
            (fetch, revoke),
            None,
            surroundings,
            report,
        );
        Self {
            slot: Arc::new(slot),
            turned,
            told,
            count,
            metrics,
        }
    }

    /// From now on every fetch comes to this.
    fn tell(&self, told: Told) {
        *self.told.lock().expect("whole") = told;
    }

    /// What a flow gets. One that waits for a clock that stands still fails the test.
    async fn obtain(&self) -> Result<Obtained, Unobtained> {
        within("a flow", self.slot.obtain()).await
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Lets time pass, and everything happen that happens then.
    async fn pass(&self, time: Duration) {
        self.turned.advance(time);
        settle().await;
    }

    /// The same in steps, with a flow after each; says how many of them got no token, and claims
    /// that none of them waited.
    async fn load(&self, time: Duration, step: Duration) -> u32 {
        let steps = time.as_millis() / step.as_millis();
        let mut refused = 0;
        for _ in 0..steps {
            self.pass(step).await;
            match self.obtain().await {
                Ok(obtained) => assert_eq!(obtained.cache, Some(CacheOutcome::Hit)),
                Err(turned) => {
                    assert_eq!(turned.cache, CacheOutcome::Refused);
                    refused += 1;
                }
            }
        }
        refused
    }

    async fn mark(&self) -> TokenMark {
        let obtained = self.obtain().await.expect("a token");
        obtained.token.expect("it is one")
    }

    /// A sample of the gauge.
    fn failing(&self, class: &str) -> bool {
        let line = format!("attache_token_failing{{class=\"{class}\",connector=\"crm\"}} 1");
        let other = format!("attache_token_failing{{connector=\"crm\",class=\"{class}\"}} 1");
        let text = self.metrics.encode();
        text.contains(&line) || text.contains(&other)
    }
}

async fn fetched(told: Told, asked: Moment) -> Result<Token, TokenError> {
    let refused = |status, code, wait: Option<u64>| {
        let status = StatusCode::from_u16(status).expect("a status");
        let rejection = Rejection::new(status, code, None, &[]);
        TokenError::Rejected(rejection.asking_for(wait.map(Duration::from_secs)))
    };
    match told {
        Told::Token(lifetime) => Token::bearer("abc", lifetime, asked),
        Told::Refused(status, code) => Err(refused(status, code, None)),
        Told::Busy(wait) => Err(refused(429, None, Some(wait))),
        Told::Malformed => Err(TokenError::Empty),
        Told::Silence => std::future::pending().await,
        Told::Panic => panic!("a bug"),
    }
}

/// Lets every task run that can. All of them run on this thread, and none waits for a socket.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
