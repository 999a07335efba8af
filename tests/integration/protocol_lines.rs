//! `tests/PROTOCOL.md`, held against the tests it names and the list it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../PROTOCOL.md");

/// A kind of number, by the word that a test puts before it and by the first cell of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Point,
    Line,
    Row,
    Certificate,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Point, "point"),
        (Self::Line, "line"),
        (Self::Row, "row"),
        (Self::Certificate, "certificate"),
    ];

    fn of(word: &str) -> Option<Self> {
        let word = word.strip_suffix('s').unwrap_or(word);
        let known = Self::ALL.iter().find(|(_, name)| *name == word);
        known.map(|(kind, _)| *kind)
    }
}

/// The numbers of a table and the cell that says what holds each.
fn table(kind: Kind) -> Vec<(usize, &'static str)> {
    let name = Kind::ALL.iter().find(|(one, _)| *one == kind).unwrap().1;
    let header = format!("| {name} | what | held by |");
    let rows = PAGE.lines().skip_while(|line| *line != header).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 3, "{line}");
            (cells[0].parse().unwrap(), cells[2])
        })
        .collect()
}

/// What stands between backticks in `cell` and looks like the name of a test.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    let is_test = |word: &&str| {
        let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.matches('_').count() > 1 && word.chars().all(of_a_name)
    };
    cell.split('`').skip(1).step_by(2).filter(is_test)
}

/// Every file of Rust under `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each test of the project by its name, with its comments: from behind the blank line before its
/// attribute to the blank line before the next.
fn tests() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests/integration"), &mut files);
    let mut tests = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let (mut name, mut test) = (None, String::new());
        for paragraph in text.split("\n\n") {
            let begins = paragraph.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with("#[test]") || line.starts_with("#[tokio::test")
            });
            if begins {
                tests.extend(name.take().map(|name| (name, std::mem::take(&mut test))));
                test.clear();
                let after = paragraph.split("fn ").nth(1).unwrap_or_default();
                name = after.split('(').next().map(str::to_owned);
            }
            test += paragraph;
            test += "\n";
        }
        tests.extend(name.map(|name| (name, test)));
    }
    tests
}

/// The numbers that `text` says it holds: `protocol.md, lines 23 to 25 and row 1`. A number
/// without a word is that of a line.
fn cited(text: &str) -> BTreeSet<(Kind, usize)> {
    let comments = text.lines().map(str::trim_start);
    let comments = comments.filter_map(|line| line.strip_prefix("//"));
    let comments: Vec<_> = comments.map(|line| line.trim_start_matches('/')).collect();
    let comments = comments.join(" ");
    let mut cited = BTreeSet::new();
    for citation in comments.split("protocol.md").skip(1) {
        let (mut kind, mut from, mut to) = (Kind::Line, None, false);
        for word in citation.split_whitespace() {
            let ends = word.ends_with([';', ':', '.']);
            let word = word.trim_matches([',', ';', ':', '.', ')', '(']);
            if let Ok(number) = word.parse::<usize>() {
                let from = from.replace(number).filter(|_| to).unwrap_or(number);
                cited.extend((from..=number).map(|number| (kind, number)));
                to = false;
            } else if word == "to" {
                to = true;
            } else if let Some(known) = Kind::of(word) {
                kind = known;
            } else if !word.is_empty() && word != "and" {
                break;
            }
            if ends {
                break;
            }
        }
    }
    cited
}

#[test]
fn citations_are_read_as_they_are_written() {
    let all = |text: &str| cited(text).into_iter().collect::<Vec<_>>();

    assert_eq!(all("// protocol.md, row 5."), [(Kind::Row, 5)]);
    assert_eq!(
        all("// RFC 1 §2; protocol.md, lines 23 to 25, rows 1 and\n    // 27. See 99."),
        [
            (Kind::Line, 23),
            (Kind::Line, 24),
            (Kind::Line, 25),
            (Kind::Row, 1),
            (Kind::Row, 27)
        ]
    );
    assert_eq!(
        all("/// protocol.md 28, row 9 (CVE-1)."),
        [(Kind::Line, 28), (Kind::Row, 9)]
    );
    assert_eq!(all("let protocol.md = 5"), []);
}

#[test]
fn every_number_stands_once_and_in_order() {
    for (kind, _) in Kind::ALL {
        let numbers: Vec<_> = table(kind).iter().map(|(number, _)| *number).collect();

        assert!(!numbers.is_empty(), "{kind:?}");
        let counted: Vec<_> = (1..=numbers.len()).collect();
        assert_eq!(numbers, counted, "{kind:?}");
    }
}

#[test]
fn every_number_has_a_test_that_says_so_or_a_reason() {
    let tests = tests();
    let mut faults = Vec::new();
    for (kind, _) in Kind::ALL {
        for (number, cell) in table(kind) {
            let names: Vec<_> = named(cell).collect();
            let reason = cell.contains("Does not apply: ");
            if names.is_empty() && !reason {
                faults.push(format!("{kind:?} {number} is held by nothing"));
            }
            for name in names {
                match tests.get(name).map(|test| cited(test)) {
                    None => faults.push(format!("{kind:?} {number}: there is no test {name}")),
                    Some(cited) if !cited.contains(&(kind, number)) => {
                        faults.push(format!("{kind:?} {number}: {name} does not cite it"));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The list itself, where it is to be had beside the project.
fn list() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/protocol.md");
    let text = std::fs::read_to_string(path).ok();
    if text.is_none() {
        eprintln!("no ../shared/protocol.md beside the project: its numbers were not compared");
    }
    text
}

/// The part of the list under the heading that begins with `heading`.
fn section<'a>(list: &'a str, heading: &str) -> &'a str {
    let (_, behind) = list.split_once(&format!("\n## {heading}")).unwrap();
    behind.split("\n## ").next().unwrap()
}

#[test]
fn the_numbers_are_those_of_the_list() {
    let Some(list) = list() else { return };
    let lines = section(&list, "RFC lines");
    let words = lines.split_whitespace().map(|word| word.trim_matches('*'));
    // They are numbered through; other numbers that end a sentence are out of order.
    let lines = words.fold(0, |last, word| {
        last + usize::from(word == format!("{}.", last + 1))
    });
    let rows = section(&list, "Known bugs").lines();
    let rows = rows.filter_map(|row| row.strip_prefix("| ")?.split(' ').next()?.parse().ok());
    let rows: Vec<usize> = rows.collect();
    let certificates = section(&list, "Bad server certificates").matches(" · ");

    assert_eq!(table(Kind::Line).len(), lines);
    let ours: Vec<_> = table(Kind::Row).iter().map(|(row, _)| *row).collect();
    assert_eq!(ours, rows);
    assert_eq!(table(Kind::Certificate).len(), certificates.count() + 1);
}
