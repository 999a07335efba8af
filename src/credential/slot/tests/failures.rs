//! Failed fetches: told at once, not repeated often, over as soon as they are.

use super::*;
use crate::metrics::FailureClass;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_malformed_answer_once_is_overcome_without_any_flow() {
    let bench = Bench::late(Told::Malformed);
    let first = bench.obtain().await;
    bench.tell(Told::Token(LIFE));

    bench.pass(Duration::from_millis(100)).await;

    assert!(first.is_err_and(|lost| lost.cache == CacheOutcome::Miss));
    let next = bench.obtain().await.expect("a token");
    assert_eq!(next.cache, Some(CacheOutcome::Hit));
    assert!(bench.slot.failure().is_none());
}

#[tokio::test]
async fn flows_are_turned_away_at_once_until_the_next_attempt() {
    let bench = Bench::late(Told::Busy(45));
    bench.obtain().await.expect_err("it is busy");

    bench.pass(SECOND * 5).await;
    let turned = bench.obtain().await.expect_err("it is still");

    // RFC 9110 §10.2.3.
    assert_eq!(turned.retry_after, SECOND * 40);
    assert_eq!(turned.cache, CacheOutcome::Refused);
    assert_eq!(
        turned.reason.outcome(),
        crate::metrics::TokenOutcome::Rejected
    );
    bench.tell(Told::Token(LIFE));
    bench.pass(SECOND * 39).await;
    assert_eq!(bench.count(), 1);
    bench.pass(SECOND).await;
    assert_eq!(bench.count(), 2);
    assert!(bench.obtain().await.is_ok());
}

#[tokio::test]
async fn no_flow_waits_for_another_attempt_that_hangs() {
    let bench = Bench::late(Told::Refused(500, None));
    bench.obtain().await.expect_err("it fails");
    bench.tell(Told::Silence);
    bench.pass(SECOND * 2).await;
    assert_eq!(bench.count(), 2, "an attempt is under way");

    for _ in 0..100 {
        // Time stands still: a flow that waited would wait for ever.
        let turned = bench.obtain().await.expect_err("nobody knows");
        assert_eq!(turned.cache, CacheOutcome::Refused);
        assert!(!turned.retry_after.is_zero());
    }

    assert_eq!(bench.count(), 2);
}

#[tokio::test]
async fn a_flow_does_not_get_ahead_of_the_attempt_that_is_planned() {
    let bench = Bench::late(Told::Refused(500, None));
    bench.obtain().await.expect_err("it fails");

    // The timer's time has come, but its task has not run yet.
    bench.turned.advance(SECOND * 2);
    let turned = bench.obtain().await.expect_err("it is planned");

    assert_eq!(turned.cache, CacheOutcome::Refused);
}

#[tokio::test]
async fn an_outage_of_most_of_a_life_is_noticed_by_no_flow() {
    let bench = Bench::late(Told::Token(LIFE));
    bench.mark().await;
    bench.tell(Told::Refused(503, None));

    // Its margin is a tenth of its life: 90 s are all there are.
    let during = bench.load(SECOND * 88, SECOND).await;
    bench.tell(Told::Token(LIFE));
    let after = bench.load(SECOND * 300, SECOND).await;

    assert_eq!((during, after), (0, 0));
}

#[tokio::test]
async fn an_outage_beyond_a_life_is_refused_at_once_and_over_within_two_seconds() {
    for outage in [SECOND * 95, SECOND * 130, SECOND * 400, SECOND * 3600] {
        let bench = Bench::late(Told::Token(LIFE));
        bench.mark().await;
        bench.tell(Told::Refused(503, None));
        let refused = bench.load(outage, SECOND).await;
        let turned = bench.obtain().await.expect_err("it is spent");

        bench.tell(Told::Token(LIFE));
        bench.pass(SECOND * 2).await;
        let recovered = bench.obtain().await.expect("a token");

        assert!(refused > 0);
        assert!(turned.retry_after <= SECOND * 2, "{:?}", turned.retry_after);
        assert_eq!(recovered.cache, Some(CacheOutcome::Hit));
    }
}

#[tokio::test]
async fn an_outage_under_load_makes_thirty_attempts_a_minute_at_most() {
    let bench = Bench::late(Told::Refused(503, None));
    bench.obtain().await.expect_err("it fails");

    let mut counts = vec![bench.count()];
    for _ in 0..6_000 {
        bench
            .load(Duration::from_millis(100), Duration::from_millis(100))
            .await;
        counts.push(bench.count());
    }

    let most = counts
        .windows(601)
        .map(|minute| minute[600] - minute[0])
        .max();
    assert!(
        most.is_some_and(|most| (25..=30).contains(&most)),
        "{most:?}"
    );
}

#[tokio::test]
async fn tokens_that_come_and_are_spent_at_once_do_not_lift_the_limit_on_failures() {
    let bench = Bench::late(Told::Token(Duration::ZERO));
    let (mut failed, mut refused) = (0, 0);
    for _ in 0..100 {
        bench.tell(Told::Token(Duration::ZERO));
        bench.pass(Duration::from_millis(100)).await;
        let _ = bench.obtain().await;
        bench.tell(Told::Refused(500, None));
        match bench.obtain().await {
            Err(lost) if lost.cache == CacheOutcome::Miss => failed += 1,
            Err(_) => refused += 1,
            Ok(_) => {}
        }
    }

    assert!(failed <= 30, "{failed}");
    assert!(refused > 0);
}

