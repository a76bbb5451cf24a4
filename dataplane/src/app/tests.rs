//! The whole data plane in one process: a scripted operator, clients and servers on loopback.

use std::io::ErrorKind;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::delta::Delta;
use tcpforward_protocol::feature;
use tcpforward_protocol::proto::{self, Applied as AppliedMessage, to_data_plane};
use tcpforward_protocol::snapshot::{
    ActiveCheck, Forward, ForwardName, Host, Probe, Snapshot, TcpProbe,
};
use tcpforward_protocol::testing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::config::OperatorAddress;
use crate::hosts::scripted::Dns;
use crate::place::{Place, Share};
use crate::sync::samples;
use crate::sync::scripted::{DEADLINE, Operator, Subscriber, operator};

mod closing;
mod scrape;
mod stacks;

/// A server that greets with its name and then echoes.
struct Server {
    address: SocketAddr,
    _task: JoinSet<()>,
}

async fn server(name: &'static str) -> Server {
    server_at(name, "127.0.0.1:0").await
}

async fn server_at(name: &'static str, address: &str) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut sessions = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            sessions.spawn(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Server {
        address,
        _task: task,
    }
}

/// A port that nobody holds at the moment.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn forward(name: &str, port: u16, backends: &[SocketAddr]) -> Forward {
    let backend = |address: &SocketAddr| testing::backend("t", &address.to_string());
    let mut spec = testing::spec(vec![testing::target("t")]);
    spec.listener.port = NonZeroU16::new(port).unwrap();
    spec.listener.address = Some("127.0.0.1".parse().unwrap());
    let backends = backends.iter().map(backend).collect();
    Forward::new(ForwardName::new("n", name), spec, backends)
}

struct Rig {
    handle: Handle,
    registry: Registry,
    operator: Operator,
    stop: Option<oneshot::Sender<()>>,
    running: JoinSet<Result<Summary, Error>>,
}

fn config(address: OperatorAddress) -> Config {
    Config {
        threads: NonZeroUsize::new(2),
        drain_delay: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(300),
        ..Config::new(vec![address])
    }
}

fn start(edit: impl FnOnce(&mut Config)) -> Rig {
    let (operator, address) = operator();
    let mut config = config(address);
    edit(&mut config);
    let registry = Registry::new();
    let app = App::new(config, &registry).unwrap();
    let handle = app.handle();
    let (stop, stopped) = oneshot::channel();
    let mut running = JoinSet::new();
    running.spawn(app.run(async {
        let _ = stopped.await;
    }));
    Rig {
        handle,
        registry,
        operator,
        stop: Some(stop),
        running,
    }
}

impl Rig {
    /// A stream on which this operator is the source.
    async fn subscriber(&mut self) -> Subscriber {
        let mut stream = self.operator.subscriber().await;
        stream.hello().await;
        stream.welcome(1).await;
        while !stream.hello().await.source {}
        stream
    }

    async fn end(&mut self) -> Summary {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
        let ended = timeout(DEADLINE, self.running.join_next())
            .await
            .expect("it ends");
        ended.unwrap().unwrap().unwrap()
    }
}

/// The answer to the update of that nonce.
async fn answer(stream: &mut Subscriber, nonce: u64) -> AppliedMessage {
    loop {
        let applied = stream.applied().await;
        if applied.nonce == nonce {
            return applied;
        }
    }
}

async fn push_all(stream: &mut Subscriber, nonce: u64, set: &Snapshot) -> AppliedMessage {
    stream.push(nonce, 1, Delta::full(set), set).await;
    answer(stream, nonce).await
}

async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Connects and reads the name of who answers.
async fn greeting(port: u16) -> (TcpStream, String) {
    let mut stream = dial(port).await;
    let mut name = [0; 1];
    timeout(DEADLINE, stream.read_exact(&mut name))
        .await
        .expect("a greeting")
        .unwrap();
    (stream, String::from_utf8_lossy(&name).into_owned())
}

async fn echo(stream: &mut TcpStream) {
    stream.write_all(b"still there").await.unwrap();
    let mut back = [0; 11];
    timeout(DEADLINE, stream.read_exact(&mut back))
        .await
        .expect("an echo")
        .unwrap();
    assert_eq!(&back, b"still there");
}

