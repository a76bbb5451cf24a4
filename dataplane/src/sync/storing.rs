//! Edge. Writes the last good snapshot beside everything else, one write at a time.

use std::path::PathBuf;
use std::sync::Arc;

use tcpforward_process::causes::chain;
use tokio::task::JoinSet;

use super::assemble::Held;
use crate::last_good;

/// What is being written, and what waits to be.
pub(super) struct Storing {
    folder: Option<PathBuf>,
    pool: String,
    write: JoinSet<Result<(), last_good::Error>>,
    /// A set in force that is not on disk; of several, the newest.
    waiting: Option<Arc<Held>>,
    error: Option<String>,
}

impl Storing {
    /// Without a folder nothing is kept.
    pub(super) fn new(folder: Option<PathBuf>, pool: String) -> Self {
        let (write, waiting, error) = (JoinSet::new(), None, None);
        Self {
            folder,
            pool,
            write,
            waiting,
            error,
        }
    }

    /// Keeps this set.
    pub(super) fn keep(&mut self, held: Arc<Held>) {
        self.waiting = Some(held);
        self.begin();
    }

    fn begin(&mut self) {
        let Some(folder) = self.folder.clone() else {
            return;
        };
        if !self.write.is_empty() {
            return;
        }
        if let Some(held) = self.waiting.take() {
            let pool = self.pool.clone();
            self.write
                .spawn_blocking(move || last_good::store(&folder, &pool, &held));
        }
    }

    /// Completes when a write has; `None` at once when there is none.
    pub(super) async fn written(&mut self) -> Option<()> {
        let written = self.write.join_next().await?;
        let written = written
            .map_err(|e| chain(&e))
            .and_then(|w| w.map_err(|e| chain(&e)));
        self.error = written.err();
        if let Some(error) = &self.error {
            tracing::warn!(error, "can't keep the last good snapshot; traffic goes on");
        }
        self.begin();
        Some(())
    }

    /// Why the latest write failed, if it did.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
