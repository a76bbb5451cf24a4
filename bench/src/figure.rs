//! Pure. What is measured of a peer.

use serde::{Deserialize, Serialize};

/// One figure; the same for every peer that has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// Streams to the backend: the relay's processor time.
    UpCpu,
    /// How fast.
    UpRate,
    /// Streams to the client: the relay's processor time.
    DownCpu,
    /// How fast.
    DownRate,
    /// Messages there and back, as fast as it goes: the relay's processor time.
    PingPongCpu,
    /// How many.
    PingPongRate,
    /// How long the slowest hundredth took.
    PingPongP99,
    /// At a fixed rate: the relay's processor time.
    PingPongOpenCpu,
    /// How long the slowest hundredth took at that rate.
    PingPongOpenP99,
    /// That with a client beside that hardly reads.
    BesideSlowP99,
    /// Whole connections, as fast as it goes: the relay's processor time.
    ExchangeCpu,
    /// How many.
    ExchangeRate,
    /// How long the slowest hundredth took.
    ExchangeP99,
    /// At a fixed rate: the relay's processor time.
    ExchangeOpenCpu,
    /// How long the slowest hundredth took at that rate.
    ExchangeOpenP99,
    /// Memory of the process for each idle connection.
    IdleMemory,
    /// How often its busiest worker waits while all are idle.
    IdleSwitches,
    /// Memory without connections.
    BaseMemory,
    /// Operations that failed, in all loads.
    Failures,
}

impl Figure {
    /// All, in the order of the table.
    pub const ALL: [Self; 19] = [
        Self::UpCpu,
        Self::UpRate,
        Self::DownCpu,
        Self::DownRate,
        Self::PingPongCpu,
        Self::PingPongRate,
        Self::PingPongP99,
        Self::PingPongOpenCpu,
        Self::PingPongOpenP99,
        Self::BesideSlowP99,
        Self::ExchangeCpu,
        Self::ExchangeRate,
        Self::ExchangeP99,
        Self::ExchangeOpenCpu,
        Self::ExchangeOpenP99,
        Self::IdleMemory,
        Self::IdleSwitches,
        Self::BaseMemory,
        Self::Failures,
    ];

    /// For people, with its unit.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::UpCpu => "stream up, CPU ms per GB",
            Self::UpRate => "stream up, Gbit/s",
            Self::DownCpu => "stream down, CPU ms per GB",
            Self::DownRate => "stream down, Gbit/s",
            Self::PingPongCpu => "ping-pong, CPU µs per round trip",
            Self::PingPongRate => "ping-pong, round trips a second",
            Self::PingPongP99 => "ping-pong at saturation, p99 µs",
            Self::PingPongOpenCpu => "ping-pong at a fixed rate, CPU µs per round trip",
            Self::PingPongOpenP99 => "ping-pong at a fixed rate, p99 µs",
            Self::BesideSlowP99 => "the same beside a slow reader, p99 µs",
            Self::ExchangeCpu => "connect–request–close, CPU µs each",
            Self::ExchangeRate => "connect–request–close, a second",
            Self::ExchangeP99 => "connect–request–close at saturation, p99 µs",
            Self::ExchangeOpenCpu => "connect–request–close at a fixed rate, CPU µs each",
            Self::ExchangeOpenP99 => "connect–request–close at a fixed rate, p99 µs",
            Self::IdleMemory => "idle connection, bytes of PSS",
            Self::IdleSwitches => {
                "idle connections, context switches a second of the busiest worker"
            }
            Self::BaseMemory => "without connections, MiB of PSS",
            Self::Failures => "operations that failed",
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle. Of none: none.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
