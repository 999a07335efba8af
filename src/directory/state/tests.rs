//! A connector's limits in use.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::connector::{Breaker, ConnectorId, Rate};
use crate::metrics::Metrics;

const NOW: Duration = Duration::from_secs(100);

const LIMITS: Bulkhead = Bulkhead {
    requests_in_flight_max: 2,
    rate: None,
    breaker: Some(Breaker {
        failures: 1,
        window: Duration::from_secs(10),
        open: Duration::from_secs(5),
    }),
    request_body_bytes_max: None,
    response_body_bytes_max: None,
};

/// A connector's state, and the metrics it counts in.
struct Stage {
    metrics: Arc<Metrics>,
    state: ConnectorState,
}

impl Stage {
    fn new() -> Self {
        let metrics = Metrics::new(2, 10);
        let series = metrics.series(&ConnectorId::parse("orders").unwrap());
        Self {
            state: ConnectorState::new(series),
            metrics,
        }
    }

    fn enter(&self, limits: &Bulkhead, now: Duration) -> Result<Berth, Full> {
        self.state.enter(0, limits, now)
    }

    /// A request that begins and fails at `now`.
    fn fail(&self, now: Duration) -> Option<BreakerChange> {
        let mut berth = self.enter(&LIMITS, now).unwrap();
        let change = self.state.failed(&mut berth, &LIMITS, now);
        self.state.leave(0, berth);
        change
    }

    fn in_flight(&self) -> u32 {
        self.state.vitals(&LIMITS, NOW).requests_in_flight
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.encode().lines().any(|shown| shown == line)
    }
}

#[test]
fn one_request_more_than_the_limit_is_refused_until_one_leaves() {
    let stage = Stage::new();
    let first = stage.enter(&LIMITS, NOW).unwrap();
    let second = stage.enter(&LIMITS, NOW).unwrap();

    assert_eq!(stage.enter(&LIMITS, NOW).unwrap_err(), Full::InFlight(2));
    assert_eq!(stage.in_flight(), 2);
    stage.state.leave(0, first);
    let third = stage.enter(&LIMITS, NOW).unwrap();

    assert!(stage.shows("attache_connector_requests_in_flight{connector=\"orders\"} 2"));
    for berth in [second, third] {
        stage.state.leave(1, berth);
    }
    assert_eq!(stage.in_flight(), 0);
    assert!(stage.shows("attache_connector_requests_in_flight{connector=\"orders\"} 0"));
}

#[test]
fn threads_that_race_never_overrun_the_limit() {
    let stage = Stage::new();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Ok(mut berth) = stage.enter(&LIMITS, NOW) else {
                        continue;
                    };
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    stage.state.answered(&mut berth);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    stage.state.leave(0, berth);
                }
            });
        }
    });

    assert_eq!(most.into_inner(), 2);
    assert_eq!(stage.in_flight(), 0);
}

#[test]
fn an_edit_of_the_limit_counts_those_that_are_in_flight() {
    let stage = Stage::new();
    let berths = [
        stage.enter(&LIMITS, NOW).unwrap(),
        stage.enter(&LIMITS, NOW).unwrap(),
    ];
    let limited_to = |requests_in_flight_max| Bulkhead {
        requests_in_flight_max,
        ..LIMITS
    };

    let refused = stage.enter(&limited_to(1), NOW).unwrap_err();
    let third = stage.enter(&limited_to(3), NOW).unwrap();

    assert_eq!(refused, Full::InFlight(1));
    assert_eq!(stage.in_flight(), 3);
    for berth in berths.into_iter().chain([third]) {
        stage.state.leave(0, berth);
    }
}

#[test]
fn whatever_refuses_takes_no_place_and_no_rate() {
    let stage = Stage::new();
    let rated = Bulkhead {
        rate: Some(Rate {
            per_second: 1,
            burst: 1,
        }),
        ..LIMITS
    };
    stage.fail(NOW);
    let open = Full::Breaker {
        open_for: Some(Duration::from_secs(5)),
    };
    assert_eq!(stage.enter(&rated, NOW).unwrap_err(), open);
    assert_eq!(stage.state.vitals(&rated, NOW).burst_left, Some(1));

    let later = NOW + Duration::from_secs(5);
    let probe = stage.enter(&rated, later).unwrap();
    stage.state.leave(0, probe);
    let full = Full::Rate {
        free_in: Duration::from_secs(1),
    };

    assert_eq!(stage.enter(&rated, later).unwrap_err(), full);
    assert_eq!(stage.in_flight(), 0);
    let half_open = stage.state.vitals(&rated, later).breaker;
    assert_eq!(half_open, BreakerStand::HalfOpen);
    // The probe that the rate refused is not under way.
    let next = stage.enter(&rated, later + Duration::from_secs(1)).unwrap();
    stage.state.leave(0, next);
}

#[test]
fn the_gauge_follows_the_breaker_and_ends_with_the_connector() {
    let open = "attache_breaker_open{connector=\"orders\"} 1";
    let closed = "attache_breaker_open{connector=\"orders\"} 0";
    let stage = Stage::new();
    assert_eq!(stage.fail(NOW), Some(BreakerChange::Opened));
    assert!(stage.shows(open));
    // A probe that fails leaves it open.
    assert_eq!(stage.fail(NOW + Duration::from_secs(5)), None);
    assert!(stage.shows(open));

    let now = NOW + Duration::from_secs(10);
    let mut probe = stage.enter(&LIMITS, now).unwrap();
    let change = stage.state.answered(&mut probe);
    stage.state.leave(0, probe);

    assert_eq!(change, Some(BreakerChange::Closed));
    assert!(stage.shows(closed));
    stage.fail(now);
    let Stage { metrics, state } = stage;
    drop(state);
    assert!(metrics.encode().contains(closed));
}

#[test]
fn a_breaker_that_is_switched_off_closes_by_the_edit() {
    let stage = Stage::new();
    stage.fail(NOW);
    let off = Bulkhead {
        breaker: None,
        ..LIMITS
    };
    stage.state.edited(&LIMITS);
    assert!(stage.enter(&LIMITS, NOW).is_err());

    stage.state.edited(&off);

    assert!(stage.shows("attache_breaker_open{connector=\"orders\"} 0"));
    let berth = stage.enter(&off, NOW).unwrap();
    stage.state.leave(0, berth);
}

#[test]
fn what_went_well_is_weighed_against_failures_and_what_had_no_outcome_is_not() {
    let tolerant = Bulkhead {
        requests_in_flight_max: 100,
        breaker: Some(Breaker {
            failures: 3,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
        }),
        ..LIMITS
    };
    for (well, opens) in [(true, None), (false, Some(BreakerChange::Opened))] {
        let stage = Stage::new();
        for _ in 0..10 {
            let mut berth = stage.enter(&tolerant, NOW).unwrap();
            if well {
                stage.state.answered(&mut berth);
            }
            stage.state.leave(0, berth);
        }

        let fail = || {
            let mut berth = stage.enter(&tolerant, NOW).unwrap();
            let change = stage.state.failed(&mut berth, &tolerant, NOW);
            stage.state.leave(0, berth);
            change
        };

        assert_eq!([fail(), fail()], [None; 2]);
        assert_eq!(fail(), opens, "after requests that went well: {well}");
    }
}
