//! Pure. In which order, and how fast, what is due is closed: one of each client in turn, so that no
//! pool of clients loses all its connections at once, and never more per second than allowed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Things that wait for their turn, by client.
#[derive(Debug)]
pub(super) struct Turns<T>(VecDeque<VecDeque<T>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Turns<T> {
    /// The clients take turns in an order that chance decides.
    pub(super) fn new(due: impl Iterator<Item = (IpAddr, T)>, rng: &mut Rng) -> Self {
        let mut clients: BTreeMap<IpAddr, VecDeque<T>> = BTreeMap::new();
        for (source, item) in due {
            clients.entry(source).or_default().push_back(item);
        }
        let mut clients: Vec<_> = clients.into_values().collect();
        rng.shuffle(&mut clients);
        Self(clients.into())
    }

    /// Whose turn it is.
    pub(super) fn peek(&self) -> Option<&T> {
        self.0.front()?.front()
    }

    /// Its turn is over.
    pub(super) fn advance(&mut self) {
        let Some(mut client) = self.0.pop_front() else {
            return;
        };
        client.pop_front();
        if !client.is_empty() {
            self.0.push_back(client);
        }
    }
}

/// How much may be saved up for later: what a pause between two ticks would have allowed.
const SAVED: Duration = Duration::from_millis(250);

/// A token bucket.
#[derive(Debug, Default)]
pub(super) struct Pace {
    tokens: f64,
    at: Option<Instant>,
}

impl Pace {
    /// Whether one more may be closed now.
    pub(super) fn allows(&mut self, per_second: NonZeroU32, now: Instant) -> bool {
        let per_second = f64::from(per_second.get());
        let of_a_tick = per_second * SAVED.as_secs_f64();
        let saved = match self.at {
            Some(at) => self.tokens + per_second * now.saturating_duration_since(at).as_secs_f64(),
            None => of_a_tick.max(1.0),
        };
        self.at = Some(now);
        // The fraction that a tick could not use is not lost.
        self.tokens = saved.min(1.0 + of_a_tick);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_loses_all_before_the_others_lose_some() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let due = (0..30).map(|i| (ip(if i < 20 { 1 } else { i }), i));
        let mut turns = Turns::new(due, &mut Rng::with_seed(1));
        let mut next = || {
            let item = turns.peek().copied();
            turns.advance();
            item
        };
        let first: Vec<u8> = std::iter::from_fn(&mut next).take(11).collect();
        assert_eq!(first.iter().filter(|i| **i < 20).count(), 1, "{first:?}");
        let rest: Vec<u8> = std::iter::from_fn(next).collect();
        assert_eq!(rest, (1..20).collect::<Vec<_>>());
        assert!(turns.peek().is_none());
    }

    #[test]
    fn the_pace_holds_however_late_a_tick_comes() {
        let start = tokio::time::Instant::now().into_std();
        for (per_second, tick, late) in [(100, 250, 0), (3, 250, 0), (1, 250, 700), (2000, 10, 90)]
        {
            let rate = NonZeroU32::new(per_second).unwrap();
            let (mut pace, mut at, mut closed) = (Pace::default(), 0, 0);
            while at < 10_000 {
                let now = start + Duration::from_millis(at);
                closed += std::iter::from_fn(|| pace.allows(rate, now).then_some(())).count();
                at += tick + if at % 2000 == 0 { late } else { 0 };
            }
            let most = 10 * per_second as usize;
            assert!(
                (most * 7 / 10..=most + most / 20 + 2).contains(&closed),
                "{per_second}: {closed}"
            );
        }
    }
}
