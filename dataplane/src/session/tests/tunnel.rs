//! A CONNECT proxy's sessions on loopback. Numbers are those of the list of pitfalls that the proxy is
//! measured by.

use std::collections::BTreeMap;

use tcpforward_protocol::snapshot::{
    Action, HttpConnect, PolicyMode, Rule, ServiceName, Subject, TunnelLimits, User,
};
use tcpforward_protocol::testing;

use super::*;
use crate::connect::refusal::ESTABLISHED;

/// Of "hunter2", by htpasswd at the lowest cost.
const SECRET: &str = "$2y$04$maKejbLqb1fvqobzYp9TW.jgzUlhfMK4cF1MPpMYKb94rtkOdB5Ki";

/// Loopback, on those ports.
pub(super) fn local(name: &str, ports: &[u16]) -> Rule {
    Rule {
        cidrs: vec!["127.0.0.0/8".parse().unwrap()],
        ports: ports.to_vec(),
        ..testing::rule(name)
    }
}

pub(super) fn proxy_with(connect: HttpConnect) -> Arc<Served> {
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.targets.clear();
    forward.spec.connect = Some(connect);
    samples::served(forward)
}

pub(super) fn proxy(rules: Vec<Rule>) -> Arc<Served> {
    proxy_with(testing::connect(rules))
}

/// Another configuration, and the time to look what it means for open tunnels.
pub(super) async fn change(served: &Arc<Served>, edit: impl FnOnce(&mut HttpConnect)) {
    let mut forward = Forward::clone(&served.active().forward);
    edit(forward.spec.connect.as_mut().unwrap());
    let now = Instant::now().into_std();
    served.update(Arc::new(forward), samples::terms(), now, 0);
}

/// Looks until that many sessions have ended.
pub(super) async fn closed(served: &Served, ending: Ending, sessions: u64) {
    let closing = async {
        while finished(served, ending) < sessions {
            tokio::task::yield_now().await;
            let now = Instant::now().into_std();
            served.close_sessions(now, &mut fastrand::Rng::with_seed(1));
        }
    };
    timeout(Duration::from_secs(5), closing).await.unwrap();
}

pub(super) async fn server() -> (TcpListener, u16) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    (server, port)
}

pub(super) fn connect(target: &str, more: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n").into_bytes()
}

/// A client that has sent this, and its session under way.
pub(super) async fn asks(
    served: &Arc<Served>,
    request: &[u8],
    running: &mut JoinSet<()>,
) -> TcpStream {
    let (session, mut client) = session(served).await;
    running.spawn(run(session));
    client.write_all(request).await.unwrap();
    client
}

/// The whole answer to somebody who is refused, to the clean end.
pub(super) async fn refused(served: &Arc<Served>, request: &[u8]) -> String {
    let mut running = JoinSet::new();
    let mut client = asks(served, request, &mut running).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, client.read_to_end(&mut answer)).await;
    read.unwrap().unwrap();
    drop(client);
    timeout(PATIENCE, running.join_all()).await.unwrap();
    String::from_utf8(answer).unwrap()
}

pub(super) fn assert_answer(answer: &str, status: &str, error: &str) {
    let line = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&line), "{answer}");
    assert!(answer.contains(&format!("error={error}")), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert!(!body.is_empty());
}

/// A client that has its tunnel, and what the server sees of it.
async fn tunnel(
    served: &Arc<Served>,
    server: &TcpListener,
    request: &[u8],
    running: &mut JoinSet<()>,
) -> (TcpStream, TcpStream) {
    let mut client = asks(served, request, running).await;
    let (accepted, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    let mut answer = vec![0; ESTABLISHED.len()];
    let read = timeout(PATIENCE, client.read_exact(&mut answer)).await;
    read.unwrap().unwrap();
    assert_eq!(answer, ESTABLISHED);
    (client, accepted)
}

/// Both ways, then each end by itself.
pub(super) async fn use_up(mut client: TcpStream, mut accepted: TcpStream) {
    let mut byte = [0; 1];
    client.write_all(b"q").await.unwrap();
    accepted.read_exact(&mut byte).await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, accepted.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    accepted.write_all(b"answer").await.unwrap();
    drop(accepted);
    let mut answer = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, b"answer");
}

#[tokio::test]
async fn pitfall_3_early_bytes_reach_the_target_once_and_halves_close_apart() {
    let (server, port) = server().await;
    let served = proxy(vec![local("a", &[port])]);
    let mut request = connect(&format!("127.0.0.1:{port}"), "");
    request.extend(b"hello");
    let mut running = JoinSet::new();
    let (client, mut accepted) = tunnel(&served, &server, &request, &mut running).await;
    let mut early = [0; 5];
    accepted.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"hello");
    use_up(client, accepted).await;
    timeout(PATIENCE, running.join_all()).await.unwrap();
    assert_eq!(finished(&served, Ending::DownstreamFin), 1);
    let totals = served.totals();
    assert_eq!((totals.up, totals.down), (6, 6));
    let in_use = served.tunnels().in_use();
    assert_eq!((in_use.open, in_use.pending), (0, 0));
    assert_eq!(in_use.verdicts, BTreeMap::from([("a".to_owned(), 1)]));
}

