//! Pure. Both sides' figures as one table for people.

use crate::torture::figure::{EVERYTHING, Figure, Verdict};

/// What one side's run of a row came to.
pub type Measured = Result<Vec<Figure>, String>;

/// One row with both sides.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Such as R3.
    pub number: &'static str,
    /// What was done.
    pub what: &'static str,
    /// Of ours.
    pub ours: Measured,
    /// Of HAProxy.
    pub theirs: Measured,
}

/// The table, and how many of its lines fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// For people.
    pub text: String,
    /// Lines that are not a pass.
    pub failing: usize,
}

/// Widths of the columns before the last one.
const WIDTHS: [usize; 5] = [4, 46, 14, 16, 16];

impl Table {
    /// Judges every line.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut table = Self {
            text: String::new(),
            failing: 0,
        };
        table.line(["row", "figure", "must be", "ours", "HAProxy", "verdict"]);
        for entry in entries {
            table.line([entry.number, entry.what, "", "", "", ""]);
            table.entry(entry);
        }
        table
    }

    fn entry(&mut self, entry: &Entry) {
        let (ours, theirs) = match (&entry.ours, &entry.theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (ours, theirs) => {
                for (name, side) in [("ours", ours), ("HAProxy", theirs)] {
                    if let Err(why) = side {
                        self.failing += 1;
                        let why = format!("{name} has no figures: {}", why.replace('\n', " "));
                        self.line(["", &why, "", "", "", "NO FIGURE"]);
                    }
                }
                return;
            }
        };
        for figure in ours {
            let is_for = |other: &&Figure| [figure.name, EVERYTHING].contains(&other.name);
            let other = theirs.iter().find(is_for);
            let verdict = figure.judge(other);
            self.failing += usize::from(verdict != Verdict::Pass);
            let theirs = other.map_or_else(|| "-".to_owned(), Figure::shown);
            let (wanted, ours, verdict) = (figure.wanted(), figure.shown(), verdict.to_string());
            self.line(["", figure.name, &wanted, &ours, &theirs, &verdict]);
        }
        let is_theirs_alone =
            |f: &&Figure| f.name != EVERYTHING && ours.iter().all(|o| o.name != f.name);
        for figure in theirs.iter().filter(is_theirs_alone) {
            self.failing += 1;
            let (wanted, theirs) = (figure.wanted(), figure.shown());
            self.line(["", figure.name, &wanted, "-", &theirs, "NO FIGURE"]);
        }
        if ours.is_empty() && theirs.is_empty() {
            self.failing += 1;
            self.line(["", "nothing was measured", "", "-", "-", "NO FIGURE"]);
        }
    }

    fn line(&mut self, cells: [&str; 6]) {
        let [first @ .., last] = cells;
        let mut line = String::new();
        for (cell, width) in first.iter().zip(WIDTHS) {
            line += &format!("{cell:width$} ");
        }
        line += last;
        self.text += line.trim_end();
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ours: Measured, theirs: Measured) -> Entry {
        Entry {
            number: "R0",
            what: "nothing",
            ours,
            theirs,
        }
    }

    fn whole(percent: f64) -> Measured {
        Ok(vec![Figure::new("bytes that arrive", percent, "%").all()])
    }

    #[test]
    fn both_sides_stand_beside_each_other() {
        let table = Table::of(&[entry(whole(100.0), whole(50.0))]);
        assert_eq!(table.failing, 0);
        let line = table.text.lines().last().unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let expected = "bytes that arrive >= 100 % 100 % 50 % pass";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn a_side_that_can_t_do_a_row_says_why_once() {
        let none = vec![Figure::cannot(EVERYTHING, "it is too old")];
        let table = Table::of(&[entry(whole(100.0), Ok(none))]);
        assert_eq!(table.failing, 0);
        assert!(table.text.contains("100 %            can't: it is too old"));
    }

    #[test]
    fn a_line_without_a_figure_fails() {
        let table = Table::of(&[
            entry(whole(100.0), Ok(Vec::new())),
            entry(whole(100.0), Err("it\nended".to_owned())),
            entry(Ok(Vec::new()), whole(100.0)),
            entry(Ok(Vec::new()), Ok(Vec::new())),
            entry(whole(99.0), whole(100.0)),
        ]);
        assert_eq!(table.failing, 5);
        assert!(table.text.contains("HAProxy has no figures: it ended"));
        assert!(table.text.contains("MISSED"));
    }
}
