//! Pure. What ours has to reach.

use crate::figure::{Figure, median};
use crate::peer::Peer;
use crate::results::Results;

/// One thing that has to be so.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What of ours.
    pub figure: Figure,
    /// Which of ours.
    pub of: Peer,
    /// What it is measured by.
    pub by: By,
    /// At most that.
    pub most: f64,
}

/// What a figure is measured by.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// Nothing: it is a value of its own.
    Itself,
    /// A figure of somebody in the same run: their ratio counts.
    Other(Peer, Figure),
}

/// What a target came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// In the middle of all rounds.
    pub value: f64,
    /// In the best round and in the worst one.
    pub spread: (f64, f64),
    /// Whether it is met.
    pub is_met: bool,
}

const fn ratio(of: Peer, figure: Figure, most: f64, than: Peer) -> Target {
    let by = By::Other(than, figure);
    Target {
        figure,
        of,
        by,
        most,
    }
}

const fn plain(figure: Figure, most: f64) -> Target {
    let (of, by) = (Peer::Ours, By::Itself);
    Target {
        figure,
        of,
        by,
        most,
    }
}

/// All of them.
pub const TARGETS: [Target; 23] = {
    use Figure as F;
    use Peer as P;
    [
        ratio(P::Ours, F::UpCpu, 0.50, P::HaproxySplice),
        ratio(P::Ours, F::DownCpu, 0.55, P::HaproxySplice),
        ratio(P::Ours, F::UpCpu, 1.0, P::Go),
        ratio(P::Ours, F::DownCpu, 1.0, P::Go),
        ratio(P::Ours, F::PingPongCpu, 0.85, P::Haproxy),
        ratio(P::Ours, F::PingPongP99, 0.9, P::Haproxy),
        ratio(P::Ours, F::PingPongOpenP99, 0.9, P::Haproxy),
        ratio(P::Ours, F::ExchangeCpu, 0.80, P::Haproxy),
        ratio(P::Ours, F::ExchangeCpu, 0.95, P::Nginx),
        ratio(P::Ours, F::ExchangeP99, 0.9, P::Haproxy),
        ratio(P::Ours, F::ExchangeOpenP99, 0.9, P::Haproxy),
        plain(F::IdleMemory, 1500.0),
        plain(F::IdleSwitches, 1.0),
        ratio(P::OursConnect, F::UpCpu, 1.15, P::Ours),
        ratio(P::OursConnect, F::DownCpu, 1.15, P::Ours),
        ratio(P::OursConnect, F::PingPongCpu, 1.15, P::Ours),
        ratio(P::OursConnect, F::PingPongOpenP99, 1.15, P::Ours),
        ratio(P::OursConnect, F::IdleMemory, 1.15, P::Ours),
        ratio(P::OursConnect, F::ExchangeCpu, 0.75, P::Tinyproxy),
        ratio(P::OursConnect, F::ExchangeCpu, 0.75, P::GoConnect),
        Target {
            figure: F::BesideSlowP99,
            of: P::Ours,
            by: By::Other(P::Ours, F::PingPongOpenP99),
            most: 1.2,
        },
        ratio(P::OursMany, F::PingPongCpu, 1.05, P::Ours),
        ratio(P::OursMany, F::ExchangeCpu, 1.05, P::Ours),
    ]
};

impl Target {
    /// What it came to; absent: a figure is missing.
    #[must_use]
    pub fn reached(&self, results: &Results) -> Option<Reached> {
        let own = results.samples(self.of, self.figure);
        let (value, rounds) = match self.by {
            By::Itself => (median(own)?, own.to_vec()),
            By::Other(peer, figure) => {
                let others = results.samples(peer, figure);
                let rounds = own.iter().zip(others).map(|(own, other)| own / other);
                (median(own)? / median(others)?, rounds.collect())
            }
        };
        let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Reached {
            value,
            spread: (least, most),
            is_met: value <= self.most,
        })
    }

    /// What it is measured by, for people.
    #[must_use]
    pub fn reference(&self) -> String {
        match self.by {
            By::Itself => String::new(),
            By::Other(peer, figure) if figure != self.figure => {
                format!("{}, {}", peer.name(), figure.title())
            }
            By::Other(peer, _) => peer.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() {
        let mut results = Results::default();
        let target = ratio(Peer::Ours, Figure::UpCpu, 0.5, Peer::Go);
        assert_eq!(target.reached(&results), None);
        for (own, other) in [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0)] {
            results.note(Peer::Ours, Figure::UpCpu, own);
            results.note(Peer::Go, Figure::UpCpu, other);
        }
        let expected = Reached {
            value: 0.5,
            spread: (0.25, 0.75),
            is_met: true,
        };
        assert_eq!(target.reached(&results), Some(expected));
    }

    #[test]
    fn a_value_of_its_own_has_a_limit() {
        let mut results = Results::default();
        results.note(Peer::Ours, Figure::IdleMemory, 1501.0);
        let reached = plain(Figure::IdleMemory, 1500.0).reached(&results).unwrap();
        assert!(!reached.is_met);
    }
}
