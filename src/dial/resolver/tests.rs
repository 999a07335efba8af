use std::sync::Condvar;
use std::time::SystemTime;

use super::*;
use crate::clock::Turned;
use crate::metrics::Metrics;

/// Answers look-ups as a test says, and counts them.
#[derive(Default)]
struct Desk {
    state: Mutex<DeskState>,
    changed: Condvar,
}

#[derive(Default)]
struct DeskState {
    /// What names end with whose look-ups are not answered yet.
    held: Option<&'static str>,
    /// Whether look-ups fail.
    failing: bool,
    /// The address of every name.
    address: u8,
    asked: Vec<String>,
    running: usize,
    running_max: usize,
}

impl Desk {
    fn ask(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = self.state.lock().unwrap();
        state.asked.push(host.to_owned());
        state.running += 1;
        state.running_max = state.running_max.max(state.running);
        self.changed.notify_all();
        let held = |state: &mut DeskState| state.held.is_some_and(|held| host.ends_with(held));
        let mut state = self.changed.wait_while(state, held).unwrap();
        state.running -= 1;
        self.changed.notify_all();
        match state.failing {
            true => Err(io::Error::other("Temporary failure in name resolution")),
            false => Ok(vec![IpAddr::from([192, 0, 2, state.address])]),
        }
    }

    fn set(&self, set: impl FnOnce(&mut DeskState)) {
        set(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn asked(&self, host: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|asked| *asked == host).count()
    }
}

/// A resolver under a turned clock whose look-ups go to a desk.
struct Room {
    desk: Arc<Desk>,
    turned: Turned,
    resolver: Resolver,
}

impl Room {
    fn new() -> Self {
        let desk = Arc::new(Desk::default());
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        let asked = Arc::clone(&desk);
        let resolver = Resolver::new(
            Lookup::Scripted(Arc::new(move |host| asked.ask(host))),
            Clock::turned(&turned),
            Handle::current(),
            Metrics::new(1, 1).lookups(),
        );
        Self {
            desk,
            turned,
            resolver,
        }
    }

    fn advance(&self, seconds: u64) {
        self.turned.advance(Duration::from_secs(seconds));
    }

    /// The last byte of the name's address.
    async fn address(&self, host: &str) -> Option<u8> {
        let looking = self.resolver.lookup(host);
        let answer = within(looking).await.ok()?;
        match answer.addresses[0] {
            IpAddr::V4(v4) => v4.octets().last().copied(),
            IpAddr::V6(_) => None,
        }
    }

    fn counted(&self, outcome: LookupOutcome) -> u64 {
        self.resolver.0.metrics.counted(outcome)
    }

