//! What stays in service when an address can't be had.

use std::net::TcpListener;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use tcpforward_protocol::snapshot::{Fate, LocalTargets};

use super::*;
use crate::place::Share;
use crate::sync::samples;

mod tuning;

/// Nobody's, on no host.
const NOWHERE: &str = "192.0.2.1";

fn serving() -> Serving {
    let shared = Arc::new(Shared::new(1000, 1));
    let (workers, _) = Workers::start(1, &shared).unwrap();
    let bind = "127.0.0.1".parse().unwrap();
    Serving::new(workers, shared, bind, Vec::new(), Arc::default())
}

/// A port that nobody holds at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn forward(name: &str, generation: i64, ip: &str, port: u16) -> Forward {
    let mut forward = samples::forward(name, generation, &[]);
    forward.spec.listener.port = NonZeroU16::new(port).unwrap();
    forward.spec.listener.address = Some(ip.parse().unwrap());
    Forward::new(forward.name, forward.spec, forward.backends)
}

fn wanted(forwards: impl IntoIterator<Item = Forward>) -> Arc<Wanted> {
    let forwards = forwards.into_iter().map(Arc::new);
    Arc::new(Wanted {
        seq: 1,
        settings: tcpforward_protocol::snapshot::Settings::new(LocalTargets::Allow),
        forwards: forwards.map(|f| (f.name.clone(), f)).collect(),
        refused: Vec::new(),
    })
}

/// Name, generation in service, and where it listens.
fn in_service(serving: &Serving) -> Vec<(String, i64, String)> {
    let view = serving.view.read().unwrap();
    let rows = view.forwards.iter().map(|(name, row)| {
        let listeners: Vec<_> = row.listeners.iter().map(ToString::to_string).collect();
        let generation = serving.applied().serving[name].generation;
        (name.name().to_owned(), generation, listeners.join(" "))
    });
    rows.collect()
}

fn refused(serving: &Serving) -> Vec<(String, String)> {
    let refused = serving.applied().refused.into_iter();
    refused
        .map(|r| (r.forward.name().to_owned(), r.text))
        .collect()
}

fn row(name: &str, generation: i64, ip: &str, port: u16) -> (String, i64, String) {
    (name.to_owned(), generation, format!("{ip}:{port}"))
}

#[tokio::test]
async fn an_address_that_cannot_be_had_leaves_the_former_one_on_the_same_port() {
    let (mut serving, port) = (serving(), free_port());
    serving
        .apply(wanted([forward("f", 1, "0.0.0.0", port)]))
        .await;
    let expected = [row("f", 1, "0.0.0.0", port)];
    assert_eq!(in_service(&serving), expected);
    for _ in 0..2 {
        // The second time it is not even tried: too early.
        serving
            .apply(wanted([forward("f", 2, NOWHERE, port)]))
            .await;
        assert_eq!(in_service(&serving), expected);
        assert!(refused(&serving)[0].1.contains("listener.address"));
    }
}

#[tokio::test]
async fn a_wider_address_that_is_taken_leaves_the_former_one() {
    let mut serving = serving();
    let taken = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    serving
        .apply(wanted([forward("f", 1, "127.0.0.1", port)]))
        .await;
    for _ in 0..2 {
        serving
            .apply(wanted([forward("f", 2, "0.0.0.0", port)]))
            .await;
        assert_eq!(in_service(&serving), [row("f", 1, "127.0.0.1", port)]);
        assert!(refused(&serving)[0].1.contains("another program"));
    }
    drop(taken);
    let retried = async {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !serving.tick().await {
            pause.tick().await;
        }
    };
    timeout_at(Instant::now() + CLOSE_TIME * 10, retried)
        .await
        .expect("a retry");
    assert_eq!(in_service(&serving), [row("f", 2, "0.0.0.0", port)]);
}

