//! Pure. How many bytes have been passed on, told as it happens and kept for the end.

use crate::relay::ending::Side;

/// Where moved bytes are counted; on the way, not at the end.
pub trait Meter {
    /// So many bytes that came from that side have been passed on.
    fn passed(&self, from: Side, bytes: u64);
}

/// One session's bytes.
#[derive(Debug)]
pub(super) struct Tally<M> {
    meter: M,
    up: u64,
    down: u64,
    /// Bytes to upstream that don't count, before all others.
    uncounted: u64,
}

impl<M: Meter> Tally<M> {
    pub(super) fn new(meter: M, uncounted: usize) -> Self {
        Self {
            meter,
            up: 0,
            down: 0,
            uncounted: u64::try_from(uncounted).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn add(&mut self, from: Side, mut bytes: u64) {
        let passed = match from {
            Side::Downstream => {
                let left_out = bytes.min(self.uncounted);
                self.uncounted -= left_out;
                bytes -= left_out;
                &mut self.up
            }
            Side::Upstream => &mut self.down,
        };
        if bytes > 0 {
            *passed += bytes;
            self.meter.passed(from, bytes);
        }
    }

    pub(super) fn passed(&self, from: Side) -> u64 {
        match from {
            Side::Downstream => self.up,
            Side::Upstream => self.down,
        }
    }

    /// Both directions together.
    pub(super) fn total(&self) -> u64 {
        self.up + self.down
    }
}
