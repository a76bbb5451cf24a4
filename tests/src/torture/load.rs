//! Edge. Clients in an open loop: each starts at its time, whatever becomes of the others, and is
//! measured from that time on, so that a stall is seen by all who came during it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::torture::figure::count;
use crate::torture::flow::ping;

/// Clients at a time: the descriptors of this process bound them.
const AT_ONCE: usize = 4000;

/// How often each open session is pinged.
const PING_EVERY: Duration = Duration::from_millis(100);

/// What became of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the time when a client should have started to its answer, sorted.
    pub waits: Vec<Duration>,
    /// How often each failure came.
    pub failures: BTreeMap<String, usize>,
    /// How often each answer came.
    pub answers: BTreeMap<String, usize>,
}

impl Outcome {
    /// Clients that got no answer.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Clients at all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.waits.len() + self.failed()
    }

    /// The wait that so many percent of the answers don't exceed, in milliseconds.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.waits, percent)
    }

    /// Adds another load's outcome.
    pub fn add(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.waits.sort();
        for (mine, its) in [
            (&mut self.failures, other.failures),
            (&mut self.answers, other.answers),
        ] {
            for (text, n) in its {
                *mine.entry(text).or_default() += n;
            }
        }
    }

    fn note(&mut self, wait: Duration, answer: Result<String>) {
        match answer {
            Ok(answer) => {
                self.waits.push(wait);
                *self.answers.entry(answer).or_default() += 1;
            }
            Err(error) => *self.failures.entry(format!("{error:#}")).or_default() += 1,
        }
    }
}

/// The value that so many percent of sorted ones don't exceed, in milliseconds; of none, endless.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted
        .get(at)
        .map_or(f64::INFINITY, |wait| wait.as_secs_f64() * 1e3)
}

/// Starts `rate` clients a second for `duration`, each with `client`, and waits for all of them.
///
/// # Errors
/// Never; what a client meets is part of the outcome.
pub async fn open_loop<F>(
    rate: u32,
    duration: Duration,
    listener: SocketAddr,
    client: impl Fn(SocketAddr) -> F,
) -> Result<Outcome>
where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let mut clock = interval(Duration::from_secs(1) / rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + duration;
    let mut outcome = Outcome::default();
    let mut clients = JoinSet::new();
    loop {
        let due = clock.tick().await;
        if due >= end {
            break;
        }
        let answer = client(listener);
        clients.spawn(async move {
            let answer = answer.await;
            (due.elapsed(), answer)
        });
        while clients.len() >= AT_ONCE {
            collect(&mut clients, &mut outcome).await?;
        }
        while let Some(ended) = clients.try_join_next() {
            let (wait, answer) = ended?;
            outcome.note(wait, answer);
        }
    }
    while !clients.is_empty() {
        collect(&mut clients, &mut outcome).await?;
    }
    outcome.waits.sort();
    Ok(outcome)
}

async fn collect(
    clients: &mut JoinSet<(Duration, Result<String>)>,
    outcome: &mut Outcome,
) -> Result<()> {
    if let Some(ended) = clients.join_next().await {
        let (wait, answer) = ended?;
        outcome.note(wait, answer);
    }
    Ok(())
}

/// Pings every session ten times a second for that long; the sorted times, and how many broke. Each is measured from
/// when it was due, so that a stall is seen by all that were due meanwhile.
pub async fn ping_all(streams: &mut [TcpStream], window: Duration) -> (Vec<Duration>, usize) {
    let start = Instant::now();
    let apart = PING_EVERY.div_f64(count(streams.len()).max(1.0));
    let all = streams.iter_mut().zip(0..).map(|(stream, n)| async move {
        let (mut times, mut due) = (Vec::new(), start + apart * n);
        while due < start + window {
            sleep_until(due).await;
            if ping(stream).await.is_err() {
                return (times, 1);
            }
            times.push(due.elapsed());
            due += PING_EVERY;
        }
        (times, 0)
    });
    let (times, broken): (Vec<_>, Vec<_>) = join_all(all).await.into_iter().unzip();
    let mut times = times.concat();
    times.sort();
    (times, broken.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_seen_by_all_who_came_during_it() {
        let listener = "127.0.0.1:1".parse().unwrap();
        let begin = Instant::now();
        let client = move |_| async move {
            tokio::time::sleep_until(begin + Duration::from_secs(1)).await;
            Ok("a".to_owned())
        };
        let outcome = open_loop(10, Duration::from_secs(2), listener, client)
            .await
            .unwrap();
        assert_eq!((outcome.total(), outcome.failed()), (20, 0));
        assert_eq!(outcome.percentile(100).round(), 1000.0);
        assert_eq!(outcome.percentile(50).round(), 0.0);
        assert!(percentile(&[], 99).is_infinite());
    }
}
