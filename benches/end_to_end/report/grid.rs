//! A table of words, written for a terminal or as Markdown.

use std::fmt::Write;

/// A table of words. Every row has a cell for each column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "{row:?}");
        self.rows.push(row);
    }

    /// Aligned by spaces: words to the left, figures to the right.
    pub(crate) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let all = self.lines().map(|line| line[column].chars().count());
                all.max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in self.lines() {
            let cells = line.iter().zip(&widths).enumerate();
            let aligned = cells.map(|(column, (cell, width))| match self.has_words(column) {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            });
            let aligned: Vec<String> = aligned.collect();
            let _ = writeln!(text, "{}", aligned.join("  ").trim_end());
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let rules = (0..self.columns.len()).map(|column| match self.has_words(column) {
            true => "---",
            false => "---:",
        });
        let rules = format!("|{}|\n", rules.collect::<Vec<_>>().join("|"));
        let mut lines = self.lines().map(|line| {
            let cells: Vec<String> = line.iter().map(|cell| escape(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        });
        let head = lines.next().unwrap_or_default();
        head + &rules + &lines.collect::<String>()
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        [&self.columns].into_iter().chain(&self.rows)
    }

    /// Whether no cell of a column begins with a figure.
    fn has_words(&self, column: usize) -> bool {
        let is_figure = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '−');
        column == 0 || !self.rows.iter().any(|row| is_figure(&row[column]))
    }
}

/// `text` so that Markdown shows it as it is, in a table too (GitHub Flavored Markdown 0.29, §4.10:
/// a bar ends a cell, whatever it stands in; CommonMark 0.31, §2.4: what a backslash takes the
/// meaning of).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\|*_`[]<>#~&!$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    escaped
}
