//! Searches that burn processor time, and what they hold up.

use tcpforward_protocol::snapshot::{LocalTargets, Origin, Settings, TcpOptions};

use super::*;
use crate::dial::{self, Cause};
use crate::served::DialResult;
use crate::shared::Shared;

/// How long a search takes.
const SEARCH: Duration = Duration::from_millis(3);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Tests may share a thread.
fn forget() {
    MINE.take();
}

/// What the kernel does.
fn search() {
    let start = thread_time();
    while thread_time() - start < SEARCH {
        std::hint::spin_loop();
    }
}

/// What a busy host does to us.
fn doze() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(SEARCH);
}

/// Whether it was found to be short of ports.
fn is_scarce(address: SocketAddr) -> bool {
    MINE.with_borrow(|mine| {
        mine.addresses
            .get(&address)
            .is_some_and(|known| known.is_scarce)
    })
}

async fn turn_of(address: SocketAddr) {
    let until = Instant::now() + Duration::from_secs(10);
    turn(address, until, &AtomicU64::new(0)).await.unwrap();
}

#[tokio::test]
async fn behind_a_search_everything_else_has_its_time() {
    forget();
    let (a, b) = (address("10.0.0.1:80"), address("10.0.0.2:80"));
    // The first one only raises a suspicion, which might be of a busy processor.
    timed(a, search);
    assert!(is_known(a) && !is_scarce(a));
    let start = Instant::now();
    timed(a, search);
    assert!(is_scarce(a));
    turn_of(a).await;
    assert!(start.elapsed() >= SEARCH * (1 + PAUSE));
    assert!(!is_held(a));
    hold(a, PATIENCE);
    assert!(is_held(a) && !is_held(b));
}

#[tokio::test]
async fn all_addresses_with_few_ports_share_the_time_of_a_thread() {
    forget();
    let (a, b) = (address("10.0.0.1:80"), address("10.0.0.2:80"));
    learn(b, SEARCH);
    hold(a, PATIENCE);
    assert!(is_held(a) && is_held(b));
    timed(address("10.0.0.3:80"), doze);
    assert!(!is_held(address("10.0.0.3:80")));
}

#[tokio::test]
async fn to_be_held_is_no_search() {
    forget();
    let a = address("10.0.0.1:80");
    timed(a, doze);
    timed(a, doze);
    assert!(is_known(a) && !is_scarce(a));
}

#[tokio::test]
async fn the_kernel_s_names_of_an_address_are_one() {
    forget();
    let mapped = address("[::ffff:10.0.0.1]:80");
    timed(mapped, search);
    timed(address("10.0.0.1:80"), search);
    hold(address("10.0.0.1:80"), PATIENCE);
    assert!(is_held(mapped));
}

#[tokio::test]
async fn nobody_waits_longer_than_half_of_its_time() {
    forget();
    let a = address("10.0.0.1:80");
    hold(a, PATIENCE * 9 / 10);
    let waits = AtomicU64::new(0);
    let soon = Instant::now() + PATIENCE;
    assert_eq!(turn(a, soon, &waits).await, Err(NoTurn));
    assert_eq!(waits.into_inner(), 1);
}

#[tokio::test]
async fn a_dial_whose_turn_does_not_come_says_nothing_of_the_backend() {
    forget();
    let a = address("127.0.0.1:1");
    hold(a, PATIENCE * 2);
    let shared = Shared::new(1000, 1);
    let (settings, tcp) = (Settings::new(LocalTargets::Allow), TcpOptions::default());
    let until = Instant::now() + PATIENCE;
    let dialled = dial::connect(a, Origin::Author, &settings, &tcp, until, &shared).await;
    let cause = dialled.unwrap_err();
    assert!(matches!(cause, Cause::NoTurn), "{cause}");
    assert_eq!(cause.result(), DialResult::Local);
    assert_eq!(shared.port_waits.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_with_ports_is_forgotten_after_a_while() {
    forget();
    let (a, b) = (address("10.0.0.1:80"), address("10.0.0.2:80"));
    let age = || {
        MINE.with_borrow_mut(|mine| {
            mine.addresses
                .values_mut()
                .for_each(|known| known.at -= KEPT);
        });
    };
    timed(a, doze);
    timed(a, || ());
    assert!(is_known(a));
    age();
    timed(a, || ());
    assert!(!is_known(a));
    // And one that nobody dials any more, when another one comes.
    timed(a, doze);
    age();
    timed(b, doze);
    assert!(!is_known(a) && is_known(b));
}

/// Else each would be forgotten before its turn, and search as one that nobody knows.
#[tokio::test]
async fn of_many_addresses_each_is_known_until_its_turn() {
    forget();
    let mut many = (1..=50).map(|host| address(&format!("10.0.0.{host}:80")));
    for address in many.clone() {
        hold(address, PATIENCE * 10);
    }
    MINE.with_borrow_mut(|mine| {
        let age = |known: &mut Known| known.at -= KEPT * 4;
        mine.addresses.values_mut().for_each(age);
    });
    suspect(address("10.0.1.1:80"));
    assert!(many.all(is_held));
}

#[tokio::test]
async fn no_more_are_known_than_have_room_however_many_clients_name() {
    forget();
    let number = || MINE.with_borrow(|mine| mine.addresses.len());
    let all = (1..=u16::MAX).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    all.for_each(suspect);
    assert_eq!(number(), MOST);
    // Suspicions don't keep each other.
    MINE.with_borrow_mut(|mine| {
        let age = |known: &mut Known| known.at -= KEPT;
        mine.addresses.values_mut().for_each(age);
    });
    suspect(address("10.0.0.2:80"));
    assert_eq!(number(), 1);
}