    async fn until(&self, is: impl Fn(&DeskState) -> bool) {
        within(async {
            while !is(&self.desk.state.lock().unwrap()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn until_counted(&self, outcome: LookupOutcome, times: u64) {
        within(async {
            while self.counted(outcome) < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Threads that are held would keep the test's runtime from ending.
        if let Ok(mut state) = self.desk.state.lock() {
            state.held = None;
        }
        self.desk.changed.notify_all();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.expect("in time")
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_all_who_ask_at_the_same_time() {
    let room = Room::new();

    let asking = (0..100).map(|_| room.address("a.example"));
    let answers = futures_util::future::join_all(asking).await;

    assert_eq!(answers, [Some(0); 100]);
    assert_eq!(room.desk.asked("a.example"), 1);
    assert_eq!(room.counted(LookupOutcome::Ok), 1);
}

#[tokio::test]
async fn a_name_in_use_is_looked_up_behind_its_users_backs() {
    let room = Room::new();
    room.address("a.example").await;
    room.desk.set(|desk| {
        desk.held = Some("a.example");
        desk.address = 7;
    });

    room.advance(9);
    let meanwhile = room.address("a.example").await;
    room.until(|desk| desk.running == 1).await;
    room.desk.set(|desk| desk.held = None);
    room.until_counted(LookupOutcome::Ok, 2).await;

    assert_eq!(meanwhile, Some(0));
    assert_eq!(room.address("a.example").await, Some(7));
    assert_eq!(room.desk.asked("a.example"), 2);
    assert_eq!(room.counted(LookupOutcome::Stale), 0);
}

#[tokio::test]
async fn a_name_that_was_not_used_for_long_is_looked_up_before_it_is_used() {
    let room = Room::new();
    room.address("a.example").await;
    room.desk.set(|desk| desk.address = 7);

    room.advance(60);

    assert_eq!(room.address("a.example").await, Some(7));
}

#[tokio::test]
async fn a_look_up_that_takes_long_is_not_waited_for_where_an_old_answer_is_held() {
    let room = Room::new();
    room.address("a.example").await;
    room.desk.set(|desk| desk.held = Some("a.example"));
    room.advance(60);

    let waiting = async {
        room.until(|desk| desk.running == 1).await;
        room.turned.advance(Duration::from_millis(500));
    };
    let (first, ()) = tokio::join!(room.address("a.example"), waiting);
    let second = room.address("a.example").await;

    assert_eq!((first, second), (Some(0), Some(0)));
    assert_eq!(room.counted(LookupOutcome::Stale), 2);
    assert_eq!(room.desk.asked("a.example"), 2);
}

#[tokio::test]
async fn old_addresses_are_used_while_no_name_server_answers_and_new_ones_once_one_does() {
    let room = Room::new();
    room.address("a.example").await;
    room.desk.set(|desk| desk.failing = true);

    room.advance(1800);
    let stale = room.address("a.example").await;
    room.desk.set(|desk| {
        desk.failing = false;
        desk.address = 7;
    });
    room.advance(1);
    // Known to fail until it does not, so nobody waits for it.
    let still_stale = room.address("a.example").await;
    room.until_counted(LookupOutcome::Ok, 2).await;

    assert_eq!((stale, still_stale), (Some(0), Some(0)));
    assert_eq!(room.counted(LookupOutcome::Stale), 2);
    assert_eq!(room.counted(LookupOutcome::Failed), 1);
    assert_eq!(room.address("a.example").await, Some(7));
}

#[tokio::test]
async fn a_name_that_fails_is_not_looked_up_again_within_a_second() {
    let room = Room::new();
    room.desk.set(|desk| desk.failing = true);

    for _ in 0..100 {
        assert_eq!(room.address("a.example").await, None);
    }
    let within_the_second = room.desk.asked("a.example");
    room.advance(1);
    room.desk.set(|desk| desk.failing = false);

    assert_eq!(within_the_second, 1);
    assert_eq!(room.address("a.example").await, Some(0));
}

#[tokio::test]
async fn at_most_sixteen_look_ups_run_and_names_that_are_remembered_need_none() {
    let room = Room::new();
    room.address("known.example").await;
    room.desk.set(|desk| desk.held = Some(".slow"));

    let waiting: Vec<_> = (0..40)
        .map(|number| format!("{number}.slow"))
        .map(|host| matches!(room.resolver.step(&host), Step::Wait(_)))
        .collect();
    room.until(|desk| desk.running == LOOKUPS_MAX).await;
    let known = room.address("known.example").await;
    room.advance(9);
    let refreshed_later = room.address("known.example").await;
    room.desk.set(|desk| desk.held = None);
    room.until_counted(LookupOutcome::Ok, 42).await;

    assert_eq!(waiting, [true; 40]);
    assert_eq!((known, refreshed_later), (Some(0), Some(0)));
    let state = room.desk.state.lock().unwrap();
    assert_eq!(state.running_max, LOOKUPS_MAX);
}

#[tokio::test]
async fn names_that_failed_leave_half_of_the_look_ups_to_the_others() {
    let room = Room::new();
    room.desk.set(|desk| desk.failing = true);
    let bad: Vec<_> = (0..40).map(|number| format!("{number}.bad")).collect();
    for host in &bad {
        assert_eq!(room.address(host).await, None);
    }
    room.desk.set(|desk| {
        desk.held = Some(".bad");
        desk.failing = false;
        desk.running_max = 0;
    });

    room.advance(1);
    for host in &bad {
        assert!(matches!(room.resolver.step(host), Step::Wait(_)));
    }
    room.until(|desk| desk.running == FAILING_LOOKUPS_MAX).await;
    let good = room.address("good.example").await;

    assert_eq!(good, Some(0));
    let state = room.desk.state.lock().unwrap();
    assert_eq!(state.running_max, FAILING_LOOKUPS_MAX + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_names_than_are_remembered_the_least_recently_used_is_forgotten() {
    let room = Room::new();
    for number in 0..NAMES_MAX {
        room.address(&number.to_string()).await;
    }
    room.address("0").await;

    room.address("one more").await;

    assert_eq!(room.resolver.names().by_host.len(), NAMES_MAX);
    for (host, looked_up) in [("0", 1), ("2", 1), ("one more", 1), ("1", 2)] {
        room.address(host).await;
        assert_eq!(room.desk.asked(host), looked_up, "{host}");
    }
}

#[tokio::test]
async fn names_over_the_bound_are_refused_while_all_others_are_being_looked_up() {
    let room = Room::new();
    room.desk.set(|desk| desk.held = Some(""));
    for number in 0..NAMES_MAX {
        let step = room.resolver.step(&number.to_string());
        assert!(matches!(step, Step::Wait(_)), "{number}");
    }

    let refused = room.address("one more").await;
    let joined = room.resolver.step("0");

    assert_eq!(refused, None);
    assert!(matches!(joined, Step::Wait(_)));
    assert_eq!(room.resolver.names().by_host.len(), NAMES_MAX);
}

#[tokio::test]
async fn a_look_up_that_panics_fails_and_what_it_said_stays_untold() {
    let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
    let resolver = Resolver::new(
        Lookup::Scripted(Arc::new(|host| panic!("c4nary of {host}"))),
        Clock::turned(&turned),
        Handle::current(),
        Metrics::new(1, 1).lookups(),
    );

    let failed = resolver.lookup("orders.example").await.unwrap_err();

    let told = format!("{failed} {failed:?}");
    assert!(told.contains("ended early"), "{told}");
    assert!(!told.contains("c4nary"), "{told}");
}
