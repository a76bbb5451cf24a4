//! Edge. A data plane for tests, told step by step what to say.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tcpforward_protocol::answer::{Applied, Hello};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::proto::forward_sync_client::ForwardSyncClient;
use tcpforward_protocol::proto::{self, ToDataPlane, ToOperator, to_data_plane, to_operator};
use tcpforward_protocol::version::Version;
use tcpforward_protocol::wire;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(5);

/// What a data plane does, told step by step.
pub(crate) struct DataPlane {
    pub(crate) say: mpsc::Sender<ToOperator>,
    pub(crate) heard: Streaming<ToDataPlane>,
}

pub(crate) fn message(message: to_operator::Message) -> ToOperator {
    ToOperator {
        message: Some(message),
    }
}

impl DataPlane {
    /// Opens a stream over a pipe of its own and says hello.
    pub(crate) async fn connect(dial: &mpsc::Sender<DuplexStream>, hello: &Hello) -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        dial.send(far).await.unwrap();
        let mut near = Some(near);
        let connector = tower::service_fn(move |_| {
            let io = near.take().map(TokioIo::new);
            async move { io.ok_or_else(|| io::Error::other("one connection only")) }
        });
        let channel = Endpoint::from_static("http://in-process")
            .connect_with_connector(connector)
            .await
            .unwrap();
        let (say, said) = mpsc::channel(16);
        let hello = to_operator::Message::Hello(wire::hello_to_proto(hello));
        say.send(message(hello)).await.unwrap();
        let heard = ForwardSyncClient::new(channel)
            .subscribe(ReceiverStream::new(said))
            .await
            .unwrap()
            .into_inner();
        Self { say, heard }
    }

    pub(crate) async fn hear(&mut self) -> Result<to_data_plane::Message, Status> {
        let heard = timeout(PATIENCE, self.heard.message()).await;
        let message = heard.expect("nothing is said")?;
        Ok(message.expect("the stream has ended").message.unwrap())
    }

    pub(crate) async fn update(&mut self) -> proto::Update {
        loop {
            if let to_data_plane::Message::Update(update) = self.hear().await.unwrap() {
                return update;
            }
        }
    }

    pub(crate) async fn ack(&self, nonce: u64, version: Version) {
        let applied = Applied {
            nonce,
            version: Some(version),
            epoch: 0,
            scope: Scope::Change,
            serving: Vec::new(),
            refused: Vec::new(),
        };
        let applied = wire::applied_to_proto(&applied);
        self.say
            .send(message(to_operator::Message::Applied(applied)))
            .await
            .unwrap();
    }

    /// Why the stream ends.
    pub(crate) async fn end(&mut self) -> Code {
        loop {
            if let Err(status) = self.hear().await {
                return status.code();
            }
        }
    }
}
