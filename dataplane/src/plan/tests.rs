//! Who gets which address, and in which order.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ForwardName {
    ForwardName::new("n", text)
}

/// `ip:port`, or `ip:first-last`.
fn range(text: &str) -> Addresses {
    let (first, last) = text.split_once('-').unwrap_or((text, ""));
    let first = address(first);
    let last = last.parse().unwrap_or_else(|_| first.port());
    let ports = first.port()..=last;
    ports
        .map(|port| SocketAddr::new(first.ip(), port))
        .collect()
}

fn by_forward(list: &[(&str, &str)]) -> ByForward {
    list.iter()
        .map(|(n, addresses)| (name(n), range(addresses)))
        .collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn check(running: &[(&str, &str)], wanted: &[(&str, &str)], steps: &[Step], lost: &[&str]) {
    let plan = plan(&by_forward(running), &by_forward(wanted), &[]);
    assert_eq!(plan.steps, steps);
    let conflicts: Vec<_> = plan.conflicts.keys().map(ForwardName::name).collect();
    assert_eq!(conflicts, lost);
}

#[test]
fn forwards_start_update_and_stop() {
    check(
        &[("gone", "[::]:1"), ("same", "[::]:2")],
        &[("new", "[::]:3"), ("same", "[::]:2")],
        &[
            Step::Stop(name("gone")),
            Step::Update(name("same")),
            Step::Start(name("new"), range("[::]:3")),
        ],
        &[],
    );
}

#[test]
fn an_address_can_be_handed_on() {
    check(
        &[("a", "[::]:1")],
        &[("a", "[::]:2"), ("b", "[::]:1")],
        &[
            Step::Move(name("a"), range("[::]:2")),
            Step::Start(name("b"), range("[::]:1")),
        ],
        &[],
    );
    check(
        &[("a", "[::]:1")],
        &[("b", "[::]:1")],
        &[
            Step::Stop(name("a")),
            Step::Start(name("b"), range("[::]:1")),
        ],
        &[],
    );
}

#[test]
fn two_can_swap() {
    check(
        &[("a", "[::]:1"), ("b", "[::]:2")],
        &[("a", "[::]:2"), ("b", "[::]:1")],
        &[
            Step::Close(name("a")),
            Step::Move(name("b"), range("[::]:1")),
            Step::Start(name("a"), range("[::]:2")),
        ],
        &[],
    );
}

#[test]
fn a_listener_that_narrows_its_address_has_to_let_go_first() {
    check(
        &[("a", "[::]:1")],
        &[("a", "127.0.0.1:1")],
        &[
            Step::Close(name("a")),
            Step::Start(name("a"), range("127.0.0.1:1")),
        ],
        &[],
    );
}

#[test]
fn who_runs_there_keeps_it_else_the_first_name_wins() {
    check(
        &[("z", "[::]:1")],
        &[("a", "[::]:1"), ("z", "[::]:1")],
        &[Step::Update(name("z"))],
        &["a"],
    );
    check(
        &[],
        &[("a", "[::]:1"), ("z", "127.0.0.1:1")],
        &[Step::Start(name("a"), range("[::]:1"))],
        &["z"],
    );
}

#[test]
fn a_refused_move_keeps_the_old_address_from_others() {
    check(
        &[("a", "[::]:1"), ("c", "[::]:3")],
        &[("a", "[::]:3"), ("b", "[::]:1"), ("c", "[::]:3")],
        &[Step::Update(name("c"))],
        &["a", "b"],
    );
}

#[test]
fn the_programs_own_addresses_are_refused_by_name() {
    let reserved = Reserved {
        holder: "--admin",
        address: address("127.0.0.1:9905"),
    };
    let wanted = by_forward(&[("a", "[::]:9905"), ("b", "[::]:9906")]);
    let plan = plan(&ByForward::new(), &wanted, &[reserved]);
    assert_eq!(plan.steps, [Step::Start(name("b"), range("[::]:9906"))]);
    let text = plan.conflicts[&name("a")].to_string();
    assert!(
        text.contains("--admin") && text.contains("listener.port"),
        "{text}"
    );
}

#[test]
fn addresses_overlap_as_the_kernel_sees_it() {
    let cases = [
        ("[::]:1", "0.0.0.0:1", true),
        ("[::]:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "[::1]:1", false),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("[::]:1", "[::]:2", false),
        ("[::1]:1", "[::]:1", true),
    ];
    for (one, other, expected) in cases {
        assert_eq!(
            overlap(address(one), address(other)),
            expected,
            "{one} {other}"
        );
    }
}

#[test]
fn a_range_that_changes_rebinds_only_what_differs() {
    check(
        &[("a", "[::]:10-19"), ("b", "[::]:20-21")],
        &[("a", "[::]:12-22"), ("b", "[::]:30")],
        &[
            Step::Move(name("b"), range("[::]:30")),
            Step::Move(name("a"), range("[::]:12-22")),
        ],
        &[],
    );
    check(
        &[("a", "[::]:10-19")],
        &[("a", "[::]:10-20")],
        &[Step::Start(name("a"), range("[::]:10-20"))],
        &[],
    );
    check(
        &[("a", "[::]:10-19")],
        &[("a", "[::]:10-12")],
        &[Step::Move(name("a"), range("[::]:10-12"))],
        &[],
    );
}

#[test]
fn ranges_that_hand_ports_on_in_a_circle_can() {
    check(
        &[("a", "[::]:1-3"), ("b", "[::]:4-5")],
        &[("a", "[::]:3-4"), ("b", "[::]:1-2")],
        &[
            Step::Close(name("a")),
            Step::Move(name("b"), range("[::]:1-2")),
            Step::Start(name("a"), range("[::]:3-4")),
        ],
        &[],
    );
}

#[test]
fn one_port_of_a_range_that_another_has_refuses_it_whole() {
    let wanted = by_forward(&[("a", "[::]:10-19"), ("z", "127.0.0.1:15")]);
    let running = by_forward(&[("z", "127.0.0.1:15")]);
    let plan = plan(&running, &wanted, &[]);
    assert_eq!(plan.steps, [Step::Update(name("z"))]);
    assert_eq!(
        plan.conflicts[&name("a")],
        Conflict::Forward {
            address: address("[::]:15"),
            winner: name("z")
        }
    );
}

#[test]
fn who_loses_to_a_forward_that_is_refused_itself_is_not_refused() {
    // `a` would have 5, but not 6, where `x` stays because of 9.
    let reserved = Reserved {
        holder: "--admin",
        address: address("[::]:9"),
    };
    let running = by_forward(&[("x", "[::]:6")]);
    let wanted = by_forward(&[("a", "[::]:5-6"), ("b", "[::]:5"), ("x", "[::]:9")]);
    let plan = plan(&running, &wanted, &[reserved]);
    assert_eq!(plan.steps, [Step::Start(name("b"), range("[::]:5"))]);
    let refused: Vec<_> = plan.conflicts.keys().map(ForwardName::name).collect();
    assert_eq!(refused, ["a", "x"]);
}

fn some() -> impl Strategy<Value = ByForward> {
    let ip = prop_oneof![Just("[::]"), Just("127.0.0.1"), Just("127.0.0.2")];
    let entry = ("[a-f]", ip, 1..8_u16, 0..4_u16);
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let range = |ip: &str, port, more| range(&format!("{ip}:{port}-{}", port + more));
        entries
            .iter()
            .map(|(n, ip, port, more)| (name(n), range(ip, *port, *more)))
            .collect()
    })
}