#[tokio::test]
async fn pitfall_4_a_server_that_speaks_first_speaks_after_the_answer() {
    let (server, port) = server().await;
    let served = proxy(vec![local("a", &[port])]);
    let request = connect(&format!("127.0.0.1:{port}"), "");
    let mut running = JoinSet::new();
    let mut client = asks(&served, &request, &mut running).await;
    let (mut accepted, _) = server.accept().await.unwrap();
    accepted.write_all(b"SSH-2.0-x\r\n").await.unwrap();
    let mut all = vec![0; ESTABLISHED.len() + 11];
    let read = timeout(PATIENCE, client.read_exact(&mut all)).await;
    read.unwrap().unwrap();
    assert_eq!(all, [ESTABLISHED, b"SSH-2.0-x\r\n"].concat());
}

#[tokio::test]
async fn pitfalls_1_and_5_a_refusal_is_read_in_full_and_nothing_behind_it_is_a_request() {
    let (server, port) = server().await;
    let served = proxy(vec![local("a", &[port])]);
    let mut requests = connect("192.0.2.1:443", "");
    requests.extend(connect(&format!("127.0.0.1:{port}"), ""));
    requests.extend(vec![b'x'; 1 << 20]);
    let answer = refused(&served, &requests).await;
    assert_answer(&answer, "403", "http_request_denied");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 0);
    drop(server);
}

#[tokio::test]
async fn pitfall_6_a_target_that_refuses_is_told_before_any_200() {
    let (server, port) = server().await;
    drop(server);
    let served = proxy(vec![local("a", &[port])]);
    let answer = refused(&served, &connect(&format!("127.0.0.1:{port}"), "")).await;
    assert_answer(&answer, "502", "connection_refused");
    assert_eq!(finished(&served, Ending::ConnectionRefused), 1);
}

