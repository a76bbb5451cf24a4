//! Edge. Data planes subscribe here; each is told what changed, and is heard.
//!
//! `stream` decides what one stream says, `conversation` says it, `roster` remembers what all of
//! them answer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use futures::{Stream as Incoming, StreamExt};
use tcpforward_protocol::MESSAGE_BYTES;
use tcpforward_protocol::proto::forward_sync_server::{ForwardSync, ForwardSyncServer};
use tcpforward_protocol::proto::{ToDataPlane, ToOperator};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::{Request, Response, Status, Streaming};

use crate::identity::accounts::Accounts;
use crate::identity::gate::Gate;
use crate::identity::verdict::Peer;
use crate::lease::LeaseView;
use crate::metrics::Metrics;

mod conversation;
mod farewell;
mod published;
pub(crate) mod roster;
mod stream;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fixtures;

pub(crate) use published::Published;
pub use roster::Roster;

/// Streams of one replica: the pods of a large cluster, twice over.
const STREAMS: usize = 8192;

/// Of one connection: a data plane needs one, and a second while it starts over.
const STREAMS_PER_CONNECTION: u32 = 8;

/// Messages that wait for a slow reader, each of up to a part's size.
const QUEUE: usize = 4;

/// A connection that does not answer for twice this long is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What shutdown waits for: streams to end and connections to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// Why data planes can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of `--push` can't be bound.
    #[error("--push is {address}: can't listen there")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Anyone who reaches the address could pose as a data plane and read every forward.
    #[error(
        "--push is {address}: with --insecure-transport only a loopback address is served; use 127.0.0.1:{port}",
        port = address.port()
    )]
    NotLoopback {
        /// As given.
        address: SocketAddr,
    },
    /// The server has failed.
    #[error("the server for data planes has failed")]
    Serve(#[from] tonic::transport::Error),
}

/// From where data planes may dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Who they are is checked.
    Anywhere,
    /// It isn't.
    Loopback,
}

/// Binds the address that data planes dial.
///
/// # Errors
/// It is not within reach, or it is taken.
pub async fn bind(address: SocketAddr, reach: Reach) -> Result<TcpListener, Error> {
    if reach == Reach::Loopback && !address.ip().is_loopback() {
        return Err(Error::NotLoopback { address });
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Bind { address, source })
}

/// What all streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: String,
    pub(crate) published: watch::Receiver<Option<Published>>,
    pub(crate) accounts: watch::Receiver<Accounts>,
    pub(crate) lease: watch::Receiver<LeaseView>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    /// A data plane was ahead of this replica; said once.
    pub(crate) behind: Once,
}

/// Serves data planes that dial over TCP in plain text, until shutdown.
pub(crate) async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) -> Result<(), Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    serve(shared, incoming, Gate::Open).await
}

/// Serves data planes of the same process, until shutdown.
pub(crate) async fn serve_local(
    shared: Arc<Shared>,
    incoming: mpsc::Receiver<DuplexStream>,
) -> Result<(), Error> {
    serve(
        shared,
        ReceiverStream::new(incoming).map(Ok::<_, io::Error>),
        Gate::Open,
    )
    .await
}

/// Serves whom the gate lets through, until shutdown.
pub(crate) async fn serve<IO>(
    shared: Arc<Shared>,
    incoming: impl Incoming<Item = io::Result<IO>>,
    gate: Gate,
) -> Result<(), Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let conversations = Arc::new(Mutex::new(JoinSet::new()));
    let service = ForwardSyncServer::new(Subscriptions {
        shared: Arc::clone(&shared),
        permits: Arc::new(Semaphore::new(STREAMS)),
        conversations: Arc::clone(&conversations),
    })
    .max_decoding_message_size(MESSAGE_BYTES)
    .max_encoding_message_size(MESSAGE_BYTES);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .layer(gate)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, shared.shutdown.cancelled());
    let deadline = async {
        shared.shutdown.cancelled().await;
        tokio::time::sleep(GOODBYE).await;
    };
    let served = tokio::select! {
        served = serving => served.map_err(Error::Serve),
        () = deadline => Ok(()),
    };
    let mut open = std::mem::take(&mut *lock(&conversations));
    let goodbye = async { while open.join_next().await.is_some() {} };
    if timeout(GOODBYE, goodbye).await.is_err() {
        open.shutdown().await;
    }
    served
}

type Conversations = Arc<Mutex<JoinSet<()>>>;

fn lock(conversations: &Conversations) -> std::sync::MutexGuard<'_, JoinSet<()>> {
    conversations.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Subscriptions {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    conversations: Conversations,
}

#[tonic::async_trait]
impl ForwardSync for Subscriptions {
    type SubscribeStream = ReceiverStream<Result<ToDataPlane, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<ToOperator>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let refused = &self.shared.metrics.streams_refused;
            refused.with_label_values(&["limit"]).inc();
            return Err(Status::resource_exhausted(format!(
                "this operator serves {STREAMS} streams already"
            )));
        };
        let (outgoing, messages) = mpsc::channel(QUEUE);
        let shared = Arc::clone(&self.shared);
        let peer = request.extensions().get::<Peer>().cloned();
        let mut conversations = lock(&self.conversations);
        while conversations.try_join_next().is_some() {}
        conversations.spawn(async move {
            conversation::run(shared, peer, request.into_inner(), outgoing).await;
            drop(permit);
        });
        drop(conversations);
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[cfg(test)]
mod tests;
