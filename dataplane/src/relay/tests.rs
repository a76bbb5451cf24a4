//! Ends and resets over real sockets, by the rules of `close`, of bytes that are copied and of those
//! that go by pipes.

use std::future::poll_fn;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use socket2::SockRef;
use tcpforward_protocol::snapshot::TcpOptions;

use super::*;
use crate::channel::Channel;
use crate::relay::sockets::close;
use crate::socket::Connection;
use crate::socket::{self, Share};

mod bulk;
mod rig;
mod time;

use rig::*;

#[tokio::test]
async fn the_client_ends_first_and_still_gets_its_answer() {
    let mut rig = rig(NONE).await;
    rig.client.write_all(b"question").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(
        read_all(&mut rig.server).await,
        (b"question".to_vec(), None)
    );
    rig.server.write_all(b"answer").await.unwrap();
    rig.server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.client).await, (b"answer".to_vec(), None));
    assert_eq!(ending(rig.relay).await, Ending::DownstreamFin);
    assert_eq!(rig.count.0.load(Ordering::Relaxed), 14);
}

#[tokio::test]
async fn the_server_ends_first_and_still_gets_everything() {
    let mut rig = rig(NONE).await;
    rig.server.write_all(b"hello").await.unwrap();
    rig.server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.client).await, (b"hello".to_vec(), None));
    rig.client.write_all(&[5; 1 << 20]).await.unwrap();
    rig.client.shutdown().await.unwrap();
    let (bytes, end) = read_all(&mut rig.server).await;
    assert_eq!((bytes.len(), end), (1 << 20, None));
    assert_eq!(ending(rig.relay).await, Ending::UpstreamFin);
}

/// Not one after the other, which would wake the client twice.
#[tokio::test]
async fn a_short_answer_and_its_end_come_together() {
    for _ in 0..20 {
        let (client, downstream) = accepted().await;
        let (upstream, mut server) = dialled().await;
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        // The relay finds both at once.
        let has_fin = async {
            while !poll_fn(|cx| Poll::Ready(upstream.has_fin(cx))).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, has_fin).await.unwrap();
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let reading = std::thread::spawn(move || {
            let n = client.read(&mut [0; 64]).unwrap();
            client.set_nonblocking(true).unwrap();
            let end = client.read(&mut [0; 64]).map_err(|error| error.kind());
            (client, n, end)
        });
        let mut relay = plain(&downstream, &upstream);
        let relaying = relay.run();
        let waiting = tokio::task::spawn_blocking(|| reading.join().unwrap());
        let (_client, n, end) = tokio::select! {
            _ = relaying => panic!("its client has not ended"),
            read = waiting => read.unwrap(),
        };
        assert_eq!((n, end), (6, Ok(0)));
    }
}

const LARGE: usize = 600_000;

/// Sends from that side until the relay has taken it all, and returns sender and receiver.
async fn send_large(
    from: Side,
    client: TcpStream,
    server: TcpStream,
    count: &Count,
) -> (TcpStream, TcpStream) {
    let (mut sender, receiver) = match from {
        Side::Downstream => (client, server),
        Side::Upstream => (server, client),
    };
    sender.write_all(&vec![9; LARGE]).await.unwrap();
    while count.0.load(Ordering::Relaxed) < LARGE as u64 {
        tokio::task::yield_now().await;
    }
    (sender, receiver)
}

#[tokio::test]
async fn a_reset_reaches_a_slow_reader_after_all_bytes() {
    for (by, from) in WAYS
        .into_iter()
        .flat_map(|by| [(by, Side::Upstream), (by, Side::Downstream)])
    {
        let rig = way(by).await;
        let (sender, mut receiver) = send_large(from, rig.client, rig.server, &rig.count).await;
        drop(Connection::new(sender.into()));
        let (bytes, end) = read_all(&mut receiver).await;
        assert_eq!(
            (bytes.len(), end),
            (LARGE, Some(ErrorKind::ConnectionReset))
        );
        let reset = Ending::broken(from, ErrorKind::ConnectionReset);
        assert_eq!(ending(rig.relay).await, reset);
    }
}

async fn fin_then_reset(by: By, from: Side) {
    let rig = way(by).await;
    let (mut sender, mut receiver) = send_large(from, rig.client, rig.server, &rig.count).await;
    sender.shutdown().await.unwrap();
    drop(Connection::new(sender.into()));
    let reset = Ending::broken(from, ErrorKind::ConnectionReset);
    assert_eq!(ending(rig.relay).await, reset);
    let (bytes, end) = read_all(&mut receiver).await;
    assert_eq!((bytes.len(), end), (LARGE, None));
}

#[tokio::test]
async fn a_reset_takes_back_nothing_that_came_before_a_fin() {
    for by in WAYS {
        tokio::join!(
            fin_then_reset(by, Side::Upstream),
            fin_then_reset(by, Side::Downstream)
        );
    }
}

#[tokio::test]
async fn a_clients_reset_is_told_to_the_server() {
    let mut rig = rig(NONE).await;
    rig.client.write_all(b"half a").await.unwrap();
    let mut start = [0; 6];
    rig.server.read_exact(&mut start).await.unwrap();
    drop(Connection::new(rig.client.into()));
    assert_eq!(
        read_all(&mut rig.server).await,
        (Vec::new(), Some(ErrorKind::ConnectionReset))
    );
    assert_eq!(ending(rig.relay).await, Ending::DownstreamRst);
}

