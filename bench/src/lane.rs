//! Edge. One client that does the same thing again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::backend::MESSAGE;
use crate::clock::Clock;
use crate::load::{Pace, Path};
use crate::outcome::Outcome;

/// What a client does.
#[derive(Debug)]
pub enum Lane {
    /// A whole connection, by one of the path's listeners; the number is that of the next one.
    Exchange(Arc<Path>, usize),
    /// One message there and back.
    PingPong(TcpStream),
}

/// When a lane does the next thing.
#[derive(Debug)]
pub struct Schedule {
    /// Absent: at once.
    every: Option<Duration>,
    due: Instant,
}

/// Consecutive failures after which a lane gives up, so that a path that is gone is no busy loop.
const GIVE_UP: u32 = 10;

impl Schedule {
    /// That of lane `i` of `n`, which share the pace between them evenly.
    #[must_use]
    pub fn new(pace: Pace, start: Instant, i: u32, n: u32) -> Self {
        let every = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Duration::from_secs(1) * n / rate.max(1)),
        };
        let due = start + every.unwrap_or_default() * i / n.max(1);
        Self { every, due }
    }
}

impl Lane {
    /// Goes on until that time, or until all lanes together have done `limit` things.
    pub async fn run(
        mut self,
        mut schedule: Schedule,
        end: Instant,
        limit: u64,
        done: Arc<AtomicU64>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(error) = self
            .repeat(&mut schedule, end, limit, &done, &mut outcome)
            .await
        {
            outcome.failed(&error);
        }
        outcome
    }

    async fn repeat(
        &mut self,
        schedule: &mut Schedule,
        end: Instant,
        limit: u64,
        done: &AtomicU64,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let clock = Clock::new()?;
        let mut failures = 0;
        loop {
            let start = schedule.next(&clock).await?;
            if start >= end || done.fetch_add(1, Ordering::Relaxed) >= limit || failures == GIVE_UP
            {
                return Ok(());
            }
            match self.once().await {
                Ok(()) => {
                    failures = 0;
                    outcome.note(start.elapsed())?;
                }
                Err(error) if matches!(self, Self::PingPong(_)) => return Err(error),
                Err(error) => {
                    failures += 1;
                    outcome.failed(&error);
                }
            }
        }
    }

    async fn once(&mut self) -> Result<()> {
        match self {
            Self::Exchange(path, turn) => {
                *turn += 1;
                path.exchange(*turn).await
            }
            Self::PingPong(stream) => {
                let mut message = [0; MESSAGE];
                stream.write_all(&message).await?;
                stream.read_exact(&mut message).await?;
                Ok(())
            }
        }
    }
}

impl Schedule {
    /// Waits for the next turn and says since when it is measured: a lane that was free could not start before the
    /// timer woke it, which is no delay of the path; one that was busy is late by the path's fault.
    async fn next(&mut self, clock: &Clock) -> Result<Instant> {
        let Some(every) = self.every else {
            return Ok(Instant::now());
        };
        let due = self.due;
        self.due += every;
        if due <= Instant::now() {
            return Ok(due);
        }
        clock.until(due).await?;
        Ok(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_tests::eventually::pass;

    use super::*;

    #[tokio::test]
    async fn a_turn_that_came_while_the_lane_was_busy_is_measured_from_its_time() {
        let clock = Clock::new().unwrap();
        let start = Instant::now();
        let mut schedule = Schedule::new(Pace::Open(2000), start, 1, 2);
        assert!(schedule.next(&clock).await.unwrap() >= start + Duration::from_micros(500));
        pass(Duration::from_millis(20)).await;
        let late = schedule.next(&clock).await.unwrap();
        assert_eq!(late, start + Duration::from_micros(1500));
    }

    #[tokio::test]
    async fn lanes_share_a_pace_evenly() {
        let start = Instant::now();
        let due = |i| Schedule::new(Pace::Open(100), start, i, 4).due - start;
        let due: Vec<_> = (0..4).map(|i| due(i).as_millis()).collect();
        assert_eq!(due, [0, 10, 20, 30]);
    }
}
