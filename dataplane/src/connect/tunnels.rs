//! Pure. The tunnels of one proxy: how many there are, whose, how many are on their way, and what the
//! rules said.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use tcpforward_protocol::snapshot::{HttpConnect, Subject, TunnelLimits};

use crate::connect::failures::Failures;
use crate::connect::refusal::Refusal;
use crate::place::Share;

/// Requests between their head and their answer at a time: each may hold several sockets and a
/// place in the resolver's queue, for seconds.
const PENDING: u32 = 1024;

/// Of one source, so that a black hole that one client knocks at leaves room for others.
const PENDING_PER_SOURCE: u32 = 256;

/// What counts against the limits of a proxy.
#[derive(Debug, Default)]
pub struct Tunnels {
    tunnels: Option<u32>,
    per_source: Option<NonZeroU32>,
    per_subject: Option<NonZeroU32>,
    open: u32,
    /// As bounded as sessions are: by descriptors.
    sources: HashMap<IpAddr, u32>,
    subjects: HashMap<Option<Subject>, u32>,
    pending: u32,
    pending_sources: HashMap<IpAddr, u32>,
    failures: Failures,
    verdicts: BTreeMap<String, u64>,
}

/// What is shown of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Tunnels at present.
    pub open: u32,
    /// This data plane's part of `limits.tunnels`.
    pub tunnels: Option<u32>,
    /// `limits.tunnelsPerSource`.
    pub per_source: Option<u32>,
    /// `limits.tunnelsPerSubject`.
    pub per_subject: Option<u32>,
    /// Requests that wait for their answer.
    pub pending: u32,
    /// Tunnels at present by who asked; nobody: who was not asked.
    pub subjects: BTreeMap<Option<Subject>, u32>,
    /// Requests that each rule has decided.
    pub verdicts: BTreeMap<String, u64>,
}

impl Tunnels {
    /// Takes a proxy's limits, as far as they are ours; what is open counts against the new ones.
    pub fn update(&mut self, connect: &HttpConnect, share: Share) {
        let TunnelLimits {
            tunnels,
            tunnels_per_source,
            tunnels_per_subject,
            ..
        } = connect.limits;
        self.tunnels = tunnels.map(|tunnels| share.part(tunnels.get()));
        self.per_source = tunnels_per_source;
        self.per_subject = tunnels_per_subject;
        let mut former = std::mem::take(&mut self.verdicts);
        let rules = connect.rules.iter();
        self.verdicts = rules
            .map(|rule| {
                let count = former.remove(&rule.name).unwrap_or_default();
                (rule.name.clone(), count)
            })
            .collect();
    }

    /// What is in force, and how far it is used.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        InUse {
            open: self.open,
            tunnels: self.tunnels,
            per_source: self.per_source.map(NonZeroU32::get),
            per_subject: self.per_subject.map(NonZeroU32::get),
            pending: self.pending,
            subjects: self.subjects.clone().into_iter().collect(),
            verdicts: self.verdicts.clone(),
        }
    }

    /// A request waits for its answer, until it `answered`.
    ///
    /// # Errors
    /// Too many wait, or too many of that source were refused of late.
    pub fn ask(&mut self, source: IpAddr, now: Instant) -> Result<(), Refusal> {
        if !self.failures.allows(source, now) {
            return Err(Refusal::TooManyFailures);
        }
        let from_there = self.pending_sources.get(&source).copied();
        if self.pending >= PENDING || from_there.is_some_and(|n| n >= PENDING_PER_SOURCE) {
            return Err(Refusal::Busy);
        }
        self.pending += 1;
        count_in(&mut self.pending_sources, source);
        Ok(())
    }

    /// A request has its answer.
    pub fn answered(&mut self, source: IpAddr) {
        self.pending = self.pending.saturating_sub(1);
        count_out(&mut self.pending_sources, &source);
    }

    /// A request led nowhere.
    pub fn failed(&mut self, source: IpAddr, now: Instant) {
        self.failures.failed(source, now);
    }

    /// A rule has decided.
    pub fn decided(&mut self, rule: &str) {
        if let Some(count) = self.verdicts.get_mut(rule) {
            *count += 1;
        }
    }

    /// Counts a tunnel in, until it `leave`s; before it is dialled, so that limits hold for what is
    /// on its way as well.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn enter(&mut self, source: IpAddr, subject: Option<&Subject>) -> Result<(), Refusal> {
        let subject = subject.cloned();
        let of_source = self.sources.get(&source).copied().unwrap_or_default();
        let of_subject = self.subjects.get(&subject).copied().unwrap_or_default();
        if self.per_source.is_some_and(|most| of_source >= most.get()) {
            return Err(Refusal::SourceTunnels);
        }
        let is_full = |most: NonZeroU32| of_subject >= most.get();
        if subject.is_some() && self.per_subject.is_some_and(is_full) {
            return Err(Refusal::SubjectTunnels);
        }
        if self.tunnels.is_some_and(|most| self.open >= most) {
            return Err(Refusal::Tunnels);
        }
        self.open += 1;
        count_in(&mut self.sources, source);
        count_in(&mut self.subjects, subject);
        Ok(())
    }

    /// A tunnel that was counted in is gone.
    pub fn leave(&mut self, source: IpAddr, subject: Option<&Subject>) {
        self.open = self.open.saturating_sub(1);
        count_out(&mut self.sources, &source);
        count_out(&mut self.subjects, &subject.cloned());
    }
}

