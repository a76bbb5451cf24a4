//! Sessions on loopback: what they cost, and who is refused.

use std::io::ErrorKind;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use tcpforward_protocol::snapshot::{
    BackendState, Fate, Forward, ListenerLimits, ProxyMode, ProxyProtocolIn, ProxyVersion, TakesNew,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::*;
use crate::handover::Placed;
use crate::proxy_protocol::{Parsed, Parser};
use crate::relay::ending::Ending;
use crate::shared::Shared;
use crate::sync::samples;

mod parent;
mod tunnel;

const PATIENCE: Duration = Duration::from_secs(10);

/// An accepted connection of that forward, and its client.
async fn session(served: &Arc<Served>) -> (Session, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    accepted(served, listener).await
}

async fn accepted(served: &Arc<Served>, listener: TcpListener) -> (Session, TcpStream) {
    let address = listener.local_addr().unwrap();
    let (client, stream) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (stream, client_address) = stream.unwrap();
    let session = Session {
        stream: stream.into(),
        client: client_address,
        served: Arc::clone(served),
        context: Placed::on(0, &Arc::new(Shared::new(1000, 1))),
        descriptors: None,
    };
    (session, client.unwrap())
}

/// A server, and a forward to it.
async fn rig(edit: impl FnOnce(&mut Forward)) -> (TcpListener, Arc<Served>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut forward = samples::forward("f", 1, &[]);
    edit(&mut forward);
    let address = server.local_addr().unwrap().to_string();
    let backends = vec![samples::backend("t", &address)];
    let forward = Forward::new(forward.name, forward.spec, backends);
    (server, samples::served(forward))
}

#[tokio::test]
async fn a_port_of_a_range_leads_to_a_port_as_far_on() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let entrance = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = entrance.local_addr().unwrap().port();
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.listener.port = NonZeroU16::new(port - 2).unwrap();
    forward.spec.listener.end_port = NonZeroU16::new(port + 1);
    let mut address = server.local_addr().unwrap();
    address.set_port(address.port() - 2);
    let backends = vec![samples::backend("t", &address.to_string())];
    let served = samples::served(Forward::new(forward.name, forward.spec, backends));
    let (session, _client) = accepted(&served, entrance).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_backend_that_changes_during_the_dial_has_changed_under_its_session() {
    let (server, served) = rig(|forward| {
        forward.spec.relay.established_connections.on_not_ready = Fate::Close;
    })
    .await;
    let (session, _client) = session(&served).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    while served.backends()[0].open() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 0, "on its way");
    let mut forward = Forward::clone(&served.active().forward);
    forward.backends[0].takes_new = TakesNew::No;
    forward.backends[0].state = BackendState::NotReady;
    let now = Instant::now().into_std();
    served.update(Arc::new(forward), samples::terms(), now, 0);
    timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    let closed = async {
        while finished(&served, Ending::NotReady) == 0 {
            tokio::task::yield_now().await;
            let now = Instant::now().into_std();
            served.close_sessions(now, &mut fastrand::Rng::with_seed(1));
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

/// How many have ended like that.
fn finished(served: &Served, ending: Ending) -> u64 {
    served.totals().finished.0[ending.index()]
}

/// How a client sees the end, when nothing was sent to it.
async fn end_of(client: &mut TcpStream) -> Option<ErrorKind> {
    let end = timeout(PATIENCE, client.read_u8()).await.unwrap();
    end.err().map(|error| error.kind())
}

#[tokio::test]
async fn an_idle_session_costs_little_memory() {
    let (_server, served) = rig(|_| {}).await;
    let (session, _client) = session(&served).await;
    let future = std::mem::size_of_val(&run(session));
    let both = future + std::mem::size_of::<Relayed>();
    assert!(both <= 1000, "{future} bytes and {} more", both - future);
}

/// It is allocated anew for each session.
#[test]
fn what_begins_a_relay_carries_nothing_of_a_proxy() {
    fn size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }
    let begins = size(super::begin);
    assert!(begins <= 4096, "{begins}");
}

#[tokio::test]
async fn a_session_keeps_no_state_of_its_forward_that_is_gone() {
    let (server, served) = rig(|_| {}).await;
    let (session, mut client) = session(&served).await;
    let before = Arc::downgrade(&served.active());
    let mut running = JoinSet::new();
    running.spawn(run(session));
    let (mut accepted, _) = server.accept().await.unwrap();
    client.write_all(b"x").await.unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    let bare = samples::forward("f", 2, &[]);
    let now = Instant::now().into_std();
    served.update(Arc::new(bare), samples::terms(), now, 0);
    assert!(before.upgrade().is_none());
    assert_eq!(running.len(), 1);
}

#[tokio::test]
async fn a_source_that_is_not_allowed_is_reset_and_nothing_is_dialled() {
    let (_server, served) = rig(|forward| {
        forward.spec.listener.source_ranges = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let (session, mut client) = session(&served).await;
    run(session).await;
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(finished(&served, Ending::SourceNotAllowed), 1);
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn over_a_limit_connections_are_reset_and_nothing_is_dialled() {
    let one = NonZeroU32::new(1);
    let of = |connections, connections_per_source, connections_per_second| ListenerLimits {
        connections,
        connections_per_source,
        connections_per_second,
    };
    let cases = [
        (Ending::ConnectionLimit, of(one, None, None)),
        (Ending::SourceLimit, of(None, one, None)),
        (Ending::RateLimit, of(None, None, one)),
    ];
    for (ending, limits) in cases {
        let (server, served) = rig(|f| f.spec.listener.limits = limits).await;
        let mut running = JoinSet::new();
        let (first, mut client) = session(&served).await;
        running.spawn(run(first));
        let (mut accepted, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
        let (second, mut refused) = session(&served).await;
        timeout(PATIENCE, run(second)).await.unwrap();
        assert_eq!(end_of(&mut refused).await, Some(ErrorKind::ConnectionReset));
        assert_eq!(finished(&served, ending), 1);
        assert_eq!(served.totals().dials.iter().sum::<u64>(), 1, "{ending:?}");
        if ending == Ending::RateLimit {
            continue;
        }
        // Its place is free once it has ended.
        drop((client, accepted));
        timeout(PATIENCE, running.join_next()).await.unwrap();
        let (third, _client) = session(&served).await;
        running.spawn(run(third));
        timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    }
}

fn proxy_in(mode: ProxyMode, trusted: &str) -> ProxyProtocolIn {
    ProxyProtocolIn {
        mode,
        trusted_sources: vec![trusted.parse().unwrap()],
    }
}

const FROM_AFAR: &[u8] = b"PROXY TCP4 10.9.8.7 10.0.0.2 8080 80\r\n";

#[tokio::test]
async fn a_backend_is_told_who_connected_before_the_client_says_a_word() {
    let (server, served) = rig(|forward| {
        forward.spec.relay.proxy_protocol = Some(ProxyVersion::V1);
    })
    .await;
    let (session, mut client) = session(&served).await;
    let (from, to) = (session.client, client.peer_addr().unwrap());
    let mut running = JoinSet::new();
    running.spawn(run(session));
    let (mut accepted, _) = server.accept().await.unwrap();
    let line = format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    );
    let mut header = vec![0; line.len()];
    let read = timeout(PATIENCE, accepted.read_exact(&mut header)).await;
    read.unwrap().unwrap();
    assert_eq!(header, line.as_bytes());
    client.write_all(b"x").await.unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    drop((client, accepted));
    running.join_all().await;
    assert_eq!(served.totals().up, 1);
}

#[tokio::test]
async fn a_header_is_passed_on_in_another_version_and_named() {
    let (server, served) = rig(|forward| {
        let trusted = proxy_in(ProxyMode::Required, "127.0.0.0/8");
        forward.spec.listener.proxy_protocol = Some(trusted);
        forward.spec.relay.proxy_protocol = Some(ProxyVersion::V2);
    })
    .await;
    let (session, mut client) = session(&served).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    client.write_all(FROM_AFAR).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    let mut parser = Parser::default();
    let mut parsed = parser.feed(&[]);
    while let Parsed::Need(bytes) = parsed {
        let mut part = vec![0; bytes];
        let n = timeout(PATIENCE, accepted.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        parsed = parser.feed(&part[..n]);
    }
    let Parsed::Done(header) = parsed else {
        panic!("{parsed:?}");
    };
    let endpoints = header.endpoints.unwrap();
    assert_eq!(endpoints.source, "10.9.8.7:8080".parse().unwrap());
    assert_eq!(endpoints.destination, "10.0.0.2:80".parse().unwrap());
    assert_eq!(header.unique_id.unwrap().bytes().len(), 32);
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn what_a_trusted_peer_says_is_what_source_ranges_ask() {
    for (range, ending) in [
        ("10.9.0.0/16", None),
        ("127.0.0.0/8", Some(Ending::SourceNotAllowed)),
    ] {
        let (server, served) = rig(|forward| {
            let trusted = proxy_in(ProxyMode::Optional, "127.0.0.0/8");
            forward.spec.listener.proxy_protocol = Some(trusted);
            forward.spec.listener.source_ranges = vec![range.parse().unwrap()];
        })
        .await;
        let (session, mut client) = session(&served).await;
        let mut running = JoinSet::new();
        running.spawn(run(session));
        client.write_all(FROM_AFAR).await.unwrap();
        if let Some(ending) = ending {
            running.join_all().await;
            assert_eq!(finished(&served, ending), 1);
        } else {
            timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn early_bytes_reach_the_backend_once() {
    let (server, served) = rig(|forward| {
        let trusted = proxy_in(ProxyMode::Optional, "127.0.0.0/8");
        forward.spec.listener.proxy_protocol = Some(trusted);
    })
    .await;
    let (session, mut client) = session(&served).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    client.write_all(b"PROXIMA").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, accepted.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(all, b"PROXIMA");
    drop(accepted);
    running.join_all().await;
    assert_eq!(served.totals().up, 7);
}

#[tokio::test]
async fn a_peer_that_may_not_speak_for_others_is_refused_before_a_dial() {
    let (_server, served) = rig(|forward| {
        let elsewhere = proxy_in(ProxyMode::Required, "10.0.0.0/8");
        forward.spec.listener.proxy_protocol = Some(elsewhere);
    })
    .await;
    let (session, mut client) = session(&served).await;
    client.write_all(FROM_AFAR).await.unwrap();
    run(session).await;
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    assert_eq!(finished(&served, Ending::ProxyHeaderUntrusted), 1);
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn a_session_that_is_told_to_end_waits_for_no_header() {
    let (_server, served) = rig(|forward| {
        let trusted = proxy_in(ProxyMode::Required, "127.0.0.0/8");
        forward.spec.listener.proxy_protocol = Some(trusted);
    })
    .await;
    let (session, _client) = session(&served).await;
    served.sessions().end_all(Ending::Drain);
    run(session).await;
    assert_eq!(finished(&served, Ending::Drain), 1);
}

#[tokio::test]
async fn trust_that_is_lost_while_a_header_is_on_its_way_is_lost() {
    let (_server, served) = rig(|forward| {
        let trusted = proxy_in(ProxyMode::Required, "127.0.0.0/8");
        forward.spec.listener.proxy_protocol = Some(trusted);
    })
    .await;
    let (session, mut client) = session(&served).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    while served.totals().opened == 0 {
        tokio::task::yield_now().await;
    }
    let mut forward = Forward::clone(&served.active().forward);
    forward.spec.listener.proxy_protocol = Some(proxy_in(ProxyMode::Required, "10.0.0.0/8"));
    let now = Instant::now().into_std();
    served.update(Arc::new(forward), samples::terms(), now, 0);
    client.write_all(FROM_AFAR).await.unwrap();
    assert_eq!(end_of(&mut client).await, Some(ErrorKind::ConnectionReset));
    timeout(PATIENCE, running.join_all()).await.unwrap();
    assert_eq!(finished(&served, Ending::ProxyHeaderUntrusted), 1);
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn a_session_that_dies_is_not_counted_as_open() {
    let (server, served) = rig(|_| {}).await;
    let (session, _client) = session(&served).await;
    let mut running = JoinSet::new();
    running.spawn(run(session));
    timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    assert_eq!(served.totals().open(), 1);
    running.shutdown().await;
    assert_eq!(served.totals().open(), 0);
    assert_eq!(finished(&served, Ending::LocalError), 1);
}
