//! Edge. The signals that end a program.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Starts listening at once and returns a future that completes on SIGTERM or SIGINT.
///
/// # Errors
/// The handlers can't be installed.
pub fn termination() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