async fn end_of(stream: &mut TcpStream) -> Option<ErrorKind> {
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    end.err().map(|error| error.kind())
}

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    while !is() {
        assert!(Instant::now() < deadline, "{what} never came");
        pause.tick().await;
    }
}

fn metric(rig: &Rig, start: &str) -> String {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&rig.registry.gather())
        .unwrap();
    let line = text.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no {start} in\n{text}"))
        .to_owned()
}

#[tokio::test]
async fn traffic_follows_the_set_and_unrelated_sessions_survive() {
    let (a, b, c) = (server("a").await, server("b").await, server("c").await);
    let (one, two) = (free_port().await, free_port().await);
    let mut rig = start(|_| {});
    assert!(rig.handle.ready().is_err());
    let mut stream = rig.subscriber().await;
    let first = samples::snapshot([forward("one", one, &[a.address, b.address])]);
    let applied = push_all(&mut stream, 5, &first).await;
    assert_eq!(applied.serving[0].forward, "n/one");
    assert!(rig.handle.ready().is_ok() && rig.handle.live().is_ok());

    let (mut kept, first_name) = greeting(one).await;
    let (_other, second_name) = greeting(one).await;
    assert_ne!(first_name, second_name);

    // Other backends, another port for a second forward: the session is not touched.
    let second = samples::snapshot([
        forward("one", one, &[c.address]),
        forward("two", two, &[c.address]),
    ]);
    stream
        .push(6, 1, Delta::between(&first, &second), &second)
        .await;
    answer(&mut stream, 6).await;
    assert_eq!(greeting(one).await.1, "c");
    assert_eq!(greeting(two).await.1, "c");
    echo(&mut kept).await;
    let rows = rig.handle.forwards();
    assert_eq!((rows.len(), rows[0].listeners.len()), (2, 1));
    // Those of the greetings end when that is noticed.
    let open = || rig.handle.forwards()[0].open_sessions == 2;
    eventually("the other sessions to end", open).await;

    // The port moves: new sessions there, old ones go on, the old port is closed.
    let third = samples::snapshot([forward("one", free_port().await, &[c.address])]);
    push_all(&mut stream, 7, &third).await;
    echo(&mut kept).await;
    let is_closed = || std::net::TcpStream::connect(("127.0.0.1", one)).is_err();
    eventually("the end of the old port", is_closed).await;
    drop(kept);
    let up = "tcpforward_dataplane_relayed_bytes_total{forward=\"n/one\",direction=\"up\"} 22";
    assert_eq!(metric(&rig, &up[..up.len() - 2]), up);
}

#[tokio::test]
async fn a_dead_backend_is_not_noticed_by_clients_and_reported() {
    let (a, dead) = (
        server("a").await,
        SocketAddr::from(([127, 0, 0, 1], free_port().await)),
    );
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[dead, a.address])]),
    )
    .await;
    for _ in 0..6 {
        assert_eq!(greeting(port).await.1, "a");
    }
    let failing = timeout(DEADLINE, async {
        loop {
            let message = stream.next().await;
            if let tcpforward_protocol::proto::to_operator::Message::Report(report) = message
                && let Some(failing) = report.failing.first()
            {
                return failing.clone();
            }
        }
    });
    let failing = failing.await.expect("a report");
    assert_eq!(
        (failing.address, failing.target.as_str()),
        (dead.to_string(), "t")
    );
    assert!(
        failing.since_ms > 0 && failing.message.contains("refused"),
        "{}",
        failing.message
    );
    let row = rig.handle.forwards().remove(0);
    assert_eq!(
        row.backends.iter().filter(|b| b.failing.is_some()).count(),
        1
    );
}

#[tokio::test]
async fn a_target_by_name_is_served_once_it_resolves() {
    let (a, dns, port) = (server("a").await, Dns::start().await, free_port().await);
    let servers = vec![dns.address];
    let mut rig = start(|config| config.dns_servers = servers);
    let mut stream = rig.subscriber().await;
    let plain = forward("f", port, &[]);
    let mut spec = plain.spec;
    spec.relay.targets[0].host = Some(Host {
        name: "a.example".to_owned(),
        port: NonZeroU16::new(a.address.port()).unwrap(),
    });
    spec.requires = feature::required(&spec);
    let named = Forward::new(plain.name, spec, Vec::new());
    push_all(&mut stream, 1, &samples::snapshot([named])).await;
    let host = || rig.handle.forwards()[0].hosts[0].clone();
    eventually("the failure", || host().error.is_some()).await;
    dns.set_addresses("a.example", &["127.0.0.1"], 60);
    eventually("the address", || host().addresses.len() == 1).await;
    assert_eq!((host().name.as_str(), host().error), ("a.example", None));
    assert_eq!(greeting(port).await.1, "a");
}

