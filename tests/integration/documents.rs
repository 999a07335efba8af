//! What the README says, held against the program.

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
