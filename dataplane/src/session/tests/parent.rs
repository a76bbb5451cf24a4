//! Sessions that go out through a parent proxy. Numbers are those of the list of pitfalls that the
//! proxy is measured by.

use tcpforward_protocol::snapshot::{HostPattern, HttpConnect, Login, Rule, Via};
use tcpforward_protocol::testing;
use tokio_rustls::server::TlsStream;

use super::tunnel::{
    asks, assert_answer, closed, connect, local, proxy, proxy_with, refused, use_up,
};
use super::*;
use crate::connect::refusal::ESTABLISHED;
use crate::parent::scripted::{self, Papers, accept_tls, answers, in_tls, papers};
use crate::served::DialResult;

const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

const LARGE: usize = 10 << 20;

/// A forward to that backend.
fn relay_via(via: Via, backend: &str) -> Arc<Served> {
    let mut forward = samples::forward("f", 1, &[]);
    forward
        .spec
        .relay
        .health_check
        .passive
        .consecutive_dial_failures = NonZeroU32::new(1);
    forward.spec.via = Some(via);
    let backends = vec![samples::backend("t", backend)];
    samples::served(Forward::new(forward.name, forward.spec, backends))
}

fn connect_via(via: Via, rules: Vec<Rule>) -> Arc<Served> {
    let forward = proxy(rules).active().forward.clone();
    let mut forward = Forward::clone(&forward);
    forward.spec.via = Some(via);
    samples::served(forward)
}

/// A client whose session is under way.
async fn client_of(served: &Arc<Served>, running: &mut JoinSet<()>) -> TcpStream {
    let (session, client) = session(served).await;
    running.spawn(run(session));
    client
}

/// A proxy of ours as the parent, for one session.
async fn ours(connect: HttpConnect) -> (impl Future<Output = ()>, Via) {
    let served = proxy_with(connect);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let via = testing::via("127.0.0.1", listener.local_addr().unwrap().port());
    let serving = async move {
        let (stream, client) = listener.accept().await.unwrap();
        let context = Placed::on(0, &Arc::new(Shared::new(1000, 1)));
        run(Session {
            stream: stream.into(),
            client,
            served,
            context,
            descriptors: None,
        })
        .await;
    };
    (serving, via)
}

#[tokio::test]
async fn a_relay_goes_through_a_proxy_of_ours() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let (parent, via) = ours(testing::connect(vec![local("a", &[address.port()])])).await;
    let served = relay_via(via, &address.to_string());
    let mut running = JoinSet::new();
    running.spawn(parent);
    let client = client_of(&served, &mut running).await;
    let (accepted, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    use_up(client, accepted).await;
    timeout(PATIENCE, running.join_all()).await.unwrap();
    assert_eq!(finished(&served, Ending::DownstreamFin), 1);
    let totals = served.totals();
    assert_eq!((totals.up, totals.down), (1, 6));
}

#[tokio::test]
async fn a_tunnel_goes_through_a_proxy_of_ours() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let rules = vec![local("a", &[port])];
    let (parent, via) = ours(testing::connect(rules.clone())).await;
    let served = connect_via(via, rules);
    let mut running = JoinSet::new();
    running.spawn(parent);
    let mut request = connect(&format!("127.0.0.1:{port}"), "");
    request.extend(b"hello");
    let mut client = asks(&served, &request, &mut running).await;
    let (mut accepted, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    let mut answer = vec![0; ESTABLISHED.len()];
    client.read_exact(&mut answer).await.unwrap();
    let mut early = [0; 5];
    accepted.read_exact(&mut early).await.unwrap();
    assert_eq!((answer.as_slice(), &early), (ESTABLISHED, b"hello"));
    use_up(client, accepted).await;
    timeout(PATIENCE, running.join_all()).await.unwrap();
}