#[tokio::test]
async fn a_swap_that_fails_half_way_is_taken_back() {
    let mut serving = serving();
    let taken = TcpListener::bind("127.0.0.2:0").unwrap();
    let (one, two) = (free_port(), taken.local_addr().unwrap().port());
    serving
        .apply(wanted([
            forward("a", 1, "127.0.0.1", one),
            forward("b", 1, "127.0.0.1", two),
        ]))
        .await;
    serving
        .apply(wanted([
            forward("a", 2, "0.0.0.0", two),
            forward("b", 2, "127.0.0.1", one),
        ]))
        .await;
    let expected = [row("a", 1, "127.0.0.1", one), row("b", 1, "127.0.0.1", two)];
    assert_eq!(in_service(&serving), expected);
    let refused = refused(&serving);
    assert!(refused[0].1.contains("another program"), "{refused:?}");
    assert!(refused[1].1.contains("the forward n/a"), "{refused:?}");
}

#[tokio::test]
async fn a_refused_forward_dials_the_backends_of_today() {
    let mut serving = serving();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two, three) = (free_port(), taken.local_addr().unwrap().port(), free_port());
    let with_backends = |forward: Forward, addresses: &[&str]| {
        let backends = addresses.iter().map(|a| samples::backend("t", a));
        Forward::new(forward.name, forward.spec, backends.collect())
    };
    let first = ["10.0.0.1:80"];
    serving
        .apply(wanted([
            with_backends(forward("conflict", 1, "127.0.0.1", one), &first),
            with_backends(forward("taken", 1, "127.0.0.1", three), &first),
        ]))
        .await;
    // One after the other wants a third one's port, or one that another program holds.
    for (generation, address) in [(2, "10.0.0.2:80"), (2, "10.0.0.3:80")] {
        serving
            .apply(wanted([
                with_backends(
                    forward("conflict", generation, "127.0.0.1", three),
                    &[address],
                ),
                with_backends(forward("taken", generation, "127.0.0.1", two), &[address]),
            ]))
            .await;
        let expected = [
            row("conflict", 1, "127.0.0.1", one),
            row("taken", 1, "127.0.0.1", three),
        ];
        assert_eq!(in_service(&serving), expected);
        for running in serving.running.values() {
            let backends = running.served.backends();
            let dialled: Vec<_> = backends.iter().map(|b| b.address.to_string()).collect();
            assert_eq!(dialled, [address]);
        }
        // Who waited for the port that was not given up hears who has it.
        let texts = refused(&serving);
        assert!(texts[0].1.contains("the forward n/taken"), "{texts:?}");
        assert!(texts[1].1.contains("another program"), "{texts:?}");
    }
}

#[tokio::test]
async fn what_is_no_failed_bind_is_not_tried_again() {
    let mut serving = serving();
    let (one, two) = (free_port(), free_port());
    serving.apply(wanted([forward("f", 1, NOWHERE, one)])).await;
    assert!(!serving.retries.is_due(Duration::ZERO));
    assert!(serving.retries.is_due(Duration::from_secs(60)));
    // Now it wants what another one has.
    let set = || {
        wanted([
            forward("a", 1, "127.0.0.1", two),
            forward("f", 2, "127.0.0.1", two),
        ])
    };
    serving.apply(set()).await;
    assert!(refused(&serving)[0].1.contains("the forward n/a"));
    assert!(!serving.retries.is_due(Duration::from_secs(60)));
    // The same again is no news.
    serving.shared.news.notified().await;
    serving.apply(set()).await;
    let news = tokio::time::timeout(Duration::ZERO, serving.shared.news.notified()).await;
    assert!(news.is_err());
}

#[tokio::test]
async fn another_place_is_taken_and_nothing_is_bound_anew() {
    let (mut serving, port) = (serving(), free_port());
    serving
        .apply(wanted([forward("f", 1, "127.0.0.1", port)]))
        .await;
    let place = Place {
        node: "n1".to_owned(),
        zone: "z1".to_owned(),
        share: Some(Share { index: 1, of: 3 }),
    };
    let before = Arc::clone(&serving.running.values().next().unwrap().served);
    assert!(!serving.set_place(place.clone()).await, "nothing to tell");
    assert_eq!(*before.active().terms.place, place);
    let after = &serving.running.values().next().unwrap().served;
    assert!(Arc::ptr_eq(&before, after) && serving.closing.is_empty());
}

