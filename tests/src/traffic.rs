//! Edge. Requests through a forward, one after the other until they are enough, and who answered them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::client;
use crate::eventually::eventually;
use crate::stage::SOON;

/// Requests that go on until they are ended; the first that fails is the last one, and kept.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    task: JoinSet<Result<()>>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that were answered.
    pub served: usize,
    /// Who answered, without those who answered the request before, too.
    pub turns: Vec<String>,
}

impl Traffic {
    /// Starts to ask servers that say their name.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let (stopped, told) = (Arc::clone(&stop), Arc::clone(&seen));
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let name = name_of(address).await?;
                let mut seen = told.lock().unwrap_or_else(PoisonError::into_inner);
                seen.served += 1;
                if seen.turns.last() != Some(&name) {
                    seen.turns.push(name);
                }
            }
            Ok(())
        });
        Self { stop, seen, task }
    }

    /// What came back so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Waits until this many more requests were served.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn more(&self, requests: usize) -> Result<()> {
        let goal = self.seen().served + requests;
        eventually("requests to be served", SOON, async || {
            let served = self.seen().served;
            let ended = self.task.is_empty();
            ensure!(served >= goal, "{served} of {goal}; ended: {ended}");
            Ok(())
        })
        .await
    }

    /// Waits until that one answers.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn turns_to(&self, name: &str) -> Result<()> {
        eventually(&format!("{name} to answer"), SOON, async || {
            let seen = self.seen();
            ensure!(seen.turns.last().is_some_and(|n| n == name), "{seen:?}");
            Ok(())
        })
        .await
    }

    /// Ends it.
    ///
    /// # Errors
    /// A request has failed.
    pub async fn end(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.task.join_next().await;
        ended.context("the traffic's task")???;
        Ok(self.seen())
    }
}

/// The name of the server that a request comes to.
///
/// # Errors
/// It fails.
pub async fn name_of(address: SocketAddr) -> Result<String> {
    let answer = client::get(address, "/").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body.trim().to_owned())
}

/// Waits until the server of that name answers.
///
/// # Errors
/// It does not in time.
pub async fn answers(address: SocketAddr, expected: &str) -> Result<()> {
    eventually(&format!("{expected} to answer"), SOON, async || {
        let name = name_of(address).await?;
        ensure!(name == expected, "{name}");
        Ok(())
    })
    .await
}
