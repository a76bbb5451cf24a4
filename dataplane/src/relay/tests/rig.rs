//! A client, a relay and a server over real sockets.

use super::*;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(super) struct Count(pub(super) Arc<AtomicU64>);

impl Meter for Count {
    fn passed(&self, _: Side, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How many bytes are moved at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Copying,
    Pipes,
}

pub(super) const WAYS: [By; 2] = [By::Copying, By::Pipes];

pub(super) struct Rig {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) relay: JoinHandle<Ended>,
    pub(super) count: Count,
}

/// A client and the relay's socket to it.
pub(super) async fn accepted() -> (TcpStream, Stream) {
    let listener = socket::listen(
        "127.0.0.1:0".parse().unwrap(),
        Share::First,
        &TcpOptions::default(),
    )
    .unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await;
    let accepted = socket::accept(&listener).unwrap().0;
    (client.unwrap(), Stream::watch(accepted, false).unwrap())
}

/// The relay's socket to a server, and that.
pub(super) async fn dialled() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = TcpOptions::default();
    let upstream = socket::connect(address, &options).unwrap();
    let (connected, server) = tokio::join!(upstream.connected(), listener.accept());
    connected.unwrap();
    (upstream, server.unwrap().0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rig owns the task and joins it"
)]
pub(super) async fn rig_by(by: By, timeouts: Timeouts, limits: Limits, prefix: Prefix) -> Rig {
    let prefix = Some(Box::new(prefix));
    let (client, downstream) = accepted().await;
    let (upstream, server) = dialled().await;
    let count = Count::default();
    let meter = count.clone();
    let relay = tokio::spawn(async move {
        let (downstream, upstream) = (Connection::new(downstream), Connection::new(upstream));
        let pipes = pipes_for(by);
        let lane = Lane {
            pipes: &pipes,
            worker: 0,
        };
        let relay = Relay::new(
            &downstream,
            &upstream,
            timeouts,
            TcpKeepalive::default(),
            meter,
            prefix,
        );
        let mut relay = relay.within(&limits).by_pipes(lane);
        let ended = relay.run().await;
        drop(relay);
        close(ended, downstream, upstream.into()).await;
        ended
    });
    Rig {
        client,
        server,
        relay,
        count,
    }
}

pub(super) fn pipes_for(by: By) -> Pipes {
    let descriptors = match by {
        By::Copying => 0,
        By::Pipes => 100,
    };
    Pipes::new(Arc::new(Semaphore::new(descriptors)), 1)
}

pub(super) fn plain<'a>(downstream: &'a Stream, upstream: &'a Stream) -> Relay<'a, Count> {
    let (keepalive, count) = (TcpKeepalive::default(), Count::default());
    Relay::new(downstream, upstream, NONE, keepalive, count, None)
}

pub(super) async fn rig_of(timeouts: Timeouts, limits: Limits, prefix: Prefix) -> Rig {
    rig_by(By::Pipes, timeouts, limits, prefix).await
}

pub(super) async fn rig(timeouts: Timeouts) -> Rig {
    rig_of(timeouts, Limits::DEFAULT, Prefix::default()).await
}

pub(super) async fn way(by: By) -> Rig {
    rig_by(by, NONE, Limits::DEFAULT, Prefix::default()).await
}

pub(super) const NONE: Timeouts = Timeouts {
    idle: None,
    half_closed: None,
    max_connection_age: None,
};

pub(super) async fn ending(relay: JoinHandle<Ended>) -> Ending {
    timeout(PATIENCE, relay)
        .await
        .expect("the relay ends")
        .unwrap()
        .ending
}

pub(super) async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("an end");
    (bytes, end.err().map(|e| e.kind()))
}
