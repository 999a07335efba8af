//! What the README says, held against the program.

use std::path::Path;

use attache::control::access::{Access, Role};
use attache::control::api::PROBLEMS;
use attache::metrics::FAMILIES;
use attache::proxy::error::TABLE;

const README: &str = include_str!("../../README.md");

/// The cells of the table under `header`, row by row, without the line of dashes.
fn table(header: &str) -> Vec<Vec<&'static str>> {
    README
        .lines()
        .skip_while(|line| *line != header)
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn the_readme_lists_every_metric_with_its_labels() {
    let listed: Vec<_> = table("| metric | labels | what it counts |")
        .into_iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();

    let exported: Vec<_> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<_> = family.labels.iter().map(|one| format!("`{one}`")).collect();
            (format!("`{}`", family.name), labels.join(", "))
        })
        .collect();

    assert_eq!(listed, exported);
}

#[test]
fn the_readme_lists_every_answer_of_the_gateways_own() {
    let listed = table("| status | reason | Proxy-Status error | when |");

    let given: Vec<_> = TABLE
        .iter()
        .map(|row| {
            vec![
                row.status.as_u16().to_string(),
                format!("`{}`", row.name),
                format!("`{}`", row.proxy_status),
                row.when.to_owned(),
            ]
        })
        .collect();

    assert_eq!(listed, given);
}

#[test]
fn the_readme_lists_every_refusal_of_the_admin_api() {
    let listed = table("| status | reason | when |");

    let given: Vec<_> = PROBLEMS
        .iter()
        .map(|reason| {
            vec![
                reason.status().as_u16().to_string(),
                format!("`{}`", reason.name()),
                reason.when().to_owned(),
            ]
        })
        .collect();

    assert_eq!(listed, given);
}

#[test]
fn the_readme_lists_every_role_with_what_it_may_do() {
    let listed = table("| role | may |");

    let roles: Vec<_> = Role::ALL
        .iter()
        .map(|role| {
            let may = match role.access() {
                Access::None => "nothing",
                Access::Read => "read",
                Access::Write => "read and write",
            };
            vec![format!("`{role}`"), may.to_owned()]
        })
        .collect();

    assert_eq!(listed, roles);
}

/// What stands between backticks in `cell`.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn troubles() -> Vec<Vec<&'static str>> {
    table("| fault | what the flow sees | what the metrics show | what to do |")
}

#[test]
fn every_answer_the_readme_promises_in_trouble_is_one_that_the_gateway_gives() {
    let statuses = |cell: &'static str| {
        let words: Vec<_> = cell.split([' ', ',', ';']).collect();
        let pairs = words
            .windows(2)
            .map(|pair| (pair[0], pair[1].trim_matches('`')));
        let is_status =
            |(status, _): &(&str, &str)| status.len() == 3 && status.parse::<u16>().is_ok();
        pairs.filter(is_status).collect::<Vec<_>>()
    };
    let mut promised = Vec::new();
    for row in troubles() {
        promised.extend(statuses(row[1]));
    }

    for (status, reason) in &promised {
        let given = TABLE.iter().find(|row| row.name == *reason);
        let given = given.unwrap_or_else(|| panic!("there is no {reason}"));
        assert_eq!(given.status.as_u16().to_string(), *status, "{reason}");
    }
    // Whatever is not the flow's own fault is somebody's trouble.
    for given in TABLE.iter().filter(|given| given.status.is_server_error()) {
        let named = promised.iter().any(|(_, reason)| *reason == given.name);
        assert!(named, "no trouble leads to {}", given.name);
    }
}

#[test]
fn every_metric_the_readme_sends_the_person_on_call_to_is_exported() {
    let words = troubles().into_iter().flat_map(|row| quoted(row[2]));
    // The others are keys of the configuration.
    for name in words.filter(|word| !word.starts_with("tokens.")) {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let family = FAMILIES.iter().find(|family| family.name == name);
        let family = family.unwrap_or_else(|| panic!("there is no {name}"));
        for label in labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty())
        {
            let (label, value) = label.split_once('=').unwrap();
            assert!(family.labels.contains(&label), "{name} has no {label}");
            let is_reason = label == "reason";
            let known = TABLE.iter().any(|row| row.name == value.trim_matches('"'));
            assert!(known || !is_reason, "there is no {value}");
        }
    }
}

#[test]
fn every_key_the_readme_sends_the_person_on_call_to_exists() {
    const REFERENCE: &str = include_str!("../../config/reference.yaml");
    let is_key = |word: &&str| {
        let of_a_key = |c: char| c.is_ascii_lowercase() || "._".contains(c);
        word.chars().all(of_a_key) && word.contains(['.', '_'])
    };
    let cells = troubles()
        .into_iter()
        .flat_map(|row| [row[0], row[1], row[3]]);
    let words = cells.flat_map(quoted);
    // The errors of Proxy-Status (RFC 9209 §2.3) and the fields of a problem are written likewise.
    let others = [
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "dns_error",
        "dns_timeout",
        "http_response_timeout",
        "may_have_reached_origin",
    ];

    for key in words.filter(is_key).filter(|word| !others.contains(word)) {
        for part in key.split('.') {
            assert!(REFERENCE.contains(&format!("{part}:")), "there is no {key}");
        }
    }
}

#[test]
fn every_file_that_the_security_page_names_is_there() {
    let page = include_str!("../../SECURITY.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = page.split('`').skip(1).step_by(2);
    let files: Vec<_> = words.filter(|word| word.ends_with(".rs")).collect();

    assert!(files.len() > 30, "{files:?}");
    for file in files {
        let at = match file.starts_with("src/") {
            true => root.join(file),
            false => root.join("tests/integration").join(file),
        };
        let holds = std::fs::read_to_string(&at).unwrap_or_default();
        // A room of tests may have them in rooms of its own.
        let tests = ["#[test]", "#[tokio::test", "\nmod "];
        assert!(
            tests.iter().any(|it| holds.contains(it)),
            "{file} holds nothing"
        );
    }
}
