//! Which address a tunnel reaches, how soon, and what is said when it reaches none.

use std::net::TcpListener;

use tcpforward_protocol::snapshot::{LocalTargets, TcpOptions};

use super::*;
use crate::dial::silent::silent;

const SETTINGS: Settings = Settings::new(LocalTargets::Allow);

/// Beyond what anything here takes.
const LONG: Duration = Duration::from_secs(10);

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Where a connection is refused.
fn closed() -> SocketAddr {
    server().1
}

fn shared() -> Shared {
    Shared::new(1000, 1)
}

async fn run(addresses: &[SocketAddr], time: Duration, shared: &Shared) -> Result<Reached, Error> {
    race(
        addresses,
        &SETTINGS,
        &TcpOptions::default(),
        Instant::now() + time,
        shared,
    )
    .await
}

/// Whether this host waits for that address to answer a SYN.
fn is_connecting(address: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let syn_sent = format!(":{:04X} 02 ", address.port());
    table.contains(&syn_sent)
}

fn lost(error: Error) -> (u32, SocketAddr, DialResult) {
    let Error::Exhausted {
        attempts,
        address,
        cause,
    } = error
    else {
        panic!("{error}");
    };
    (attempts, address, cause.result())
}

#[test]
fn families_take_turns_and_addresses_don_t() {
    let parse = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let addresses = parse(&[
        "1.1.1.1:1",
        "1.1.1.2:1",
        "[2::1]:1",
        "1.1.1.1:1",
        "[2::2]:1",
    ]);
    let expected = parse(&["[2::1]:1", "1.1.1.1:1", "[2::2]:1", "1.1.1.2:1"]);
    assert_eq!(order(&addresses), expected);
    let many: Vec<_> = (0..20)
        .map(|i| SocketAddr::from(([1, 1, 1, 1], i)))
        .collect();
    assert_eq!(order(&many), &many[..MOST]);
    let with_v6 = [many, parse(&["[2::1]:1"])].concat();
    assert_eq!(order(&with_v6)[0], with_v6[20]);
    assert_eq!(order(&[]), [] as [SocketAddr; 0]);
}

#[tokio::test]
async fn a_black_hole_costs_a_quarter_of_a_second() {
    let (silent, (server, live), shared) = (silent().await, server(), shared());
    let free = shared.free_descriptors();
    let start = Instant::now();
    let reached = run(&[silent.address, live], LONG, &shared).await.unwrap();
    assert!(start.elapsed() >= ATTEMPT_DELAY);
    // A second at most on a host with time, and far from the deadline on any.
    assert!(start.elapsed() < LONG / 4, "{:?}", start.elapsed());
    assert_eq!((reached.address, reached.attempts), (live, 2));
    assert_eq!(reached.connection.peer_addr().unwrap(), live);
    assert!(!is_connecting(silent.address), "the loser is closed");
    assert_eq!(shared.free_descriptors(), free);
    assert_eq!(
        server.accept().unwrap().1,
        reached.connection.local_addr().unwrap()
    );
}

#[tokio::test]
async fn the_first_to_answer_is_the_only_one_dialled() {
    let ((_one, first), (other, second), shared) = (server(), server(), shared());
    let reached = run(&[first, second], LONG, &shared).await.unwrap();
    assert_eq!((reached.address, reached.attempts), (first, 1));
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err());
}