/// So many ports in a row that nobody holds at the moment. Each test has an address of its own, from
/// which no other one connects: the port of a client would be in the way.
fn free_range(ip: &str, count: u16) -> u16 {
    let held = |port| TcpListener::bind((ip, port)).is_err();
    let mut port = free_port();
    while port > u16::MAX - count || (port..port + count).any(held) {
        port = free_port();
    }
    port
}

fn ranged(generation: i64, ip: &str, first: u16, last: u16) -> Forward {
    let mut forward = forward("f", generation, ip, first);
    forward.spec.listener.end_port = NonZeroU16::new(last);
    Forward::new(forward.name, forward.spec, forward.backends)
}

#[tokio::test]
async fn a_range_is_taken_as_a_whole_or_not_at_all() {
    const IP: &str = "127.7.7.1";
    let (mut serving, first) = (serving(), free_range(IP, 4));
    serving
        .apply(wanted([ranged(1, IP, first, first + 2)]))
        .await;
    let three = [first, first + 1, first + 2].map(|port| format!("{IP}:{port}"));
    let before = ("f".to_owned(), 1, three.join(" "));
    assert_eq!(in_service(&serving), std::slice::from_ref(&before));

    let taken = TcpListener::bind((IP, first + 3)).unwrap();
    let free = serving.shared.free_descriptors();
    serving
        .apply(wanted([ranged(2, IP, first + 1, first + 3)]))
        .await;
    assert_eq!(in_service(&serving), [before]);
    let (_, text) = refused(&serving).remove(0);
    let port = format!("{IP}:{}: another program", first + 3);
    assert!(text.contains(&port), "{text}");
    assert_eq!(serving.shared.free_descriptors(), free);
    drop(taken);

    serving.tick().await;
    let later = serving.start.elapsed() + Duration::from_secs(1);
    assert!(serving.retries.is_due(later));
}

#[tokio::test]
async fn of_a_range_that_changes_only_the_difference_is_touched() {
    const IP: &str = "127.7.7.2";
    let (mut serving, first) = (serving(), free_range(IP, 5));
    serving
        .apply(wanted([ranged(1, IP, first, first + 3)]))
        .await;
    let held = serving.shared.free_descriptors();
    serving
        .apply(wanted([ranged(2, IP, first + 1, first + 4)]))
        .await;
    assert_eq!(serving.closing.len(), 1, "one port was given up");
    let four = [1, 2, 3, 4].map(|n| format!("{IP}:{}", first + n));
    assert_eq!(in_service(&serving), [("f".to_owned(), 2, four.join(" "))]);
    let reported = serving.view.read().unwrap().report().listeners;
    assert_eq!(reported.len(), 4);
    serving.wait_for_closing().await;
    assert_eq!(serving.shared.free_descriptors(), held);
    drop(TcpListener::bind((IP, first)).unwrap());
    serving.apply(wanted([])).await;
    serving.wait_for_closing().await;
    drop(TcpListener::bind((IP, first + 4)).unwrap());
}

#[tokio::test]
async fn ranges_of_two_forwards_that_overlap_are_refused_by_name() {
    const IP: &str = "127.7.7.3";
    let (mut serving, first) = (serving(), free_range(IP, 4));
    let one = ranged(1, IP, first, first + 2);
    let mut other = ranged(1, IP, first + 2, first + 3);
    other.name = ForwardName::new("n", "g");
    serving.apply(wanted([one, other])).await;
    let (name, text) = refused(&serving).remove(0);
    let port = format!("{IP}:{} is taken by the forward n/f", first + 2);
    assert!(name == "g" && text.contains(&port), "{text}");
    drop(TcpListener::bind((IP, first + 3)).unwrap());
}

/// The only data plane, as an operator says.
fn whole() -> Place {
    Place {
        share: Some(Share::default()),
        ..Place::default()
    }
}

