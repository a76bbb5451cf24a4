use tcpforward_protocol::answer::{
    BoundListener, DialError, FailingBackend, LeftOut, RefusalCode, ResolvedHost, ServedSpec,
    Serving, SessionCount,
};
use tcpforward_protocol::delta::Scope;
use tcpforward_protocol::proto;

use super::*;
use crate::push::fixtures::{forward, hello, snapshot};

fn name() -> ForwardName {
    ForwardName::new("n", "a")
}

fn serves(generation: i64) -> Applied {
    let hash = forward("a", generation).spec_hash;
    Applied {
        nonce: 0,
        version: Some(snapshot(&[("a", generation)]).version()),
        epoch: 0,
        scope: Scope::Full,
        serving: vec![Serving {
            forward: name(),
            spec: Some(ServedSpec { hash, generation }),
        }],
        refused: Vec::new(),
    }
}

fn refuses(generation: i64) -> Applied {
    Applied {
        serving: Vec::new(),
        refused: vec![Refusal {
            forward: name(),
            spec_hash: forward("a", generation).spec_hash,
            code: RefusalCode::BindFailed,
            text: "taken".to_owned(),
        }],
        ..serves(generation)
    }
}

#[test]
fn a_newcomer_counts_once_it_holds_a_set() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    assert_eq!(roster.accounts("default", &name()), []);
    roster.take_dirty();
    roster.applied(&seat, serves(1));
    let accounts = roster.accounts("default", &name());
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].serving.unwrap().generation, 1);
    let dirty = roster.take_dirty();
    assert!(dirty.pools.contains("default") && dirty.forwards.contains(&name()));
    assert_eq!(roster.take_dirty(), Dirty::default());
}

/// What the first answer on a stream says when nothing is held.
fn empty() -> Applied {
    Applied {
        version: None,
        serving: Vec::new(),
        ..serves(1)
    }
}

fn counted(roster: &Roster) -> Vec<Option<i64>> {
    let accounts = roster.accounts("default", &name()).into_iter();
    let generation = |account: Account| account.serving.map(|served| served.generation);
    accounts.map(generation).collect()
}

#[test]
fn a_hello_that_names_a_version_does_not_count_before_all_is_said() {
    let roster = Roster::default();
    let holds = serves(1).version;
    let seat = roster.join(&Hello {
        version: holds,
        ..hello("u")
    });
    assert_eq!(counted(&roster), []);
    roster.applied(&seat, serves(1));
    assert_eq!(counted(&roster), [Some(1)]);
}

#[test]
fn a_newcomer_says_that_it_serves_nothing_and_counts_after_its_first_set() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    roster.applied(&seat, empty());
    assert_eq!(counted(&roster), []);
    let first = Applied {
        scope: Scope::Change,
        ..serves(1)
    };
    roster.applied(&seat, first);
    assert_eq!(counted(&roster), [Some(1)]);
}

#[test]
fn a_newer_stream_starts_with_what_the_older_one_said() {
    let roster = Roster::default();
    let older = roster.join(&hello("u"));
    roster.applied(&older, serves(1));
    roster.take_dirty();
    let newer = roster.join(&hello("u"));
    assert_eq!(counted(&roster), [Some(1)]);
    assert_eq!(roster.take_dirty(), Dirty::default());
    roster.applied(&newer, empty());
    assert_eq!(counted(&roster), [], "another life, without its files");
    assert!(roster.take_dirty().pools.contains("default"));
}

#[test]
fn one_that_leaves_counts_for_a_while_and_is_then_forgotten() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    roster.applied(&seat, serves(1));
    roster.take_dirty();
    let left = now();
    roster.leave(&seat);
    assert_eq!(roster.sizes(), BTreeMap::new());
    roster.forget_departed(left + DEPARTED - Duration::from_millis(1));
    assert_eq!(counted(&roster), [Some(1)]);
    assert_eq!(roster.take_dirty(), Dirty::default());
    let news = roster.news();
    roster.forget_departed(now() + DEPARTED);
    assert_eq!(counted(&roster), []);
    assert!(roster.take_dirty().pools.contains("default"));
    assert!(news.has_changed().unwrap(), "nobody looks again");
}

#[test]
fn one_that_comes_back_in_time_was_never_away() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    roster.applied(&seat, serves(1));
    roster.leave(&seat);
    roster.take_dirty();
    let again = roster.join(&hello("u"));
    assert_eq!(counted(&roster), [Some(1)]);
    roster.forget_departed(now() + DEPARTED);
    roster.applied(&again, serves(1));
    assert_eq!(counted(&roster), [Some(1)]);
    assert_eq!(roster.take_dirty().pools, std::collections::BTreeSet::new());
}

