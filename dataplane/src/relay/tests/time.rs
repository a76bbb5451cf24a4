//! What ends a session by time, and what does not.

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn silence_is_counted_from_the_last_byte() {
    let limit = Duration::from_millis(300);
    let mut rig = rig(Timeouts {
        idle: Some(limit),
        half_closed: None,
        max_connection_age: None,
    })
    .await;
    let start = Instant::now();
    let mut byte = [0; 1];
    while start.elapsed() < limit * 2 {
        rig.client.write_all(b"x").await.unwrap();
        rig.server.read_exact(&mut byte).await.unwrap();
    }
    assert_eq!(
        read_all(&mut rig.client).await.1,
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(
        read_all(&mut rig.server).await.1,
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(ending(rig.relay).await, Ending::IdleTimeout);
}

#[tokio::test]
async fn a_half_closed_session_may_be_silent_for_its_own_limit_only() {
    let limit = Duration::from_millis(100);
    let mut rig = rig(Timeouts {
        idle: None,
        half_closed: Some(limit),
        max_connection_age: None,
    })
    .await;
    rig.server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.client).await, (Vec::new(), None));
    assert_eq!(ending(rig.relay).await, Ending::HalfClosedTimeout);
}

#[tokio::test]
async fn a_connection_ends_at_its_age_however_busy_it_is() {
    let limit = Duration::from_millis(300);
    let mut rig = rig(Timeouts {
        max_connection_age: Some(limit),
        ..NONE
    })
    .await;
    let start = Instant::now();
    let end = loop {
        // Its reset is seen by the server's read.
        let _ = rig.client.write_all(b"x").await;
        if let Err(error) = rig.server.read_u8().await {
            break error.kind();
        }
        assert!(start.elapsed() < PATIENCE);
    };
    assert!(start.elapsed() >= limit.mul_f64(0.9));
    assert_eq!(end, ErrorKind::ConnectionReset);
    assert_eq!(ending(rig.relay).await, Ending::MaxAge);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_not_taken_for_dead() {
    let limits = Limits {
        dead: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let mut rig = rig_of(NONE, limits, Prefix::default()).await;
    let chunk = vec![3; 64 << 10];
    let mut sent = 0;
    while let Ok(written) = timeout(limits.dead * 5, rig.server.write(&chunk)).await {
        sent += written.unwrap();
    }
    rig.server.shutdown().await.unwrap();
    let (bytes, end) = read_all(&mut rig.client).await;
    assert_eq!((bytes.len(), end), (sent, None));
}

#[tokio::test]
async fn wedged_peers_cost_nothing() {
    let (client, downstream) = accepted().await;
    let (upstream, mut server) = dialled().await;
    let mut relay = plain(&downstream, &upstream);
    let mut running = Box::pin(relay.run());
    let mut polls = 0_u32;
    let mut counted = std::future::poll_fn(|cx| {
        polls += 1;
        running.as_mut().poll(cx)
    });
    // The server fills all buffers and ends, the client reads nothing, says something and ends.
    let wedge = async {
        let chunk = vec![3; 64 << 10];
        while let Ok(written) = timeout(Duration::from_millis(300), server.write(&chunk)).await {
            written.unwrap();
        }
        server.shutdown().await.unwrap();
        client.try_write(b"unread").unwrap();
        SockRef::from(&client)
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    };
    tokio::select! {
        ended = &mut counted => panic!("{ended:?}"),
        () = wedge => {}
    }
    let mut settled = timeout(Duration::from_millis(500), &mut counted).await;
    assert!(settled.is_err(), "{settled:?}");
    drop(counted);
    let before = polls;
    let mut counted = std::future::poll_fn(|cx| {
        polls += 1;
        running.as_mut().poll(cx)
    });
    settled = timeout(Duration::from_secs(1), &mut counted).await;
    assert!(settled.is_err(), "{settled:?}");
    assert!(polls - before < 10, "{} polls in a second", polls - before);
}

#[tokio::test]
async fn once_a_session_lasts_both_sides_find_a_silent_dead_peer_within_90_seconds() {
    let (_client, downstream) = accepted().await;
    let (upstream, _server) = dialled().await;
    let limits = Limits {
        dead: Duration::from_millis(240),
        ..Limits::DEFAULT
    };
    let start = Instant::now();
    let relay = plain(&downstream, &upstream);
    let mut relay = relay.within(&limits);
    let kept = async {
        while !SockRef::from(&upstream).keepalive().unwrap() {
            tokio::task::yield_now().await;
        }
        start.elapsed()
    };
    let after = tokio::select! {
        ended = relay.run() => panic!("{ended:?}"),
        after = timeout(PATIENCE, kept) => after.unwrap(),
    };
    assert!(
        after >= Duration::from_millis(20),
        "a short one does without"
    );
    for ours in [&downstream, &upstream] {
        let socket = SockRef::from(ours);
        assert!(socket.keepalive().unwrap());
        let idle = socket.tcp_keepalive_time().unwrap();
        let probes = socket.tcp_keepalive_interval().unwrap();
        let total = idle + probes * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(total, Duration::from_secs(90));
    }
}
