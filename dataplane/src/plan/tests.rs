//! Who gets which address, and in which order.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ForwardName {
    ForwardName::new("n", text)
}

fn addresses(list: &[(&str, &str)]) -> Addresses {
    list.iter()
        .map(|(n, address)| (name(n), address.parse().unwrap()))
        .collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn check(running: &[(&str, &str)], wanted: &[(&str, &str)], steps: &[Step], lost: &[&str]) {
    let plan = plan(&addresses(running), &addresses(wanted), &[]);
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
            Step::Start(name("new"), address("[::]:3")),
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
            Step::Move(name("a"), address("[::]:2")),
            Step::Start(name("b"), address("[::]:1")),
        ],
        &[],
    );
    check(
        &[("a", "[::]:1")],
        &[("b", "[::]:1")],
        &[
            Step::Stop(name("a")),
            Step::Start(name("b"), address("[::]:1")),
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
            Step::Move(name("b"), address("[::]:1")),
            Step::Start(name("a"), address("[::]:2")),
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
            Step::Start(name("a"), address("127.0.0.1:1")),
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
        &[Step::Start(name("a"), address("[::]:1"))],
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
    let wanted = addresses(&[("a", "[::]:9905"), ("b", "[::]:9906")]);
    let plan = plan(&Addresses::new(), &wanted, &[reserved]);
    assert_eq!(plan.steps, [Step::Start(name("b"), address("[::]:9906"))]);
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

fn some() -> impl Strategy<Value = Addresses> {
    let entry = (
        "[a-f]",
        prop_oneof![Just("[::]"), Just("127.0.0.1"), Just("127.0.0.2")],
        1..5,
    );
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let address = |ip: &str, port: i32| format!("{ip}:{port}").parse().unwrap();
        entries
            .iter()
            .map(|(n, ip, port)| (name(n), address(ip, *port)))
            .collect()
    })
}

proptest! {
    #[test]
    fn steps_never_bind_what_is_held(first in some(), wanted in some()) {
        // What runs came out of a plan as well, so it holds no conflict.
        let start = plan(&Addresses::new(), &first, &[]);
        let running: Addresses =
            first.into_iter().filter(|(n, _)| !start.conflicts.contains_key(n)).collect();
        let plan = plan(&running, &wanted, &[]);
        let mut now = running;
        for step in plan.steps {
            match step {
                Step::Stop(n) | Step::Close(n) => prop_assert!(now.remove(&n).is_some()),
                Step::Update(n) => prop_assert_eq!(now.get(&n), wanted.get(&n)),
                Step::Start(n, a) | Step::Move(n, a) => {
                    prop_assert!(now.values().all(|b| !overlap(a, *b)));
                    now.insert(n, a);
                }
            }
        }
        for (name, address) in &wanted {
            prop_assert!(now.get(name) == Some(address) || plan.conflicts.contains_key(name));
        }
    }
}
