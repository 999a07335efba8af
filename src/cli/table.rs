//! Tables for people: columns as wide as their widest text, up to a bound, and nothing that could
//! move a cursor.

use std::fmt;

use crate::harmless::shown;

/// The widest that a column is made, in characters. A longer text shifts its own row alone: texts are
/// other people's, and every row is filled up to the longest.
const WIDTH_MAX: usize = 100;

/// A table of texts.
pub(super) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty one under `head`.
    pub(super) fn new(head: [&str; COLUMNS]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned)],
        }
    }

    /// Adds a row. Names are written by other people: nothing of them acts on a terminal.
    pub(super) fn row(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.map(|text| shown(&text)));
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, text) in widths.iter_mut().zip(row) {
                *width = text.chars().count().max(*width).min(WIDTH_MAX);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (width, text) in widths.iter().zip(row) {
                line += &format!("{text:<width$}  ", width = *width);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_nothing_moves_the_cursor() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["a".to_owned(), "Café\u{1b}[2J".to_owned()]);
        table.row(["longer".to_owned(), "b\n\u{202e}\u{9b}\u{2028}c".to_owned()]);

        assert_eq!(
            table.to_string(),
            "ID      NAME\na       Café\u{fffd}[2J\nlonger  b\u{fffd}\u{fffd}\u{fffd}\u{fffd}c\n"
        );
    }

    #[test]
    fn one_long_text_does_not_fill_every_row() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["x".repeat(100_000), "a".to_owned()]);
        for _ in 0..1_000 {
            table.row(["y".to_owned(), "b".to_owned()]);
        }

        assert!(table.to_string().len() < 300_000);
    }
}
