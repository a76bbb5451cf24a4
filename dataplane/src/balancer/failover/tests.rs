//! Shares of the priorities, event by event.

use super::*;

/// (total, usable, probation) of each priority.
type Strengths<'a> = &'a [(usize, usize, usize)];

struct Rig {
    failover: Failover,
    rule: snapshot::Failover,
    start: Instant,
}

impl Rig {
    fn new(min_healthy_percent: Option<u8>, failback: Failback) -> Self {
        Self {
            failover: Failover::default(),
            rule: snapshot::Failover {
                min_healthy_percent,
                failback,
            },
            start: tokio::time::Instant::now().into_std(),
        }
    }

    /// Shares in percent at that second.
    fn shares(&mut self, second: u64, strengths: Strengths<'_>) -> Vec<u32> {
        let strengths: Vec<_> = (0..)
            .zip(strengths)
            .map(|(number, &(total, usable, probation))| Strength {
                number,
                total,
                usable,
                available: usable + probation,
                desperate: 0,
            })
            .collect();
        let now = self.start + Duration::from_secs(second);
        self.failover.update(&strengths, &self.rule, now);
        let percent = |l: &Level| (100.0 * l.share).round() as u32;
        self.failover.levels.iter().map(percent).collect()
    }

    fn failed_back(&self) -> Vec<bool> {
        let levels = self.failover.levels.iter();
        levels.map(Level::is_failed_back).collect()
    }
}

#[test]
fn one_that_can_be_used_keeps_all() {
    let mut rig = Rig::new(None, Failback::Immediate);
    assert_eq!(rig.shares(0, &[(4, 4, 0), (4, 4, 0)]), [100, 0]);
    assert_eq!(rig.shares(1, &[(4, 1, 0), (4, 4, 0)]), [100, 0]);
    assert_eq!(rig.shares(2, &[(4, 0, 0), (4, 4, 0)]), [0, 100]);
    assert_eq!(rig.shares(3, &[(4, 0, 0), (4, 0, 0)]), [0, 0]);
    assert_eq!(rig.shares(4, &[(4, 1, 0), (4, 4, 0)]), [100, 0]);
}

#[test]
fn below_the_minimum_a_part_stays() {
    let mut rig = Rig::new(Some(50), Failback::Immediate);
    assert_eq!(rig.shares(0, &[(4, 2, 0), (4, 4, 0)]), [100, 0]);
    assert_eq!(rig.shares(0, &[(4, 1, 0), (4, 4, 0)]), [50, 50]);
    assert_eq!(rig.shares(0, &[(8, 1, 0), (4, 4, 0)]), [25, 75]);
    // What a priority leaves is split by the next one in the same way.
    let three = [(4, 1, 0), (4, 1, 0), (4, 4, 0)];
    assert_eq!(rig.shares(0, &three), [50, 25, 25]);
    // The last one that has anybody takes the rest.
    let last = [(4, 1, 0), (4, 1, 0), (4, 0, 0)];
    assert_eq!(rig.shares(0, &last), [50, 50, 0]);
    assert_eq!(rig.shares(0, &[(4, 1, 0), (4, 0, 0)]), [100, 0]);
}

#[test]
fn a_delay_begins_when_it_is_well_and_again_with_each_relapse() {
    let mut rig = Rig::new(None, Failback::Delayed(Duration::from_secs(30)));
    let (down, up) = ([(1, 0, 0), (1, 1, 0)], [(1, 1, 0), (1, 1, 0)]);
    assert_eq!(rig.shares(0, &up), [100, 0]);
    assert_eq!(rig.shares(1, &down), [0, 100]);
    assert_eq!(rig.shares(2, &up), [0, 100]);
    assert_eq!(
        rig.failover.due(),
        Some(rig.start + Duration::from_secs(32))
    );
    assert_eq!(rig.shares(31, &up), [0, 100]);
    assert_eq!(rig.shares(31, &down), [0, 100]);
    assert_eq!(rig.shares(40, &up), [0, 100]);
    assert_eq!(rig.shares(69, &up), [0, 100]);
    assert_eq!(rig.shares(70, &up), [100, 0]);
    assert_eq!(rig.failover.due(), None);
}

