//! Tokens are there before they are asked for, as long as they are asked for.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_token_in_use_is_renewed_ahead_and_nobody_waits() {
    let bench = Bench::new(Told::Token(LIFE));
    let first = bench.mark().await;

    bench.pass(Duration::from_millis(79_999)).await;
    assert_eq!(bench.count(), 1);
    bench.pass(Duration::from_millis(1)).await;
    assert_eq!(bench.count(), 2, "80 % of its life are over");

    let next = bench.obtain().await.expect("a token");
    assert_eq!(next.cache, Some(CacheOutcome::Hit));
    assert_ne!(next.token, Some(first));
}

#[tokio::test]
async fn tokens_that_were_fetched_together_are_not_renewed_together() {
    for (bench, due_ms) in [
        (Bench::new(Told::Token(LIFE)), 80_000),
        (Bench::late(Told::Token(LIFE)), 85_000),
    ] {
        bench.mark().await;

        bench.pass(Duration::from_millis(due_ms - 1)).await;
        assert_eq!(bench.count(), 1, "{due_ms}");
        bench.pass(Duration::from_millis(1)).await;

        assert_eq!(bench.count(), 2, "{due_ms}");
    }
}

#[tokio::test]
async fn an_hour_of_load_makes_one_fetch_a_renewal_and_no_flow_waits() {
    for (life, step) in [(LIFE, SECOND), (SECOND * 2, SECOND / 10)] {
        let bench = Bench::new(Told::Token(life));
        bench.mark().await;

        let refused = bench.load(Duration::from_secs(3600), step).await;

        assert_eq!(refused, 0);
        let renewals = Duration::from_secs(3600)
            .div_duration_f64(life * 4 / 5)
            .ceil();
        let count = bench.count() as f64;
        assert!(count <= renewals + 1.0, "{count} of {renewals}");
    }
}

#[tokio::test]
async fn a_token_used_once_a_life_is_there_each_time() {
    let bench = Bench::new(Told::Token(LIFE));
    bench.mark().await;

    for seconds in [89, 1, 79, 80, 85, 89, 89, 60, 89, 81] {
        bench.pass(Duration::from_secs(seconds)).await;
        let obtained = bench.obtain().await.expect("a token");
        settle().await;

        assert_eq!(obtained.cache, Some(CacheOutcome::Hit), "{seconds}");
    }
}

#[tokio::test]
async fn a_token_out_of_use_is_left_to_lapse() {
    let bench = Bench::new(Told::Token(LIFE));
    bench.mark().await;

    for _ in 0..360 {
        bench.pass(Duration::from_secs(10)).await;
    }

    assert!(bench.count() <= 3, "{}", bench.count());
    assert!(matches!(
        bench.slot.state(),
        crate::credential::TokenState::Spent { .. }
    ));
    assert!(bench.slot.lock().timer.is_none(), "nothing is left to wake");
}

#[tokio::test]
async fn a_token_used_again_after_its_renewal_was_left_out_is_renewed_without_a_wait() {
    let bench = Bench::new(Told::Token(LIFE));
    bench.mark().await;
    // Renewed once, at 80 s, for the use at 0 s; left alone at 160 s.
    bench.pass(Duration::from_secs(80)).await;
    bench.pass(Duration::from_secs(80)).await;
    assert_eq!(bench.count(), 2);
    bench.pass(Duration::from_secs(5)).await;

    let used = bench.obtain().await.expect("a token");
    settle().await;

    assert_eq!(used.cache, Some(CacheOutcome::Hit));
    assert_eq!(bench.count(), 3);
    assert_eq!(bench.load(LIFE * 10, SECOND).await, 0);
}

