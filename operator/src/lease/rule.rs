//! Pure. client-go's rule of leader election, with its clock passed in.
//!
//! A Lease may be taken over when its record has not changed, as seen from here by a monotonic
//! clock, for as long as the record says. Wall clocks of different machines are never compared.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;

use super::LeaseView;
use super::others::{CLAIM, Claim, KEPT, WATCHED, claim_of, is_covered};
use super::view::Met;
use crate::watch::Scope;

mod records;

/// How long each step of an election takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A record that stands still for this long may be taken over.
    pub duration: Duration,
    /// A holder that could not renew for this long stops believing that it holds.
    pub renew_deadline: Duration,
    /// Between two looks at the Lease, without jitter.
    pub retry: Duration,
}

impl Default for Timing {
    /// The values of Kubernetes' own controllers.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What to do about the Lease now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// There is none.
    Create(Lease),
    /// Someone else holds it, or nothing is known of it: read it.
    Look,
    /// It is ours to renew or free to take; the server refuses if it has changed meanwhile.
    Replace(Lease),
}

/// What is known of the Lease.
#[derive(Debug)]
pub(crate) struct Rule {
    namespace: String,
    name: String,
    identity: String,
    timing: Timing,
    watched: Scope,
    seen: Seen,
    /// Whether the record was seen moving: whoever moves it lived with us.
    lively: Lively,
    held_until: Option<Instant>,
    /// Highest epoch ever seen, so that a Lease made anew never goes back.
    epoch: u64,
    met: Met,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lively {
    No,
    Yes,
}

#[derive(Debug)]
enum Seen {
    Absent,
    Nothing,
    Record { lease: Box<Lease>, moved: Instant },
}

impl Rule {
    pub(crate) fn new(
        namespace: &str,
        name: &str,
        identity: &str,
        watched: Scope,
        timing: Timing,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing,
            watched,
            seen: Seen::Nothing,
            lively: Lively::No,
            held_until: None,
            epoch: 0,
            met: Met::No,
        }
    }

