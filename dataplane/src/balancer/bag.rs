//! Pure. Backends of which any may be next. Whoever can't be picked for now is taken out, so that no
//! further pick meets it.

use crate::balancer::ask::{Ask, Fit};
use crate::balancer::entry::Entry;

/// Ids in no order; each entry knows its place among them.
#[derive(Debug, Default)]
pub(super) struct Bag(Vec<usize>);

impl Bag {
    pub(super) fn new(ids: impl Iterator<Item = usize>, entries: &mut [Entry]) -> Self {
        let mut bag = Self::default();
        for id in ids {
            bag.put_back(id, entries);
        }
        bag
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn nth(&self, nth: usize) -> Option<usize> {
        self.0.get(nth).copied()
    }

    pub(super) fn take_out(&mut self, id: usize, entries: &mut [Entry]) {
        let place = entries.get_mut(id).and_then(|e| e.place.take());
        let Some(place) = place.filter(|place| *place < self.0.len()) else {
            return;
        };
        self.0.swap_remove(place);
        let moved = self.0.get(place).and_then(|id| entries.get_mut(*id));
        if let Some(moved) = moved {
            moved.place = Some(place);
        }
    }

    /// One that is there already stays where it is.
    pub(super) fn put_back(&mut self, id: usize, entries: &mut [Entry]) {
        if let Some(entry) = entries.get_mut(id).filter(|e| e.place.is_none()) {
            entry.place = Some(self.0.len());
            self.0.push(id);
        }
    }

    /// The first that fits, from that place on and around.
    pub(super) fn first(&mut self, from: usize, ask: &mut Ask<'_>) -> Option<usize> {
        let mut place = from;
        for _ in 0..self.0.len() {
            place %= self.0.len().max(1);
            let id = self.nth(place)?;
            match ask.fit(id) {
                Fit::Yes => return Some(id),
                Fit::NotNow => place += 1,
                // Another one has its place then.
                Fit::Out => self.take_out(id, ask.entries),
            }
        }
        None
    }
}
