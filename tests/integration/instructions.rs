//! How counted instructions are held against their baseline. The counting itself is
//! `cargo bench --bench instructions`, which `tests/run` ends with.

#[path = "../../benches/instructions/baseline.rs"]
mod baseline;

use baseline::{
    Baseline, Bound, Comparison, Count, Kinship, OTHER_COMPILER_PERCENT, Scope, Tools, Verdict,
    broken,
};

const GET: &str = "small GET";
const UPLOAD: &str = "upload";

fn tools() -> Tools {
    Tools {
        rustc: "1.95.0".to_owned(),
        processor: "x86_64 aes avx2".to_owned(),
        valgrind: "valgrind-3.19.0".to_owned(),
    }
}

fn other_compiler() -> Tools {
    Tools {
        rustc: "1.96.0".to_owned(),
        ..tools()
    }
}

fn other_processor() -> Tools {
    Tools {
        processor: "aarch64".to_owned(),
        ..tools()
    }
}

fn count(walk: &str, instructions: u64) -> Count {
    Count {
        walk: walk.to_owned(),
        instructions,
    }
}

/// A small GET costs 50,000 instructions, an upload 100,000, and 3 % more are tolerated.
fn accepted() -> Baseline {
    Baseline {
        tolerance_percent: 3.0,
        counted_with: tools(),
        walks: vec![count(GET, 50_000), count(UPLOAD, 100_000)],
    }
}

fn run(get: u64, upload: u64) -> Comparison {
    accepted().compare(
        &[count(GET, get), count(UPLOAD, upload)],
        &tools(),
        Scope::All,
    )
}

fn verdicts(comparison: &Comparison) -> Vec<(&str, Verdict)> {
    let lines = comparison.lines.iter();
    lines
        .map(|line| (line.walk.as_str(), line.verdict))
        .collect()
}

#[test]
fn a_walk_that_costs_more_than_the_tolerance_fails_the_run() {
    let comparison = run(51_501, 100_000);

    assert!(!comparison.passes());
    assert_eq!(
        verdicts(&comparison),
        [(GET, Verdict::Costlier), (UPLOAD, Verdict::Holds)]
    );
    let said = comparison.to_string();
    assert!(
        said.contains("| small GET | 50000 | 51501 | +3.0 % | COSTLIER |"),
        "{said}"
    );
}

#[test]
fn a_walk_within_the_tolerance_passes_on_either_side() {
    for get in [48_501, 50_000, 51_499] {
        let comparison = run(get, 100_000);

        assert!(comparison.passes(), "{get}");
        assert!(!comparison.gains(), "{get}");
        assert_eq!(comparison.kinship, Kinship::Same);
    }
}

#[test]
fn a_walk_that_costs_less_than_the_tolerance_passes_and_is_to_be_accepted() {
    let comparison = run(48_499, 100_000);

    assert!(comparison.passes());
    assert!(comparison.gains());
    assert_eq!(verdicts(&comparison)[0], (GET, Verdict::Cheaper));
}

#[test]
fn what_one_walk_gains_makes_up_for_no_other() {
    assert!(!run(25_000, 104_000).passes());
}

#[test]
fn a_walk_that_nobody_counted_fails_the_run() {
    let comparison = accepted().compare(&[count(GET, 50_000)], &tools(), Scope::All);

    assert!(!comparison.passes());
    assert_eq!(
        verdicts(&comparison),
        [(GET, Verdict::Holds), (UPLOAD, Verdict::Gone)]
    );
}

#[test]
fn a_walk_that_nobody_asked_for_is_not_missed() {
    let comparison = accepted().compare(&[count(GET, 50_000)], &tools(), Scope::Part);

    assert!(comparison.passes());
    assert_eq!(verdicts(&comparison), [(GET, Verdict::Holds)]);
}

#[test]
fn a_walk_that_the_baseline_does_not_know_fails_the_run() {
    for scope in [Scope::All, Scope::Part] {
        let counts = [
            count(GET, 50_000),
            count(UPLOAD, 100_000),
            count("other", 1),
        ];
        let comparison = accepted().compare(&counts, &tools(), scope);

        assert!(!comparison.passes());
        assert_eq!(verdicts(&comparison)[2], ("other", Verdict::Unknown));
    }
}