#[tokio::test]
async fn a_permanent_failure_is_not_hammered_at() {
    // protocol.md, line 46.
    let bench = Bench::late(Told::Refused(401, Some("invalid_client")));
    bench.obtain().await.expect_err("refused");

    bench.load(SECOND * 3600, SECOND).await;

    assert!((10..=13).contains(&bench.count()), "{}", bench.count());
    let failure = bench.slot.failure().expect("it fails");
    assert_eq!(failure.class, FailureClass::Permanent);
    assert_eq!(failure.reason.code(), Some("invalid_client"));
    let turned = bench.obtain().await.expect_err("refused");
    assert!(turned.retry_after > SECOND * 2);
}

#[tokio::test]
async fn a_permanent_failure_that_was_mended_is_over_with_the_next_probe() {
    let bench = Bench::late(Told::Refused(401, Some("invalid_client")));
    bench.obtain().await.expect_err("refused");
    bench.load(SECOND * 200, SECOND).await;
    bench.tell(Told::Token(LIFE));

    bench.load(SECOND * 130, SECOND).await;

    let next = bench.obtain().await.expect("a token");
    assert_eq!(next.cache, Some(CacheOutcome::Hit));
}

#[tokio::test]
async fn a_failure_that_nobody_asks_about_is_left_alone_until_somebody_does() {
    let bench = Bench::late(Told::Refused(503, None));
    bench.obtain().await.expect_err("it fails");

    for _ in 0..1800 {
        bench.pass(SECOND * 2).await;
    }
    let idle = bench.count();
    bench.tell(Told::Token(LIFE));
    let next = bench.obtain().await.expect("a token");

    assert!(idle <= 32, "{idle}");
    assert_eq!(
        next.cache,
        Some(CacheOutcome::Miss),
        "it was worth waiting for"
    );
}

#[tokio::test]
async fn a_failure_long_ago_keeps_no_flow_from_joining() {
    let bench = Bench::late(Told::Refused(503, None));
    bench.obtain().await.expect_err("it fails");
    for _ in 0..100 {
        bench.pass(SECOND * 2).await;
    }
    bench.tell(Told::Token(LIFE));

    let flows = futures_util::future::join_all((0..100).map(|_| bench.obtain())).await;

    assert!(flows.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_failed_renewal_spoils_no_token_whatever_it_says() {
    for told in [
        Told::Refused(401, Some("invalid_client")),
        Told::Refused(500, None),
        Told::Busy(300),
        Told::Malformed,
        Told::Silence,
    ] {
        let bench = Bench::late(Told::Token(LIFE));
        let mark = bench.mark().await;
        bench.tell(told);

        assert_eq!(bench.load(Duration::from_millis(89_999), SECOND).await, 0);

        assert_eq!(bench.mark().await, mark, "{told:?}");
        assert!(bench.count() > 1, "{told:?}");
    }
}

#[tokio::test]
async fn no_flow_waits_for_an_attempt_after_a_token_too_short_lived_for_a_renewal() {
    let bench = Bench::late(Told::Token(SECOND));
    bench.mark().await;
    bench.tell(Told::Refused(503, None));
    bench.pass(SECOND).await;
    bench.obtain().await.expect_err("it fails");
    bench.tell(Told::Silence);

    bench.pass(SECOND * 2).await;
    assert_eq!(bench.count(), 3, "it is tried again without a flow");
    // Time stands still: a flow that waited would wait for ever.
    let turned = bench.obtain().await.expect_err("nobody knows");

    assert_eq!(turned.cache, CacheOutcome::Refused);
}

#[tokio::test]
async fn the_gauge_follows_a_failure_from_class_to_class_to_its_end() {
    let bench = Bench::late(Told::Refused(503, None));
    bench.obtain().await.expect_err("it fails");
    assert!(bench.failing("temporary") && !bench.failing("permanent"));

    bench.tell(Told::Refused(400, Some("invalid_grant")));
    bench.pass(SECOND * 2).await;
    assert!(!bench.failing("temporary") && bench.failing("permanent"));

    bench.tell(Told::Token(LIFE));
    bench.obtain().await.expect_err("not yet");
    bench.load(SECOND * 330, SECOND).await;
    assert!(!bench.failing("temporary") && !bench.failing("permanent"));
}

#[tokio::test]
async fn a_retired_slot_fails_in_no_gauge() {
    let bench = Bench::late(Told::Refused(503, None));
    bench.obtain().await.expect_err("it fails");

    bench.slot.retire();
    assert!(!bench.failing("temporary"));

    bench.pass(SECOND * 120).await;
    bench.obtain().await.expect_err("it still fails");
    assert_eq!(bench.count(), 2);
    assert!(!bench.failing("temporary"));
}

#[tokio::test]
async fn a_failure_says_since_when_and_until_when() {
    let bench = Bench::late(Told::Busy(45));
    let began = bench.slot.now().wall();
    bench.obtain().await.expect_err("it is busy");
    bench.pass(SECOND * 5).await;

    let failure = bench.slot.failure().expect("it fails");

    assert_eq!(failure.since, began);
    assert_eq!(failure.next_attempt_at, began + SECOND * 45);
    assert_eq!(failure.attempts, 1);
    assert_eq!(failure.class, FailureClass::Temporary);
}