#[tokio::test]
async fn names_go_to_the_parent_as_they_are_and_its_first_bytes_to_the_client() {
    let (listener, via) = scripted::parent().await;
    let named = Rule {
        hosts: vec![HostPattern::parse("*.example.com").unwrap()],
        ..testing::rule("named")
    };
    let served = connect_via(via, vec![named]);
    let mut running = JoinSet::new();
    let mut client = asks(&served, &connect("WWW.example.com.:443", ""), &mut running).await;
    let (_stream, asked) = answers(&listener, &[OPEN, b"SSH-2.0-x\r\n"].concat()).await;
    assert!(asked.starts_with("CONNECT www.example.com:443 "), "{asked}");
    let mut all = vec![0; ESTABLISHED.len() + 11];
    let read = timeout(PATIENCE, client.read_exact(&mut all)).await;
    read.unwrap().unwrap();
    assert_eq!(all, [ESTABLISHED, b"SSH-2.0-x\r\n"].concat());
    let answer = refused(&served, &connect("www.example.org:443", "")).await;
    assert_answer(&answer, "403", "http_request_denied");
}

#[tokio::test]
async fn a_tunnel_by_name_does_not_outlive_having_a_parent() {
    let (listener, via) = scripted::parent().await;
    let named = Rule {
        hosts: vec![HostPattern::Any],
        ..testing::rule("named")
    };
    let served = connect_via(via, vec![named]);
    let mut running = JoinSet::new();
    let mut client = asks(&served, &connect("www.example.com:443", ""), &mut running).await;
    let (_stream, _) = answers(&listener, OPEN).await;
    let mut told = vec![0; ESTABLISHED.len()];
    let read = timeout(PATIENCE, client.read_exact(&mut told)).await;
    read.unwrap().unwrap();
    let mut direct = Forward::clone(&served.active().forward);
    direct.spec.via = None;
    let now = Instant::now().into_std();
    served.update(Arc::new(direct), samples::terms(), now, 0);
    closed(&served, Ending::RightLost, 1).await;
}

#[tokio::test]
async fn pitfalls_2_and_22_to_24_nothing_of_a_client_s_reaches_a_parent_that_says_no() {
    for (answer, status, word) in [
        ("403 No", "403", "http_request_denied"),
        ("407 Who are you", "502", "proxy_configuration_error"),
        ("502 Bad", "502", "destination_unavailable"),
        ("504 Late", "504", "connection_timeout"),
    ] {
        let (listener, via) = scripted::parent().await;
        let credentials = Some(Login {
            user: "team".to_owned(),
            password: "hunter2".to_owned(),
        });
        let served = connect_via(Via { credentials, ..via }, vec![testing::rule("all")]);
        let mut request = connect("www.example.com:443", "");
        request.extend(b"secret of the client");
        let head = format!("HTTP/1.1 {answer}\r\nProxy-Authenticate: Basic\r\n\r\n");
        let (told, rest) = tokio::join!(refused(&served, &request), async {
            let (mut stream, _) = answers(&listener, head.as_bytes()).await;
            let mut rest = Vec::new();
            // A reset is as good.
            let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
                .await
                .unwrap();
            rest
        });
        assert_answer(&told, status, word);
        assert!(rest.is_empty(), "{rest:?}");
        assert!(!told.contains("hunter2") && !told.contains("Proxy-Authenticate"));
    }
}

#[tokio::test]
async fn a_dead_parent_is_no_backend_s_fault_and_what_it_says_of_one_is() {
    let (listener, via) = scripted::parent().await;
    let served = relay_via(via, "192.0.2.1:80");
    let (session_of, mut client) = session(&served).await;
    let (_stream, ()) = tokio::join!(
        answers(&listener, b"HTTP/1.1 407 Who\r\n\r\n"),
        run(session_of)
    );
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(finished(&served, Ending::ParentFailed), 1);
    let index = DialResult::ALL
        .iter()
        .position(|r| *r == DialResult::Parent);
    assert_eq!(served.totals().dials[index.unwrap()], 1);
    let (session_of, _client) = session(&served).await;
    let ((_stream, asked), ()) = tokio::join!(
        answers(&listener, b"HTTP/1.1 502 Bad\r\n\r\n"),
        run(session_of)
    );
    assert!(asked.starts_with("CONNECT 192.0.2.1:80 "), "{asked}");
    assert_eq!(finished(&served, Ending::DialFailed), 1);
    drop(listener);
}

