//! Pure. One direction of a link: which packets are lost, which find no room, and when the others come out.
//!
//! A packet is lost by chance before anything else, or dropped where the queue before the line is full (tail drop);
//! the line sends one after the other at its rate, and each comes out a delay after its last bit was sent.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// What a direction is like.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Shape {
    /// From the line's end to the other side.
    pub delay: Duration,
    /// Bits a second of the line.
    pub rate: u64,
    /// Bytes that may wait for the line.
    pub room: u64,
    /// The probability that a packet is lost.
    pub loss: f64,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// All that came.
    pub offered: u64,
    /// Those that chance took.
    pub lost: u64,
    /// Those that found no room.
    pub dropped: u64,
}

/// One direction. Times are since any one moment, and never go back.
#[derive(Debug)]
pub struct Direction {
    shape: Shape,
    chance: Rng,
    /// When the line has sent all that waits for it.
    free: Duration,
    /// Those on their way, by when they come out: no later one overtakes.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    counts: Counts,
}

impl Shape {
    /// The time that the line takes for so many bytes.
    #[must_use]
    pub fn time_of(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Direction {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape, chance: Rng) -> Self {
        Self {
            shape,
            chance,
            free: Duration::ZERO,
            under_way: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Becomes another one for the packets that come from now on.
    pub fn becomes(&mut self, shape: Shape, chance: Rng) {
        (self.shape, self.chance) = (shape, chance);
    }

    /// Takes a packet that comes `now`.
    pub fn offer(&mut self, now: Duration, packet: Vec<u8>) {
        self.counts.offered += 1;
        if self.chance.f64() < self.shape.loss {
            self.counts.lost += 1;
            return;
        }
        let time = self.shape.time_of(packet.len() as u64);
        let waiting = self.free.saturating_sub(now);
        if waiting + time > self.shape.time_of(self.shape.room) {
            self.counts.dropped += 1;
            return;
        }
        self.free = now + waiting + time;
        let due = self.free + self.shape.delay;
        // After a change of the delay those before may come out later than this one's own time.
        let due = self.under_way.back().map_or(due, |last| due.max(last.0));
        self.under_way.push_back((due, packet));
    }

    /// When the next packet comes out; absent: none is on its way.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.under_way.front().map(|first| first.0)
    }

    /// A packet that is out by `now`, with the time when it came out.
    pub fn take(&mut self, now: Duration) -> Option<(Duration, Vec<u8>)> {
        self.under_way.pop_front_if(|first| first.0 <= now)
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A thousand bytes take 1 ms.
    fn shape(loss: f64) -> Shape {
        Shape {
            delay: 40 * MS,
            rate: 8_000_000,
            room: 3000,
            loss,
        }
    }

    fn direction(loss: f64) -> Direction {
        Direction::new(shape(loss), Rng::with_seed(7))
    }

    fn packet(mark: u8) -> Vec<u8> {
        vec![mark; 1000]
    }

    #[test]
    fn a_packet_comes_out_when_it_is_sent_and_the_delay_is_over() {
        let mut line = direction(0.0);
        assert_eq!(line.due(), None);
        line.offer(5 * MS, packet(1));
        assert_eq!(line.due(), Some(46 * MS));
        assert_eq!(line.take(46 * MS - Duration::from_nanos(1)), None);
        assert_eq!(line.take(50 * MS), Some((46 * MS, packet(1))));
        assert_eq!((line.take(50 * MS), line.due()), (None, None));
    }

    #[test]
    fn packets_wait_for_the_line_and_keep_their_order() {
        let mut line = direction(0.0);
        line.offer(Duration::ZERO, packet(1));
        line.offer(Duration::ZERO, vec![2; 500]);
        // The line has been idle since 1.5 ms.
        line.offer(10 * MS, packet(3));
        let out: Vec<_> = std::iter::from_fn(|| line.take(100 * MS)).collect();
        let out: Vec<_> = out.iter().map(|(due, p)| (due.as_micros(), p[0])).collect();
        assert_eq!(out, [(41_000, 1), (41_500, 2), (51_000, 3)]);
    }

    #[test]
    fn who_finds_the_queue_full_is_dropped_and_room_comes_back_at_the_lines_rate() {
        let mut line = direction(0.0);
        for mark in 1..=5 {
            line.offer(Duration::ZERO, packet(mark));
        }
        line.offer(MS, packet(6));
        line.offer(MS, packet(7));
        let out: Vec<_> = std::iter::from_fn(|| line.take(100 * MS)).collect();
        assert_eq!(
            out.iter().map(|(_, p)| p[0]).collect::<Vec<_>>(),
            [1, 2, 3, 6]
        );
        assert_eq!(out.last().map(|(due, _)| *due), Some(44 * MS));
        let counts = Counts {
            offered: 7,
            lost: 0,
            dropped: 3,
        };
        assert_eq!(line.counts(), counts);
    }

    #[test]
    fn chance_takes_as_many_as_asked_and_the_same_ones_for_the_same_seed() {
        let survivors = |loss| {
            let mut line = direction(loss);
            for i in 0..100_000_u32 {
                line.offer(MS * i, vec![0; 40]);
            }
            let lost = line.counts().lost;
            let out: Vec<_> = std::iter::from_fn(|| line.take(MS * 200_000)).collect();
            assert_eq!(out.len() as u64 + lost, 100_000);
            (lost, out)
        };
        let (lost, out) = survivors(0.01);
        // Five standard deviations on either side.
        assert!((840..=1160).contains(&lost), "{lost}");
        assert!(survivors(0.01) == (lost, out));
        assert_eq!(survivors(0.0).0, 0);
        assert_eq!(survivors(1.0).0, 100_000);
    }

    #[test]
    fn a_line_that_becomes_shorter_lets_nobody_overtake() {
        let mut line = direction(0.0);
        line.offer(Duration::ZERO, packet(1));
        let short = Shape {
            delay: MS,
            ..shape(0.0)
        };
        line.becomes(short, Rng::with_seed(1));
        line.offer(2 * MS, packet(2));
        line.offer(60 * MS, packet(3));
        let out: Vec<_> = std::iter::from_fn(|| line.take(100 * MS)).collect();
        let out: Vec<_> = out.iter().map(|(due, p)| (due.as_millis(), p[0])).collect();
        assert_eq!(out, [(41, 1), (41, 2), (62, 3)]);
    }
}