#[tokio::test]
async fn a_reset_after_a_clean_end_is_noticed_while_nothing_moves() {
    let mut rig = rig(NONE).await;
    rig.client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.server).await, (Vec::new(), None));
    drop(Connection::new(rig.client.into()));
    assert_eq!(ending(rig.relay).await, Ending::DownstreamRst);
    let told = async { while rig.server.write_all(b"late").await.is_ok() {} };
    timeout(PATIENCE, told).await.expect("a reset");
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_the_writer() {
    for by in WAYS {
        stopped_reader(by).await;
    }
}

async fn stopped_reader(by: By) {
    let mut rig = way(by).await;
    let mut sent = 0_usize;
    let chunk = vec![3; 64 << 10];
    while let Ok(written) = timeout(Duration::from_millis(300), rig.server.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "kernel buffers are finite");
    }
    rig.server.shutdown().await.unwrap();
    let (bytes, end) = read_all(&mut rig.client).await;
    assert_eq!((bytes.len(), end), (sent, None));
    drop(rig.client);
    assert_eq!(ending(rig.relay).await, Ending::UpstreamFin);
}

#[tokio::test]
async fn urgent_bytes_stay_in_their_place() {
    let Rig {
        client,
        mut server,
        relay: _relay,
        ..
    } = rig(NONE).await;
    for (sender, receiver) in [(&client, &server), (&server, &client)] {
        // Nothing waits in between, so the relay finds all of it at once.
        SockRef::from(sender).send(b"abc").unwrap();
        SockRef::from(sender).send_out_of_band(b"x").unwrap();
        SockRef::from(sender).send(b"def").unwrap();
        let mut got: Vec<u8> = Vec::new();
        let all = async {
            while got.len() < 7 {
                receiver.readable().await.unwrap();
                let mut part = [0; 7];
                if let Ok(n) = receiver.try_read(&mut part) {
                    got.extend(&part[..n]);
                }
            }
        };
        let _ = timeout(Duration::from_secs(2), all).await;
        assert_eq!(got.as_slice(), b"abcxdef");
    }
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_reset_is_noticed_while_the_other_side_reads_nothing() {
    let limits = Limits {
        reset: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let mut rig = rig_of(NONE, limits, Prefix::default()).await;
    let chunk = vec![3; 64 << 10];
    while let Ok(written) = timeout(Duration::from_millis(300), rig.client.write(&chunk)).await {
        written.unwrap();
    }
    drop(Connection::new(rig.client.into()));
    assert_eq!(ending(rig.relay).await, Ending::DownstreamRst);
}

#[tokio::test]
async fn a_socket_that_nobody_finished_is_reset() {
    let (client, downstream) = accepted().await;
    let (upstream, server) = dialled().await;
    for (ours, mut peer) in [(downstream, client), (upstream, server)] {
        // As the kernel does it for a process that is killed.
        drop(ours);
        assert_eq!(
            read_all(&mut peer).await.1,
            Some(ErrorKind::ConnectionReset)
        );
    }
}

#[tokio::test]
async fn a_socket_that_was_finished_delivers_everything() {
    let (client, downstream) = accepted().await;
    let (upstream, server) = dialled().await;
    for (ours, mut peer) in [(downstream, client), (upstream, server)] {
        let mut ours = Channel::from(Connection::new(ours));
        ours.write_all(&[9; LARGE]).await.unwrap();
        ours.into_connection().finish();
        let (bytes, end) = read_all(&mut peer).await;
        assert_eq!((bytes.len(), end), (LARGE, None));
    }
}

#[tokio::test]
async fn what_goes_first_goes_first_and_a_header_is_not_counted() {
    let prefix = Prefix {
        header: b"PROXY UNKNOWN\r\n".to_vec(),
        up: b"early ".to_vec(),
        down: b"200 ".to_vec(),
    };
    let mut rig = rig_of(NONE, Limits::DEFAULT, prefix).await;
    rig.client.write_all(b"question").await.unwrap();
    rig.client.shutdown().await.unwrap();
    let question = b"PROXY UNKNOWN\r\nearly question".to_vec();
    assert_eq!(read_all(&mut rig.server).await, (question, None));
    rig.server.write_all(b"ok").await.unwrap();
    rig.server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.client).await, (b"200 ok".to_vec(), None));
    assert_eq!(ending(rig.relay).await, Ending::DownstreamFin);
    assert_eq!(rig.count.0.load(Ordering::Relaxed), 20);
}

#[tokio::test]
async fn what_goes_first_waits_for_nobody() {
    let prefix = Prefix {
        header: b"PROXY UNKNOWN\r\n".to_vec(),
        ..Prefix::default()
    };
    let mut rig = rig_of(NONE, Limits::DEFAULT, prefix).await;
    let mut header = [0; 15];
    let read = timeout(PATIENCE, rig.server.read_exact(&mut header)).await;
    read.expect("the client has said nothing").unwrap();
    assert_eq!(&header, b"PROXY UNKNOWN\r\n");
}

#[tokio::test]
async fn a_client_that_has_ended_still_gets_a_long_answer() {
    for by in WAYS {
        long_answer(by).await;
    }
}

async fn long_answer(by: By) {
    let mut rig = way(by).await;
    rig.client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut rig.server).await, (Vec::new(), None));
    let answer: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sending = async {
        rig.server.write_all(&answer).await.unwrap();
        rig.server.shutdown().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        let mut part = vec![0; 10_000];
        // In small pieces, so that everything in between is full most of the time.
        while let Ok(n @ 1..) = rig.client.read(&mut part).await {
            got.extend_from_slice(&part[..n]);
        }
        got
    };
    let ((), got) = timeout(PATIENCE * 3, async { tokio::join!(sending, reading) })
        .await
        .expect("an end");
    assert!(got == answer, "{} of {} bytes", got.len(), answer.len());
    assert_eq!(ending(rig.relay).await, Ending::DownstreamFin);
}