#[test]
fn another_compiler_widens_the_tolerance_and_lifts_it_not() {
    let compare = |get| {
        let counts = [count(GET, get), count(UPLOAD, 100_000)];
        accepted().compare(&counts, &other_compiler(), Scope::All)
    };

    let within = compare(54_999);
    assert!(within.passes());
    assert_eq!(within.kinship, Kinship::OtherCompiler);
    assert_eq!(within.tolerance_percent, OTHER_COMPILER_PERCENT);
    assert!(within.to_string().contains("another compiler"));
    assert!(!compare(55_001).passes());
    // What another compiler gains is not the source's.
    assert!(!compare(25_000).gains());
}

#[test]
fn a_wider_tolerance_than_another_compiler_needs_stays() {
    let mut accepted = accepted();
    accepted.tolerance_percent = 20.0;

    let comparison = accepted.compare(&[count(GET, 59_000)], &other_compiler(), Scope::Part);

    assert!(comparison.passes());
}

#[test]
fn on_another_processor_counts_are_shown_and_not_held() {
    let counts = [count(GET, 500_000), count(UPLOAD, 100_000)];
    let comparison = accepted().compare(&counts, &other_processor(), Scope::All);

    assert!(comparison.passes());
    assert_eq!(comparison.kinship, Kinship::OtherProcessor);
    assert_eq!(verdicts(&comparison)[0], (GET, Verdict::Costlier));
    assert!(comparison.to_string().contains("not held"));
    let less = accepted().compare(&counts[..1], &other_processor(), Scope::All);
    assert!(!less.passes(), "a walk that is gone is gone anywhere");
}

#[test]
fn another_version_of_valgrind_changes_nothing() {
    let later = Tools {
        valgrind: "valgrind-3.25.0".to_owned(),
        ..tools()
    };
    let comparison = accepted().compare(&[count(GET, 50_000)], &later, Scope::Part);

    assert_eq!(comparison.kinship, Kinship::Same);
}

#[test]
fn a_bound_between_two_walks_holds_whatever_the_baseline_says() {
    let bound = Bound {
        walk: UPLOAD,
        above: GET,
        percent_max: 3.0,
    };

    assert!(broken(&[bound], &[count(GET, 50_000), count(UPLOAD, 51_499)]).is_empty());
    let said = broken(&[bound], &[count(GET, 50_000), count(UPLOAD, 51_501)]);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("upload: 51501 instructions, 3.0 % above"),
        "{said:?}"
    );
    // A cheaper one breaks none, and half of a pair says nothing.
    assert!(broken(&[bound], &[count(GET, 50_000), count(UPLOAD, 1)]).is_empty());
    assert!(broken(&[bound], &[count(UPLOAD, 51_501)]).is_empty());
}

#[test]
fn what_is_accepted_replaces_all_that_was() {
    let counts = vec![count("other", 1)];

    let now = accepted().accept(counts.clone(), other_compiler(), Scope::All);

    let now = now.unwrap();
    assert_eq!(now.walks, counts);
    assert_eq!(now.counted_with, other_compiler());
    assert_eq!(now.tolerance_percent, 3.0);
}

#[test]
fn what_is_accepted_in_part_leaves_the_rest_as_it_was() {
    let counts = vec![count(UPLOAD, 90_000), count("other", 1)];

    let now = accepted().accept(counts, tools(), Scope::Part).unwrap();

    let walks = [count(GET, 50_000), count(UPLOAD, 90_000), count("other", 1)];
    assert_eq!(now.walks, walks);
}

#[test]
fn what_other_tools_counted_is_not_accepted_in_part() {
    for tools in [other_compiler(), other_processor()] {
        let counts = vec![count(UPLOAD, 90_000)];

        assert_eq!(accepted().accept(counts, tools, Scope::Part), None);
    }
}

#[test]
fn the_baseline_that_is_checked_in_reads_as_one_and_knows_its_tools() {
    let text = include_str!("../../benches/instructions/baseline.json");
    let baseline: Baseline = serde_json::from_str(text).unwrap();

    assert!(!baseline.walks.is_empty());
    assert!(baseline.tolerance_percent <= OTHER_COMPILER_PERCENT);
    assert!(baseline.counted_with.rustc.starts_with("1."));
    let again = serde_json::to_string_pretty(&baseline).unwrap() + "\n";
    assert_eq!(again, text, "it was written by hand");
}

#[test]
fn a_baseline_with_something_unknown_in_it_is_refused() {
    let mut value = serde_json::to_value(accepted()).unwrap();
    value["tolerance"] = 50.into();

    assert!(serde_json::from_value::<Baseline>(value).is_err());
}
