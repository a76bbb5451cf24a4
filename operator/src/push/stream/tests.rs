use std::sync::Arc;

use tcpforward_protocol::snapshot::Snapshot;

use super::*;
use crate::lease::now;
use crate::push::fixtures::{hello, snapshot};

fn world(forwards: &[(&str, i64)]) -> World {
    World {
        operator: "op".to_owned(),
        wanted: Wanted::new(snapshot(forwards)),
        zone: "z".to_owned(),
        lease: Lease::Fresh { epoch: 5 },
        share: proto::Share { index: 0, of: 1 },
    }
}

fn applied(nonce: u64, version: Option<Version>, epoch: u64) -> Applied {
    Applied {
        nonce,
        version,
        epoch,
        scope: Scope::Change,
        serving: Vec::new(),
        refused: Vec::new(),
    }
}

/// The words of what is said, in order: easy to compare whole.
fn words(outgoing: &Outgoing) -> Vec<String> {
    let word = |message: &Message| match message {
        Message::Welcome(w) => format!("welcome {} {} {}", w.node, w.zone, w.epoch),
        Message::Share(s) => format!("share {}/{}", s.index, s.of),
        Message::Update(u) => {
            let scope = if u.full { "full" } else { "delta" };
            let mut names: Vec<_> = u.upserts.iter().map(|f| f.name.as_str()).collect();
            names.sort_unstable();
            format!(
                "{scope} {} +{} -{}",
                u.nonce,
                names.join(","),
                u.removals.join(",")
            )
        }
    };
    outgoing.messages.iter().map(word).collect()
}

fn next(stream: &mut Stream, world: &World) -> Vec<String> {
    words(&stream.next(world, now()).unwrap())
}

/// A stream whose data plane has applied all of `world`.
fn settled(world: &World) -> Stream {
    let mut stream = Stream::new(hello("u"));
    next(&mut stream, world);
    let ack = applied(1, Some(world.wanted.version), world.lease.pushes());
    assert!(stream.answered(&ack, now()).unwrap().is_some());
    assert!(next(&mut stream, world).is_empty());
    stream
}

#[test]
fn an_empty_data_plane_gets_everything_then_only_what_changed() {
    let first = world(&[("a", 1), ("b", 1)]);
    let mut stream = Stream::new(hello("u"));
    let said = next(&mut stream, &first);
    assert_eq!(
        said,
        ["welcome node-1 z 5", "share 0/1", "full 1 +n/a,n/b -"]
    );
    assert!(next(&mut stream, &first).is_empty(), "said twice");
    let ack = applied(1, Some(first.wanted.version), 5);
    assert!(stream.answered(&ack, now()).unwrap().is_some());
    let second = world(&[("a", 2), ("c", 1)]);
    assert_eq!(next(&mut stream, &second), ["delta 2 +n/a,n/c -n/b"]);
}

#[test]
fn one_update_is_in_flight_and_what_comes_meanwhile_is_joined() {
    let mut stream = settled(&world(&[("a", 1)]));
    let second = world(&[("a", 2)]);
    assert_eq!(next(&mut stream, &second), ["delta 2 +n/a -"]);
    assert!(next(&mut stream, &world(&[("a", 3)])).is_empty());
    let fourth = world(&[("a", 3), ("b", 1)]);
    assert!(next(&mut stream, &fourth).is_empty());
    let ack = applied(2, Some(second.wanted.version), 5);
    stream.answered(&ack, now()).unwrap();
    assert_eq!(next(&mut stream, &fourth), ["delta 3 +n/a,n/b -"]);
}

#[test]
fn a_data_plane_that_holds_the_wanted_set_gets_nothing_and_then_a_delta() {
    let wanted = world(&[("a", 1)]);
    let mut stream = Stream::new(Hello {
        version: Some(wanted.wanted.version),
        epoch: 5,
        ..hello("u")
    });
    assert_eq!(
        next(&mut stream, &wanted),
        ["welcome node-1 z 5", "share 0/1"]
    );
    assert_eq!(
        next(&mut stream, &world(&[("b", 1)])),
        ["delta 1 +n/b -n/a"]
    );
}

