//! What a run of the benchmark is asked for.

use std::ffi::OsString;
use std::time::Duration;

use clap::CommandFactory;

use super::arguments::Arguments;

/// What `cargo bench --bench end_to_end -- WORDS` asks for.
fn asked(words: &str) -> Result<Arguments, clap::Error> {
    let all = ["end_to_end", "--bench"].into_iter();
    let all = all.chain(words.split_whitespace()).map(OsString::from);
    Arguments::parse_from_words(all).unwrap()
}

#[test]
fn whoever_lists_or_runs_tests_asks_for_nothing() {
    for words in [
        vec!["end_to_end"],
        vec!["end_to_end", "--list", "--format", "terse"],
    ] {
        let words = words.into_iter().map(OsString::from);

        assert!(Arguments::parse_from_words(words).is_none());
    }
}

#[test]
fn a_run_has_what_it_is_asked_for_and_the_rest_as_usual() {
    let usual = asked("").unwrap().plan();
    let other = asked("--rounds 7 --round-seconds 0.25 --threads 2")
        .unwrap()
        .plan();

    assert_eq!(usual.rounds, 15);
    assert_eq!(usual.round, Duration::from_secs(2));
    assert_eq!(usual.threads, 1);
    assert_eq!(other.rounds, 7);
    assert_eq!(other.round, Duration::from_millis(250));
    assert_eq!(other.threads, 2);
}

#[test]
fn a_quick_run_is_short_and_has_rounds_enough_for_a_ratio() {
    let plan = asked("--quick").unwrap().plan();

    assert!(plan.rounds >= super::figures::PAIRS_MIN);
    assert!(plan.round * plan.rounds as u32 <= Duration::from_millis(1_500));
}

#[test]
fn a_load_that_does_not_exist_is_no_load_to_run_in_silence() {
    let names = ["small-get-64", "http2-64", "scenarios"];

    for (words, unknown) in [
        ("--only smal-get", Some("smal-get")),
        ("--only http2,get", Some("get")),
        ("--only=", Some("")),
        ("--only small,scenarios", None),
        ("", None),
    ] {
        assert_eq!(asked(words).unwrap().unknown(&names), unknown, "{words}");
    }
}

#[test]
fn only_the_loads_asked_for_are_run() {
    let all = asked("").unwrap();
    let some = asked("--only get-16k,http2-64").unwrap();
    let quick = asked("--quick").unwrap();
    let quick_some = asked("--quick --only new").unwrap();

    assert!(all.wants("new-connection"));
    assert!(some.wants("get-16k-64") && some.wants("http2-64"));
    assert!(!some.wants("small-get-64") && !some.wants("scenarios"));
    assert!(quick.wants("small-get-64") && quick.wants("scenarios"));
    assert!(!quick.wants("new-connection"));
    assert!(quick_some.wants("new-connection") && !quick_some.wants("small-get-64"));
}

#[test]
fn only_the_peers_asked_for_take_part() {
    let all = asked("").unwrap();
    let some = asked("--peers nginx,haproxy-tcp").unwrap();

    assert!(all.wants_peer("envoy"));
    assert!(some.wants_peer("nginx") && some.wants_peer("haproxy-tcp"));
    assert!(!some.wants_peer("haproxy") && !some.wants_peer("nginx-lua"));
}

#[test]
fn the_report_gives_a_command_that_asks_for_the_same_run() {
    for words in [
        "",
        "--quick",
        "--rounds 7 --round-seconds 0.25 --only small,new --peers nginx,envoy --threads 2",
    ] {
        let command = asked(words).unwrap().plan().command;

        let typed = command.strip_prefix("cargo bench --bench end_to_end");
        assert_eq!(typed.unwrap().trim_start_matches(" -- "), words);
    }
}

#[test]
fn the_readme_names_every_option() {
    let readme = include_str!("../../../benches/README.md");
    let command = Arguments::command();

    for option in command.get_arguments().filter(|one| !one.is_hide_set()) {
        let long = format!("`--{}", option.get_long().unwrap());
        assert!(
            long == "`--help" || readme.contains(&long),
            "{long} is missing"
        );
    }
}

#[test]
fn what_no_run_can_be_is_refused() {
    for words in [
        "--rounds 0",
        "--rounds many",
        "--round-seconds 0",
        "--round-seconds NaN",
        "--round-seconds 601",
        "--threads 0",
        "--peers apache",
        "--keep --quick",
        "--slow",
    ] {
        assert!(asked(words).is_err(), "{words}");
    }
}
