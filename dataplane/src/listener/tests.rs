//! Accepting while descriptors are short, and not any more.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tcpforward_protocol::snapshot::{Backend, BackendState, Forward, TakesNew, TcpOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    Arc, Context, Duration, Exchange, JoinSet, Listen, Ordering, Phase, Served, Shared, run,
    socket, watch,
};
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
    rig_of(shared, 1).await
}

/// With so many workers, whose listeners have ports of their own: clients come to the first one's.
async fn rig_of(shared: Shared, workers: usize) -> Rig {
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
    let listen = || {
        let any = "127.0.0.1:0".parse().unwrap();
        socket::listen(any, Share::First, &TcpOptions::default()).unwrap()
    };
    let sockets: Vec<_> = (0..workers).map(|_| listen()).collect();
    let address = sockets[0].local_addr().unwrap();
    let (phase, _) = watch::channel(Phase::Accept);
    let (holding, _) = watch::channel(());
    let (tuned, _) = watch::channel(TcpOptions::default());
    let served = samples::served(forward);
    let shared = Arc::new(shared);
    let mut tasks = JoinSet::new();
    let exchanges = Exchange::between(workers);
    for ((worker, socket), exchange) in sockets.into_iter().enumerate().zip(exchanges) {
        let listen = Listen {
            socket,
            served: Arc::clone(&served),
            exchange,
            multipath: false,
            tuned: tuned.subscribe(),
            phase: phase.subscribe(),
            holding: holding.subscribe(),
        };
        let context = Context {
            worker,
            shared: Arc::clone(&shared),
        };
        tasks.spawn(run(listen, context));
    }
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

#[tokio::test]
async fn a_worker_that_has_much_to_do_hands_over_and_all_are_served() {
    let rig = rig_of(Shared::new(1000, 3), 3).await;
    let mut sessions = Vec::new();
    for _ in 0..90 {
        let client = rig.connect().await;
        sessions.push((client, rig.reaches_the_server().await.unwrap()));
    }
    for (client, server) in &mut sessions {
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
    }
    let open: Vec<_> = (0..3).map(|worker| rig.shared.loads.open(worker)).collect();
    assert_eq!(open.iter().sum::<u32>(), 90);
    assert!(open.iter().all(|open| (12..=50).contains(open)), "{open:?}");
    let handed = rig.shared.handed_over.load(Ordering::Relaxed);
    assert_eq!(handed, u64::from(open[1] + open[2]));
    drop(sessions);
    let mut tasks = rig.tasks;
    rig.phase.send_replace(Phase::Stop);
    timeout(PATIENCE, async {
        while tasks.join_next().await.is_some() {}
    })
    .await
    .unwrap();
    assert_eq!(
        (0..3)
            .map(|worker| rig.shared.loads.open(worker))
            .sum::<u32>(),
        0
    );
}
