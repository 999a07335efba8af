//! What the report looks like, and what of it is kept.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::figures::{Results, names};
use super::machine::Machine;
use super::report::canvas::Ink;
use super::report::counts::Counts;
use super::report::{self, cells, goals, grid, keep, plots};
use super::sample::{self, series, table};

/// The report of `results`, written to a directory of its own.
fn written(results: &Results) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), results, &sample::machine());
    folder
}

fn write(folder: &Path, results: &Results, machine: &Machine) {
    let outcomes = goals::outcomes(results, &Counts::default());
    report::write(folder, results, &outcomes, machine, &sample::plan());
}

fn terminal(results: &Results) -> String {
    report::terminal(results, &goals::outcomes(results, &Counts::default()))
}

fn read(folder: &TempDir, file: &str) -> String {
    fs::read_to_string(folder.path().join(file)).unwrap()
}

/// The names of the files in `folder`, in order.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The only line of `text` that begins so.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let mut lines = text.lines().filter(|line| line.starts_with(start));
    let line = lines.next().unwrap();
    assert!(lines.next().is_none(), "{start}");
    line
}

#[test]
fn a_figure_has_about_three_digits_that_count() {
    let figures = [
        0.0,
        0.052,
        0.0996,
        4.213,
        12.94,
        99.94,
        99.96,
        297.6,
        4_213.4,
        76_949.0,
        1_234_567.0,
        -41.26,
    ];

    assert_eq!(
        figures.map(cells::figure),
        [
            "0",
            "0.052",
            "0.10",
            "4.21",
            "12.9",
            "99.9",
            "100",
            "298",
            "4,213",
            "76,900",
            "1,230,000",
            "−41.3"
        ]
    );
}

#[test]
fn a_ratio_that_is_too_noisy_is_shown_nowhere() {
    let contenders = vec![
        series(names::ATTACHE, &[50.0, 61.3, 70.0]),
        series(names::NGINX, &[100.0; 3]),
    ];
    let results = Results {
        tables: vec![table("small-get-64", contenders)],
        ..Results::default()
    };

    let (folder, terminal) = (written(&results), terminal(&results));
    let document = read(&folder, "report.md");

    for text in [&terminal, &document] {
        assert!(text.contains("too noisy (0.56 to 0.66)"), "{text}");
        assert!(!text.contains("0.61"), "{text}");
    }
}

#[test]
fn requests_that_failed_are_told_where_the_figures_are() {
    let mut results = sample::results();
    results.tables[0].series[1].rounds[0].failures = 1_234;

    let (folder, terminal) = (written(&results), terminal(&results));

    for text in [terminal, read(&folder, "report.md")] {
        let told = "nginx: 1,234 of 51,234 requests were not answered as expected.";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("requests failed"), "{text}");
    }
}

#[test]
fn a_machine_that_did_something_else_is_told_where_the_figures_are() {
    let mut results = sample::results();
    results.tables.truncate(1);
    let is_told = |results: &Results| {
        let told = "Contenders waited for a processor during 6 % of a round";
        let folder = written(results);
        let texts = [terminal(results), read(&folder, "report.md")];
        texts.map(|text| text.contains(told))
    };
    // One that waits for itself says nothing of the machine.
    results.tables[0].series[0].rounds[0].waited = Duration::from_secs(1);
    assert_eq!(is_told(&results), [false, false]);

    let rounds = results.tables[0].series.iter_mut();
    for round in rounds.flat_map(|series| &mut series.rounds) {
        round.waited = Duration::from_millis(30);
    }

    assert_eq!(is_told(&results), [true, true]);
}

#[test]
fn who_calls_the_origin_directly_adds_nothing_to_it() {
    let terminal = terminal(&sample::results());

    let direct = line(&terminal, names::DIRECT);
    let figures: Vec<&str> = direct
        .trim_start_matches(names::DIRECT)
        .split_whitespace()
        .collect();
    assert_eq!(
        figures,
        ["52.0", "210", "–", "–", "–", "–", "20,000", "–", "–"]
    );
}

