//! What becomes of a backend, event by event.

use std::num::NonZeroU32;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{HttpProbe, PassiveCheck, TcpProbe, WhenNoneHealthy};

use super::*;

/// Three checks to bad, two to good; three failed dials or two early resets; a minute.
fn rules() -> HealthCheck {
    HealthCheck {
        active: Some(ActiveCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: NonZeroU32::new(3).unwrap(),
            healthy_threshold: NonZeroU32::new(2).unwrap(),
            probe: Probe::Tcp(TcpProbe::default()),
        }),
        passive: PassiveCheck {
            consecutive_dial_failures: NonZeroU32::new(3),
            consecutive_early_resets: NonZeroU32::new(2),
            base_ejection_time: Duration::from_secs(60),
            max_ejection_percent: 100,
        },
        when_none_healthy: WhenNoneHealthy::Refuse,
    }
}

struct Patient {
    health: Health,
    rules: HealthCheck,
    start: Instant,
    second: u64,
}

impl Patient {
    fn new() -> Self {
        Self {
            health: Health::default(),
            rules: rules(),
            start: tokio::time::Instant::now().into_std(),
            second: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    /// Events: `d` a dial fails, `r` reaches it, `e` an early reset, `a` it answers, `+` and `-`
    /// a check, `.` ten seconds. After each of them: U usable, E ejected, P on probation, X
    /// unhealthy.
    fn lives(&mut self, events: &str) -> String {
        events.chars().map(|event| self.meets(event)).collect()
    }

    fn meets(&mut self, event: char) -> char {
        let outcome = match event {
            '.' => {
                self.second += 10;
                self.health.tick(&self.rules, self.now());
                return self.standing();
            }
            'd' => Outcome::DialFailed(failure(DialError::Timeout)),
            'e' => Outcome::EarlyReset(failure(DialError::Reset)),
            '-' => Outcome::CheckFailed(failure(DialError::Unexpected)),
            '+' => Outcome::CheckPassed,
            'a' => Outcome::Answered,
            _ => Outcome::Reached {
                connect: Duration::ZERO,
            },
        };
        let now = self.now();
        if let Some(cause) = self.health.hear(outcome, &self.rules, now) {
            let base = self.rules.passive.base_ejection_time;
            self.health.eject(cause, base, 0.0, now);
        }
        self.standing()
    }

    fn standing(&self) -> char {
        match self.health.standing() {
            Standing::Ejected => 'E',
            Standing::Probation => 'P',
            Standing::Unhealthy => 'X',
            Standing::Usable => 'U',
        }
    }
}

fn failure(reason: DialError) -> Failure {
    Failure {
        reason,
        message: format!("{reason:?}"),
        at_ms: 7,
    }
}

fn check(events: &str, expected: &str) {
    assert_eq!(Patient::new().lives(events), expected, "{events}");
}

#[test]
fn dials_that_fail_in_a_row_eject() {
    check("ddrdd", "UUUUU");
    check("ddd", "UUE");
    // A byte of another session says nothing about dials.
    check("ddad", "UUUE");
}

#[test]
fn what_was_under_way_does_not_touch_an_ejection() {
    check("dddrrddd.....", "UUEEEEEEEEEEE");
}

#[test]
fn after_an_ejection_one_dial_decides() {
    check("ddd......r", "UUEEEEEEPU");
    check("ddd......d", "UUEEEEEEPE");
    // Restored, it has all its failures again.
    check("ddd......rdd", "UUEEEEEEPUUU");
}

#[test]
fn each_ejection_in_a_row_lasts_longer() {
    let mut patient = Patient::new();
    patient.lives("ddd");
    for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
        let wait = ".".repeat(6 * times);
        assert_eq!(
            patient.lives(&wait),
            format!("{}P", "E".repeat(6 * times - 1))
        );
        assert_eq!(patient.lives("d"), "E");
    }
}

#[test]
fn a_base_time_in_health_forgives_one_ejection() {
    let mut patient = Patient::new();
    patient.lives("ddd......d............d");
    patient.lives(&".".repeat(18));
    assert_eq!(patient.lives("r"), "U", "after three in a row");
    // Two base times: one of three is left, so the next one is the second.
    patient.lives(&".".repeat(12));
    assert_eq!(patient.lives("ddd"), "UUE");
    assert_eq!(patient.lives(&".".repeat(12)), "EEEEEEEEEEEP");
}

#[test]
fn jitter_moves_the_end_by_a_tenth() {
    let (mut health, start) = (Health::default(), Patient::new().start);
    health.eject(Cause::Dials, Duration::from_secs(60), -0.1, start);
    assert_eq!(
        health.ejected_until(),
        Some(start + Duration::from_secs(54))
    );
}

#[test]
fn early_resets_count_until_it_answers() {
    check("reraree", "UUUUUUE");
    // To be reached is no proof, an answer is.
    check("ee......ra", "UEEEEEEPPU");
    check("ee......re", "UEEEEEEPPE");
    // Nor does silence speak against it for ever: it was not reset for a base time.
    check("ee......r......", "UEEEEEEPPPPPPPU");
}

#[test]
fn the_first_check_decides_at_once_and_later_ones_in_a_row() {
    check("-", "X");
    check("+--+---", "UUUUUUX");
    check("-+-++", "XXXXU");
}

#[test]
fn a_bad_check_hides_an_ejection_which_goes_on() {
    check("+ddd---++......", "UUUEEEXXEEEEEEP");
}

#[test]
fn checks_that_pass_again_forget_what_sessions_said_before() {
    check("dd-++dd", "UUXXUUU");
}

#[test]
fn other_rules_void_what_they_say_nothing_of() {
    let mut patient = Patient::new();
    let mut plain = rules();
    plain.active = None;
    patient.lives("-");
    patient.health.adopt(&rules(), &plain);
    assert_eq!(patient.standing(), 'U');
    patient.lives("ddd");
    patient.health.adopt(&plain, &plain);
    assert_eq!(patient.standing(), 'E', "an unrelated change keeps it");
    plain.passive.consecutive_dial_failures = None;
    patient.health.adopt(&rules(), &plain);
    assert_eq!(patient.standing(), 'U');
    patient.rules = plain;
    assert_eq!(patient.lives("dddd-"), "UUUUU", "neither checks nor dials");
}

#[test]
fn another_check_keeps_the_verdict_until_its_first_result() {
    let mut patient = Patient::new();
    patient.lives("++");
    let mut other = rules();
    if let Some(active) = &mut other.active {
        active.timeout = Duration::from_millis(500);
    }
    patient.health.adopt(&rules(), &other);
    assert_eq!(patient.lives("-"), "X");
    patient.health.adopt(&rules(), &rules());
    assert_eq!(
        patient.lives("+"),
        "X",
        "the same check needs its threshold"
    );
}

#[test]
fn what_ejects_nobody_is_told_all_the_same() {
    let mut patient = Patient::new();
    patient.rules = HealthCheck::default();
    assert_eq!(patient.lives("dddd"), "UUUU");
    let told = patient.health.failing().map(|f| f.reason);
    assert_eq!(told, Some(DialError::Timeout));
}

#[test]
fn the_cause_that_leaves_it_out_is_told() {
    let mut patient = Patient::new();
    let told = |p: &Patient| p.health.failing().map(|f| f.reason);
    patient.lives("d");
    assert_eq!(told(&patient), Some(DialError::Timeout));
    patient.lives("r-");
    assert_eq!(told(&patient), Some(DialError::Unexpected));
    patient.lives("r");
    assert_eq!(
        told(&patient),
        Some(DialError::Unexpected),
        "still left out"
    );
    patient.lives("++");
    assert_eq!(told(&patient), None);
    patient.lives("ddd......");
    assert_eq!(
        told(&patient),
        Some(DialError::Timeout),
        "until it is restored"
    );
    patient.lives("r");
    assert_eq!(told(&patient), None);
    patient.lives("er");
    assert_eq!(
        told(&patient),
        Some(DialError::Reset),
        "reached, but no answer"
    );
    patient.lives("a");
    assert_eq!(told(&patient), None);
}

#[test]
fn a_check_that_passes_is_the_latest_dial() {
    let told = |patient: &mut Patient, events: &str| {
        patient.lives(events);
        patient.health.failing().map(|f| f.reason)
    };
    let timeout = Some(DialError::Timeout);
    assert_eq!(told(&mut Patient::new(), "d+"), None);
    assert_eq!(told(&mut Patient::new(), "d---++"), None);
    assert_eq!(told(&mut Patient::new(), "ddd+"), timeout, "ejected");
    let reset = Some(DialError::Reset);
    assert_eq!(told(&mut Patient::new(), "e+"), reset, "no answer yet");
    // A page on another port says nothing about this one, until it lets sessions in again.
    let elsewhere = || {
        let mut patient = Patient::new();
        if let Some(active) = &mut patient.rules.active {
            active.probe = Probe::Http(HttpProbe {
                port: std::num::NonZeroU16::new(8008),
                path: "/".to_owned(),
                statuses: Vec::new(),
            });
        }
        patient
    };
    assert_eq!(told(&mut elsewhere(), "d+"), timeout);
    assert_eq!(told(&mut elsewhere(), "d---++"), None);
}
