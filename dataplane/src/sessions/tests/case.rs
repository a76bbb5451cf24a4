//! One forward as it is served, with sessions on its backends.

use super::*;
use crate::place::Terms;
use crate::served::Served;

pub(super) struct Case {
    pub(super) served: Arc<Served>,
    pub(super) now: Instant,
    rng: Rng,
}

impl Case {
    pub(super) fn of(forward: Forward) -> Self {
        Self {
            served: samples::served(forward),
            now: tokio::time::Instant::now().into_std(),
            rng: Rng::with_seed(3),
        }
    }

    /// Sessions on the backend of that target.
    pub(super) fn sessions(&self, target: &str, count: u8) -> Vec<Ticket> {
        let backend = self.backend(target);
        let enter = |n| self.served.sessions().enter(0, IpAddr::from([10, 0, 0, n]));
        let tickets: Vec<_> = (0..count).map(enter).collect();
        tickets
            .iter()
            .for_each(|ticket| ticket.on(&backend, self.now));
        tickets
    }

    pub(super) fn backend(&self, target: &str) -> Arc<Backend> {
        let mut backends = self.served.backends().into_iter();
        backends.find(|backend| *backend.target == *target).unwrap()
    }

    /// That is what is wanted now.
    pub(super) fn turn(&mut self, forward: Forward) {
        self.come_to(forward, samples::terms());
    }

    pub(super) fn come_to(&mut self, forward: Forward, terms: Terms) {
        self.served.update(Arc::new(forward), terms, self.now, 0);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(250);
            self.served.close_sessions(self.now, &mut self.rng);
        }
    }
}
