//! Checks against servers on loopback, and which of them are made.

use std::num::{NonZeroU16, NonZeroU32};

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{
    ActiveCheck, Forward, HttpProbe, LocalTargets, Origin, Probe, ProxyVersion, Settings, TakesNew,
    TcpOptions, TcpProbe,
};
use tcpforward_protocol::testing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::balancer::outcome::Failure;
use crate::parent::Parent;
use crate::parent::scripted::{self, accept_tls, in_tls, papers, parent};
use crate::sync::samples;
use crate::view::Row;

const DEADLINE: Duration = Duration::from_secs(10);

fn active(probe: Probe, timeout: Duration) -> ActiveCheck {
    ActiveCheck {
        interval: Duration::from_secs(5),
        timeout,
        unhealthy_threshold: NonZeroU32::MIN,
        healthy_threshold: NonZeroU32::MIN,
        probe,
    }
}

fn tcp(send: &str, receive: &str) -> Probe {
    Probe::Tcp(TcpProbe {
        send: send.into(),
        receive: receive.into(),
    })
}

fn http(path: &str) -> Probe {
    Probe::Http(HttpProbe {
        port: None,
        path: path.to_owned(),
        statuses: Vec::new(),
    })
}

fn check(probe: Probe, address: SocketAddr) -> Check {
    Check {
        active: Arc::new(active(probe, DEADLINE)),
        proxy_protocol: None,
        address,
        origin: Origin::Author,
        settings: Settings::new(LocalTargets::Allow),
        tcp: TcpOptions::default(),
        parent: None,
    }
}

/// A server of one connection: it waits for so many bytes, sends, and then ends cleanly. The task
/// gives what it read, to the end of the connection.
async fn server(wait_for: usize, answer: &'static [u8]) -> (SocketAddr, JoinSet<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = vec![0; wait_for];
        stream.read_exact(&mut got).await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut got).await;
        got
    });
    (address, task)
}

/// The reason and text of a check that failed.
async fn failure(check: &Check) -> (DialError, String) {
    match check::run(check, &Shared::new(1000, 1)).await {
        Some(Outcome::CheckFailed(failure)) => (failure.reason, failure.message),
        other => panic!("{other:?}"),
    }
}

async fn passes(check: &Check) {
    let outcome = check::run(check, &Shared::new(1000, 1)).await;
    assert_eq!(outcome, Some(Outcome::CheckPassed));
}

#[tokio::test]
async fn a_connection_is_enough_and_ends_cleanly() {
    let (address, mut server) = server(0, b"").await;
    passes(&check(tcp("", ""), address)).await;
    assert_eq!(server.join_next().await.unwrap().unwrap(), b"");
}

#[tokio::test]
async fn what_is_sent_is_answered_as_expected() {
    let (address, mut server) = server(6, b"hm +PONG\r\n").await;
    passes(&check(tcp("PING\r\n", "+PONG"), address)).await;
    assert_eq!(server.join_next().await.unwrap().unwrap(), b"PING\r\n");
}