proptest! {
    #[test]
    fn steps_never_bind_what_is_held(first in some(), wanted in some()) {
        // What runs came out of a plan as well, so it holds no conflict.
        let start = plan(&ByForward::new(), &first, &[]);
        let running: ByForward =
            first.into_iter().filter(|(n, _)| !start.conflicts.contains_key(n)).collect();
        let plan = plan(&running, &wanted, &[]);
        let mut now = running;
        for step in plan.steps {
            match step {
                Step::Stop(n) => prop_assert!(now.remove(&n).is_some()),
                Step::Close(n) => {
                    let addresses = now.get_mut(&n).unwrap();
                    let before = addresses.len();
                    addresses.retain(|a| wanted[&n].contains(a));
                    prop_assert!(addresses.len() < before);
                }
                Step::Update(n) => prop_assert_eq!(now.get(&n), wanted.get(&n)),
                Step::Start(n, addresses) | Step::Move(n, addresses) => {
                    let own = now.remove(&n).unwrap_or_default();
                    for new in addresses.difference(&own) {
                        let mut held = now.values().flatten().chain(&own);
                        prop_assert!(held.all(|held| !overlap(*new, *held)));
                    }
                    now.insert(n, addresses);
                }
            }
        }
        for (name, addresses) in &wanted {
            prop_assert!(now.get(name) == Some(addresses) || plan.conflicts.contains_key(name));
        }
        // Nobody is refused for nothing.
        for (name, conflict) in &plan.conflicts {
            let Conflict::Forward { address, winner } = conflict else { continue };
            prop_assert!(winner != name && now[winner].iter().any(|a| overlap(*a, *address)));
        }
    }
}