fn count_in<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    *counts.entry(key).or_default() += 1;
}

fn count_out<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_protocol::testing;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn tunnels(edit: impl FnOnce(&mut TunnelLimits)) -> Tunnels {
        let mut connect = testing::connect(vec![testing::rule("a")]);
        edit(&mut connect.limits);
        let mut tunnels = Tunnels::default();
        tunnels.update(&connect, Share::default());
        tunnels
    }

    fn user(name: &str) -> Subject {
        Subject::User(name.to_owned())
    }

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn each_limit_refuses_what_is_beyond_it_and_no_more() {
        let (ci, cd) = (user("ci"), user("cd"));
        let mut all = tunnels(|limits| limits.tunnels = NonZeroU32::new(1));
        assert_eq!(all.enter(ONE, None), Ok(()));
        assert_eq!(all.enter(TWO, None), Err(Refusal::Tunnels));
        let mut source = tunnels(|limits| limits.tunnels_per_source = NonZeroU32::new(1));
        assert_eq!(source.enter(ONE, Some(&ci)), Ok(()));
        assert_eq!(source.enter(ONE, Some(&cd)), Err(Refusal::SourceTunnels));
        assert_eq!(source.enter(TWO, Some(&ci)), Ok(()));
        let mut subject = tunnels(|limits| limits.tunnels_per_subject = NonZeroU32::new(1));
        assert_eq!(subject.enter(ONE, Some(&ci)), Ok(()));
        assert_eq!(subject.enter(TWO, Some(&ci)), Err(Refusal::SubjectTunnels));
        assert_eq!(subject.enter(ONE, Some(&cd)), Ok(()));
        for _ in 0..2 {
            assert_eq!(subject.enter(ONE, None), Ok(()), "nobody is no subject");
        }
        subject.leave(ONE, Some(&ci));
        assert_eq!(subject.enter(TWO, Some(&ci)), Ok(()), "the place is free");
    }

    #[test]
    fn what_has_left_leaves_nothing_behind() {
        let mut tunnels = tunnels(|_| {});
        let before = tunnels.in_use();
        for source in [ONE, TWO] {
            tunnels.ask(source, now()).unwrap();
            tunnels.enter(source, Some(&user("ci"))).unwrap();
        }
        assert_eq!(tunnels.in_use().subjects, [(Some(user("ci")), 2)].into());
        for source in [ONE, TWO] {
            tunnels.answered(source);
            tunnels.leave(source, Some(&user("ci")));
        }
        assert_eq!(tunnels.in_use(), before);
        assert!(tunnels.sources.is_empty() && tunnels.pending_sources.is_empty());
    }

    #[test]
    fn one_client_leaves_room_for_the_requests_of_others() {
        let mut tunnels = tunnels(|_| {});
        let asked = (0..2000).take_while(|_| tunnels.ask(ONE, now()).is_ok());
        assert_eq!(asked.count(), PENDING_PER_SOURCE as usize);
        assert_eq!(tunnels.ask(TWO, now()), Ok(()));
        let others = (0..2000u32).map(|i| IpAddr::from([10, 0, (i >> 8) as u8, i as u8]));
        let asked = others.take_while(|ip| tunnels.ask(*ip, now()).is_ok());
        assert_eq!(asked.count(), (PENDING - PENDING_PER_SOURCE - 1) as usize);
    }

    #[test]
    fn counts_of_rules_stay_while_the_rules_do() {
        let mut tunnels = tunnels(|_| {});
        tunnels.decided("a");
        tunnels.decided("gone");
        let rules = vec![testing::rule("b"), testing::rule("a")];
        tunnels.update(&testing::connect(rules), Share::default());
        let counts = [("a".to_owned(), 1), ("b".to_owned(), 0)];
        assert_eq!(tunnels.in_use().verdicts, counts.into());
    }
}