#[test]
fn a_data_plane_that_holds_an_unknown_set_gets_everything_after_a_while() {
    let start = now();
    let (mut stream, wanted) = (holding("x"), world(&[("a", 1)]));
    let mut at = |millis| {
        let time = start + Duration::from_millis(millis);
        words(&stream.next(&wanted, time).unwrap())
    };
    assert_eq!(at(0), ["welcome node-1 z 5", "share 0/1"]);
    assert!(at(1_999).is_empty());
    assert_eq!(at(2_000), ["full 1 +n/a -"]);
}

/// The source of a data plane that holds one forward.
fn holding(name: &str) -> Stream {
    Stream::new(Hello {
        version: Some(world(&[(name, 1)]).wanted.version),
        epoch: 5,
        ..hello("u")
    })
}

#[test]
fn a_replica_that_is_behind_catches_up_and_says_nothing_old() {
    let mut stream = holding("new");
    let start = now();
    let said = stream.next(&world(&[("old", 1)]), start).unwrap();
    assert_eq!(words(&said), ["welcome node-1 z 5", "share 0/1"]);
    assert_eq!(stream.deadline(), Some(start + SETTLE));
    assert!(next(&mut stream, &world(&[("new", 1)])).is_empty());
    assert_eq!(stream.deadline(), None, "nothing is waited for any more");
    let more = world(&[("new", 2)]);
    assert_eq!(next(&mut stream, &more), ["delta 1 +n/new -"]);
}

#[test]
fn a_replica_that_is_ahead_says_so_at_once() {
    let mut stream = holding("old");
    let mut wanted = world(&[("new", 1)]);
    wanted.wanted = wanted.wanted.after(&world(&[("old", 1)]).wanted);
    let said = next(&mut stream, &wanted);
    assert_eq!(said.last().unwrap(), "full 1 +n/new -");
}

#[test]
fn who_has_no_peers_waits_for_nobody() {
    let mut stream = Stream::new(Hello {
        epoch: 0,
        ..holding("x").hello
    });
    let alone = World {
        lease: Lease::Fresh { epoch: 0 },
        ..world(&[("a", 1)])
    };
    assert_eq!(next(&mut stream, &alone).last().unwrap(), "full 1 +n/a -");
}

#[test]
fn a_stream_that_is_not_the_source_is_welcomed_only() {
    let wanted = world(&[("a", 1)]);
    let mut stream = Stream::new(Hello {
        source: Source::Listening,
        ..hello("u")
    });
    assert_eq!(next(&mut stream, &wanted), ["welcome node-1 z 5"]);
    stream.greeted(hello("u")).unwrap();
    assert_eq!(next(&mut stream, &wanted), ["share 0/1", "full 1 +n/a -"]);
}

#[test]
fn an_answer_to_an_update_before_the_source_changed_does_not_count() {
    let wanted = world(&[("a", 1)]);
    let mut stream = Stream::new(hello("u"));
    next(&mut stream, &wanted);
    let listening = Hello {
        source: Source::Listening,
        ..hello("u")
    };
    stream.greeted(listening).unwrap();
    stream.greeted(hello("u")).unwrap();
    assert_eq!(next(&mut stream, &wanted), ["full 2 +n/a -"]);
    let late = applied(1, Some(wanted.wanted.version), 5);
    assert_eq!(stream.answered(&late, now()).unwrap(), None);
    assert!(stream.deadline().is_some(), "taken for delivered");
}

#[test]
fn silence_ends_the_stream() {
    let wanted = world(&[("a", 1)]);
    let mut stream = Stream::new(hello("u"));
    let start = now();
    stream.next(&wanted, start).unwrap();
    assert_eq!(stream.deadline(), Some(start + ACK_TIMEOUT));
    let before = start + Duration::from_millis(29_999);
    assert_eq!(stream.next(&wanted, before), Ok(Outgoing::default()));
    let close = stream.next(&wanted, start + ACK_TIMEOUT);
    assert_eq!(close, Err(Close::NoAnswer { nonce: 1 }));
}

#[test]
fn another_content_ends_the_stream() {
    let wanted = world(&[("a", 1)]);
    let mut stream = Stream::new(hello("u"));
    next(&mut stream, &wanted);
    let close = stream.answered(&applied(1, None, 5), now());
    assert!(matches!(close, Err(Close::OtherContent { nonce: 1, .. })));
}

