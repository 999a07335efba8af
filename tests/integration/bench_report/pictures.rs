//! The report's pictures.

use super::figures::names;
use super::report::canvas::Ink;
use super::report::plots;
use super::sample::{self, files, read, series, table, written};

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