#[tokio::test]
async fn a_check_goes_through_the_parent_and_never_blames_a_backend_for_it() {
    let papers = papers("127.0.0.1");
    let (listener, via) = parent().await;
    let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let check = Check {
        parent: Some(Arc::new(Parent::new(&in_tls(via, &papers)))),
        ..check(tcp("PING", "+PONG"), address)
    };
    let serving = async {
        let mut stream = accept_tls(&listener, &papers).await;
        let asked = scripted::request(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\n\r\n+PO";
        stream.write_all(answer).await.unwrap();
        let mut got = [0; 4];
        stream.read_exact(&mut got).await.unwrap();
        stream.write_all(b"NG").await.unwrap();
        assert_eq!(stream.read(&mut got).await.unwrap(), 0);
        asked
    };
    let ((), asked) = tokio::join!(passes(&check), serving);
    assert!(asked.starts_with("CONNECT 192.0.2.1:80 "), "{asked}");
    drop(listener);
    assert_eq!(check::run(&check, &Shared::new(1000, 1)).await, None);
}

#[tokio::test]
async fn a_wrong_answer_fails_with_its_text() {
    let (address, _server) = server(0, b"-ERR loading\r\n").await;
    let (reason, text) = failure(&check(tcp("", "+PONG"), address)).await;
    assert_eq!(reason, DialError::Unexpected);
    assert!(text.ends_with("it sent \"-ERR loading\\r\\n\""), "{text}");
}

#[tokio::test]
async fn a_page_is_asked_for_by_http() {
    let (address, mut server) = server(1, b"HTTP/1.1 204 No Content\r\n\r\n").await;
    passes(&check(http("/healthz"), address)).await;
    let request = String::from_utf8(server.join_next().await.unwrap().unwrap()).unwrap();
    let start = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n");
    assert!(request.starts_with(&start), "{request}");

    let (address, _server) = self::server(1, b"HTTP/1.1 503 Busy\r\n\r\n").await;
    let (reason, text) = failure(&check(http("/"), address)).await;
    assert_eq!(reason, DialError::Unexpected);
    assert!(
        text.ends_with("HTTP status 503, expected 200 to 399"),
        "{text}"
    );
}

#[tokio::test]
async fn a_check_speaks_for_itself_by_the_proxy_protocol() {
    for (version, start) in [
        (ProxyVersion::V1, &b"PROXY UNKNOWN\r\nPING"[..]),
        (ProxyVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0"),
    ] {
        let (address, mut server) = server(1, b"+PONG").await;
        let check = Check {
            proxy_protocol: Some(version),
            ..check(tcp("PING", "+PONG"), address)
        };
        passes(&check).await;
        let got = server.join_next().await.unwrap().unwrap();
        assert!(got.starts_with(start) && got.ends_with(b"PING"), "{got:?}");
    }
}

#[tokio::test]
async fn nobody_there_and_no_answer_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let slow = Check {
        active: Arc::new(active(tcp("", "+PONG"), Duration::from_millis(300))),
        ..check(tcp("", ""), address)
    };
    let (reason, text) = failure(&slow).await;
    assert_eq!(reason, DialError::Timeout);
    assert!(text.contains("within 300ms: it sent nothing"), "{text}");
    drop(listener);
    let (reason, _) = failure(&check(tcp("", ""), address)).await;
    assert_eq!(reason, DialError::Refused);
}

#[tokio::test]
async fn what_sessions_may_not_dial_checks_may_not_either() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Shared::new(1000, 1);
    shared.set_listeners(vec![address]);
    let outcome = check::run(&check(tcp("", ""), address), &shared).await;
    assert!(
        matches!(outcome, Some(Outcome::CheckFailed(_))),
        "{outcome:?}"
    );
    let forbidden = Check {
        settings: Settings::new(LocalTargets::Refuse),
        ..check(tcp("", ""), address)
    };
    let (reason, text) = failure(&forbidden).await;
    assert_eq!(reason, DialError::Other);
    assert!(text.contains("must not be dialled"), "{text}");
}

#[tokio::test]
async fn without_descriptors_a_check_says_nothing() {
    let (address, _server) = server(0, b"").await;
    let shared = Shared::new(4, 1);
    let _all = shared.try_descriptors(3).unwrap();
    let outcome = check::run(&check(tcp("", ""), address), &shared).await;
    assert_eq!(outcome, None);
}

/// A forward in service whose backends are checked.
struct Rig {
    served: Arc<Served>,
    forward: Forward,
    probes: Probes,
}

fn rig(addresses: &[&str]) -> Rig {
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.health_check.active = Some(active(tcp("", ""), DEADLINE));
    let backend = |address: &&str| testing::backend("t", address);
    forward.backends = addresses.iter().map(backend).collect();
    let served = samples::served(forward.clone());
    let mut rig = Rig {
        served,
        forward,
        probes: Probes::new(Arc::new(Shared::new(1000, 1))),
    };
    rig.look(true);
    rig
}

impl Rig {
    fn look(&mut self, is_listening: bool) -> Vec<Id> {
        let now = Instant::now().into_std();
        let forward = Arc::new(self.forward.clone());
        self.served.update(forward, samples::terms(), now, 0);
        let listener = SocketAddr::from(([127, 0, 0, 1], 1));
        let row = Row {
            served: Arc::clone(&self.served),
            listeners: is_listening.then_some(listener).into_iter().collect(),
            notes: Vec::new(),
        };
        self.probes.look(&View {
            forwards: [(self.served.name.clone(), row)].into(),
            refused: BTreeMap::new(),
        });
        self.probes.jobs.keys().copied().collect()
    }

