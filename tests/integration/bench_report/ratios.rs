//! Which ratios are shown.

use super::figures::{Comparison, Spread, Table, names};
use super::sample::{fixed_rate, series, table};

fn spread(lower_quartile: f64, median: f64, upper_quartile: f64) -> Spread {
    Spread {
        median,
        lower_quartile,
        upper_quartile,
    }
}

/// Attaché and nginx, with what each of their rounds cost.
fn pair(attache: &[f64], nginx: &[f64]) -> Table {
    let both = vec![series(names::ATTACHE, attache), series(names::NGINX, nginx)];
    table("small-get-64", both)
}

fn ratio(table: &Table) -> Comparison {
    table.ratio(names::ATTACHE, names::NGINX).unwrap()
}

fn rounded(comparison: Comparison) -> Comparison {
    let to_millionths = |value: f64| (value * 1e6).round() / 1e6;
    let round = |spread: Spread| Spread {
        median: to_millionths(spread.median),
        lower_quartile: to_millionths(spread.lower_quartile),
        upper_quartile: to_millionths(spread.upper_quartile),
    };
    match comparison {
        Comparison::Clear(spread) => Comparison::Clear(round(spread)),
        Comparison::TooNoisy(spread) => Comparison::TooNoisy(round(spread)),
        Comparison::TooFewRounds | Comparison::Failed => comparison,
    }
}

#[test]
fn the_median_and_the_quartiles_lie_between_values_where_none_is_in_the_middle() {
    let odd = Spread::of([50.0, 10.0, 40.0, 20.0, 30.0]);
    let even = Spread::of([4.0, 1.0, 3.0, 2.0]);

    assert_eq!(odd, Some(spread(20.0, 30.0, 40.0)));
    assert_eq!(even, Some(spread(1.75, 2.5, 3.25)));
}

#[test]
fn nothing_has_no_median_and_what_is_no_number_does_not_count() {
    assert_eq!(Spread::of([]), None);
    assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    assert_eq!(
        Spread::of([f64::NAN, 7.0, f64::INFINITY]),
        Some(spread(7.0, 7.0, 7.0))
    );
}

#[test]
fn a_range_of_a_twentieth_of_the_median_is_shown_and_a_wider_one_is_not() {
    assert!(!spread(98.0, 100.0, 103.0).is_too_noisy());
    assert!(spread(98.0, 100.0, 103.1).is_too_noisy());
}

#[test]
fn a_range_around_nought_is_too_noisy_and_one_below_it_is_measured_by_its_size() {
    assert!(spread(0.0, 0.0, 0.0).is_too_noisy());
    assert!(spread(-2.0, -1.0, 0.0).is_too_noisy());
    assert!(!spread(-101.0, -100.0, -99.0).is_too_noisy());
}

#[test]
fn a_ratio_is_taken_of_rounds_that_ran_one_after_the_other() {
    // The machine becomes slower and slower, for both alike.
    let table = pair(&[9.0, 18.0, 36.0, 72.0], &[10.0, 20.0, 40.0, 80.0]);

    assert_eq!(
        rounded(ratio(&table)),
        Comparison::Clear(spread(0.9, 0.9, 0.9))
    );
}

#[test]
fn a_ratio_that_differs_too_much_from_pair_to_pair_is_kept_back() {
    let table = pair(&[8.0, 9.0, 10.0], &[10.0, 10.0, 10.0]);

    assert_eq!(
        rounded(ratio(&table)),
        Comparison::TooNoisy(spread(0.85, 0.9, 0.95))
    );
}

#[test]
fn two_pairs_of_rounds_make_no_ratio_and_three_do() {
    let two = pair(&[9.0, 9.0], &[10.0, 10.0]);
    let three = pair(&[9.0, 9.0, 9.0], &[10.0, 10.0, 10.0]);

    assert_eq!(ratio(&two), Comparison::TooFewRounds);
    assert!(matches!(ratio(&three), Comparison::Clear(_)));
}

#[test]
fn a_round_that_lacks_its_partner_does_not_count() {
    let table = pair(&[9.0, 9.0, 9.0, 1.0], &[10.0, 10.0, 10.0]);

    assert_eq!(
        rounded(ratio(&table)),
        Comparison::Clear(spread(0.9, 0.9, 0.9))
    );
}

#[test]
fn a_contender_whose_requests_failed_has_no_ratio_on_either_side() {
    for failing in 0..2 {
        let mut table = pair(&[9.0; 3], &[10.0; 3]);
        // 31 of 30,031.
        table.series[failing].rounds[1].failures = 31;

        assert_eq!(ratio(&table), Comparison::Failed, "{failing}");
    }
}

#[test]
fn a_few_failures_among_very_many_requests_spoil_no_ratio() {
    let mut table = pair(&[9.0; 3], &[10.0; 3]);
    table.series[0].rounds[1].failures = 30;

    assert!(matches!(ratio(&table), Comparison::Clear(_)));
}

#[test]
fn a_contender_that_answered_nothing_at_all_has_no_ratio() {
    let mut table = pair(&[9.0; 3], &[10.0; 3]);
    for round in &mut table.series[0].rounds {
        round.requests = 0;
    }

    assert_eq!(ratio(&table), Comparison::Failed);
}

#[test]
fn whoever_was_not_there_is_not_compared() {
    let table = table("small-get-64", vec![series(names::ATTACHE, &[9.0; 3])]);

    assert_eq!(table.ratio(names::ATTACHE, names::NGINX), None);
    assert_eq!(table.ratio(names::NGINX, names::ATTACHE), None);
}

#[test]
fn added_latency_counts_from_the_origins_own_in_the_same_round() {
    let table = fixed_rate(&[
        (names::DIRECT, &[200, 300, 400]),
        (names::ATTACHE, &[250, 350, 450]),
        (names::NGINX, &[280, 380, 480]),
    ]);

    let nginx = table.of(names::NGINX).unwrap();
    let added = Spread::of(table.added(nginx, |round| round.p99)).unwrap();
    let beside = table.difference(names::ATTACHE, names::NGINX).unwrap();

    assert_eq!(
        rounded(Comparison::Clear(added)),
        Comparison::Clear(spread(80.0, 80.0, 80.0))
    );
    assert_eq!(
        rounded(beside),
        Comparison::Clear(spread(-30.0, -30.0, -30.0))
    );
}

#[test]
fn a_difference_whose_quartiles_disagree_on_who_added_more_is_kept_back() {
    let table = fixed_rate(&[
        (names::DIRECT, &[200, 200, 200]),
        (names::ATTACHE, &[250, 280, 310]),
        (names::NGINX, &[280, 280, 280]),
    ]);

    let beside = table.difference(names::ATTACHE, names::NGINX).unwrap();

    assert_eq!(
        rounded(beside),
        Comparison::TooNoisy(spread(-15.0, 0.0, 15.0))
    );
}

#[test]
fn latency_is_added_to_nothing_where_the_origin_was_not_called_directly() {
    let table = fixed_rate(&[
        (names::ATTACHE, &[250, 350, 450]),
        (names::NGINX, &[280, 380, 480]),
    ]);

    let beside = table.difference(names::ATTACHE, names::NGINX);

    assert_eq!(beside, Some(Comparison::TooFewRounds));
}
