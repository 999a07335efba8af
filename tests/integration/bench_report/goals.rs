//! Which goals a run is said to have reached.

use super::figures::{Finding, Results, Spread, Table, names};
use super::report::counts::Counts;
use super::report::goals::{self, Outcome, Verdict};
use super::sample::{self, fixed_rate, series, table};

fn of_tables(tables: Vec<Table>) -> Results {
    Results {
        tables,
        ..Results::default()
    }
}

/// Every request of the load `small-get-64` cost Attaché and the other so much.
fn small_get(attache: f64, other: &str, cost: f64) -> Results {
    let both = vec![
        series(names::ATTACHE, &[attache; 3]),
        series(other, &[cost; 3]),
    ];
    of_tables(vec![table("small-get-64", both)])
}

/// Instruction counts in which a token from the cache costs so many times what Basic does.
fn counts(token: f64) -> Counts {
    let walks = serde_json::json!({ "tolerance_percent": 3.0, "walks": [
        { "walk": "small GET, Basic", "instructions": 50_000 },
        { "walk": "small GET, token from the cache", "instructions": 50_000.0 * token },
    ]});
    serde_json::from_value(walks).unwrap()
}

/// What became of the one goal that has this in its title and at its bound's end.
fn outcome(results: &Results, what: &str, must: &str) -> Outcome {
    let all = goals::outcomes(results, &counts(1.0));
    let mut found = all
        .into_iter()
        .filter(|one| one.what.contains(what) && one.must.ends_with(must));
    let outcome = found.next().unwrap();
    assert!(found.next().is_none(), "{what}: {must}");
    outcome
}

fn verdict(results: &Results, what: &str, must: &str) -> Verdict {
    outcome(results, what, must).verdict
}

#[test]
fn a_goal_is_reached_at_its_bound_and_missed_above_it() {
    let at = small_get(90.0, names::NGINX, 100.0);
    let above = small_get(90.1, names::NGINX, 100.0);

    assert_eq!(verdict(&at, "small GET", "× nginx"), Verdict::Reached);
    assert_eq!(verdict(&above, "small GET", "× nginx"), Verdict::Missed);
}

#[test]
fn an_aim_is_told_apart_from_what_must_be() {
    let floor = |attache| small_get(attache, names::FLOOR, 100.0);

    assert_eq!(
        [102.0, 102.1, 112.0, 112.1].map(|attache| verdict(
            &floor(attache),
            "small GET",
            names::FLOOR
        )),
        [
            Verdict::AimReached,
            Verdict::Reached,
            Verdict::Reached,
            Verdict::Missed
        ]
    );
}

#[test]
fn a_goal_whose_ratio_is_too_noisy_is_neither_reached_nor_missed() {
    let both = vec![
        series(names::ATTACHE, &[50.0, 60.0, 70.0]),
        series(names::NGINX, &[100.0; 3]),
    ];
    let noisy = of_tables(vec![table("small-get-64", both)]);

    let outcome = outcome(&noisy, "small GET", "× nginx");

    assert_eq!(outcome.verdict, Verdict::Unclear);
    assert_eq!(outcome.measured, "too noisy (0.550 to 0.650)");
}

#[test]
fn nothing_is_reached_by_a_run_that_measured_nothing() {
    let outcomes = goals::outcomes(&Results::default(), &Counts::default());

    assert!(!outcomes.is_empty());
    for outcome in outcomes {
        assert_eq!(outcome.verdict, Verdict::NotMeasured, "{}", outcome.what);
    }
}

#[test]
fn added_latency_may_be_as_much_as_nginxs_and_no_more() {
    let run = |attache: &[u64]| {
        of_tables(vec![fixed_rate(&[
            (names::DIRECT, &[100; 3]),
            (names::ATTACHE, attache),
            (names::NGINX, &[300; 3]),
        ])])
    };

    assert_eq!(
        verdict(&run(&[300; 3]), "added p99", "nginx's"),
        Verdict::Reached
    );
    assert_eq!(
        verdict(&run(&[301; 3]), "added p99", "nginx's"),
        Verdict::Missed
    );
}

#[test]
fn a_finding_is_held_against_a_goal_in_another_unit_of_its_kind() {
    let started = |value, unit| Results {
        findings: vec![Finding::new("100,000 connectors", "start", value, unit)],
        ..Results::default()
    };

    let in_time = outcome(&started(1_310.0, "ms"), "connectors: start", "s");

    assert_eq!(in_time.measured, "1.31 s");
    assert_eq!(in_time.verdict, Verdict::Reached);
    assert_eq!(
        verdict(&started(2_001.0, "ms"), "connectors: start", "s"),
        Verdict::Missed
    );
}

#[test]
fn a_finding_in_a_unit_of_another_kind_reaches_no_goal() {
    for unit in ["KiB", "%", "parsecs"] {
        let results = Results {
            findings: vec![Finding::new("100,000 connectors", "start", 1.0, unit)],
            ..Results::default()
        };

        assert_eq!(
            verdict(&results, "connectors: start", "s"),
            Verdict::NotMeasured,
            "{unit}"
        );
    }
}

#[test]
fn a_ratio_found_without_rounds_is_held_to_the_rule_about_noise_too() {
    let ratios = |lower_quartile, upper_quartile| {
        let found = Finding::new(
            "a connector changed among 100,000",
            "p99 beside no changes",
            1.0,
            "×",
        );
        let spread = Spread {
            median: 1.0,
            lower_quartile,
            upper_quartile,
        };
        let results = Results {
            findings: vec![Finding {
                spread: Some(spread),
                ..found
            }],
            ..Results::default()
        };
        outcome(&results, "p99 beside no changes", "×")
    };

    let noisy = ratios(0.97, 1.03);

    assert_eq!(noisy.verdict, Verdict::Unclear);
    assert_eq!(noisy.measured, "too noisy (0.97 to 1.03)");
    assert_eq!(ratios(0.98, 1.02).verdict, Verdict::Reached);
}

#[test]
fn a_goal_of_instructions_is_held_by_the_counts_that_are_checked_in() {
    let told = |token| {
        let all = goals::outcomes(&Results::default(), &counts(token));
        let bearer = all
            .into_iter()
            .find(|one| one.what.contains("bearer"))
            .unwrap();
        (bearer.measured, bearer.verdict)
    };

    assert_eq!(told(1.03), ("1.030".to_owned(), Verdict::Reached));
    assert_eq!(told(1.031), ("1.031".to_owned(), Verdict::Missed));
}

#[test]
fn the_sample_run_reaches_what_its_figures_say() {
    let results = sample::results();

    assert_eq!(
        verdict(&results, "small GET", "nginx + lua"),
        Verdict::Reached
    );
    assert_eq!(
        verdict(&results, "small GET", "× HAProxy (TCP)"),
        Verdict::Reached
    );
    assert_eq!(
        verdict(&results, "after a request", "24 KiB"),
        Verdict::AimReached
    );
}