    /// Takes in what the server has; `None`: no Lease.
    pub(crate) fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let Some(lease) = lease else {
            self.seen = Seen::Absent;
            self.lively = Lively::No;
            self.held_until = None;
            return;
        };
        if holder(&lease) != self.identity {
            self.held_until = None;
        }
        self.epoch = self.epoch.max(transitions(&lease));
        self.met = Met::Yes;
        let moved = match &self.seen {
            Seen::Record { lease: old, moved } if old.spec == lease.spec => *moved,
            Seen::Record { .. } => {
                self.lively = Lively::Yes;
                now
            }
            Seen::Absent | Seen::Nothing => now,
        };
        let lease = Box::new(lease);
        self.seen = Seen::Record { lease, moved };
    }

    /// Takes in the server's answer to a `Create` or `Replace` that was sent at `asked`.
    pub(crate) fn written(&mut self, lease: Lease, asked: Instant, now: Instant) {
        let ours = holder(&lease) == self.identity;
        self.observe(Some(lease), now);
        self.lively = Lively::Yes;
        self.held_until = ours.then(|| asked + self.timing.renew_deadline);
    }

    /// Whether this replica may act as the holder.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// What to do now; `wall` is only written down for people.
    pub(crate) fn step(&self, now: Instant, wall: Timestamp) -> Step {
        let (lease, moved) = match &self.seen {
            Seen::Nothing => return Step::Look,
            Seen::Absent => return Step::Create(self.new_lease(wall)),
            Seen::Record { lease, moved } => (lease, *moved),
        };
        let claim = self.kept(lease, moved, now);
        if holder(lease) == self.identity {
            return Step::Replace(self.renewed(lease, claim, wall));
        }
        let free = holder(lease).is_empty() || now >= moved + self.duration_of(lease);
        if free {
            return Step::Replace(self.taken(lease, claim, wall));
        }
        Step::Look
    }

    /// The claim that the record has, if it goes on: the install has not been away, and does not watch more
    /// than it said.
    fn kept(&self, lease: &Lease, moved: Instant, now: Instant) -> Option<String> {
        let goes_on = self.lively == Lively::Yes
            && now < moved + KEPT * self.timing.duration
            && is_covered(&self.watched, lease);
        match claim_of(lease) {
            Claim::At(version) if goes_on => Some(version),
            Claim::At(_) | Claim::Never => None,
        }
    }

    /// Since when the install claims what this replica watches; `None` while its Lease says nothing.
    pub(crate) fn claim(&self) -> Option<Claim> {
        match &self.seen {
            Seen::Record { lease, .. } if is_covered(&self.watched, lease) => Some(claim_of(lease)),
            Seen::Record { lease, .. } if !holder(lease).is_empty() => Some(Claim::Never),
            Seen::Record { .. } | Seen::Absent | Seen::Nothing => None,
        }
    }

    /// The record that gives the Lease away, if it is ours.
    pub(crate) fn release(&self, now: Instant, wall: Timestamp) -> Option<Lease> {
        let Seen::Record { lease, .. } = &self.seen else {
            return None;
        };
        if !self.holds(now) || holder(lease) != self.identity {
            return None;
        }
        let claim = match claim_of(lease) {
            Claim::At(version) => Some(version),
            Claim::Never => None,
        };
        let mut released = self.renewed(lease, claim, wall);
        if let Some(spec) = &mut released.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        Some(released)
    }

    /// The same without a claim: it is in nobody's way.
    pub(crate) fn withdrawal(&self, now: Instant, wall: Timestamp) -> Option<Lease> {
        let mut released = self.release(now, wall)?;
        if let Some(annotations) = &mut released.metadata.annotations {
            annotations.remove(CLAIM);
            annotations.remove(WATCHED);
        }
        Some(released)
    }

    /// Gives up believing; the next `step` starts with a look.
    pub(crate) fn forget(&mut self) {
        self.held_until = None;
    }

    /// What the other parts of the operator may know.
    pub(crate) fn view(&self) -> LeaseView {
        let moved = match &self.seen {
            Seen::Record { moved, .. } => Some(*moved),
            Seen::Absent | Seen::Nothing => None,
        };
        let fresh_until = moved.map(|at| at + 2 * self.timing.duration);
        LeaseView::seen(self.epoch, self.held_until, fresh_until).with(self.met)
    }

    fn duration_of(&self, lease: &Lease) -> Duration {
        lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.timing.duration, Duration::from_secs)
    }
}

fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

