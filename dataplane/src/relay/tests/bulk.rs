//! Long transfers, by copying and by pipes.

use std::pin::pin;
use std::sync::atomic::AtomicU32;
use std::task::{Wake, Waker};

use tokio::task::coop;

use super::*;
use crate::shared::Shared;

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Plain splicing loses what lies behind them.
#[tokio::test]
async fn urgent_bytes_in_a_long_transfer_stay_in_their_place() {
    for by in WAYS {
        let rig = way(by).await;
        let Rig { client, server, .. } = rig;
        let (mut sender, mut receiver) = (server, client);
        let part: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sending = async {
            for _ in 0..3 {
                sender.write_all(&part).await.unwrap();
                while let Err(error) = SockRef::from(&sender).send_out_of_band(b"!") {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    sender.writable().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            sender.write_all(&part).await.unwrap();
            sender.shutdown().await.unwrap();
        };
        let (got, end) = tokio::join!(read_all(&mut receiver), sending).0;
        let urgent = [&part[..], b"!"].concat();
        let sent = [&urgent[..], &urgent, &urgent, &part].concat();
        assert_eq!((got.len(), end), (sent.len(), None), "{by:?}");
        assert!(got == sent, "{by:?}");
    }
}

/// Both modes in turn, several times over: nothing waits, and nothing is lost at a change.
#[tokio::test]
async fn a_session_may_turn_from_chat_to_bulk_and_back() {
    let mut rig = way(By::Pipes).await;
    let part: Vec<u8> = (0..700_000_u32).map(|n| (n % 241) as u8).collect();
    for turn in 0..20_u8 {
        for n in 0..8_u8 {
            let word = [turn, n, 3, 4];
            rig.client.write_all(&word).await.unwrap();
            let mut got = [0; 4];
            let read = timeout(PATIENCE, rig.server.read_exact(&mut got)).await;
            read.expect("a word").unwrap();
            assert_eq!(got, word);
        }
        let mut got = vec![0; part.len()];
        let all =
            async { tokio::join!(rig.client.write_all(&part), rig.server.read_exact(&mut got)) };
        let (written, read) = timeout(PATIENCE, all).await.expect("all of it");
        written.unwrap();
        read.unwrap();
        assert!(got == part);
    }
    assert_eq!(rig.count.0.load(Ordering::Relaxed), 20 * (32 + 700_000));
}

#[tokio::test]
async fn descriptors_of_empty_pipes_are_for_whoever_needs_them() {
    let shared = Shared::new(100, 1);
    let all = u32::try_from(shared.free_descriptors()).unwrap();
    let pipe = shared.pipes.take(0).unwrap();
    assert!(shared.try_descriptors(all).is_none(), "it is in use");
    shared.pipes.give(0, pipe);
    assert!(shared.try_descriptors(all).is_some());
}

/// Somebody who sends a word now and then waits for a turn, not for many.
#[tokio::test]
async fn who_has_more_goes_on_after_the_runtime_has_looked_at_sockets() {
    let (mut client, downstream) = accepted().await;
    let (upstream, _server) = dialled().await;
    client.write_all(&[7; 200_000]).await.unwrap();
    are_there(&downstream, 32 << 10).await;
    // As if there were many: its turn is short.
    for _ in 0..100 {
        TURNS.with_borrow_mut(Turns::use_up);
    }
    let mut relay = plain(&downstream, &upstream);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let polled = pin!(relay.run()).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let passed = relay.passed(Side::Downstream);
    assert!((1..200_000).contains(&passed), "{passed} bytes in a turn");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    tokio::task::yield_now().await;
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
}

/// The runtime would let one direction that always has more use up what both may do.
#[tokio::test]
async fn one_direction_takes_nothing_of_the_other_one_s_turn() {
    let (client, downstream) = accepted().await;
    let (upstream, server) = dialled().await;
    let (mut client, mut server) = (client, server);
    client.write_all(b"up").await.unwrap();
    server.write_all(b"down").await.unwrap();
    are_there(&downstream, 2).await;
    are_there(&upstream, 4).await;
    let mut relay = plain(&downstream, &upstream);
    std::future::poll_fn(|cx| {
        while let Poll::Ready(one) = coop::poll_proceed(cx) {
            one.made_progress();
        }
        assert!(pin!(relay.run()).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let passed = [Side::Downstream, Side::Upstream].map(|side| relay.passed(side));
    assert_eq!(passed, [2, 4]);
}

/// Waits until so many bytes may be read, and the runtime knows.
async fn are_there(stream: &Stream, bytes: u64) {
    let there = async {
        while rustix::io::ioctl_fionread(stream).unwrap() < bytes {
            tokio::task::yield_now().await;
        }
        let readable = std::future::poll_fn(|cx| stream.poll_readable(cx));
        readable.await.unwrap();
    };
    timeout(PATIENCE, there).await.expect("bytes");
}