#[tokio::test]
async fn a_limit_that_descriptors_cannot_carry_is_refused_with_both_numbers() {
    let (mut serving, port) = (serving(), free_port());
    let limited = |generation, connections| {
        let mut forward = forward("f", generation, "127.0.0.1", port);
        forward.spec.listener.limits.connections = NonZeroU32::new(connections);
        let backends = vec![samples::backend("t", &format!("10.0.0.{generation}:80"))];
        Forward::new(forward.name, forward.spec, backends)
    };
    serving.set_place(whole()).await;
    serving.apply(wanted([limited(1, 100_000)])).await;
    assert_eq!(in_service(&serving), []);
    let text = &refused(&serving)[0].1;
    let start =
        "listener.limits.connections 100000 needs 200068 descriptors, this process may open 1000";
    assert!(text.starts_with(start), "{text}");

    serving.apply(wanted([limited(2, 400)])).await;
    assert_eq!(in_service(&serving), [row("f", 2, "127.0.0.1", port)]);
    assert_eq!(refused(&serving), []);
    // What runs goes on, with the backends of today.
    serving.apply(wanted([limited(3, 1000)])).await;
    assert_eq!(in_service(&serving), [row("f", 2, "127.0.0.1", port)]);
    assert_eq!(refused(&serving).len(), 1);
    let served = Arc::clone(&serving.running.values().next().unwrap().served);
    let limit = served.active().forward.spec.listener.limits.connections;
    assert_eq!(limit, NonZeroU32::new(400));
    assert_eq!(served.backends()[0].address, "10.0.0.3:80".parse().unwrap());

    // A third of it can be carried; what is taken stays when the others have gone.
    let third = Place {
        share: Some(Share { index: 0, of: 3 }),
        ..Place::default()
    };
    assert!(serving.set_place(third).await);
    for place in [None, Some(whole())] {
        if let Some(place) = place {
            serving.set_place(place).await;
        }
        assert_eq!(in_service(&serving), [row("f", 3, "127.0.0.1", port)]);
        assert_eq!(refused(&serving), []);
    }
}

#[tokio::test]
async fn tunnels_that_descriptors_cannot_carry_are_refused_as_well() {
    let (mut serving, port) = (serving(), free_port());
    let mut proxy = forward("f", 1, "127.0.0.1", port);
    let mut connect = tcpforward_protocol::testing::connect(Vec::new());
    connect.limits.tunnels = NonZeroU32::new(100_000);
    proxy.spec.connect = Some(connect);
    serving.set_place(whole()).await;
    serving.apply(wanted([proxy])).await;
    assert_eq!(in_service(&serving), []);
    let text = &refused(&serving)[0].1;
    assert!(
        text.starts_with("httpConnect.limits.tunnels 100000 needs 200068"),
        "{text}"
    );
}

#[tokio::test]
async fn a_share_that_nobody_told_yet_refuses_nothing() {
    let (mut serving, port) = (serving(), free_port());
    let mut large = forward("f", 1, "127.0.0.1", port);
    large.spec.listener.limits.connections = NonZeroU32::new(1000);
    serving.apply(wanted([large])).await;
    assert_eq!(refused(&serving), []);
    assert_eq!(in_service(&serving), [row("f", 1, "127.0.0.1", port)]);
}

#[tokio::test]
async fn the_end_of_the_process_is_no_removal_of_its_forwards() {
    for is_removed in [false, true] {
        let (mut serving, port) = (serving(), free_port());
        let mut forward = forward("f", 1, "127.0.0.1", port);
        forward.spec.relay.established_connections.on_removed = Fate::Close;
        serving.apply(wanted([forward])).await;
        let served = Arc::clone(&serving.running.values().next().unwrap().served);
        let ticket = served.sessions().enter(0, [127, 0, 0, 1].into());
        if is_removed {
            serving.apply(wanted([])).await;
        }
        serving.stop_all();
        serving.tend(Instant::now());
        let cut = tokio::time::timeout(Duration::ZERO, ticket.cut()).await;
        let expected = if is_removed {
            Ok(Ending::Removed)
        } else {
            Err(())
        };
        assert_eq!(cut.map_err(drop), expected);
    }
}
