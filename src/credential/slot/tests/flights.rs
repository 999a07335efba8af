//! One fetch at a time, whatever becomes of it, and tokens that the origin rejects.

use super::*;

#[tokio::test]
async fn a_fetch_that_panics_does_not_wedge_the_slot() {
    let bench = Bench::new(Told::Panic);

    let first = bench.obtain().await;
    bench.tell(Told::Token(LIFE));
    let second = bench.obtain().await;

    assert!(matches!(first, Err(lost) if matches!(*lost.reason, TokenError::Abandoned)));
    assert!(second.is_ok());
    assert_eq!(bench.count(), 2);
}

#[test]
fn a_stopped_runtime_leaves_no_flow_waiting() {
    let (own, other) = (runtime(1), runtime(1));
    let bench = Bench::on(own.handle(), Told::Token(LIFE));
    own.shutdown_background();

    let lost = other.block_on(bench.obtain());

    assert!(matches!(lost, Err(lost) if matches!(*lost.reason, TokenError::Abandoned)));
    assert!(!bench.slot.lock().is_flying());
}

#[tokio::test]
async fn a_flow_that_took_its_first_look_too_early_starts_no_second_fetch() {
    let bench = Bench::new(Told::Token(LIFE));
    let landed = Token::bearer("abc", LIFE, bench.slot.now()).expect("legal");

    // Between the first look of `obtain` and `board` another flow's fetch landed.
    bench.slot.current.store(Some(Arc::new(landed)));
    let boarding = bench.slot.board();

    assert!(matches!(boarding, Boarding::Landed(_)));
    assert_eq!(bench.count(), 0);
}

#[test]
fn threads_that_race_for_a_cold_slot_make_one_fetch_a_round() {
    let runtime = runtime(2);
    for _ in 0..200 {
        let bench = Bench::on(runtime.handle(), Told::Token(LIFE));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| runtime.block_on(bench.obtain()).expect("a token"));
            }
        });

        assert_eq!(bench.count(), 1);
    }
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_time()
        .build()
        .expect("a runtime")
}

#[tokio::test]
async fn a_rejected_token_is_dropped_and_another_obtained() {
    let bench = Bench::new(Told::Token(LIFE));
    let first = bench.mark().await;

    assert!(bench.slot.reject(first));
    let second = bench.mark().await;

    assert_ne!(first, second);
    assert_eq!(bench.count(), 2);
}

#[tokio::test]
async fn a_late_word_about_an_old_token_drops_nothing() {
    let bench = Bench::new(Told::Token(LIFE));
    let first = bench.mark().await;
    bench.slot.reject(first);
    let second = bench.mark().await;

    for _ in 0..100 {
        assert!(bench.slot.reject(first), "another one is there to be had");
    }

    assert_eq!(bench.mark().await, second);
    assert_eq!(bench.count(), 2);
}

#[tokio::test]
async fn a_hundred_flows_whose_token_is_rejected_cause_one_fetch() {
    let bench = Bench::new(Told::Token(LIFE));
    let mark = bench.mark().await;

    let again = (0..100).map(|_| async {
        assert!(bench.slot.reject(mark));
        bench.mark().await
    });
    let marks = futures_util::future::join_all(again).await;

    assert!(marks.iter().all(|one| *one == marks[0] && *one != mark));
    assert_eq!(bench.count(), 2);
}

#[tokio::test]
async fn an_origin_that_rejects_every_token_causes_no_storm() {
    let bench = Bench::new(Told::Token(LIFE));
    let (mut taken, mut kept) = (0, 0);

    // Ten minutes with ten flows a second, each of them rejected.
    for _ in 0..6_000 {
        let mark = bench.mark().await;
        match bench.slot.reject(mark) {
            true => taken += 1,
            false => kept += 1,
        }
        bench.pass(Duration::from_millis(100)).await;
    }

    assert_eq!(taken, 10 * 30);
    assert!(kept > 0);
    assert!(bench.count() <= taken + 10 + 1, "{}", bench.count());
}

#[tokio::test]
async fn a_rejected_token_is_kept_while_no_other_can_be_had() {
    let bench = Bench::new(Told::Token(LIFE));
    let mark = bench.mark().await;
    bench.tell(Told::Refused(503, None));
    bench.pass(Duration::from_secs(80)).await;

    assert!(!bench.slot.reject(mark), "its renewal failed");

    assert_eq!(bench.mark().await, mark);
}

#[tokio::test]
async fn a_retired_slot_fetches_nothing_ahead_and_serves_who_holds_it() {
    for retire in [true, false] {
        let bench = Bench::new(Told::Token(LIFE));
        bench.mark().await;
        match retire {
            true => bench.slot.retire(),
            false => {
                let Bench {
                    slot,
                    turned,
                    count,
                    ..
                } = bench;
                let weak = Arc::downgrade(&slot);
                drop(slot);
                turned.advance(LIFE);
                settle().await;
                assert!(weak.upgrade().is_none(), "its timer holds it");
                assert_eq!(count.load(Ordering::SeqCst), 1);
                continue;
            }
        }
        bench.pass(Duration::from_secs(89)).await;
        assert_eq!(bench.count(), 1, "no renewal");
        bench.mark().await;

        bench.pass(Duration::from_secs(2)).await;
        bench.mark().await;

        assert_eq!(bench.count(), 2);
        bench.pass(Duration::from_secs(89)).await;
        assert_eq!(bench.count(), 2);
    }
}
