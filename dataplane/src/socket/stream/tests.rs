//! Streams on loopback: what a short read says, and what it doesn't.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use rustix::io::ioctl_fionread;
use tokio::time::{Instant, timeout};

use super::*;
use crate::socket::Connection;

const PATIENCE: Duration = Duration::from_secs(10);

/// After 200 ms the kernel sends whatever it holds back.
const HELD_BACK: Duration = Duration::from_millis(150);

/// What is seen before the kernel does that, once this host isn't too busy to see it.
async fn soon<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..20 {
        if let Some(seen) = attempt().await {
            return seen;
        }
    }
    panic!("it takes as long as the kernel's own patience");
}

fn pair(multipath: bool) -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    SockRef::from(&socket).set_out_of_band_inline(true).unwrap();
    (peer, Stream::watch(socket, multipath).unwrap())
}

async fn read(stream: &Stream) -> Vec<u8> {
    let mut buffer = [0; 64];
    let reading = poll_fn(|cx| stream.poll_read(cx, &mut buffer));
    let n = timeout(PATIENCE, reading).await.unwrap().unwrap();
    buffer[..n].to_vec()
}

async fn readable(stream: &Stream) {
    let readable = poll_fn(|cx| stream.poll_readable(cx));
    timeout(PATIENCE, readable).await.unwrap().unwrap();
}

/// Whether it says so of itself, before the runtime looks again.
fn is_readable(stream: &Stream) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    stream.poll_readable(&mut cx).is_ready()
}

/// Waits until so many bytes lie in the kernel, without a look of the runtime's.
#[expect(clippy::disallowed_methods, reason = "a deadline of the kernel's")]
fn arrived(stream: &Stream, bytes: u64) {
    let start = std::time::Instant::now();
    while ioctl_fionread(stream).unwrap() < bytes {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_short_read_has_emptied_the_socket_and_a_full_one_may_not_have() {
    for multipath in [false, true] {
        let (mut peer, stream) = pair(multipath);
        peer.write_all(&[7; 63]).unwrap();
        assert_eq!(read(&stream).await, [7; 63]);
        // Another read of Multipath TCP would have to find nothing first.
        assert_eq!(is_readable(&stream), multipath);
        peer.write_all(&[7; 64]).unwrap();
        assert_eq!(read(&stream).await, [7; 64]);
        assert!(is_readable(&stream));
    }
}

#[tokio::test]
async fn the_end_behind_a_short_read_is_read() {
    let (mut peer, stream) = pair(false);
    peer.write_all(b"bye").unwrap();
    drop(peer);
    arrived(&stream, 3);
    assert_eq!(read(&stream).await, b"bye");
    assert_eq!(read(&stream).await, b"");
}

/// All lies in the kernel when the event comes, which tells of the urgent byte.
#[tokio::test]
async fn what_lies_behind_an_urgent_byte_is_read() {
    let (mut peer, stream) = pair(false);
    peer.write_all(b"abc").unwrap();
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    peer.write_all(b"def").unwrap();
    arrived(&stream, 7);
    assert_eq!(read(&stream).await, b"abc");
    assert_eq!(read(&stream).await, b"!def");
    // And from now on short reads are not trusted.
    assert!(is_readable(&stream));
}

/// The event tells of bytes alone; the urgent one comes between that and the read.
#[tokio::test]
async fn an_urgent_byte_that_comes_before_the_read_brings_an_event_of_its_own() {
    let (mut peer, stream) = pair(false);
    peer.write_all(b"abc").unwrap();
    readable(&stream).await;
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    peer.write_all(b"def").unwrap();
    arrived(&stream, 7);
    assert_eq!(read(&stream).await, b"abc");
    assert_eq!(read(&stream).await, b"!def");
}

#[tokio::test]
async fn a_reset_is_told_with_its_reason() {
    let (peer, stream) = pair(false);
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    timeout(PATIENCE, stream.broken()).await.unwrap();
    let reason = stream.take_error().unwrap().unwrap();
    assert_eq!(reason.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_last_bytes_wait_for_the_fin_and_go_with_it() {
    let waits = async || {
        let start = Instant::now();
        let (mut peer, stream) = pair(false);
        let wrote = poll_fn(|cx| stream.poll_write_last(cx, b"bye")).await;
        assert_eq!(wrote.unwrap(), 3);
        peer.set_nonblocking(true).unwrap();
        let early = peer.read(&mut [0; 64]).map_err(|error| error.kind());
        let is_early = start.elapsed() < HELD_BACK;
        SockRef::from(&stream).shutdown(Shutdown::Write).unwrap();
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        is_early.then_some((early, all))
    };
    let seen = soon(waits).await;
    assert_eq!(seen, (Err(io::ErrorKind::WouldBlock), b"bye".to_vec()));
}

#[tokio::test]
async fn last_bytes_for_which_there_is_no_room_are_sent_at_once() {
    let sent = async || {
        let (mut peer, stream) = pair(false);
        SockRef::from(&stream).set_send_buffer_size(1).unwrap();
        let bytes = vec![7; 1 << 20];
        let start = Instant::now();
        let writing = poll_fn(|cx| stream.poll_write_last(cx, &bytes));
        let taken = timeout(PATIENCE, writing).await.unwrap().unwrap();
        assert!(taken < bytes.len());
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.read_exact(&mut vec![0; taken]).unwrap();
        (start.elapsed() < HELD_BACK).then_some(())
    };
    soon(sent).await;
}

#[tokio::test]
async fn last_bytes_without_a_fin_are_sent_before_a_reset() {
    let sent = async || {
        let (mut peer, stream) = pair(false);
        let wrote = poll_fn(|cx| stream.poll_write_last(cx, b"bye")).await;
        assert_eq!(wrote.unwrap(), 3);
        let start = Instant::now();
        let until = start + PATIENCE;
        Connection::new(stream).reset_after_sending(until).await;
        let mut bytes = [0; 3];
        peer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"bye");
        let end = peer.read(&mut bytes).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        (start.elapsed() < HELD_BACK).then_some(())
    };
    soon(sent).await;
}

#[tokio::test]
async fn a_fin_is_known_before_all_bytes_are_read() {
    let (mut peer, stream) = pair(false);
    let has_fin = || poll_fn(|cx| Poll::Ready(stream.has_fin(cx)));
    peer.write_all(b"bye").unwrap();
    readable(&stream).await;
    assert!(!has_fin().await);
    drop(peer);
    let has_come = async {
        while !has_fin().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, has_come).await.unwrap();
    assert_eq!(read(&stream).await, b"bye");
    assert!(has_fin().await);
    assert_eq!(read(&stream).await, b"");
}