#[tokio::test]
async fn after_a_refusal_the_next_is_tried_at_once() {
    let (_server, live) = server();
    let mut addresses = [closed(), closed(), closed(), closed(), live];
    let start = Instant::now();
    let reached = run(&addresses, LONG, &shared()).await.unwrap();
    assert_eq!((reached.address, reached.attempts), (live, 5));
    addresses[4] = closed();
    let error = run(&addresses, LONG, &shared()).await.unwrap_err();
    let refused = DialResult::Failed(DialError::Refused);
    assert_eq!(lost(error), (5, addresses[4], refused));
    // Of eight pauses none was made; so many would be, on the most loaded host.
    assert!(start.elapsed() < ATTEMPT_DELAY * 8, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_deadline_ends_it_and_a_refusal_says_more() {
    let (silent, shared) = (silent().await, shared());
    let time = Duration::from_secs(5);
    tokio::time::pause();
    let start = Instant::now();
    let error = run(&[silent.address], time, &shared).await.unwrap_err();
    assert!(start.elapsed() < time + Duration::from_millis(2));
    let timeout = DialResult::Failed(DialError::Timeout);
    assert_eq!(lost(error), (1, silent.address, timeout));
    let refusing = closed();
    let addresses = [refusing, silent.address];
    let error = run(&addresses, time, &shared).await.unwrap_err();
    let refused = DialResult::Failed(DialError::Refused);
    assert_eq!(lost(error), (2, refusing, refused));
    // Time that was over before it began still says something.
    let error = run(&addresses[1..], Duration::ZERO, &shared).await;
    assert_eq!(lost(error.unwrap_err()), (1, silent.address, timeout));
    let error = run(&[], time, &shared).await.unwrap_err();
    assert!(matches!(error, Error::NoAddress), "{error}");
}

#[tokio::test]
async fn a_loop_says_most_and_the_guard_is_asked_for_each() {
    let ((_server, own), shared) = (server(), shared());
    shared.set_listeners([own]);
    let error = run(&[own, closed()], LONG, &shared).await.unwrap_err();
    let Error::Exhausted { address, cause, .. } = error else {
        panic!("{error}");
    };
    assert!(address == own && matches!(cause, Cause::Own), "{cause}");
    let metadata = "169.254.169.254:80".parse().unwrap();
    let (_other, live) = server();
    let reached = run(&[metadata, live], LONG, &shared).await.unwrap();
    assert_eq!((reached.address, reached.attempts), (live, 2));
    let error = run(&[metadata], LONG, &shared).await.unwrap_err();
    assert!(error.to_string().contains("metadata"), "{error}");
}

#[test]
fn a_family_that_this_host_lacks_hides_no_other_cause() {
    let io = |errno: Errno| Cause::Io(errno.into());
    let ranked = [
        io(Errno::NETUNREACH),
        Cause::Timeout(LONG),
        io(Errno::HOSTUNREACH),
        io(Errno::CONNREFUSED),
        Cause::Own,
    ];
    assert!(ranked.is_sorted_by_key(rank));
    assert_eq!(
        rank(&io(Errno::AFNOSUPPORT)),
        rank(&io(Errno::ADDRNOTAVAIL))
    );
}

#[tokio::test]
async fn without_room_one_makes_room_for_the_next() {
    let (silent, (_server, live), shared) = (silent().await, server(), Shared::new(100, 1));
    let all = u32::try_from(shared.free_descriptors()).unwrap();
    let _held = shared.try_descriptors(all).unwrap();
    let time = Duration::from_secs(2);
    let start = Instant::now();
    let reached = run(&[silent.address, live], time, &shared).await.unwrap();
    assert_eq!((reached.address, reached.attempts), (live, 2));
    assert!(start.elapsed() >= time / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn many_black_holes_leave_time_for_a_live_one() {
    let mut silents = Vec::new();
    for _ in 0..5 {
        silents.push(silent().await);
    }
    let ((_server, live), shared) = (server(), shared());
    let mut addresses: Vec<_> = silents.iter().map(|silent| silent.address).collect();
    addresses.push(live);
    let reached = run(&addresses, Duration::from_secs(3), &shared).await;
    let reached = reached.unwrap();
    assert_eq!((reached.address, reached.attempts), (live, 6));
}

#[tokio::test]
async fn who_leaves_takes_all_sockets_along() {
    let (one, other, shared) = (silent().await, silent().await, shared());
    let free = shared.free_descriptors();
    let addresses = [one.address, other.address];
    let mut race = Box::pin(run(&addresses, LONG, &shared));
    let are_connecting = || addresses.map(is_connecting);
    let start = Instant::now();
    while are_connecting() != [true, true] {
        assert!(start.elapsed() < LONG);
        let moment = Duration::from_millis(10);
        let early = tokio::time::timeout(moment, &mut race).await;
        assert!(early.is_err(), "{early:?}");
    }
    assert_eq!(shared.free_descriptors(), free - 1);
    drop(race);
    assert_eq!(are_connecting(), [false, false]);
    assert_eq!(shared.free_descriptors(), free);
}