#[test]
fn one_that_waits_is_used_all_the_same_when_nobody_else_is_left() {
    let mut rig = Rig::new(None, Failback::Manual(String::new()));
    rig.shares(0, &[(1, 0, 0), (1, 1, 0)]);
    assert_eq!(rig.shares(1, &[(1, 1, 0), (1, 1, 0)]), [0, 100]);
    assert!(rig.failover.levels[0].is_held());
    assert_eq!(rig.shares(2, &[(1, 1, 0), (1, 0, 0)]), [100, 0]);
    assert!(!rig.failover.levels[0].is_held());
    // That was the failback; now the other one waits for nothing.
    assert_eq!(rig.shares(3, &[(1, 1, 0), (1, 1, 0)]), [100, 0]);
    assert_eq!(rig.shares(4, &[(1, 0, 0), (1, 1, 0)]), [0, 100]);
    assert_eq!(rig.shares(5, &[(1, 1, 0), (1, 1, 0)]), [0, 100]);
}

#[test]
fn by_hand_means_another_token() {
    let manual = |token: &str| Failback::Manual(token.to_owned());
    let mut rig = Rig::new(None, manual(""));
    let up = [(1, 1, 0), (1, 1, 0)];
    rig.shares(0, &[(1, 0, 0), (1, 1, 0)]);
    assert_eq!(rig.shares(9999, &up), [0, 100]);
    rig.rule.failback = manual("again");
    assert_eq!(rig.shares(9999, &up), [100, 0]);
    rig.shares(9999, &[(1, 0, 0), (1, 1, 0)]);
    assert_eq!(rig.shares(9999, &up), [0, 100], "a token counts once");
}

#[test]
fn a_lowered_share_stays_until_failback() {
    let mut rig = Rig::new(Some(100), Failback::Delayed(Duration::from_secs(30)));
    assert_eq!(rig.shares(0, &[(4, 1, 0), (4, 4, 0)]), [25, 75]);
    assert_eq!(rig.shares(1, &[(4, 3, 0), (4, 4, 0)]), [25, 75]);
    assert_eq!(rig.shares(2, &[(4, 4, 0), (4, 4, 0)]), [25, 75]);
    assert_eq!(rig.shares(32, &[(4, 4, 0), (4, 4, 0)]), [100, 0]);
}

#[test]
fn one_in_probation_can_come_back_but_is_not_counted_on() {
    let mut rig = Rig::new(None, Failback::Delayed(Duration::from_secs(30)));
    rig.shares(0, &[(1, 0, 0), (1, 1, 0)]);
    let probation = [(1, 0, 1), (1, 1, 0)];
    assert_eq!(rig.shares(10, &probation), [0, 100]);
    assert!(rig.failover.levels[0].is_held(), "not even for a trial");
    assert_eq!(rig.shares(40, &probation), [0, 100]);
    assert!(!rig.failover.levels[0].is_held(), "it may be tried");
    assert_eq!(rig.shares(41, &[(1, 1, 0), (1, 1, 0)]), [100, 0]);
    // With nobody else it has to do.
    assert_eq!(rig.shares(42, &[(1, 0, 1), (1, 0, 0)]), [100, 0]);
}

#[test]
fn failed_back_are_those_that_had_sessions() {
    let mut rig = Rig::new(None, Failback::Immediate);
    let three = |first, second| [(1, first, 0), (1, second, 0), (1, 1, 0)];
    rig.shares(0, &three(1, 1));
    assert_eq!(rig.failed_back(), [false, false, false]);
    rig.shares(1, &three(0, 1));
    assert_eq!(
        rig.failed_back(),
        [false, false, false],
        "none of a worse one"
    );
    rig.shares(2, &three(1, 1));
    assert_eq!(rig.failed_back(), [false, true, false]);
    rig.shares(3, &three(0, 1));
    assert_eq!(
        rig.failed_back(),
        [false, false, false],
        "it has them again"
    );
}

#[test]
fn in_despair_the_best_priority_is_tried() {
    let mut rig = Rig::new(Some(50), Failback::Immediate);
    let desperate = |number| Strength {
        number,
        total: 4,
        usable: 0,
        available: 0,
        desperate: 2,
    };
    let strengths = [desperate(0), desperate(1)];
    rig.failover.update(&strengths, &rig.rule, rig.start);
    let shares: Vec<_> = rig.failover.levels.iter().map(Level::share).collect();
    assert_eq!(shares, [1.0, 0.0]);
}

#[test]
fn chances_choose_by_share() {
    let mut rig = Rig::new(Some(50), Failback::Immediate);
    rig.shares(0, &[(4, 1, 0), (4, 0, 0), (4, 4, 0)]);
    let chosen = |chance| rig.failover.choose(chance);
    assert_eq!([chosen(0.0), chosen(0.49)], [Some(0), Some(0)]);
    assert_eq!([chosen(0.51), chosen(0.999)], [Some(2), Some(2)]);
    rig.shares(1, &[(4, 0, 0), (4, 0, 0), (4, 0, 0)]);
    assert_eq!(rig.failover.choose(0.5), None);
}
