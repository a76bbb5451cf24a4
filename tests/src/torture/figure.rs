//! Pure. What a row measures, what it has to be, and whether ours is good enough.

use std::fmt;

/// The name of a figure that stands for each of a side that can't do the row at all.
pub const EVERYTHING: &str = "all of it";

/// One measured value of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, the same on both sides.
    pub name: &'static str,
    /// Absent: this side can't do it, and why.
    pub value: Result<f64, &'static str>,
    /// Such as `ms`.
    pub unit: &'static str,
    /// What ours has to be.
    pub must: Must,
    /// A difference between the sides that says nothing.
    pub noise: f64,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Must {
    /// At least that.
    AtLeast(f64),
    /// At most that.
    AtMost(f64),
    /// From the one to the other.
    Between(f64, f64),
    /// Anything: it is told, not judged.
    Told,
}

/// What is said of one line of the table, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it has to be, and no worse than the other.
    Pass,
    /// As it has to be, but the other side is better.
    Worse,
    /// Ours is not what it has to be.
    Missed,
    /// One side has no figure and doesn't say why.
    NoFigure,
}

impl Figure {
    /// A measured value, only told unless more is said.
    #[must_use]
    pub fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value: Ok(value),
            unit,
            must: Must::Told,
            noise: 0.0,
        }
    }

    /// What a side can't do.
    #[must_use]
    pub fn cannot(name: &'static str, why: &'static str) -> Self {
        Self {
            value: Err(why),
            ..Self::new(name, 0.0, "")
        }
    }

    /// A share in percent; of nothing it is 0, so that a row that saw nothing fails.
    #[must_use]
    pub fn share(name: &'static str, part: usize, whole: usize) -> Self {
        let percent = match whole {
            0 => 0.0,
            whole => 100.0 * count(part) / count(whole),
        };
        Self::new(name, percent, "%")
    }

    /// Something that has to be so.
    #[must_use]
    pub fn yes(name: &'static str, is_so: bool) -> Self {
        Self::new(name, f64::from(u8::from(is_so)), "").at_least(1.0)
    }

    /// It must not be more.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        let must = Must::AtMost(limit);
        Self { must, ..self }
    }

    /// It must not be less.
    #[must_use]
    pub fn at_least(self, limit: f64) -> Self {
        let must = Must::AtLeast(limit);
        Self { must, ..self }
    }

    /// It has to be all of it: 100 %.
    #[must_use]
    pub fn all(self) -> Self {
        self.at_least(100.0)
    }

    /// It has to be within.
    #[must_use]
    pub fn between(self, from: f64, to: f64) -> Self {
        let must = Must::Between(from, to);
        Self { must, ..self }
    }

    /// It is told and not judged.
    #[must_use]
    pub fn told(self) -> Self {
        let must = Must::Told;
        Self { must, ..self }
    }

    /// How much worse than the other side it may look by chance.
    #[must_use]
    pub fn noise(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// Whether it is what it has to be.
    #[must_use]
    pub fn meets(&self) -> bool {
        let Ok(value) = self.value else {
            return false;
        };
        match self.must {
            Must::AtLeast(limit) => value >= limit,
            Must::AtMost(limit) => value <= limit,
            Must::Between(from, to) => (from..=to).contains(&value),
            Must::Told => true,
        }
    }

    /// Judges ours beside the other side's.
    #[must_use]
    pub fn judge(&self, other: Option<&Self>) -> Verdict {
        let Some(other) = other else {
            return Verdict::NoFigure;
        };
        if !self.meets() {
            return Verdict::Missed;
        }
        let (Ok(ours), Ok(theirs)) = (self.value, other.value) else {
            return Verdict::Pass;
        };
        let is_worse = match self.must {
            Must::AtLeast(_) => ours + self.noise < theirs,
            Must::AtMost(_) => ours > theirs + self.noise,
            Must::Between(..) | Must::Told => false,
        };
        if is_worse {
            Verdict::Worse
        } else {
            Verdict::Pass
        }
    }

    /// The value for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.value {
            Err(_) => "can't".to_owned(),
            Ok(value) if self.unit.is_empty() => yes_or_no(value).to_owned(),
            Ok(value) => format!("{} {}", number(value), self.unit),
        }
    }

    /// What it has to be, for people.
    #[must_use]
    pub fn wanted(&self) -> String {
        let unit = self.unit;
        match self.must {
            Must::AtLeast(_) if unit.is_empty() => "yes".to_owned(),
            Must::AtLeast(limit) => format!(">= {} {unit}", number(limit)),
            Must::AtMost(limit) => format!("<= {} {unit}", number(limit)),
            Must::Between(from, to) => format!("{} to {} {unit}", number(from), number(to)),
            Must::Told => "-".to_owned(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missed => "MISSED",
            Self::NoFigure => "NO FIGURE",
            Self::Pass => "pass",
            Self::Worse => "WORSE",
        })
    }
}

fn yes_or_no(value: f64) -> &'static str {
    if value >= 1.0 { "yes" } else { "no" }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// Counts of a test are far below the numbers that a float can't hold.
#[must_use]
pub fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: f64) -> Figure {
        Figure::new("wait", value, "ms").at_most(50.0).noise(5.0)
    }

    #[test]
    fn ours_must_meet_its_number_and_be_no_worse() {
        assert_eq!(ms(20.0).judge(Some(&ms(40.0))), Verdict::Pass);
        assert_eq!(ms(51.0).judge(Some(&ms(90.0))), Verdict::Missed);
        assert_eq!(ms(45.0).judge(Some(&ms(20.0))), Verdict::Worse);
        assert_eq!(ms(24.0).judge(Some(&ms(20.0))), Verdict::Pass);
        let whole = Figure::share("bytes", 3, 3).all();
        assert_eq!(whole.judge(Some(&whole)), Verdict::Pass);
        assert_eq!(
            Figure::share("bytes", 0, 0).all().judge(Some(&whole)),
            Verdict::Missed
        );
    }

    #[test]
    fn a_line_needs_both_figures_or_a_reason_of_the_other_side() {
        let cannot = Figure::cannot("wait", "it has no such thing");
        assert_eq!(ms(20.0).judge(None), Verdict::NoFigure);
        assert_eq!(ms(20.0).judge(Some(&cannot)), Verdict::Pass);
        assert_eq!(cannot.judge(Some(&ms(20.0))), Verdict::Missed);
        assert_eq!(cannot.shown(), "can't");
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(
            (ms(12.34).shown(), ms(1.0).wanted()),
            ("12.3 ms".into(), "<= 50 ms".into())
        );
        let yes = Figure::yes("alive", true);
        assert_eq!((yes.shown(), yes.wanted()), ("yes".into(), "yes".into()));
        let between = Figure::new("cut after", 30.2, "s").between(25.0, 35.0);
        assert_eq!(
            (between.wanted(), between.meets()),
            ("25 to 35 s".into(), true)
        );
    }
}
