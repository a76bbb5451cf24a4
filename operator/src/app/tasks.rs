//! Edge. The tasks of an operator: each has a name and an owner, and one that ends early is an error.

use std::sync::Arc;
use std::time::Duration;

use tcpforward_process::pages::{self, Pages};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Error;

/// What ends after the signal: streams, connections, the Lease.
const GOODBYE: Duration = Duration::from_secs(10);

/// The owner of all tasks.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<(&'static str, Result<(), Error>)>,
}

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        self.set.spawn(async move { (name, task.await) });
    }

    pub(super) fn serve(&mut self, listener: TcpListener, pages: Pages, stop: &CancellationToken) {
        let stop = stop.clone().cancelled_owned();
        self.spawn(
            "a page",
            done(pages::serve(listener, Arc::new(pages), stop)),
        );
    }

    /// Waits for shutdown; a task that ends before it is an error.
    pub(super) async fn until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            () = shutdown => Ok(()),
            ended = self.set.join_next() => match ended {
                Some(Ok((task, Ok(())))) => Err(Error::Task { task }),
                Some(Ok((_, Err(error)))) => Err(error),
                Some(Err(_)) | None => Err(Error::Task { task: "a task" }),
            },
        }
    }

    pub(super) async fn goodbye(mut self) {
        let ended = async { while self.set.join_next().await.is_some() {} };
        if timeout(GOODBYE, ended).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.set.shutdown().await;
    }
}

/// For a task that can't fail.
pub(super) async fn done(task: impl Future<Output = ()>) -> Result<(), Error> {
    task.await;
    Ok(())
}
