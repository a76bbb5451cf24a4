//! Edge. One stream to one operator: connects, carries messages, connects again with backoff.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tcpforward_process::causes::chain;
use tcpforward_protocol::answer::Source;
use tcpforward_protocol::proto::forward_sync_client::ForwardSyncClient;
use tcpforward_protocol::proto::{ToDataPlane, ToOperator};
use tcpforward_protocol::{MESSAGE_BYTES, proto};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};
use tower::service_fn;

use super::InProcess;
use super::assemble::Assembler;
use super::source::StreamId;
use super::transport::{self, Checked};

/// Where a stream leads.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// In plain text.
    Address(SocketAddr),
    /// Encrypted, and each side knows the other.
    Checked(Checked),
    InProcess(InProcess),
}

/// What a stream says to the task that owns all of them.
#[derive(Debug)]
pub(crate) enum Event {
    /// About to subscribe: the hello goes into `outbound`. `broken` ends the stream from our side.
    Opening {
        stream: StreamId,
        outbound: mpsc::Sender<ToOperator>,
        broken: CancellationToken,
    },
    /// The operator says something.
    Said {
        stream: StreamId,
        message: proto::to_data_plane::Message,
    },
    /// Over; it will be tried again.
    Ended { stream: StreamId },
}

/// A stream as its owner sees it.
pub(super) struct Stream {
    pub(super) outbound: mpsc::Sender<ToOperator>,
    pub(super) broken: CancellationToken,
    pub(super) assembler: Assembler,
    pub(super) welcomed: Option<String>,
    pub(super) told_source: Source,
}

impl Stream {
    /// One that nothing has been said on.
    pub(super) fn new(outbound: mpsc::Sender<ToOperator>, broken: CancellationToken) -> Self {
        Self {
            outbound,
            broken,
            assembler: Assembler::default(),
            welcomed: None,
            told_source: Source::Listening,
        }
    }
}

/// Messages that wait for a slow operator. More than these and the stream is given up: answers
/// are not dropped, and a new stream starts with all of them.
const OUTBOUND: usize = 64;

/// A new attempt after a failure waits at least and at most this long; the waits double.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A stream that lived this long starts over with the shortest wait.
const GOOD: Duration = Duration::from_secs(10);

/// HTTP/2 pings find a peer that is gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Bounds reaching an operator.
const CONNECT: Duration = Duration::from_secs(5);

/// Keeps a stream to `peer` until it is `unwanted`; `ids` numbers its lives.
pub(crate) async fn keep(
    peer: Peer,
    ids: super::Ids,
    events: mpsc::Sender<Event>,
    unwanted: CancellationToken,
) {
    let mut wait = BACKOFF.0;
    let mut told = None;
    loop {
        let stream = ids.next();
        let started = tokio::time::Instant::now();
        let ended = tokio::select! {
            () = unwanted.cancelled() => Ok(()),
            ended = one_life(&peer, stream, &events) => ended,
        };
        if events.send(Event::Ended { stream }).await.is_err() || unwanted.is_cancelled() {
            return;
        }
        let operator = peer.to_string();
        match ended {
            Ok(()) => tracing::debug!(operator, "stream ended"),
            Err(error) => {
                let text = chain(&error);
                if error.concerns_people() && told.as_ref() != Some(&text) {
                    tracing::warn!(operator, error = text, "an operator can't be spoken with");
                    told = Some(text);
                } else {
                    tracing::debug!(operator, error = text, "stream failed");
                }
            }
        }
        if started.elapsed() > GOOD {
            told = None;
            wait = BACKOFF.0;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

async fn one_life(
    peer: &Peer,
    stream: StreamId,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    let channel = connect(peer).await?;
    let mut client = ForwardSyncClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let (outbound, queue) = mpsc::channel(OUTBOUND);
    let broken = CancellationToken::new();
    let opening = Event::Opening {
        stream,
        outbound,
        broken: broken.clone(),
    };
    if events.send(opening).await.is_err() {
        return Ok(());
    }
    let mut request = Request::new(ReceiverStream::new(queue));
    if let Peer::Checked(checked) = peer {
        let authorization = checked.authorization()?;
        request
            .metadata_mut()
            .insert("authorization", authorization);
    }
    let talk = async {
        let mut inbound = client.subscribe(request).await?.into_inner();
        while let Some(ToDataPlane { message }) = inbound.message().await? {
            let Some(message) = message else { continue };
            if events.send(Event::Said { stream, message }).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        () = broken.cancelled() => Ok(()),
        ended = talk => ended,
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("can't connect")]
    Connect(#[from] tonic::transport::Error),
    #[error(
        "{address} is not a loopback address, and with --insecure-transport no other one is dialled"
    )]
    PlainText { address: SocketAddr },
    #[error("the operator ended the stream")]
    Status(#[from] tonic::Status),
    #[error(transparent)]
    Transport(#[from] transport::Error),
}

impl Error {
    /// Whether it lasts until someone does something; replicas that come and go are no news.
    fn concerns_people(&self) -> bool {
        match self {
            Self::Connect(error) => {
                let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
                while let Some(error) = cause {
                    if let Some(error) = error.downcast_ref::<transport::Error>() {
                        return !error.is_absence();
                    }
                    cause = error.source();
                }
                false
            }
            Self::PlainText { .. } | Self::Transport(_) => true,
            Self::Status(status) => {
                matches!(
                    status.code(),
                    Code::Unauthenticated | Code::PermissionDenied
                )
            }
        }
    }
}

async fn connect(peer: &Peer) -> Result<Channel, Error> {
    let authority = match peer {
        Peer::Address(address) if !address.ip().to_canonical().is_loopback() => {
            return Err(Error::PlainText { address: *address });
        }
        Peer::Address(address) => address.to_string(),
        Peer::Checked(checked) => checked.address.to_string(),
        Peer::InProcess(_) => "in-process".to_owned(),
    };
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let channel = match peer {
        Peer::Address(_) => endpoint.connect().await?,
        Peer::Checked(checked) => {
            let checked = checked.clone();
            let connector = service_fn(move |_: Uri| {
                let checked = checked.clone();
                async move { checked.connect().await }
            });
            endpoint.connect_with_connector(connector).await?
        }
        Peer::InProcess(operator) => {
            let operator = operator.clone();
            let connector = service_fn(move |_: Uri| pipe(operator.clone()));
            endpoint.connect_with_connector(connector).await?
        }
    };
    Ok(channel)
}

/// Bytes that an in-memory pipe holds in each direction.
const PIPE: usize = 256 << 10;

async fn pipe(operator: InProcess) -> io::Result<TokioIo<DuplexStream>> {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let gone = || io::Error::new(io::ErrorKind::ConnectionRefused, "the operator has ended");
    operator.send(theirs).await.map_err(|_| gone())?;
    Ok(TokioIo::new(ours))
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Checked(checked) => checked.address.fmt(f),
            Self::InProcess(_) => f.write_str("in-process"),
        }
    }
}
