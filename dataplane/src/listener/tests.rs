//! Accepting while descriptors are short, and not any more.

use std::io::ErrorKind;

use tcpforward_protocol::snapshot::{Backend, BackendState, Forward, TakesNew, TcpOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::relay::ending::Ending;
use crate::socket::Share;
use crate::sync::samples;

const PATIENCE: Duration = Duration::from_secs(10);

struct Rig {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    holding: watch::Sender<()>,
    server: tokio::net::TcpListener,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    served: Arc<Served>,
}

async fn rig(shared: Shared) -> Rig {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend {
        target: "t".to_owned(),
        address: server.local_addr().unwrap(),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    };
    let plain = samples::forward("f", 1, &[]);
    let forward = Forward::new(plain.name, plain.spec, vec![backend]);
    let socket = socket::listen(
        "127.0.0.1:0".parse().unwrap(),
        Share::First,
        &TcpOptions::default(),
    )
    .unwrap();
    let address = socket.local_addr().unwrap();
    let (phase, _) = watch::channel(Phase::Accept);
    let (holding, _) = watch::channel(());
    let (tuned, _) = watch::channel(TcpOptions::default());
    let served = samples::served(forward);
    let listen = Listen {
        socket,
        served: Arc::clone(&served),
        multipath: false,
        tuned: tuned.subscribe(),
        phase: phase.subscribe(),
        holding: holding.subscribe(),
    };
    let shared = Arc::new(shared);
    let context = Context {
        worker: 0,
        shared: Arc::clone(&shared),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(run(listen, context));
    Rig {
        address,
        phase,
        holding,
        server,
        tasks,
        shared,
        served,
    }
}

impl Rig {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn reaches_the_server(&self) -> Option<TcpStream> {
        let accepted = timeout(Duration::from_millis(300), self.server.accept()).await;
        accepted.ok().map(|accepted| accepted.unwrap().0)
    }
}

#[tokio::test]
async fn a_client_waits_while_descriptors_are_short_and_is_served_after() {
    // Three descriptors: one session, and not a second.
    let rig = rig(Shared::new(3, 1)).await;
    let first = rig.connect().await;
    let mut first_server = rig.reaches_the_server().await.unwrap();
    let mut second = rig.connect().await;
    assert!(rig.reaches_the_server().await.is_none());
    drop(first);
    let mut rest = Vec::new();
    first_server.read_to_end(&mut rest).await.unwrap();
    drop(first_server);
    let mut second_server = timeout(PATIENCE, rig.server.accept())
        .await
        .unwrap()
        .unwrap()
        .0;
    second_server.write_all(b"x").await.unwrap();
    assert_eq!(second.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn a_stopped_listener_lets_go_of_its_port_and_keeps_its_sessions() {
    let mut rig = rig(Shared::new(1000, 1)).await;
    let mut client = rig.connect().await;
    let mut server = rig.reaches_the_server().await.unwrap();
    rig.phase.send_replace(Phase::Stop);
    timeout(PATIENCE, rig.holding.closed()).await.unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err());
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    rig.served.sessions().end_all(Ending::Removed);
    let cut = timeout(PATIENCE, client.read_u8()).await.unwrap();
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::ConnectionReset);
    timeout(PATIENCE, rig.tasks.join_next()).await.unwrap();
}

#[tokio::test]
async fn a_listener_that_waits_for_descriptors_still_stops() {
    // Four descriptors: two sessions.
    let rig = rig(Shared::new(5, 1)).await;
    let _first = (rig.connect().await, rig.reaches_the_server().await);
    let _second = (rig.connect().await, rig.reaches_the_server().await);
    let mut waits = rig.connect().await;
    assert!(rig.reaches_the_server().await.is_none());
    assert_eq!(rig.shared.accept_waits.load(Ordering::Relaxed), 1);
    rig.phase.send_replace(Phase::Stop);
    timeout(PATIENCE, rig.holding.closed()).await.unwrap();
    // It was never accepted, for there are no descriptors for it.
    let end = timeout(PATIENCE, waits.read_u8()).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(rig.tasks.len(), 1);
}