#[test]
fn every_row_of_a_written_table_has_as_many_cells_as_its_head() {
    let folder = written(&sample::results());

    let document = read(&folder, "report.md");
    let mut cells_of_head = None;
    let mut rows = 0;
    for line in document.lines() {
        if !line.starts_with('|') {
            cells_of_head = None;
            continue;
        }
        let cells = line.replace("\\|", "").matches('|').count();
        assert_eq!(cells, *cells_of_head.get_or_insert(cells), "{line}");
        rows += 1;
    }
    assert!(rows > 40, "{document}");
}

#[test]
fn what_markdown_would_read_as_its_own_is_escaped() {
    assert_eq!(
        grid::escape("a|b *c* _d_ `e` <f> [g](h) i\\j &amp; k\nl"),
        "a\\|b \\*c\\* \\_d\\_ \\`e\\` \\<f\\> \\[g\\](h) i\\\\j \\&amp; k l"
    );
    assert_eq!(
        grid::escape("12.9 µs (quartiles), 0.4 %"),
        "12.9 µs (quartiles), 0.4 %"
    );
}

#[test]
fn the_report_says_on_what_and_how_it_was_made() {
    let folder = written(&sample::results());

    let document = read(&folder, "report.md");
    for told in [
        "2026-11-21 16:05 UTC",
        "A processor",
        "8.0 GiB",
        "| rounds | 5 of 2 s each |",
        "    cargo bench --bench end_to_end -- --rounds 5\n",
        "| Attaché | 0.1.0 (commit unknown) |",
        "| nginx | nginx/1.22.1 |",
        "| frequency governor | none |",
    ] {
        assert!(document.contains(told), "{told}\n{document}");
    }
}

#[test]
fn every_load_has_its_picture_beside_the_report() {
    let folder = written(&sample::results());

    let document = read(&folder, "report.md");
    assert_eq!(
        files(folder.path()),
        [
            "fixed-rate.svg",
            "report.json",
            "report.md",
            "small-get-64.svg"
        ]
    );
    for picture in ["fixed-rate.svg", "small-get-64.svg"] {
        assert!(document.contains(&format!("]({picture})")), "{document}");
    }
}

#[test]
fn a_picture_names_every_contender_and_what_it_measures() {
    for table in sample::results().tables {
        let picture = plots::picture(&table).unwrap();

        for series in &table.series {
            assert!(picture.svg.contains(&series.contender), "{}", picture.svg);
        }
        assert!(picture.svg.contains("µs"), "{}", picture.svg);
        assert!(
            picture.svg.contains("prefers-color-scheme:dark"),
            "{}",
            picture.svg
        );
    }
}

#[test]
fn a_load_that_nobody_answered_has_no_picture() {
    let mut table = table("small-get-64", vec![series(names::ATTACHE, &[9.0; 3])]);
    for round in &mut table.series[0].rounds {
        round.requests = 0;
    }

    assert!(plots::picture(&table).is_none());
}

#[test]
fn a_picture_is_whole_where_rounds_have_no_more_than_two_percentiles() {
    let mut table = sample::results().tables.remove(1);
    for round in table.series.iter_mut().flat_map(|one| &mut one.rounds) {
        round.percentiles.clear();
    }

    let picture = plots::picture(&table).unwrap();

    assert!(picture.svg.contains("p50"), "{}", picture.svg);
    assert!(picture.svg.contains("p99\n"), "{}", picture.svg);
    assert!(!picture.svg.contains("p99.9"), "{}", picture.svg);
}

#[test]
fn no_two_inks_have_the_same_colour_by_which_the_dark_page_tells_them_apart() {
    let mut colours: Vec<u32> = Ink::all().map(|ink| ink.colours().0).collect();
    let inks = colours.len();

    colours.sort_unstable();
    colours.dedup();

    assert_eq!(colours.len(), inks);
}

#[test]
fn labels_that_would_cover_each_other_are_moved_apart_and_others_stay() {
    assert_eq!(plots::apart(&[10, 100, 200], 17), [10, 100, 200]);
    assert_eq!(plots::apart(&[100, 100, 300], 20), [90, 110, 300]);
    // Out of order, and one group moved into the next.
    assert_eq!(plots::apart(&[120, 100, 102], 20), [127, 87, 107]);
}

