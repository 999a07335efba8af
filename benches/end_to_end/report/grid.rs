//! A table of words, written for a terminal or as Markdown.

use std::fmt::Write;

/// What a column holds, under which name: words stand to the left, figures to the right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    Words(&'static str),
    Figures(&'static str),
}

/// A table of words. Every row has a cell for each column.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    columns: Vec<Column>,
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            names: columns
                .iter()
                .map(|column| column.name().to_owned())
                .collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "{row:?}");
        self.rows.push(row);
    }

    /// Aligned by spaces.
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
            let aligned = cells.map(|(column, (cell, width))| match self.columns[column] {
                Column::Words(_) => format!("{cell:<width$}"),
                Column::Figures(_) => format!("{cell:>width$}"),
            });
            let aligned: Vec<String> = aligned.collect();
            let _ = writeln!(text, "{}", aligned.join("  ").trim_end());
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let rules = self.columns.iter().map(|column| match column {
            Column::Words(_) => "---",
            Column::Figures(_) => "---:",
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
        [&self.names].into_iter().chain(&self.rows)
    }
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Words(name) | Self::Figures(name) => name,
        }
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