    fn ended(&mut self, id: Id, started: Instant, reason: Option<DialError>) {
        let failure = |reason| Failure {
            reason,
            message: "no".to_owned(),
            at_ms: 1,
        };
        let outcome = reason.map_or(Outcome::CheckPassed, |r| Outcome::CheckFailed(failure(r)));
        self.probes.end(Ok(Ended {
            id,
            started,
            outcome: Some(outcome),
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_goes_on_over_changes_that_are_not_about_it() {
    let mut rig = rig(&["192.0.2.1:80", "192.0.2.2:80"]);
    assert_eq!(rig.look(true), [1, 2]);
    let soonest = rig.probes.schedule.soonest();
    rig.forward.spec.generation = 2;
    rig.forward.spec.relay.dial.timeout = Duration::from_secs(2);
    assert_eq!(rig.look(true), [1, 2]);
    assert_eq!(rig.probes.schedule.soonest(), soonest);
    rig.forward
        .backends
        .push(testing::backend("t", "192.0.2.3:80"));
    assert_eq!(rig.look(true), [1, 2, 3]);
    rig.forward.backends[0].takes_new = TakesNew::No;
    assert_eq!(rig.look(true), [2, 3]);
    rig.forward.spec.relay.health_check.active = Some(active(tcp("", "x"), DEADLINE));
    assert_eq!(rig.look(true), [4, 5], "another check begins anew");
    assert_eq!(rig.look(false), [0; 0], "not in service");
    assert_eq!(rig.probes.schedule.soonest(), None);
}

#[tokio::test(start_paused = true)]
async fn another_port_of_a_check_is_that_of_the_page() {
    let mut rig = rig(&["[2001:db8::1]:80"]);
    let Probe::Http(mut page) = http("/") else {
        unreachable!()
    };
    page.port = NonZeroU16::new(8008);
    let check = active(Probe::Http(page), DEADLINE);
    rig.forward.spec.relay.health_check.active = Some(check);
    let ids = rig.look(true);
    let address = rig.probes.jobs[&ids[0]].check.address;
    assert_eq!(address.to_string(), "[2001:db8::1]:8008");
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_with_its_backend() {
    let mut rig = rig(&["192.0.2.1:80"]);
    tokio::time::advance(Duration::from_secs(5)).await;
    rig.probes.begin();
    assert_eq!(rig.probes.running.len(), 1);
    rig.forward.backends.clear();
    rig.look(true);
    let ended = rig.probes.running.join_next().await.unwrap();
    assert!(ended.is_err_and(|error| error.is_cancelled()));
}

#[tokio::test(start_paused = true)]
async fn silence_while_this_thread_did_not_run_says_nothing() {
    let mut rig = rig(&["192.0.2.1:80"]);
    let without = |rig: &Rig| {
        let index = CheckResult::ALL
            .iter()
            .position(|r| *r == CheckResult::Unknown);
        rig.served.totals().checks[index.unwrap()]
    };
    for (pause, reason, expected) in [
        // As it should be; then starved; then starved, and it answered all the same.
        (140, Some(DialError::Timeout), 0),
        (1000, Some(DialError::Timeout), 1),
        (1000, Some(DialError::Refused), 1),
        (1000, None, 1),
    ] {
        let started = Instant::now();
        rig.probes.seen();
        tokio::time::advance(Duration::from_millis(pause)).await;
        rig.ended(1, started, reason);
        assert_eq!(without(&rig), expected, "{pause} ms, {reason:?}");
    }
}

#[tokio::test]
async fn every_check_has_a_connection_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rig = rig(&[&address.to_string()]);
    let mut check = active(tcp("", ""), Duration::from_millis(100));
    check.interval = Duration::from_millis(100);
    rig.forward.spec.relay.health_check.active = Some(check);
    rig.look(true);
    let row = Row {
        served: Arc::clone(&rig.served),
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        notes: Vec::new(),
    };
    let view = Arc::new(RwLock::new(View {
        forwards: [(rig.served.name.clone(), row)].into(),
        refused: BTreeMap::new(),
    }));
    let mut running = JoinSet::new();
    running.spawn(run(view, Arc::new(Shared::new(1000, 1))));
    for _ in 0..3 {
        let accepted = tokio::time::timeout(DEADLINE, listener.accept()).await;
        let (mut stream, _) = accepted.expect("a check").unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}
