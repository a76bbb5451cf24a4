//! Open sessions whose backend, right or process goes.

use std::num::NonZeroU32;

use tcpforward_protocol::snapshot::{BackendState, EstablishedConnections, Fate, TakesNew};

use super::*;

/// Such sessions go on so long.
const DRAIN: Duration = Duration::from_secs(1);

fn with_established(forward: Forward, established: EstablishedConnections) -> Forward {
    let mut spec = forward.spec;
    spec.relay.established_connections = established;
    spec.requires = feature::required(&spec);
    Forward::new(forward.name, spec, forward.backends)
}

/// Sessions until each of these names has greeted `count` times.
async fn sessions(port: u16, names: &[&str], count: usize) -> Vec<(TcpStream, String)> {
    let mut sessions = Vec::new();
    while sessions.len() < names.len() * count {
        let (stream, name) = greeting(port).await;
        let known = sessions.iter().filter(|(_, n)| *n == name).count();
        assert!(names.contains(&name.as_str()), "{name}");
        if known < count {
            sessions.push((stream, name));
        }
    }
    sessions
}

#[tokio::test]
async fn a_removed_backend_gets_nobody_and_loses_its_sessions_after_their_drain() {
    let (a, b) = (server("a").await, server("b").await);
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let established = EstablishedConnections {
        drain_timeout: DRAIN,
        ..EstablishedConnections::default()
    };
    let set = |backends: &[SocketAddr]| {
        let forward = forward("f", port, backends);
        samples::snapshot([with_established(forward, established)])
    };
    push_all(&mut stream, 1, &set(&[a.address, b.address])).await;
    let sessions = sessions(port, &["a", "b"], 10).await;
    let removed = Instant::now();
    push_all(&mut stream, 2, &set(&[a.address])).await;
    for _ in 0..10 {
        assert_eq!(greeting(port).await.1, "a");
    }
    for (mut session, name) in sessions {
        if name == "a" {
            echo(&mut session).await;
            continue;
        }
        assert_eq!(end_of(&mut session).await, Some(ErrorKind::ConnectionReset));
        let after = removed.elapsed();
        assert!((DRAIN..DRAIN * 2).contains(&after), "{after:?}");
    }
    let line =
        "tcpforward_dataplane_sessions_finished_total{forward=\"n/f\",ending=\"removed\"} 10";
    let start = &line[..line.len() - 2];
    eventually("the count", || metric(&rig, start) == line).await;
}

#[tokio::test]
async fn sessions_of_a_backend_that_is_not_ready_end_at_their_pace() {
    let (a, b) = (server("a").await, server("b").await);
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let established = EstablishedConnections {
        on_not_ready: Fate::Close,
        closes_per_second: NonZeroU32::new(8).unwrap(),
        ..EstablishedConnections::default()
    };
    let plain = forward("f", port, &[a.address, b.address]);
    let before = with_established(plain, established);
    let mut after = before.backends.clone();
    for backend in after
        .iter_mut()
        .filter(|backend| backend.address == b.address)
    {
        backend.state = BackendState::NotReady;
        backend.takes_new = TakesNew::No;
    }
    let after = Forward::new(before.name.clone(), before.spec.clone(), after);
    push_all(&mut stream, 1, &samples::snapshot([before])).await;
    let sessions = sessions(port, &["a", "b"], 12).await;
    let changed = Instant::now();
    push_all(&mut stream, 2, &samples::snapshot([after])).await;
    for (mut session, name) in sessions {
        match name.as_str() {
            "a" => echo(&mut session).await,
            _ => assert_eq!(end_of(&mut session).await, Some(ErrorKind::ConnectionReset)),
        }
    }
    // Twelve by eight a second, of which the first two go at once.
    let took = changed.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn who_may_not_come_any_more_is_cut_within_five_seconds() {
    let a = server("a").await;
    let port = free_port().await;
    let mut rig = start(|_| {});
    let mut stream = rig.subscriber().await;
    let allowed = |ranges: &[&str]| {
        let forward = forward("f", port, &[a.address]);
        let mut spec = forward.spec;
        let ranges = ranges.iter().map(|range| range.parse().unwrap());
        spec.listener.source_ranges = ranges.collect();
        spec.relay.established_connections.on_removed = Fate::Keep;
        spec.requires = feature::required(&spec);
        samples::snapshot([Forward::new(forward.name, spec, forward.backends)])
    };
    push_all(&mut stream, 1, &allowed(&["127.0.0.1/32"])).await;
    let (mut session, _) = greeting(port).await;
    push_all(&mut stream, 2, &allowed(&["127.0.0.0/30"])).await;
    echo(&mut session).await;
    let lost = Instant::now();
    push_all(&mut stream, 3, &allowed(&["192.0.2.0/24"])).await;
    assert_eq!(end_of(&mut session).await, Some(ErrorKind::ConnectionReset));
    let took = lost.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let line =
        "tcpforward_dataplane_sessions_finished_total{forward=\"n/f\",ending=\"right_lost\"} 1";
    let start = &line[..line.len() - 2];
    eventually("the count", || metric(&rig, start) == line).await;
}

#[tokio::test]
async fn a_drain_resets_at_its_deadline_and_who_ends_before_loses_nothing() {
    let a = server("a").await;
    let port = free_port().await;
    let mut rig = start(|config| {
        config.drain_delay = Duration::ZERO;
        config.drain_timeout = Duration::from_secs(2);
    });
    let mut stream = rig.subscriber().await;
    let set = samples::snapshot([forward("f", port, &[a.address])]);
    push_all(&mut stream, 1, &set).await;
    let (mut finishes, _) = greeting(port).await;
    let (mut stays, _) = greeting(port).await;
    rig.stop.take().unwrap().send(()).unwrap();
    let began = Instant::now();
    let sent = vec![7; 1 << 20];
    let (mut read, mut write) = finishes.split();
    let mut back = Vec::new();
    let (sending, receiving) = tokio::join!(
        async {
            write.write_all(&sent).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut back)
    );
    sending.unwrap();
    assert_eq!(receiving.unwrap(), sent.len());
    assert!(back == sent && began.elapsed() < Duration::from_secs(2));
    assert_eq!(end_of(&mut stays).await, Some(ErrorKind::ConnectionReset));
    let took = began.elapsed().as_millis();
    assert!((1900..3000).contains(&took), "{took}");
    assert_eq!(rig.end().await, Summary { cut: 1 });
}