/// Both servers greet with their name; well is who greets with this.
fn checked(port: u16, backends: &[SocketAddr], greeting: &str, generation: i64) -> Forward {
    let plain = forward("f", port, backends);
    let mut spec = plain.spec;
    spec.generation = generation;
    spec.relay.health_check.active = Some(ActiveCheck {
        interval: Duration::from_millis(500),
        timeout: Duration::from_millis(500),
        unhealthy_threshold: NonZeroU32::new(3).unwrap(),
        healthy_threshold: NonZeroU32::MIN,
        probe: Probe::Tcp(TcpProbe {
            send: Vec::new(),
            receive: greeting.into(),
        }),
    });
    spec.requires = feature::required(&spec);
    Forward::new(plain.name, spec, plain.backends)
}

#[tokio::test]
async fn a_backend_whose_checks_fail_is_left_out_until_they_pass() {
    let (a, b, port) = (server("a").await, server("b").await, free_port().await);
    let both = [a.address, b.address];
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let push =
        |greeting, generation| samples::snapshot([checked(port, &both, greeting, generation)]);
    let applied = push_all(&mut stream, 1, &push("a", 1)).await;
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);
    let left_out = || {
        let report = rig.handle.view().report();
        let unhealthy = report.failing.into_iter();
        let mut unhealthy = unhealthy.filter(|f| f.left_out == LeftOut::Unhealthy);
        unhealthy.next().map(|f| (f.address, f.message))
    };
    eventually("b left out", || {
        left_out().is_some_and(|(address, _)| address == b.address)
    })
    .await;
    assert!(left_out().unwrap().1.contains("it sent \"b\""));
    // A change that is not about checks changes nothing.
    push_all(&mut stream, 2, &push("a", 2)).await;
    for _ in 0..4 {
        assert_eq!(greeting(port).await.1, "a");
    }
    push_all(&mut stream, 3, &push("", 3)).await;
    eventually("b used again", || left_out().is_none()).await;
    let names = [greeting(port).await.1, greeting(port).await.1];
    assert!(names.contains(&"b".to_owned()), "{names:?}");
}

#[tokio::test]
async fn without_a_backend_clients_are_reset_at_once() {
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[])]),
    )
    .await;
    let end = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(mut stream) => end_of(&mut stream).await,
        // So fast that the connect itself hears of it.
        Err(error) => Some(error.kind()),
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    let line =
        "tcpforward_dataplane_sessions_finished_total{forward=\"n/f\",ending=\"no_backend\"} 1";
    eventually("the count", || {
        metric(&rig, &line[..line.len() - 2]) == line
    })
    .await;
}

#[tokio::test]
async fn one_refused_listener_is_alone_and_bound_as_soon_as_it_can_be() {
    let a = server("a").await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (free, port) = (free_port().await, taken.local_addr().unwrap().port());
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let set = samples::snapshot([
        forward("free", free, &[a.address]),
        forward("taken", port, &[a.address]),
    ]);
    let applied = push_all(&mut stream, 1, &set).await;
    let names: Vec<_> = applied.serving.iter().map(|s| s.forward.as_str()).collect();
    assert_eq!(names, ["n/free"]);
    assert_eq!(applied.refused[0].forward, "n/taken");
    assert!(
        applied.refused[0].text.contains("choose another"),
        "{}",
        applied.refused[0].text
    );
    assert_eq!(greeting(free).await.1, "a");
    drop(taken);
    let later = answer(&mut stream, 0).await;
    assert_eq!(later.serving[0].forward, "n/taken");
    assert!(later.refused.is_empty());
    assert_eq!(greeting(port).await.1, "a");
}

