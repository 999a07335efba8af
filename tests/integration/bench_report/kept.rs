//! Which files a report leaves, and what of them is kept.

use std::fs;

use tempfile::TempDir;

use super::report::keep;
use super::sample::{self, files, write, written};

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
            "overview.svg",
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
