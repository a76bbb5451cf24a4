//! Pure. Which connections a forward takes: how many at a time, from one source, and per second.
//!
//! Everything here happens before anything is dialled. A source is a whole address, IPv6 too: who
//! owns a prefix can have as many sources as it likes, and the other two limits bound it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use tcpforward_protocol::snapshot::Listener;

use crate::limits::rate::Rate;
use crate::place::Share;
use crate::relay::ending::Ending;

mod rate;

/// The limits of one forward, and what counts against them.
#[derive(Debug, Default)]
pub struct Limits {
    connections: Option<u32>,
    per_source: Option<NonZeroU32>,
    per_second: Option<u32>,
    rate: Option<Rate>,
    open: u32,
    /// Sessions by source, none of them 0. So it is as bounded as sessions are: by descriptors.
    sources: HashMap<IpAddr, u32>,
}

/// The limits that are in force here, and how far they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Sessions that count.
    pub open: u32,
    /// Different clients that they are of.
    pub sources: usize,
    /// Our part of `limits.connections`.
    pub connections: Option<u32>,
    /// `limits.connectionsPerSource`.
    pub per_source: Option<u32>,
    /// Our part of `limits.connectionsPerSecond`.
    pub per_second: Option<u32>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections` are open.
    Connections,
    /// `limits.connectionsPerSecond` came within the last second.
    Rate,
    /// `limits.connectionsPerSource` are open from there.
    Source,
    /// Its source is in none of `sourceRanges`.
    SourceNotAllowed,
}

impl Refused {
    /// How such a session ends.
    #[must_use]
    pub fn ending(self) -> Ending {
        match self {
            Self::Connections => Ending::ConnectionLimit,
            Self::Rate => Ending::RateLimit,
            Self::Source => Ending::SourceLimit,
            Self::SourceNotAllowed => Ending::SourceNotAllowed,
        }
    }
}

impl Limits {
    /// Takes a forward's limits, as far as they are ours; what is open counts against the new ones.
    pub fn update(&mut self, listener: &Listener, share: Share) {
        let limits = listener.limits;
        let part = |limit: Option<NonZeroU32>| limit.map(|limit| share.part(limit.get()));
        self.connections = part(limits.connections);
        self.per_source = limits.connections_per_source;
        self.per_second = part(limits.connections_per_second);
        let before = self.rate.take();
        self.rate = self.per_second.map(|rate| Rate::new(rate, before));
    }

    /// What is in force, and how far it is used.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        InUse {
            open: self.open,
            sources: self.sources.len(),
            connections: self.connections,
            per_source: self.per_source.map(NonZeroU32::get),
            per_second: self.per_second,
        }
    }

    /// Counts a session in, until it `leave`s. `source` is in the form of `to_canonical`.
    ///
    /// # Errors
    /// The limit that is reached; then it counts for nothing.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> Result<(), Refused> {
        let from_there = self.sources.get(&source).copied().unwrap_or_default();
        if self.per_source.is_some_and(|most| from_there >= most.get()) {
            return Err(Refused::Source);
        }
        if self.connections.is_some_and(|most| self.open >= most) {
            return Err(Refused::Connections);
        }
        // Last, for it takes from what others may use.
        if self.rate.as_mut().is_some_and(|rate| !rate.admits(now)) {
            return Err(Refused::Rate);
        }
        self.open = self.open.saturating_add(1);
        self.sources.insert(source, from_there.saturating_add(1));
        Ok(())
    }

    /// A session that was counted in has ended.
    pub fn leave(&mut self, source: IpAddr) {
        self.open = self.open.saturating_sub(1);
        if let Some(count) = self.sources.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests;