#[tokio::test]
async fn a_port_is_handed_from_one_forward_to_another() {
    let (a, b) = (server("a").await, server("b").await);
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("old", port, &[a.address])]),
    )
    .await;
    let (mut session, _) = greeting(port).await;
    let applied = push_all(
        &mut stream,
        2,
        &samples::snapshot([forward("new", port, &[b.address])]),
    )
    .await;
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);
    assert_eq!(greeting(port).await.1, "b");
    echo(&mut session).await;
}

#[tokio::test]
async fn the_pages_own_ports_are_refused() {
    let a = server("a").await;
    let port = free_port().await;
    let admin = SocketAddr::from(([127, 0, 0, 1], port));
    let mut rig = start(|config| config.admin = Some(admin));
    let mut stream = rig.subscriber().await;
    let applied = push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[a.address])]),
    )
    .await;
    assert!(
        applied.refused[0].text.contains("--admin"),
        "{}",
        applied.refused[0].text
    );
    let row = rig.handle.forwards().remove(0);
    assert!(row.refusal.is_some() && row.listeners.is_empty());
}

#[tokio::test]
async fn a_drain_accepts_for_a_while_then_cuts_and_counts() {
    let a = server("a").await;
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[a.address])]),
    )
    .await;
    let (mut long, _) = greeting(port).await;
    let (short, _) = greeting(port).await;
    rig.stop.take().unwrap().send(()).unwrap();
    eventually("not ready", || {
        rig.handle.ready() == Err("draining".to_owned())
    })
    .await;
    let (mut late, _) = greeting(port).await;
    drop(short);
    assert_eq!(rig.end().await, Summary { cut: 2 });
    assert_eq!(end_of(&mut long).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(end_of(&mut late).await, Some(ErrorKind::ConnectionReset));
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_drain_ends_with_the_last_session() {
    let a = server("a").await;
    let port = free_port().await;
    let mut rig = start(|config| config.drain_timeout = Duration::from_secs(3600));
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[a.address])]),
    )
    .await;
    let (session, _) = greeting(port).await;
    rig.stop.take().unwrap().send(()).unwrap();
    drop(session);
    assert_eq!(rig.end().await, Summary { cut: 0 });
}

#[tokio::test]
async fn the_last_good_snapshot_serves_without_an_operator() {
    let a = server("a").await;
    let (port, folder) = (free_port().await, tempfile::tempdir().unwrap());
    let state_dir = Some(folder.path().to_owned());
    let mut rig = start(|config| config.state_dir.clone_from(&state_dir));
    let mut stream = rig.subscriber().await;
    push_all(
        &mut stream,
        1,
        &samples::snapshot([forward("f", port, &[a.address])]),
    )
    .await;
    eventually("a file", || folder.path().read_dir().unwrap().count() == 1).await;
    rig.end().await;

    let rig = start(|config| {
        config.operators.clear();
        config.state_dir = state_dir;
    });
    eventually("ready", || rig.handle.ready().is_ok()).await;
    assert_eq!(greeting(port).await.1, "a");
}

#[test]
fn every_metric_is_exposed_by_its_name() {
    use crate::metrics::ALL;
    let registry = Registry::new();
    let _app = App::new(Config::new(Vec::new()), &registry).unwrap();
    let known: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
    let exposed = registry.gather();
    assert!(exposed.iter().all(|family| known.contains(&family.name())));
    assert!(
        known
            .iter()
            .all(|name| name.starts_with("tcpforward_dataplane_"))
    );
    let mut unique = known.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), known.len());
}

#[tokio::test]
async fn forwards_are_served_from_the_place_that_the_operator_says() {
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let set = samples::snapshot([forward("f", port, &[])]);
    push_all(&mut stream, 1, &set).await;
    let place = || {
        let view = rig.handle.view();
        let row = view.forwards.values().next().unwrap();
        Place::clone(&row.served.active().terms.place)
    };
    assert_eq!(place(), Place::default());
    let share = proto::Share { index: 1, of: 3 };
    stream.say(to_data_plane::Message::Share(share)).await;
    let share = Some(Share { index: 1, of: 3 });
    eventually("the share", || place().share == share).await;
    let welcome = proto::Welcome {
        operator: "o".to_owned(),
        epoch: 1,
        node: "n1".to_owned(),
        zone: "z1".to_owned(),
    };
    stream.say(to_data_plane::Message::Welcome(welcome)).await;
    eventually("the zone", || place().zone == "z1").await;
    assert_eq!((place().node.as_str(), place().share), ("n1", share));
}
