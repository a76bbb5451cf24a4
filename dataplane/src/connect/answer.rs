//! Edge. What a proxy's client hears.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::refusal::{ESTABLISHED, Refusal};
use crate::channel::End;
use crate::relay::sockets::pass_fin;
use crate::socket::{Connection, Stream};

/// How long a client may leave its answer in our hands: a few hundred bytes, for which even a
/// socket with the smallest buffer has room.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells that the tunnel is there, in a segment of its own: clients take what comes with it for a part
/// of the answer's head.
///
/// # Errors
/// The client is gone, or takes nothing.
pub(crate) async fn established(downstream: &Stream) -> io::Result<()> {
    write(downstream, ESTABLISHED).await
}

/// Tells why there is no tunnel, in full, and closes. Nothing that the client sends after its request
/// is read as one (RFC 9931).
pub(crate) async fn refuse(downstream: Connection, refusal: &Refusal) {
    if write(&downstream, &refusal.to_response()).await.is_ok() {
        pass_fin(&downstream);
        downstream.finish_lingering().await;
    }
}

async fn write(downstream: &Stream, bytes: &[u8]) -> io::Result<()> {
    let mut end = End::new(downstream, None);
    match timeout(PATIENCE, end.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