#[tokio::test]
async fn a_step_of_the_wall_clock_costs_one_fetch_and_starts_no_storm() {
    const HOUR_MS: i64 = 3_600_000;
    for step in [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS] {
        let bench = Bench::new(Told::Token(Duration::from_secs(3600)));
        bench.mark().await;
        bench.load(SECOND * 600, SECOND).await;

        bench.turned.step_wall_ms(step);
        bench.obtain().await.expect("a token");
        let refused = bench.load(SECOND * 7200, SECOND).await;

        assert_eq!(refused, 0, "{step}");
        // 7,800 s in renewals of 2,880 s, and one for the step.
        assert!(bench.count() <= 4, "{step}: {}", bench.count());
    }
}

#[tokio::test]
async fn a_clock_that_jumps_to_and_fro_makes_one_fetch_a_jump_at_most() {
    let bench = Bench::new(Told::Token(Duration::from_secs(3600)));
    bench.mark().await;

    for jump in 0..100 {
        bench.turned.step_wall_ms(if jump % 2 == 0 {
            86_400_000
        } else {
            -86_400_000
        });
        for _ in 0..10 {
            bench.mark().await;
            bench.pass(SECOND).await;
        }
    }

    assert!(bench.count() <= 101, "{}", bench.count());
}

#[tokio::test]
async fn a_token_that_a_jump_of_the_clock_spent_and_gave_back_is_still_renewed() {
    const HOUR_MS: i64 = 3_600_000;
    let bench = Bench::late(Told::Token(SECOND * 3600));
    bench.mark().await;
    bench.pass(SECOND * 600).await;
    bench.turned.step_wall_ms(HOUR_MS);
    bench.tell(Told::Refused(503, None));
    bench.obtain().await.expect_err("it is spent");
    bench.turned.step_wall_ms(-HOUR_MS);
    bench.tell(Told::Token(SECOND * 3600));

    let refused = bench.load(SECOND * 7200, SECOND).await;

    assert_eq!(refused, 0);
    assert!(bench.slot.failure().is_none());
}

#[tokio::test]
async fn a_life_without_room_for_a_renewal_costs_nothing_while_nobody_asks() {
    for life in [Duration::ZERO, Duration::from_millis(500)] {
        let bench = Bench::new(Told::Token(life));
        bench.mark().await;

        bench.pass(Duration::from_secs(60)).await;

        assert_eq!(bench.count(), 1);
    }
}

#[tokio::test]
async fn warming_obtains_a_token_that_the_first_flow_finds() {
    let bench = Bench::new(Told::Token(LIFE));
    let source = || crate::credential::Source::Token(Arc::clone(&bench.slot));

    crate::credential::renew::warm(vec![source(), source()]).await;

    let first = bench.obtain().await.expect("a token");
    assert_eq!(first.cache, Some(CacheOutcome::Hit));
    assert_eq!(bench.count(), 1);
}

#[tokio::test]
async fn a_flow_does_not_wait_for_other_connectors_that_are_being_warmed() {
    let silent: Vec<_> = (0..100).map(|_| Bench::new(Told::Silence)).collect();
    let last = Bench::new(Told::Token(LIFE));
    let slots = silent.iter().chain([&last]).map(|bench| &bench.slot);
    let sources = slots.map(|slot| crate::credential::Source::Token(Arc::clone(slot)));
    let warming = tokio::spawn(crate::credential::renew::warm(sources.collect()));
    settle().await;

    let begun = silent.iter().filter(|bench| bench.count() > 0).count();
    assert_eq!(begun, 32, "a few at a time");
    assert!(last.obtain().await.is_ok());
    warming.abort();
}

#[tokio::test]
async fn a_connector_that_could_not_be_warmed_is_tried_again() {
    let bench = Bench::new(Told::Refused(503, None));

    crate::credential::renew::warm(vec![crate::credential::Source::Token(Arc::clone(
        &bench.slot,
    ))])
    .await;
    bench.tell(Told::Token(LIFE));
    bench.pass(SECOND * 2).await;

    let first = bench.obtain().await.expect("a token");
    assert_eq!(first.cache, Some(CacheOutcome::Hit));
}
