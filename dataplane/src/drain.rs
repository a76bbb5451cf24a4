//! Edge. How listeners and sessions are told to come to an end, and at which pace sessions are cut.

use std::time::Duration;

use tokio::sync::watch;

use crate::relay::ending::Ending;

/// Sessions of a removed forward that are reset per second, so that its clients don't all come
/// back at once.
const CUTS_PER_SECOND: u64 = 100;

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepts connections.
    Accept,
    /// Accepts no more, and ends its sessions.
    Cut(Cut),
    /// Accepts no more; its sessions go on.
    Stop,
}

/// How sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The word for it.
    pub ending: Ending,
    /// Each session ends at a random time within it.
    pub within: Duration,
}

impl Cut {
    /// For `open` sessions of a forward that is gone.
    #[must_use]
    pub fn removed(open: u64) -> Self {
        let within = Duration::from_millis(open.saturating_mul(1000) / CUTS_PER_SECOND);
        Self {
            ending: Ending::Removed,
            within,
        }
    }

    /// At the end of the process.
    pub const DRAIN: Self = Self {
        ending: Ending::Drain,
        within: Duration::ZERO,
    };
}

/// Completes when a session has to end, with the word for it.
pub async fn cut(mut orders: watch::Receiver<Option<Cut>>) -> Ending {
    let mut order = loop {
        if let Some(order) = *orders.borrow_and_update() {
            break order;
        }
        if orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    loop {
        let pause = order.within.mul_f64(fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(pause) => return order.ending,
            changed = orders.changed() => match (changed, *orders.borrow()) {
                // The process ends while a removed forward is cut at its pace.
                (Ok(()), Some(newer)) => order = newer,
                _ => return order.ending,
            },
        }
    }
}
