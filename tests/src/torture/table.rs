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
    /// What came of it.
    pub done: Done,
}

/// Both sides' figures, of each way by which bytes went.
#[derive(Clone, Debug)]
pub enum Done {
    /// Copied and by pipes.
    BothWays {
        /// Through the memory of the sides.
        copied: Pair,
        /// Past it.
        spliced: Pair,
    },
    /// Once: why the way makes no difference.
    Once(&'static str, Pair),
}

/// What both sides' runs of a row came to, one way.
#[derive(Clone, Debug)]
pub struct Pair {
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

/// The first columns: number, name, what it must be; then ours and HAProxy copied, then by pipes.
const WIDTHS: [usize; 7] = [4, 43, 12, 11, 11, 11, 11];

impl Table {
    /// Judges every line.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut table = Self {
            text: String::new(),
            failing: 0,
        };
        table.line(["", "", "", "copied", "", "by pipes", "", ""]);
        let (ours, theirs) = ("ours", "HAProxy");
        table.line([
            "row", "figure", "must be", ours, theirs, ours, theirs, "verdict",
        ]);
        for entry in entries {
            table.line([entry.number, entry.what, "", "", "", "", "", ""]);
            match &entry.done {
                Done::BothWays { copied, spliced } => {
                    table.pairs(&[("copied", copied), ("by pipes", spliced)]);
                }
                Done::Once(why, pair) => {
                    table.pairs(&[("", pair)]);
                    table.note(&format!("either way: {why}"));
                }
            }
        }
        table
    }

    fn pairs(&mut self, pairs: &[(&str, &Pair)]) {
        for (way, pair) in pairs {
            for (side, measured) in [("ours", &pair.ours), ("HAProxy", &pair.theirs)] {
                if let Err(why) = measured {
                    self.failing += 1;
                    let why = why.replace('\n', " ");
                    self.note(&format!("NO FIGURE of {side} {way}: {why}"));
                }
            }
        }
        let measured: Vec<_> = pairs.iter().filter_map(|(_, pair)| pair.both()).collect();
        let mut names: Vec<&str> = Vec::new();
        for figure in measured
            .iter()
            .flat_map(|(ours, theirs)| ours.iter().chain(*theirs))
        {
            if figure.name != EVERYTHING && !names.contains(&figure.name) {
                names.push(figure.name);
            }
        }
        if names.is_empty() && measured.len() == pairs.len() {
            self.failing += 1;
            self.note("NO FIGURE: nothing was measured");
        }
        for name in names {
            self.figure(name, pairs);
        }
        let mut reasons: Vec<String> = Vec::new();
        for (side, figure) in measured.iter().flat_map(|(ours, theirs)| {
            let ours = ours.iter().map(|figure| ("ours", figure));
            ours.chain(theirs.iter().map(|figure| ("HAProxy", figure)))
        }) {
            if let Err(why) = figure.value {
                let reason = format!("{side} can't do {}: {why}", figure.name);
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        for reason in reasons {
            self.note(&reason);
        }
    }

    /// One figure of all ways; of the verdicts, the worst.
    fn figure(&mut self, name: &str, pairs: &[(&str, &Pair)]) {
        let mut cells = vec![String::new(), name.to_owned()];
        let (mut wanted, mut values, mut verdict) = (None, Vec::new(), Verdict::Pass);
        for (_, pair) in pairs {
            let (ours, theirs) = (pair.ours.as_deref(), pair.theirs.as_deref());
            let ours = ours.unwrap_or_default().iter().find(|f| f.name == name);
            let is_for = |f: &&Figure| [name, EVERYTHING].contains(&f.name);
            let theirs = theirs.unwrap_or_default().iter().find(is_for);
            wanted = wanted.or_else(|| ours.or(theirs).map(Figure::wanted));
            values.extend([ours, theirs].map(|f| f.map_or_else(|| "-".to_owned(), Figure::shown)));
            let judged = ours.map_or(Verdict::NoFigure, |ours| ours.judge(theirs));
            verdict = verdict.max(judged);
        }
        cells.push(wanted.unwrap_or_default());
        cells.extend(values);
        cells.resize(WIDTHS.len(), String::new());
        cells.push(verdict.to_string());
        self.failing += usize::from(verdict != Verdict::Pass);
        self.line(cells.iter().map(String::as_str));
    }

    fn note(&mut self, text: &str) {
        self.line(["", text]);
    }

    fn line<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        let widths = WIDTHS.into_iter().chain(std::iter::once(0));
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            line += &format!("{cell:width$} ");
        }
        self.text += line.trim_end();
        self.text.push('\n');
    }
}

