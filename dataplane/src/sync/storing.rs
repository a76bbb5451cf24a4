//! Edge. Writes the last good snapshot beside everything else, one write at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tcpforward_process::causes::chain;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::assemble::Held;
use crate::last_good;
use crate::place::Share;

/// After a failed write, before the next attempt: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is being written, and what waits to be.
pub(super) struct Storing {
    folder: Option<PathBuf>,
    pool: String,
    write: JoinSet<Result<(), last_good::Error>>,
    /// What is being written.
    writing: Option<Kept>,
    /// Of failed writes in a row: the latest pause, and when it ends.
    pause: Duration,
    retry_at: Option<Instant>,
    /// A set in force that is not on disk; of several, the newest.
    waiting: Option<Kept>,
    error: Option<String>,
}

/// A set, and the share of pool-wide limits with which it was served.
type Kept = (Arc<Held>, Option<Share>);

impl Storing {
    /// Without a folder nothing is kept.
    pub(super) fn new(folder: Option<PathBuf>, pool: String) -> Self {
        Self {
            folder,
            pool,
            write: JoinSet::new(),
            writing: None,
            pause: Duration::ZERO,
            retry_at: None,
            waiting: None,
            error: None,
        }
    }

    /// Keeps this set.
    pub(super) fn keep(&mut self, held: Arc<Held>, share: Option<Share>) {
        self.waiting = Some((held, share));
        self.begin();
    }

    fn begin(&mut self) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        if !self.write.is_empty() {
            return;
        }
        if let Some((held, share)) = self.waiting.take() {
            let pool = self.pool.clone();
            self.writing = Some((Arc::clone(&held), share));
            self.retry_at = None;
            self.write
                .spawn_blocking(move || last_good::store(&folder, &pool, &held, share));
        }
    }

    /// Completes when a write has, or when one that failed was begun again; `None` at once when
    /// there is nothing to wait for.
    pub(super) async fn written(&mut self) -> Option<()> {
        let Some(written) = self.write.join_next().await else {
            sleep_until(self.retry_at?).await;
            self.begin();
            return Some(());
        };
        let written = written
            .map_err(|e| chain(&e))
            .and_then(|w| w.map_err(|e| chain(&e)));
        let writing = self.writing.take();
        self.error = written.err();
        let Some(error) = &self.error else {
            self.pause = Duration::ZERO;
            self.begin();
            return Some(());
        };
        tracing::warn!(error, "can't keep the last good snapshot; traffic goes on");
        self.waiting = self.waiting.take().or(writing);
        self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
        self.retry_at = Some(Instant::now() + self.pause);
        Some(())
    }

    /// Why the latest write failed, if it did.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_protocol::delta::Delta;

    use super::*;
    use crate::sync::samples::{forward, snapshot};

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        std::fs::write(&folder, "in the way").unwrap();
        let set = snapshot([forward("a", 1, &[])]);
        let part = Delta::full(&set).into_parts(1, 1, &set).remove(0);
        let mut storing = Storing::new(Some(folder.clone()), "default".to_owned());
        storing.keep(Arc::new(Held::apply(None, part).unwrap()), None);
        for _ in 0..3 {
            storing.written().await.unwrap();
            assert!(storing.error().is_some());
        }
        std::fs::remove_file(&folder).unwrap();
        let start = Instant::now();
        while storing.error().is_some() {
            storing.written().await.unwrap();
        }
        assert!(start.elapsed() < PAUSE.1);
        assert!(last_good::load(&folder, "default").unwrap().is_some());
        assert_eq!(storing.written().await, None);
    }
}