#[tokio::test]
async fn pitfalls_29_and_34_what_is_no_connect_is_told_what_this_is() {
    let served = proxy(vec![]);
    for (request, status, error) in [
        (
            "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
            "405",
            "http_request_error",
        ),
        (
            "CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n",
            "400",
            "http_request_error",
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "400",
            "http_request_error",
        ),
        ("\x16\x03\x01\x02\0\x01", "400", "http_request_error"),
        (
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "403",
            "http_request_denied",
        ),
    ] {
        let answer = refused(&served, request.as_bytes()).await;
        assert_answer(&answer, status, error);
        assert_eq!(answer.contains("Allow: CONNECT\r\n"), status == "405");
    }
    let statuses: Vec<u64> = served.totals().answers.into();
    assert_eq!(statuses, [0, 3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn pitfalls_18_and_19_a_head_has_a_deadline_in_all_and_a_size() {
    let mut config = testing::connect(vec![]);
    config.limits = TunnelLimits {
        header_timeout: Duration::from_millis(400),
        max_header_size: 1024,
        ..config.limits
    };
    let served = proxy_with(config);
    let mut running = JoinSet::new();
    let mut client = asks(&served, b"CONNECT ", &mut running).await;
    let (mut reader, mut writer) = client.split();
    let mut answer = Vec::new();
    let dripping = async {
        let mut drop = tokio::time::interval(Duration::from_millis(20));
        loop {
            drop.tick().await;
            if writer.write_all(b"a").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let told = async {
        tokio::select! {
            read = reader.read_to_end(&mut answer) => { read.unwrap(); }
            () = dripping => {}
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    assert_answer(
        std::str::from_utf8(&answer).unwrap(),
        "408",
        "http_request_error",
    );
    let long = connect("a.example:443", &format!("X: {}\r\n", "x".repeat(1024)));
    assert_answer(&refused(&served, &long).await, "431", "http_request_error");
    let long = connect(&format!("{}:443", "a".repeat(1024)), "");
    assert_answer(&refused(&served, &long).await, "414", "http_request_error");
}

/// Somebody whose SYN nobody answers: a listener whose queue is full.
async fn black_hole() -> (TcpListener, u16, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (listener, address.port(), queued)
}

#[tokio::test]
async fn pitfall_7_a_client_that_leaves_during_the_dial_leaves_nothing_behind() {
    let (_listener, port, _queued) = black_hole().await;
    let served = proxy(vec![local("a", &[port])]);
    let mut running = JoinSet::new();
    for _ in 0..20 {
        let request = connect(&format!("127.0.0.1:{port}"), "");
        let client = asks(&served, &request, &mut running).await;
        while served.tunnels().in_use().open == 0 {
            tokio::task::yield_now().await;
        }
        drop(client);
    }
    timeout(Duration::from_secs(3), running.join_all())
        .await
        .unwrap();
    let in_use = served.tunnels().in_use();
    assert_eq!((in_use.open, in_use.pending), (0, 0));
    assert_eq!(served.totals().open(), 0);
}

#[tokio::test]
async fn pitfall_20_a_tunnel_to_the_proxy_itself_is_a_loop() {
    let (listener, port) = server().await;
    let served = proxy(vec![local("a", &[port])]);
    let (session, mut client) = session(&served).await;
    let own = listener.local_addr().unwrap();
    session.context.shared.set_listeners([own]);
    let mut running = JoinSet::new();
    running.spawn(run(session));
    let request = connect(&format!("127.0.0.1:{port}"), "");
    client.write_all(&request).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_answer(&answer, "502", "proxy_loop_detected");
}

fn basic(credentials: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Proxy-Authorization: Basic {text}\r\n")
}

fn with_user(rules: Vec<Rule>) -> HttpConnect {
    let user = User {
        name: "ci".to_owned(),
        hash: SECRET.to_owned(),
    };
    HttpConnect {
        users: Some(vec![user]),
        ..testing::connect(rules)
    }
}

#[tokio::test]
async fn pitfalls_22_to_24_who_asks_has_to_say_so_and_is_told_nothing_back() {
    let (server, port) = server().await;
    let rule = Rule {
        subjects: vec![Subject::User("ci".to_owned())],
        ..local("a", &[port])
    };
    let served = proxy_with(with_user(vec![rule]));
    let target = format!("127.0.0.1:{port}");
    for more in [
        String::new(),
        basic("ci:hunter3"),
        basic("cd:hunter2"),
        "Proxy-Authorization: Bearer hunter2\r\n".to_owned(),
    ] {
        let answer = refused(&served, &connect(&target, &more)).await;
        assert_answer(&answer, "407", "http_request_denied");
        assert!(
            answer.contains("Proxy-Authenticate: Basic realm="),
            "{answer}"
        );
        assert!(!answer.contains("hunter"), "{answer}");
        let said = more.split_once("Basic ").map(|(_, said)| said.trim());
        assert!(said.is_none_or(|said| !answer.contains(said)), "{answer}");
    }
    let mut running = JoinSet::new();
    let request = connect(&target, &basic("ci:hunter2"));
    let (client, accepted) = tunnel(&served, &server, &request, &mut running).await;
    let subjects = served.tunnels().in_use().subjects;
    assert_eq!(subjects, [(Some(Subject::User("ci".to_owned())), 1)].into());
    use_up(client, accepted).await;
    let other = refused(&served, &connect("192.0.2.1:443", &basic("ci:hunter2"))).await;
    assert_answer(&other, "403", "http_request_denied");
}

#[tokio::test]
async fn pitfall_28_a_tunnel_that_would_not_be_let_through_any_more_is_closed() {
    let (server, port) = server().await;
    let request = connect(&format!("127.0.0.1:{port}"), &basic("ci:hunter2"));
    let changes: [fn(&mut HttpConnect); 4] = [
        |config| config.rules.clear(),
        |config| config.rules[0].action = Action::Deny,
        |config| config.users = Some(Vec::new()),
        |config| {
            let hash = SECRET.replace("$2y$", "$2b$");
            config.users.as_mut().unwrap()[0].hash = hash;
        },
    ];
    for edit in changes {
        let served = proxy_with(with_user(vec![local("a", &[port])]));
        let mut running = JoinSet::new();
        let (mut client, _accepted) = tunnel(&served, &server, &request, &mut running).await;
        // What is not about it does nothing to it.
        change(&served, |config| config.rules.push(local("b", &[1]))).await;
        served.close_sessions(Instant::now().into_std(), &mut fastrand::Rng::new());
        assert_eq!(served.doomed(Instant::now().into_std()), BTreeMap::new());
        change(&served, edit).await;
        closed(&served, Ending::RightLost, 1).await;
        assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn each_limit_has_its_answer() {
    let (server, port) = server().await;
    let one = NonZeroU32::new(1);
    type Limit = fn(&mut TunnelLimits, Option<NonZeroU32>);
    let cases: [(&str, Limit); 3] = [
        ("503", |limits, one| limits.tunnels = one),
        ("429", |limits, one| limits.tunnels_per_source = one),
        ("429", |limits, one| limits.tunnels_per_subject = one),
    ];
    let request = connect(&format!("127.0.0.1:{port}"), &basic("ci:hunter2"));
    for (status, limit) in cases {
        let mut config = with_user(vec![local("a", &[port])]);
        limit(&mut config.limits, one);
        let served = proxy_with(config);
        let mut running = JoinSet::new();
        let (client, accepted) = tunnel(&served, &server, &request, &mut running).await;
        let answer = refused(&served, &request).await;
        assert_answer(&answer, status, "connection_limit_reached");
        assert!(answer.contains("Retry-After: "), "{answer}");
        use_up(client, accepted).await;
        timeout(PATIENCE, running.join_all()).await.unwrap();
        let mut running = JoinSet::new();
        let (client, accepted) = tunnel(&served, &server, &request, &mut running).await;
        use_up(client, accepted).await;
    }
}

#[tokio::test]
async fn pitfall_21_who_knocks_at_every_door_has_to_wait() {
    let served = proxy(vec![]);
    let request = connect("192.0.2.1:443", "");
    let mut statuses = Vec::new();
    while statuses.last() != Some(&"429") && statuses.len() < 200 {
        let answer = refused(&served, &request).await;
        statuses.push(if answer.contains(" 429 ") {
            "429"
        } else {
            "403"
        });
    }
    assert!((100..200).contains(&statuses.len()), "{}", statuses.len());
}

#[tokio::test]
async fn a_proxy_that_only_reports_lets_through_what_is_no_danger() {
    let (server, port) = server().await;
    let served = proxy_with(HttpConnect {
        mode: PolicyMode::Report,
        ..testing::connect(vec![])
    });
    let mut running = JoinSet::new();
    let request = connect(&format!("127.0.0.1:{port}"), "");
    let (client, accepted) = tunnel(&served, &server, &request, &mut running).await;
    use_up(client, accepted).await;
    assert_eq!(served.totals().would_deny, 1);
    let answer = refused(&served, &connect("169.254.169.254:80", "")).await;
    assert_answer(&answer, "502", "destination_ip_prohibited");
}

/// A proxy of the Service shop/db, which has these backends.
fn service(backends: &[SocketAddr]) -> Arc<Served> {
    let db = ServiceName {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
    };
    let name = db.target(5432);
    let rule = Rule {
        services: vec![db],
        ports: vec![5432],
        ..testing::rule("db")
    };
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.connect = Some(testing::connect(vec![rule]));
    forward.spec.relay.targets = vec![testing::target(&name)];
    forward.spec.relay.dial.attempts = NonZeroU32::new(3).unwrap();
    let backends = backends.iter();
    let backends = backends.map(|address| testing::backend(&name, &address.to_string()));
    samples::served(Forward::new(forward.name, forward.spec, backends.collect()))
}

#[tokio::test]
async fn a_service_is_reached_by_failover_before_the_answer() {
    let (dead, _) = server().await;
    let dead_address = dead.local_addr().unwrap();
    drop(dead);
    let (server, _) = server().await;
    let alive = server.local_addr().unwrap();
    for name in ["db.shop.svc:5432", "DB.shop.svc.cluster.local.:5432"] {
        let served = service(&[dead_address, alive]);
        let mut running = JoinSet::new();
        for _ in 0..4 {
            let request = connect(name, "");
            let (client, accepted) = tunnel(&served, &server, &request, &mut running).await;
            use_up(client, accepted).await;
        }
    }
    let answer = refused(&service(&[]), &connect("db.shop.svc:5432", "")).await;
    assert_answer(&answer, "503", "destination_unavailable");
    assert!(answer.contains("Retry-After: "), "{answer}");
    let answer = refused(&service(&[alive]), &connect("db.shop.svc:5433", "")).await;
    assert_answer(&answer, "403", "http_request_denied");
}

#[tokio::test]
async fn a_tunnel_to_a_backend_that_its_service_loses_is_closed() {
    let (server, _) = server().await;
    let served = service(&[server.local_addr().unwrap()]);
    let mut running = JoinSet::new();
    let request = connect("db.shop.svc:5432", "");
    let (mut client, _accepted) = tunnel(&served, &server, &request, &mut running).await;
    let forward = Forward::clone(&served.active().forward);
    let bare = Forward::new(forward.name, forward.spec, Vec::new());
    let now = Instant::now().into_std();
    served.update(Arc::new(bare), samples::terms(), now, 0);
    closed(&served, Ending::RightLost, 1).await;
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn who_comes_and_says_nothing_is_no_error() {
    let served = proxy(vec![]);
    let (session, client) = session(&served).await;
    drop(client);
    timeout(PATIENCE, run(session)).await.unwrap();
    assert_eq!(finished(&served, Ending::DownstreamFin), 1);
}
