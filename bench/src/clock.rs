//! Edge. Waiting to the microsecond. The runtime's own timers know milliseconds, and an open loop of
//! thousands of arrivals a second would come in bursts.

use std::os::fd::OwnedFd;

use anyhow::Result;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timer of the kernel.
#[derive(Debug)]
pub struct Clock(AsyncFd<OwnedFd>);

impl Clock {
    /// A timer that rests.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd is open until it is dropped"
        )]
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits until then, not at all if that has passed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn until(&self, due: Instant) -> Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(left)?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let expired = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?));
            if let Ok(expired) = expired {
                expired?;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_waits_as_long_as_asked_and_not_for_what_has_passed() {
        let clock = Clock::new().unwrap();
        let start = Instant::now();
        clock.until(start).await.unwrap();
        for n in 1..=3 {
            let due = start + n * Duration::from_micros(300);
            clock.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