fn transitions(lease: &Lease) -> u64 {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_transitions)
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;
    use crate::lease::now;

    const MINUTES: i32 = 29_000_000;

    fn wall() -> Timestamp {
        Timestamp::from_second(i64::from(MINUTES) * 60 + 7).unwrap()
    }

    fn rule(identity: &str) -> Rule {
        Rule::new("ns", "l", identity, Scope::All, Timing::default())
    }

    fn created_by(identity: &str, now: Instant) -> Lease {
        let mut rule = rule(identity);
        rule.observe(None, now);
        match rule.step(now, wall()) {
            Step::Create(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lease_that_we_create_starts_at_unix_minutes() {
        let now = now();
        let lease = created_by("a", now);
        let spec = lease.spec.clone().unwrap();
        assert_eq!(spec.lease_transitions, Some(MINUTES));
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        let mut rule = rule("a");
        rule.written(lease, now, now);
        assert!(rule.holds(now) && rule.view().holds(now));
        assert_eq!(rule.view().epoch(), u64::try_from(MINUTES).unwrap());
    }

    #[test]
    fn a_record_that_moves_is_left_alone_and_one_that_stands_still_is_taken() {
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lease = created_by("a", start);
        let mut b = rule("b");
        b.observe(Some(lease.clone()), start);
        assert_eq!(b.step(at(14), wall()), Step::Look);
        let mut renewed = lease;
        renewed.spec.as_mut().unwrap().renew_time =
            Some(MicroTime(wall() + Duration::from_secs(9)));
        b.observe(Some(renewed.clone()), at(14));
        b.observe(Some(renewed), at(28));
        assert_eq!(b.step(at(28), wall()), Step::Look);
        let Step::Replace(taken) = b.step(at(29), wall()) else {
            panic!("not taken")
        };
        let spec = taken.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("b"));
        assert_eq!(spec.lease_transitions, Some(MINUTES + 1));
    }

    #[test]
    fn a_released_lease_is_taken_at_once_and_only_the_holder_releases() {
        let now = now();
        let lease = created_by("a", now);
        let mut b = rule("b");
        b.observe(Some(lease.clone()), now);
        assert_eq!(b.release(now, wall()), None);
        let mut a = rule("a");
        a.written(lease, now, now);
        let released = a.release(now, wall()).unwrap();
        b.observe(Some(released), now);
        assert!(matches!(b.step(now, wall()), Step::Replace(_)));
    }

    #[test]
    fn belief_ends_at_the_deadline_counted_from_the_question() {
        let start = now();
        let mut a = rule("a");
        let answered = start + Duration::from_secs(4);
        a.written(created_by("a", start), start, answered);
        assert!(a.holds(start + Duration::from_millis(9_999)));
        assert!(!a.holds(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_lease_made_anew_never_goes_back() {
        let now = now();
        let mut a = rule("a");
        let mut lease = created_by("b", now);
        lease.spec.as_mut().unwrap().lease_transitions = Some(MINUTES + 50);
        a.observe(Some(lease), now);
        assert!(a.view().met());
        a.observe(None, now);
        assert!(a.view().met(), "one that was deleted was met all the same");
        let Step::Create(lease) = a.step(now, wall()) else {
            panic!("no create")
        };
        assert_eq!(lease.spec.unwrap().lease_transitions, Some(MINUTES + 51));
    }

    #[test]
    fn a_lease_from_a_backup_or_made_by_hand_never_goes_back() {
        let now = now();
        for old in [None, Some(0), Some(-1), Some(MINUTES - 500)] {
            let mut lease = created_by("", now);
            lease.spec.as_mut().unwrap().lease_transitions = old;
            let mut a = rule("a");
            a.observe(Some(lease), now);
            let Step::Replace(taken) = a.step(now, wall()) else {
                panic!("not taken")
            };
            assert_eq!(taken.spec.unwrap().lease_transitions, Some(MINUTES));
        }
    }

    #[test]
    fn freshness_ends_two_durations_after_the_last_move() {
        let now = now();
        let mut b = rule("b");
        assert!(!b.view().fresh(now) && !b.view().met());
        b.observe(Some(created_by("a", now)), now);
        assert!(b.view().fresh(now + Duration::from_secs(30)));
        assert!(!b.view().fresh(now + Duration::from_millis(30_001)));
    }

    fn claim_written(step: Step) -> Option<String> {
        let Step::Replace(lease) = step else {
            panic!("no write: {step:?}")
        };
        lease.metadata.annotations.unwrap().remove(CLAIM)
    }

    #[test]
    fn a_claim_goes_on_only_with_a_peer_that_saw_it_live() {
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut lease = created_by("a", start);
        lease.metadata.resource_version = Some("40".to_owned());
        let mut renewed = lease.clone();
        renewed.spec.as_mut().unwrap().renew_time =
            Some(MicroTime(wall() + Duration::from_secs(2)));
        let mut b = rule("b");
        b.observe(Some(lease.clone()), start);
        assert_eq!(
            claim_written(b.step(at(15), wall())),
            None,
            "never seen alive"
        );
        b.observe(Some(renewed.clone()), at(2));
        let kept = Some("40".to_owned());
        assert_eq!(claim_written(b.step(at(17), wall())), kept);
        assert_eq!(b.claim(), Some(Claim::At("40".to_owned())));
        assert_eq!(claim_written(b.step(at(32), wall())), None, "too late");
        let mut more = Rule::new("ns", "l", "b", Scope::All, Timing::default());
        more.observe(Some(lease), start);
        let annotations = renewed.metadata.annotations.as_mut().unwrap();
        annotations.insert(WATCHED.to_owned(), "shop".to_owned());
        more.observe(Some(renewed), at(2));
        assert_eq!(
            claim_written(more.step(at(17), wall())),
            None,
            "it said less"
        );
        assert_eq!(more.claim(), Some(Claim::Never));
    }
}