#[test]
fn a_newer_stream_takes_the_place_and_the_older_one_can_not_give_it_back() {
    let roster = Roster::default();
    let older = roster.join(&hello("u"));
    let newer = roster.join(&hello("u"));
    assert!(older.replaced.is_cancelled() && !newer.replaced.is_cancelled());
    roster.leave(&older);
    assert_eq!(roster.sizes(), BTreeMap::from([("default".to_owned(), 1)]));
    assert_eq!(roster.applied(&older, refuses(1)), []);
    roster.leave(&newer);
    assert_eq!(roster.sizes(), BTreeMap::new());
}

#[test]
fn shares_follow_the_order_of_uids() {
    let roster = Roster::default();
    let b = roster.join(&hello("b"));
    let a = roster.join(&hello("a"));
    assert_eq!(roster.share(&b), proto::Share { index: 1, of: 2 });
    roster.leave(&a);
    assert_eq!(roster.share(&b), proto::Share { index: 0, of: 1 });
}

#[test]
fn a_refusal_is_news_once_for_each_spec() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    assert_eq!(roster.applied(&seat, refuses(1)).len(), 1);
    assert_eq!(roster.applied(&seat, refuses(1)).len(), 0);
    assert_eq!(roster.applied(&seat, refuses(2)).len(), 1);
    roster.take_dirty();
    assert_eq!(roster.applied(&seat, serves(2)).len(), 0);
    assert!(roster.take_dirty().forwards.contains(&name()));
    assert_eq!(roster.accounts("default", &name())[0].refused, None);
}

#[test]
fn a_full_answer_forgets_what_was_served_before() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    roster.applied(&seat, serves(1));
    let nothing = Applied {
        serving: Vec::new(),
        ..serves(1)
    };
    roster.take_dirty();
    roster.applied(&seat, nothing);
    assert_eq!(roster.accounts("default", &name())[0].serving, None);
    assert!(roster.take_dirty().forwards.contains(&name()));
}

#[test]
fn no_data_plane_fills_the_memory_or_overflows_a_sum() {
    let roster = Roster::default();
    let seats = ["u", "v"].map(|uid| roster.join(&hello(uid)));
    for seat in &seats {
        roster.applied(seat, serves(1));
        let failing = FailingBackend {
            forward: name(),
            target: "t".to_owned(),
            address: "10.0.0.1:80".parse().unwrap(),
            reason: DialError::Timeout,
            message: "no answer".to_owned(),
            since_ms: 1,
            left_out: LeftOut::No,
        };
        let listener = BoundListener {
            forward: name(),
            address: "127.0.0.1:8888".parse().unwrap(),
        };
        let count = SessionCount {
            forward: name(),
            open: u64::MAX,
            total: 1,
        };
        let report = Report {
            failing: vec![failing; FAILING_BACKENDS + 1],
            listeners: vec![listener; ENTRIES + 1],
            sessions: vec![count],
            hosts: vec![],
        };
        roster.report(seat, report);
    }
    let account = &roster.accounts("default", &name())[0];
    assert_eq!(account.failing.len(), FAILING_BACKENDS);
    assert_eq!(account.listeners.len(), ENTRIES);
    assert_eq!(roster.sessions("default", &name()), (u64::MAX, 2));
}

#[test]
fn a_report_marks_only_what_changed() {
    let roster = Roster::default();
    let seat = roster.join(&hello("u"));
    roster.applied(&seat, serves(1));
    let report = Report {
        failing: vec![FailingBackend {
            forward: name(),
            target: "t".to_owned(),
            address: "10.0.0.1:80".parse().unwrap(),
            reason: DialError::Timeout,
            message: "no answer".to_owned(),
            since_ms: 1,
            left_out: LeftOut::No,
        }],
        listeners: vec![BoundListener {
            forward: name(),
            address: "127.0.0.1:8888".parse().unwrap(),
        }],
        sessions: vec![SessionCount {
            forward: name(),
            open: 2,
            total: 3,
        }],
        hosts: vec![],
    };
    roster.take_dirty();
    roster.report(&seat, report.clone());
    assert!(roster.take_dirty().forwards.contains(&name()));
    roster.report(&seat, report.clone());
    assert_eq!(roster.take_dirty(), Dirty::default());
    let hosts = vec![ResolvedHost {
        forward: name(),
        target: "t".to_owned(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        error: None,
    }];
    roster.report(&seat, Report { hosts, ..report });
    assert!(roster.take_dirty().forwards.contains(&name()));
    assert_eq!(roster.accounts("default", &name())[0].hosts.len(), 1);
    assert_eq!(roster.sessions("default", &name()), (2, 3));
    assert_eq!(roster.accounts("default", &name())[0].listeners.len(), 1);
}
