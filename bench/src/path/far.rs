//! Edge. The servers' end of a path: a thread in a network namespace of its own, and what is in it.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use tcpforward_tests::lab::{self, Lab, Network};
use tokio::sync::oneshot;
use tun_rs::SyncDevice;

use crate::path::forwarder;
use crate::path::place::{End, FAST_SERVER, SLOW_SERVER};
use crate::path::plan::Controls;
use crate::path::transfer::Server;

/// A far end at work. Dropping it ends all that is in it.
#[derive(Debug)]
pub struct Far {
    /// What its forwarder says of its socket options.
    pub notes: Vec<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What is told when all is there.
type Ready = oneshot::Sender<(SyncDevice, Vec<String>)>;

impl Far {
    /// Starts servers and forwarder and gives the device that leads to them.
    ///
    /// # Errors
    /// Not root, or one of them doesn't start.
    pub async fn start(ours: PathBuf, controls: Controls) -> Result<(Self, SyncDevice)> {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("far".to_owned());
        let thread = thread.spawn(move || {
            lab::run(Network::Namespace, async |lab| {
                inside(lab, ours, &controls, ready, stopped).await
            })
        })?;
        let mut far = Self {
            notes: Vec::new(),
            stop: Some(stop),
            thread: Some(thread),
        };
        let Ok((device, notes)) = is_ready.await else {
            far.end()?;
            bail!("the far end has ended");
        };
        far.notes = notes;
        Ok((far, device))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Something in it had failed.
    pub fn end(mut self) -> Result<()> {
        self.join().context("the far end")
    }

    fn join(&mut self) -> Result<()> {
        self.stop.take();
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(anyhow!("a panic")),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // Told by `end`, if anybody asks.
        let _ = self.join();
    }
}

async fn inside(
    lab: &Lab,
    ours: PathBuf,
    controls: &Controls,
    ready: Ready,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let device = End::Far.device()?;
    let _slow = Server::start(End::Far.port(SLOW_SERVER), &controls.slow)?;
    let _fast = Server::start(End::Far.port(FAST_SERVER), &controls.fast)?;
    let forwarder = forwarder::start(lab, &ours, End::Far, controls).await?;
    let notes = forwarder::notes(&forwarder).await?;
    if ready.send((device, notes)).is_ok() {
        // Dropped is as good as sent.
        let _ = stopped.await;
    }
    forwarder::end(forwarder)
}