fn stale(forwards: &[(&str, i64)]) -> World {
    World {
        lease: Lease::Stale,
        ..world(forwards)
    }
}

#[test]
fn a_stale_replica_sends_only_a_first_full_set() {
    let wanted = stale(&[("a", 1)]);
    let mut holding = Stream::new(Hello {
        version: Some(world(&[("x", 1)]).wanted.version),
        ..hello("u")
    });
    assert_eq!(
        next(&mut holding, &wanted),
        ["welcome node-1 z 0", "share 0/1"]
    );
    let mut empty = settled(&wanted);
    assert!(next(&mut empty, &stale(&[("a", 2)])).is_empty());
    assert_eq!(
        next(&mut empty, &world(&[("a", 2)])),
        ["welcome node-1 z 5", "delta 2 +n/a -"]
    );
}

#[test]
fn a_replica_that_turns_stale_says_so_and_is_welcome_again_later() {
    let mut stream = settled(&world(&[("a", 1)]));
    assert_eq!(
        next(&mut stream, &stale(&[("a", 2)])),
        ["welcome node-1 z 0"]
    );
    assert!(next(&mut stream, &stale(&[("a", 3)])).is_empty());
    assert_eq!(
        next(&mut stream, &world(&[("a", 3)])),
        ["welcome node-1 z 5", "delta 2 +n/a -"]
    );
}

