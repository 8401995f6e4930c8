// SPDX-License-Identifier: Apache-2.0
//! Columns, aligned as in 1.4: each as wide as its widest cell, three spaces between them.

use std::fmt;

const GAP: usize = 3;

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Whose first row is this one.
    pub fn of(header: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(header.iter().copied());
        table
    }

    /// One more row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + GAP));
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
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::of(&["ID", "LABELS"]);
        table.row(["1", "reserved:host"]);
        table.row(["16777217", "cidr:ä"]);
        table.row(["", "more", "x"]);
        assert_eq!(
            table.to_string(),
            "ID         LABELS\n1          reserved:host\n16777217   cidr:ä\n           more            x\n"
        );
    }
}
