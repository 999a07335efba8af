//! What the report says.

use std::time::Duration;

use super::figures::{Results, names};
use super::machine::memory_bytes;
use super::report::grid::{Column, Grid};
use super::report::{cells, grid};
use super::sample::{self, read, series, table, terminal, written};

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
    let is_told = |results: &Results, told| {
        let folder = written(results);
        let texts = [terminal(results), read(&folder, "report.md")];
        texts.map(|text| text.contains(told))
    };
    // One contender whose own threads wait for each other says nothing of the machine.
    for round in &mut results.tables[0].series[0].rounds {
        round.waited = Duration::from_secs(1);
    }
    let told = "Contenders waited for a processor during";
    assert_eq!(is_told(&results, told), [false, false]);

    let rounds = results.tables[0].series.iter_mut();
    for round in rounds.flat_map(|series| &mut series.rounds) {
        round.waited = Duration::from_millis(30);
    }

    let told = "Contenders waited for a processor during 6 % of a round";
    assert_eq!(is_told(&results, told), [true, true]);
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
fn words_stand_to_the_left_and_figures_to_the_right() {
    let mut table = Grid::new(&[Column::Words("who"), Column::Figures("µs")]);
    table.push(vec!["Attaché".to_owned(), "11.3".to_owned()]);
    table.push(vec!["nginx".to_owned(), "7".to_owned()]);

    assert_eq!(
        table.text(),
        "who        µs\nAttaché  11.3\nnginx       7\n"
    );
    assert_eq!(
        table.markdown(),
        "| who | µs |\n|---|---:|\n| Attaché | 11.3 |\n| nginx | 7 |\n"
    );
}

#[test]
fn memory_is_read_as_the_kernel_tells_it() {
    let told = "MemTotal:       16384 kB\nMemFree:         1024 kB\n";

    assert_eq!(memory_bytes(told), Some(16 << 20));
    assert_eq!(memory_bytes("MemFree:         1024 kB\n"), None);
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