#[test]
fn a_stale_replicas_first_set_makes_the_data_plane_prefer_any_fresh_one() {
    let mut stream = Stream::new(hello("u"));
    let said = stream.next(&stale(&[("a", 1)]), now()).unwrap().messages;
    let epochs = said.iter().filter_map(|message| match message {
        Message::Welcome(welcome) => Some(welcome.epoch),
        Message::Update(update) => Some(update.epoch),
        Message::Share(_) => None,
    });
    assert_eq!(epochs.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_stale_replica_has_nothing_for_a_data_plane_that_distrusts_what_it_holds() {
    let mut stream = Stream::new(Hello {
        version: None,
        epoch: 4,
        ..hello("u")
    });
    assert_eq!(
        next(&mut stream, &stale(&[("a", 1)])),
        ["welcome node-1 z 0", "share 0/1"]
    );
    assert_eq!(
        next(&mut stream, &world(&[("a", 1)])),
        ["welcome node-1 z 5", "full 1 +n/a -"]
    );
}

#[test]
fn a_replica_behind_the_data_planes_epoch_waits_until_it_has_caught_up() {
    let behind = world(&[("a", 1)]);
    let mut stream = Stream::new(Hello {
        version: Some(world(&[("x", 1)]).wanted.version),
        epoch: 6,
        ..hello("u")
    });
    assert_eq!(
        next(&mut stream, &behind),
        ["welcome node-1 z 5", "share 0/1"]
    );
    let caught_up = World {
        lease: Lease::Fresh { epoch: 6 },
        ..behind
    };
    assert_eq!(next(&mut stream, &caught_up), ["welcome node-1 z 6"]);
    let later = stream.next(&caught_up, now() + SETTLE).unwrap();
    assert_eq!(words(&later), ["full 1 +n/a -"]);
}

#[test]
fn an_update_refused_as_stale_keeps_the_stream() {
    let mut stream = settled(&world(&[("a", 1)]));
    let held = world(&[("a", 1)]).wanted.version;
    next(&mut stream, &world(&[("a", 2)]));
    let refused = applied(2, Some(held), 9);
    assert_eq!(stream.answered(&refused, now()).unwrap(), None);
    assert!(next(&mut stream, &world(&[("a", 2)])).is_empty());
}

#[test]
fn a_hello_can_not_change_who_is_there() {
    let mut stream = Stream::new(hello("u"));
    let close = stream.greeted(hello("v"));
    assert_eq!(close, Err(Close::OtherIdentity { field: "pod" }));
}

mod any_order {
    use proptest::prelude::*;

    use super::*;

    /// A data plane as the protocol says, that loses streams whenever the test says so.
    #[derive(Default)]
    struct Peer {
        held: std::collections::BTreeMap<String, i64>,
        gathered: Vec<proto::Update>,
        version: Option<Version>,
        epoch: u64,
        waiting: Vec<u64>,
    }

    impl Peer {
        fn take(&mut self, messages: Vec<Message>) {
            for message in messages {
                let Message::Update(update) = message else {
                    continue;
                };
                let last = update.last;
                self.gathered.push(update);
                if last {
                    self.apply();
                }
            }
        }

        fn apply(&mut self) {
            for update in std::mem::take(&mut self.gathered) {
                if update.full {
                    self.held.clear();
                }
                for forward in update.upserts {
                    self.held
                        .insert(forward.name, forward.spec.unwrap().generation);
                }
                for gone in update.removals {
                    self.held.remove(&gone);
                }
                self.version = Some(Version::try_from(update.version.as_slice()).unwrap());
                self.epoch = update.epoch;
                self.waiting.push(update.nonce);
            }
        }
    }

    proptest! {
        /// Whatever is changed, answered late or cut off: in the end the peer holds the world.
        #[test]
        fn the_peer_ends_up_with_the_wanted_set(steps in prop::collection::vec((0..4_u8, 0..5_u8, 1..4_i64), 1..60)) {
            let mut wanted = std::collections::BTreeMap::new();
            let mut peer = Peer::default();
            let mut stream = Stream::new(hello("u"));
            let world_of = |wanted: &std::collections::BTreeMap<u8, i64>| {
                let names: Vec<_> = wanted.iter().map(|(n, g)| (n.to_string(), *g)).collect();
                let list: Vec<_> = names.iter().map(|(n, g)| (n.as_str(), *g)).collect();
                world(&list)
            };
            let settle = |stream: &mut Stream, peer: &mut Peer| {
                for nonce in std::mem::take(&mut peer.waiting) {
                    stream.answered(&applied(nonce, peer.version, peer.epoch), now()).unwrap();
                }
            };
            let mut time = now();
            for (kind, name, generation) in steps {
                match kind {
                    0 => { wanted.insert(name, generation); }
                    1 => { wanted.remove(&name); }
                    2 => {
                        time += SETTLE;
                        settle(&mut stream, &mut peer);
                    }
                    _ => {
                        peer.gathered.clear();
                        peer.waiting.clear();
                        stream = Stream::new(Hello { version: peer.version, epoch: peer.epoch, ..hello("u") });
                    }
                }
                let out = stream.next(&world_of(&wanted), time).unwrap();
                peer.take(out.messages);
            }
            for _ in 0..4 {
                settle(&mut stream, &mut peer);
                time += SETTLE;
                let out = stream.next(&world_of(&wanted), time).unwrap();
                peer.take(out.messages);
            }
            prop_assert_eq!(peer.version, Some(world_of(&wanted).wanted.version));
            let names: Vec<_> = wanted.iter().map(|(n, g)| (format!("n/{n}"), *g)).collect();
            prop_assert_eq!(peer.held.into_iter().collect::<Vec<_>>(), names);
        }
    }
}

#[test]
fn a_data_plane_that_can_t_protect_networks_gets_none_to_protect() {
    let mut world = world(&[("a", 1)]);
    let mut protecting = Snapshot::clone(&world.wanted.snapshot);
    protecting.set_settings(tcpforward_protocol::snapshot::Settings {
        protected: Protected::new(["10.96.0.0/16".parse().unwrap()]),
        ..protecting.settings().clone()
    });
    let mut old = settled(&world);
    world.wanted = Wanted::new(Arc::new(protecting));
    assert_eq!(old.next(&world, now()), Err(Close::Outdated));
    let mut hello = hello("u");
    hello.features = vec![feature::PROTECTED_RANGES.to_owned()];
    let mut new = Stream::new(hello);
    let said = next(&mut new, &world);
    assert_eq!(said.last().map(String::as_str), Some("full 1 +n/a -"));
    assert!(!new.holds_all_of(&world));
    let ack = applied(1, Some(world.wanted.version), 5);
    assert!(new.answered(&ack, now()).unwrap().is_some());
    assert!(new.holds_all_of(&world));
}
