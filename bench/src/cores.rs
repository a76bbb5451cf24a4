//! Edge. Which core does what: the relay has one, load and servers another.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two cores; the same one twice where there is only one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cores {
    /// The relay's.
    pub relay: usize,
    /// That of load and servers.
    pub load: usize,
}

impl Cores {
    /// The first and the last one that this process may use, so that a machine's twin threads stay apart. The
    /// calling thread, and those that it starts, keep to that of the load.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let relay = cores.next().context("no core")?;
        let load = cores.next_back().unwrap_or(relay);
        let mut own = CpuSet::new();
        own.set(load);
        sched_setaffinity(None, &own)?;
        Ok(Self { relay, load })
    }
}
