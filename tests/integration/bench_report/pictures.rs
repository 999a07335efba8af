//! The report's pictures.

use super::figures::{Results, Table, names};
use super::report::canvas::Ink;
use super::report::plots::{self, lines};
use super::sample::{self, files, read, series, table, written};

#[test]
fn every_load_has_its_picture_beside_the_report() {
    let folder = written(&sample::results());

    let document = read(&folder, "report.md");
    assert_eq!(
        files(folder.path()),
        [
            "fixed-rate.svg",
            "overview.svg",
            "report.json",
            "report.md",
            "small-get-64.svg"
        ]
    );
    for picture in ["overview.svg", "fixed-rate.svg", "small-get-64.svg"] {
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

/// Where the middles of an overview's dots are, as (across, down); Attaché's are the larger ones.
fn dots(svg: &str, radius: u32) -> Vec<(i32, i32)> {
    let number = |tag: &str, name: &str| {
        let (_, value) = tag.split_once(&format!(" {name}=\"")).unwrap();
        value.split('"').next().unwrap().parse::<i32>().unwrap()
    };
    let tags = svg.lines().filter(|line| line.starts_with("<circle"));
    tags.filter(|tag| number(tag, "r") == radius as i32)
        .map(|tag| (number(tag, "cx"), number(tag, "cy")))
        .collect()
}

fn costs(load: &str, attache: &[f64]) -> Table {
    let both = vec![
        series(names::ATTACHE, attache),
        series(names::NGINX, &[10.0; 3]),
    ];
    table(load, both)
}

#[test]
fn the_overview_has_a_dot_for_each_ratio_that_may_be_shown_and_none_for_others() {
    let results = Results {
        tables: vec![
            costs("one", &[5.0; 3]),
            costs("two", &[4.0, 5.0, 6.0]),
            costs("three", &[20.0; 3]),
        ],
        ..Results::default()
    };

    let picture = plots::overview(&results).unwrap();

    let dots = dots(&picture.svg, 7);
    let [(one, first), (three, third)] = dots[..] else {
        panic!("{dots:?}")
    };
    // From 150, where nothing is, 0.5 and 2 times what nginx costs.
    assert_eq!((three - 150) / (one - 150), 4);
    assert!(first < third);
    for words in ["one", "0.50", "two", "too noisy", "three", "2.00"] {
        assert!(picture.svg.contains(&format!("\n{words}\n")), "{words}");
    }
}

#[test]
fn there_is_no_overview_where_no_ratio_may_be_shown() {
    let tables = [
        costs("noisy", &[4.0, 5.0, 6.0]),
        table("alone", vec![series(names::ATTACHE, &[9.0; 3])]),
        sample::results().tables.remove(1),
    ];
    let results = Results {
        tables: tables.to_vec(),
        ..Results::default()
    };

    assert!(plots::overview(&results).is_none());
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
    assert_eq!(lines::apart(&[10, 100, 200], 17), [10, 100, 200]);
    assert_eq!(lines::apart(&[100, 100, 300], 20), [90, 110, 300]);
    // Out of order, and one group moved into the next.
    assert_eq!(lines::apart(&[120, 100, 102], 20), [127, 87, 107]);
}
