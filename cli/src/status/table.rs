//! Pure. Cells in columns, which together fit a line.

use std::fmt::Write as _;

use crate::terminal::{WIDTH, shorten};

/// Between two columns.
const GAP: usize = 2;

/// Of any column but the first, which gets what they leave.
pub(super) const WIDEST: usize = 12;

/// The widths of columns.
pub(super) struct Table<const N: usize> {
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    /// For that head and those rows.
    pub(super) fn new(head: [&str; N], rows: &[[String; N]]) -> Self {
        let mut widths = head.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if let [first, others @ ..] = widths.as_mut_slice() {
            let taken: usize = others.iter().map(|width| width + GAP).sum();
            *first = (*first).min(WIDTH.saturating_sub(taken));
        }
        Self { widths }
    }

    /// One line of it.
    pub(super) fn line<C: AsRef<str>>(&self, row: &[C; N]) -> String {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&self.widths) {
            let (cell, width) = (shorten(cell.as_ref(), *width), *width);
            let _ = write!(line, "{cell:width$}{:GAP$}", "");
        }
        format!("{}\n", line.trim_end())
    }
}
