//! Edge. A scripted operator on in-memory pipes, for tests of whatever listens to one.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream as FuturesStream, StreamExt};
use tcpforward_protocol::delta::Delta;
use tcpforward_protocol::proto::forward_sync_server::{ForwardSync, ForwardSyncServer};
use tcpforward_protocol::proto::{self, ToDataPlane, ToOperator, Welcome};
use tcpforward_protocol::proto::{to_data_plane, to_operator};
use tcpforward_protocol::snapshot::Snapshot;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::config::OperatorAddress;

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// One stream as the operator's side sees it.
pub(crate) struct Subscriber {
    pub(crate) said: mpsc::Receiver<to_operator::Message>,
    pub(crate) say: mpsc::Sender<Result<ToDataPlane, Status>>,
}

struct Service {
    subscribers: mpsc::Sender<Subscriber>,
}

#[tonic::async_trait]
impl ForwardSync for Service {
    type SubscribeStream = Pin<Box<dyn FuturesStream<Item = Result<ToDataPlane, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<ToOperator>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (say, answers) = mpsc::channel(64);
        let (hear, said) = mpsc::channel(64);
        let _ = self.subscribers.send(Subscriber { said, say }).await;
        let mut inbound = request.into_inner();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok(Some(ToOperator {
                message: Some(message),
            })) = inbound.message().await
            {
                if hear.send(message).await.is_err() {
                    return;
                }
            }
        });
        // The reader lives exactly as long as the answers are polled.
        Ok(Response::new(Box::pin(ReceiverStream::new(answers).map(
            move |answer| {
                let _ = &tasks;
                answer
            },
        ))))
    }
}

/// A scripted operator.
pub(crate) struct Operator {
    subscribers: mpsc::Receiver<Subscriber>,
    _server: JoinSet<()>,
}

pub(crate) fn operator() -> (Operator, OperatorAddress) {
    let (pipe, pipes) = mpsc::channel::<DuplexStream>(8);
    let (sender, subscribers) = mpsc::channel(8);
    let mut server = JoinSet::new();
    server.spawn(async move {
        let service = ForwardSyncServer::new(Service {
            subscribers: sender,
        });
        let incoming = ReceiverStream::new(pipes).map(Ok::<_, std::io::Error>);
        let _ = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming)
            .await;
    });
    (
        Operator {
            subscribers,
            _server: server,
        },
        OperatorAddress::Duplex(pipe),
    )
}

impl Operator {
    pub(crate) async fn subscriber(&mut self) -> Subscriber {
        timeout(DEADLINE, self.subscribers.recv())
            .await
            .expect("a stream in time")
            .unwrap()
    }
}

impl Subscriber {
    pub(crate) async fn next(&mut self) -> to_operator::Message {
        timeout(DEADLINE, self.said.recv())
            .await
            .expect("a message in time")
            .expect("a stream")
    }

    pub(crate) async fn hello(&mut self) -> proto::Hello {
        loop {
            if let to_operator::Message::Hello(hello) = self.next().await {
                return hello;
            }
        }
    }

    pub(crate) async fn applied(&mut self) -> proto::Applied {
        loop {
            if let to_operator::Message::Applied(applied) = self.next().await {
                return applied;
            }
        }
    }

    pub(crate) async fn say(&self, message: to_data_plane::Message) {
        self.say
            .send(Ok(ToDataPlane {
                message: Some(message),
            }))
            .await
            .unwrap();
    }

    pub(crate) async fn welcome(&self, epoch: u64) {
        let welcome = Welcome {
            operator: format!("epoch-{epoch}"),
            epoch,
            ..Default::default()
        };
        self.say(to_data_plane::Message::Welcome(welcome)).await;
    }

    pub(crate) async fn push(&self, nonce: u64, epoch: u64, delta: Delta, wanted: &Snapshot) {
        for part in delta.into_parts(nonce, epoch, wanted) {
            self.say(to_data_plane::Message::Update(part)).await;
        }
    }
}