#[test]
fn the_json_has_every_round_and_what_became_of_the_goals() {
    let folder = written(&sample::results());

    let json: serde_json::Value = serde_json::from_str(&read(&folder, "report.json")).unwrap();
    let round = &json["tables"][0]["series"][0]["rounds"][4];
    assert_eq!(json["schema"], 1);
    assert_eq!(json["plan"]["round_seconds"], 2.0);
    assert_eq!(json["tables"][0]["load"], "small-get-64");
    assert_eq!(json["tables"][0]["measure"], "cpu_per_request");
    assert_eq!(round["requests"], 10_000);
    assert_eq!(round["cpu_seconds"], 0.112);
    assert_eq!(round["p99_seconds"], 0.0004);
    assert_eq!(json["findings"][0]["unit"], "s");
    assert_eq!(json["goals"][0]["verdict"], "reached");
}

#[test]
fn the_readme_names_every_field_of_the_json() {
    let readme = include_str!("../../../benches/README.md");
    let folder = written(&sample::results());

    let json: serde_json::Value = serde_json::from_str(&read(&folder, "report.json")).unwrap();
    let series = &json["tables"][0]["series"][0];
    for object in [
        &json,
        &json["versions"][0],
        &json["tables"][0],
        series,
        &series["rounds"][0],
        &json["findings"][0],
        &json["goals"][0],
    ] {
        for field in object.as_object().unwrap().keys() {
            let is_named = [format!("`{field}`"), format!("`{field}[]`")]
                .iter()
                .any(|name| readme.contains(name));
            assert!(is_named, "{field}");
        }
    }
}

#[test]
fn a_report_leaves_no_picture_of_an_earlier_one() {
    let folder = written(&sample::results());
    let mut later = sample::results();
    later.tables.remove(0);

    write(folder.path(), &later, &sample::machine());

    assert_eq!(
        files(folder.path()),
        ["fixed-rate.svg", "report.json", "report.md"]
    );
}

#[test]
fn what_is_kept_is_the_document_and_its_pictures_and_not_what_was_kept_before() {
    let (from, to) = (written(&sample::results()), TempDir::new().unwrap());
    fs::write(to.path().join("gone.svg"), "").unwrap();
    fs::write(to.path().join("README.md"), "").unwrap();

    keep::copy(from.path(), to.path(), &["nobody"]).unwrap();

    assert_eq!(
        files(to.path()),
        [
            "README.md",
            "fixed-rate.svg",
            "report.md",
            "small-get-64.svg"
        ]
    );
    assert_eq!(
        fs::read(from.path().join("report.md")).unwrap(),
        fs::read(to.path().join("report.md")).unwrap()
    );
}

#[test]
fn a_report_that_names_the_machine_is_not_kept() {
    let mut machine = sample::machine();
    machine.kernel = Some("6.1 built on vm".to_owned());
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(from.path(), &sample::results(), &machine);

    let kept = keep::copy(from.path(), to.path(), &["/home/somebody", "vm"]);

    assert_eq!(
        kept.unwrap_err(),
        "report.md names `vm`, which is this machine's own"
    );
    assert!(files(to.path()).is_empty());
}

#[test]
fn a_machine_whose_name_is_part_of_another_word_is_not_named() {
    let mut machine = sample::machine();
    machine.virtualised = Some("kvm".to_owned());
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(from.path(), &sample::results(), &machine);

    assert_eq!(keep::copy(from.path(), to.path(), &["vm", ""]), Ok(()));
}

#[test]
fn nothing_is_kept_where_there_is_no_report() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(to.path().join("kept.svg"), "").unwrap();

    let kept = keep::copy(from.path(), to.path(), &[]);

    assert_eq!(
        kept.unwrap_err(),
        "there is no report: run the benchmark first"
    );
    assert_eq!(files(to.path()), ["kept.svg"]);
}