impl Pair {
    /// If both were measured.
    fn both(&self) -> Option<(&[Figure], &[Figure])> {
        self.ours.as_deref().ok().zip(self.theirs.as_deref().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: Measured, theirs: Measured) -> Pair {
        Pair { ours, theirs }
    }

    fn entry(done: Done) -> Entry {
        Entry {
            number: "R0",
            what: "nothing",
            done,
        }
    }

    fn once(ours: Measured, theirs: Measured) -> Entry {
        entry(Done::Once("nothing is relayed", pair(ours, theirs)))
    }

    fn whole(percent: f64) -> Measured {
        Ok(vec![Figure::new("bytes that arrive", percent, "%").all()])
    }

    /// The words of the line that begins so.
    fn words(table: &Table, start: &str) -> String {
        let mut lines = table.text.lines();
        let line = lines.find(|line| line.trim_start().starts_with(start));
        let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
        words.join(" ")
    }

    #[test]
    fn both_sides_stand_beside_each_other_in_both_ways() {
        let copied = pair(whole(100.0), whole(90.0));
        let spliced = pair(whole(100.0), whole(50.0));
        let table = Table::of(&[entry(Done::BothWays { copied, spliced })]);
        assert_eq!(table.failing, 0);
        let expected = "bytes that arrive >= 100 % 100 % 90 % 100 % 50 % pass";
        assert_eq!(words(&table, "bytes"), expected);
    }

    #[test]
    fn one_way_that_is_not_as_it_must_be_fails_the_line() {
        for spliced in [
            pair(whole(99.0), whole(50.0)),
            pair(whole(100.0), Ok(Vec::new())),
            pair(Ok(Vec::new()), whole(100.0)),
        ] {
            let copied = pair(whole(100.0), whole(100.0));
            let table = Table::of(&[entry(Done::BothWays { copied, spliced })]);
            assert_eq!(table.failing, 1, "{}", table.text);
        }
        let copied = pair(whole(100.0), whole(100.0));
        let spliced = pair(Err("it\nended".to_owned()), whole(100.0));
        let table = Table::of(&[entry(Done::BothWays { copied, spliced })]);
        assert!(table.failing >= 1);
        let expected = "NO FIGURE of ours by pipes: it ended";
        assert_eq!(words(&table, "NO FIGURE"), expected);
    }

    #[test]
    fn a_row_without_a_second_way_says_why() {
        let table = Table::of(&[once(whole(100.0), whole(100.0))]);
        assert_eq!(table.failing, 0);
        let expected = "bytes that arrive >= 100 % 100 % 100 % pass";
        assert_eq!(words(&table, "bytes"), expected);
        let expected = "either way: nothing is relayed";
        assert_eq!(words(&table, "either"), expected);
    }

    #[test]
    fn a_side_that_can_t_do_a_row_says_why_once() {
        let none = || Ok(vec![Figure::cannot(EVERYTHING, "it is too old")]);
        let copied = pair(whole(100.0), none());
        let spliced = pair(whole(100.0), none());
        let table = Table::of(&[entry(Done::BothWays { copied, spliced })]);
        assert_eq!(table.failing, 0);
        let expected = "bytes that arrive >= 100 % 100 % can't 100 % can't pass";
        assert_eq!(words(&table, "bytes"), expected);
        assert_eq!(table.text.matches("it is too old").count(), 1);
    }

    #[test]
    fn a_line_without_a_figure_fails() {
        let table = Table::of(&[
            once(whole(100.0), Ok(Vec::new())),
            once(Ok(Vec::new()), whole(100.0)),
            once(Ok(Vec::new()), Ok(Vec::new())),
            once(whole(99.0), whole(100.0)),
        ]);
        assert_eq!(table.failing, 4);
        assert!(table.text.contains("MISSED"));
        let broken = once(whole(100.0), Err("it\nended".to_owned()));
        let table = Table::of(&[broken]);
        assert!(table.failing >= 1);
        assert!(table.text.contains("NO FIGURE of HAProxy"));
    }
}