/// A session through a parent in TLS.
async fn in_tls_session(
    papers: &Papers,
    running: &mut JoinSet<()>,
) -> (Arc<Served>, TcpStream, TlsStream<TcpStream>) {
    let (listener, via) = scripted::parent().await;
    let served = relay_via(in_tls(via, papers), "[2001:db8::1]:80");
    let client = client_of(&served, running).await;
    let mut server = accept_tls(&listener, papers).await;
    let asked = scripted::request(&mut server).await;
    assert!(asked.starts_with("CONNECT [2001:db8::1]:80 "), "{asked}");
    server.write_all(OPEN).await.unwrap();
    (served, client, server)
}

#[tokio::test]
async fn both_ends_stay_clean_through_tls() {
    let (papers, mut running) = (papers("127.0.0.1"), JoinSet::new());
    let (served, mut client, mut server) = in_tls_session(&papers, &mut running).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"question");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    bytes.clear();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"answer");
    timeout(PATIENCE, running.join_next()).await.unwrap();
    assert_eq!(finished(&served, Ending::DownstreamFin), 1);

    let (served, mut client, mut server) = in_tls_session(&papers, &mut running).await;
    server.write_all(b"hello").await.unwrap();
    server.shutdown().await.unwrap();
    bytes.clear();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"hello");
    client.write_all(&vec![5; 1 << 20]).await.unwrap();
    client.shutdown().await.unwrap();
    bytes.clear();
    server.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), 1 << 20);
    timeout(PATIENCE, running.join_next()).await.unwrap();
    assert_eq!(finished(&served, Ending::UpstreamFin), 1);
}

#[tokio::test]
async fn a_cut_stream_never_looks_like_a_clean_end_through_tls() {
    let (papers, mut running) = (papers("127.0.0.1"), JoinSet::new());
    // A FIN without close_notify, which anybody on the way could send.
    let (served, mut client, server) = in_tls_session(&papers, &mut running).await;
    drop(server);
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    timeout(PATIENCE, running.join_next()).await.unwrap();
    assert_eq!(finished(&served, Ending::UpstreamRst), 1);
    let (served, client, mut server) = in_tls_session(&papers, &mut running).await;
    drop(Connection::new(client.into()));
    let end = timeout(PATIENCE, server.read_u8()).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    timeout(PATIENCE, running.join_next()).await.unwrap();
    assert_eq!(finished(&served, Ending::DownstreamRst), 1);
}

#[tokio::test]
async fn much_goes_both_ways_at_once_through_tls() {
    let (papers, mut running) = (papers("127.0.0.1"), JoinSet::new());
    let (served, client, server) = in_tls_session(&papers, &mut running).await;
    let sent: Vec<u8> = (0..LARGE).map(|i| (i % 251) as u8).collect();
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut server_read, mut server_write) = tokio::io::split(server);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let all = async {
        tokio::join!(
            async {
                client_write.write_all(&sent).await.unwrap();
                client_write.shutdown().await.unwrap();
            },
            async {
                server_write.write_all(&sent).await.unwrap();
                server_write.shutdown().await.unwrap();
            },
            async { server_read.read_to_end(&mut up).await.unwrap() },
            async { client_read.read_to_end(&mut down).await.unwrap() },
        )
    };
    timeout(PATIENCE * 6, all).await.unwrap();
    assert!(up == sent && down == sent, "{} {}", up.len(), down.len());
    timeout(PATIENCE, running.join_next()).await.unwrap();
    let totals = served.totals();
    assert_eq!((totals.up, totals.down), (LARGE as u64, LARGE as u64));
}
