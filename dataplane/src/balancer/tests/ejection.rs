//! How many may be ejected, and that each one's time comes.

use std::num::NonZeroU32;

use tcpforward_protocol::answer::LeftOut;
use tcpforward_protocol::snapshot::TakesNew;

use super::rig::{Rig, failure};
use super::*;

fn rig(backends: u16) -> Rig {
    Rig::new(&[(1, 0, backends)], |relay| {
        let passive = super::health::passive();
        relay.health_check.passive = passive;
        relay.health_check.passive.consecutive_early_resets = NonZeroU32::new(3);
    })
}

fn is_ejected(rig: &Rig, name: &str) -> bool {
    rig.find(name).left_out() == LeftOut::Ejected
}

fn standing(rig: &Rig, name: &str) -> Standing {
    let id = rig.balancer.id(&rig.find(name)).unwrap();
    rig.balancer.entries[id].health.standing()
}

#[test]
fn a_trial_that_never_answers_is_over_with_time() {
    let mut rig = rig(3);
    for _ in 0..3 {
        let _ = rig.observe("t0:1", Outcome::EarlyReset(failure()));
    }
    assert!(is_ejected(&rig, "t0:1"));
    let _ = rig.after(67.0);
    let _ = rig.reached("t0:1", 1);
    let _ = rig.after(59.0);
    assert_eq!(standing(&rig, "t0:1"), Standing::Probation);
    assert_eq!(rig.after(2.0), Observed::Changed);
    assert_eq!(standing(&rig, "t0:1"), Standing::Usable);
}

#[test]
fn one_that_left_makes_room_for_another() {
    let mut rig = rig(3);
    rig.fails("t0:1", 3);
    rig.edit(|f| f.backends[0].takes_new = TakesNew::No);
    let _ = rig.after(20.0);
    rig.fails("t0:2", 3);
    assert!(is_ejected(&rig, "t0:2"));
    // It is back before its time: there are two, and the later one stays out.
    rig.edit(|f| f.backends[0].takes_new = TakesNew::Yes);
    assert!(!is_ejected(&rig, "t0:1"));
    assert!(is_ejected(&rig, "t0:2"));
}

#[test]
fn who_takes_no_new_sessions_is_not_ejected_for_late_failures() {
    let mut rig = rig(3);
    rig.edit(|f| f.backends[0].takes_new = TakesNew::No);
    rig.fails("t0:1", 5);
    assert!(!is_ejected(&rig, "t0:1"));
    rig.fails("t0:2", 3);
    assert!(is_ejected(&rig, "t0:2"));
}
