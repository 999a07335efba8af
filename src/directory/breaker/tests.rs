//! When a breaker opens, what a probe decides, what changes nothing.

use std::sync::atomic::AtomicUsize;

use super::*;

const BREAKER: Breaker = Breaker {
    failures: 4,
    window: Duration::from_secs(10),
    open: Duration::from_secs(5),
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A switch, with what is otherwise counted beside it.
#[derive(Default)]
struct Stage {
    switch: Switch,
    successes: u32,
}

impl Stage {
    fn pass(&self, at: Duration) -> Result<Passage, Option<Duration>> {
        self.switch.pass(BREAKER, at, self.successes)
    }

    /// `count` requests that begin and succeed at `at`.
    fn succeed(&mut self, count: u32, at: Duration) {
        for _ in 0..count {
            let passage = self.pass(at).unwrap();
            assert_eq!(self.switch.succeeded(passage), None);
            self.successes += 1;
        }
    }

    /// `count` requests that begin and fail at `at`; what the last one changed.
    fn fail(&self, count: u32, at: Duration) -> Option<BreakerChange> {
        let failed = (0..count).map(|_| self.fail_late(self.pass(at).unwrap(), at));
        failed.last().unwrap()
    }

    fn fail_late(&self, passage: Passage, at: Duration) -> Option<BreakerChange> {
        self.switch.failed(BREAKER, passage, at, self.successes)
    }

    fn is_closed(&self, at: Duration) -> bool {
        self.switch.stand(at) == BreakerStand::Closed
    }

    /// One whose breaker opened at `at`.
    fn opened(at: Duration) -> Self {
        let stage = Self::default();
        assert_eq!(stage.fail(4, at), Some(BreakerChange::Opened));
        stage
    }
}

#[test]
fn it_opens_by_failures_alone_and_only_if_they_are_half_of_what_happened() {
    for (successes, failures, opens) in [
        (0, 3, false),
        (0, 4, true),
        (4, 4, true),
        (5, 4, false),
        (5, 5, true),
        (1_000, 100, false),
    ] {
        let mut stage = Stage::default();
        stage.succeed(successes, secs(100));
        let last = stage.fail(failures, secs(101));

        let expected = opens.then_some(BreakerChange::Opened);
        assert_eq!(last, expected, "{successes} well, {failures} not");
        assert_eq!(stage.is_closed(secs(101)), !opens);
    }
}

#[test]
fn what_lies_before_the_window_counts_neither_for_nor_against() {
    let mut stage = Stage::default();
    stage.succeed(1_000, secs(100));
    stage.fail(3, secs(101));

    // The four of the window are all that count.
    assert_eq!(stage.fail(3, secs(112)), None);
    assert_eq!(stage.fail(1, secs(113)), Some(BreakerChange::Opened));
}

#[test]
fn the_window_slides() {
    let stage = Stage::default();
    assert_eq!(stage.fail(2, secs(108)), None);
    assert_eq!(stage.fail(2, secs(112)), Some(BreakerChange::Opened));
}

#[test]
fn failures_of_requests_that_began_long_ago_count_when_they_come() {
    let stage = Stage::default();
    let passages: Vec<_> = (0..4).map(|_| stage.pass(secs(100)).unwrap()).collect();

    let failed = passages.into_iter();
    let changes: Vec<_> = failed
        .map(|passage| stage.fail_late(passage, secs(115)))
        .collect();

    assert_eq!(changes[3], Some(BreakerChange::Opened));
    assert_eq!(changes[..3], [None; 3]);
}

#[test]
fn an_open_breaker_says_how_long_it_stays_so_and_lets_one_probe_at_a_time_through() {
    let stage = Stage::opened(secs(100));
    assert_eq!(stage.pass(secs(100)), Err(Some(secs(5))));
    assert_eq!(stage.pass(secs(104)), Err(Some(secs(1))));
    let open = BreakerStand::Open { until: secs(105) };
    assert_eq!(stage.switch.stand(secs(104)), open);

    let probe = stage.pass(secs(105)).unwrap();

    assert!(matches!(probe, Passage::Probe(_)));
    assert_eq!(stage.switch.stand(secs(105)), BreakerStand::HalfOpen);
    assert_eq!(stage.pass(secs(105)), Err(None));
    assert_eq!(stage.pass(secs(134)), Err(None));
}

#[test]
fn a_probe_that_says_nothing_for_long_makes_room_for_one_other_and_may_still_close() {
    // A flow may take hours to send its body.
    let stage = Stage::opened(secs(100));
    let slow = stage.pass(secs(200)).unwrap();
    assert_eq!(stage.pass(secs(229)), Err(None));

    let second = stage.pass(secs(230)).unwrap();
    assert_eq!(stage.pass(secs(259)), Err(None));
    stage.switch.vanished(second);
    assert_eq!(stage.switch.succeeded(slow), Some(BreakerChange::Closed));

    assert!(stage.is_closed(secs(259)));
}

#[test]
fn a_probe_that_fails_after_another_took_its_place_decides_nothing() {
    let stage = Stage::opened(secs(100));
    let slow = stage.pass(secs(105)).unwrap();
    let second = stage.pass(secs(135)).unwrap();

    assert_eq!(stage.fail_late(slow, secs(136)), None);

    assert_eq!(stage.pass(secs(136)), Err(None));
    assert_eq!(stage.switch.succeeded(second), Some(BreakerChange::Closed));
}

#[test]
fn a_probe_that_succeeds_closes_and_what_failed_before_is_forgotten() {
    let stage = Stage::opened(secs(100));
    let probe = stage.pass(secs(105)).unwrap();

    assert_eq!(stage.switch.succeeded(probe), Some(BreakerChange::Closed));

    assert!(stage.is_closed(secs(105)));
    assert_eq!(stage.fail(3, secs(105)), None);
    assert_eq!(stage.fail(1, secs(105)), Some(BreakerChange::Opened));
}

#[test]
fn a_probe_that_fails_opens_for_as_long_again() {
    let stage = Stage::opened(secs(100));
    let probe = stage.pass(secs(106)).unwrap();

    assert_eq!(stage.fail_late(probe, secs(108)), None);

    assert_eq!(stage.pass(secs(112)), Err(Some(secs(1))));
    assert!(stage.pass(secs(113)).is_ok());
}

#[test]
fn a_probe_that_vanishes_gives_its_place_to_the_next() {
    let stage = Stage::opened(secs(100));
    let probe = stage.pass(secs(105)).unwrap();

    stage.switch.vanished(probe);

    assert!(matches!(stage.pass(secs(105)), Ok(Passage::Probe(_))));
    assert_eq!(stage.pass(secs(105)), Err(None));
}

#[test]
fn late_words_of_requests_let_through_before_change_nothing_once_it_is_open() {
    let stage = Stage::default();
    let early: Vec<_> = (0..20).map(|_| stage.pass(secs(100)).unwrap()).collect();
    stage.fail(4, secs(101));
    for (at, passage) in early.into_iter().enumerate() {
        let change = match at % 2 {
            0 => stage.switch.succeeded(passage),
            _ => stage.fail_late(passage, secs(104)),
        };
        assert_eq!(change, None);
    }

    assert_eq!(stage.pass(secs(105)), Err(Some(secs(1))));
    assert!(stage.pass(secs(106)).is_ok());
}

#[test]
fn a_probe_of_a_breaker_that_was_switched_off_meanwhile_opens_nothing() {
    let stage = Stage::opened(secs(100));
    let probe = stage.pass(secs(105)).unwrap();
    assert_eq!(stage.switch.close(), Some(BreakerChange::Closed));
    assert_eq!(stage.switch.close(), None);

    assert_eq!(stage.fail_late(probe, secs(106)), None);

    assert!(stage.is_closed(secs(106)));
}

#[test]
fn another_window_begins_with_nothing_in_it() {
    let stage = Stage::default();
    stage.fail(3, secs(100));
    let longer = Breaker {
        window: secs(60),
        ..BREAKER
    };

    let failed = |at| stage.switch.failed(longer, Passage::Free, at, 0);

    assert_eq!(failed(secs(101)), None);
    assert_eq!([failed(secs(110)), failed(secs(140))], [None; 2]);
    assert_eq!(failed(secs(150)), Some(BreakerChange::Opened));
}

#[test]
fn of_threads_that_race_one_probes() {
    for round in 0..50 {
        let (stage, probes) = (Stage::opened(secs(100)), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if stage.pass(secs(105)).is_ok() {
                        probes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(probes.into_inner(), 1, "round {round}");
    }
}
