//! Pure. The same backend for the same client, unless it has far more sessions than others.

use std::net::IpAddr;

use crate::balancer::ask::{Ask, Fit, whole};
use crate::balancer::bag::Bag;
use crate::balancer::draw::By;
use crate::balancer::entry::Entry;
use crate::balancer::group::Part;
use crate::balancer::maglev::{self, Member, Table};

/// A backend may have so many times its share of the open sessions. At this bound a fifth of the
/// backends is always below it, so the next ones along the table soon find one.
const BOUND: f64 = 1.25;

/// With so few sessions no backend has too many, or the second session of a client would already
/// go elsewhere.
const FEW: u64 = 16;

/// Slots that are looked at before the least loaded of those is taken.
const LOOKS: u64 = 64;

/// A table and how much its backends have to carry together.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    /// Filled by the first pick that needs it: many changes at once cost one filling.
    table: Table,
    members: Vec<Member>,
    /// In the order of the members.
    ids: Vec<usize>,
    /// The same, for clients whose slots lead to nobody.
    bag: Bag,
    /// Open sessions of all of them, counted up with each pick and counted anew once there were
    /// as many picks as backends: so a pick costs the same however many there are.
    open: u64,
    recount_in: usize,
}

impl Hashed {
    pub(super) fn updated(self, parts: &[Part], entries: &mut [Entry]) -> Self {
        let ids: Vec<usize> = parts.iter().flat_map(|p| &p.members).copied().collect();
        let member = |id: &usize| {
            let entry = entries.get(*id);
            let (hash, weight) = entry.map_or((0, 0.0), |e| (e.hash, e.share));
            Member { hash, weight }
        };
        Self {
            table: self.table,
            members: ids.iter().map(member).collect(),
            bag: Bag::new(ids.iter().copied(), entries),
            ids,
            open: 0,
            recount_in: 0,
        }
    }

    pub(super) fn pick(&mut self, ask: &mut Ask<'_>) -> Option<usize> {
        // Else somebody is there, and it is worth while to look for him.
        self.bag.nth(0)?;
        self.table.update(&self.members);
        self.count(ask);
        let client = client(ask.request.source);
        let slots = u64::from(maglev::SLOTS);
        let step = 1 + maglev::mix(client) % (slots - 1);
        let mut spare: Option<(usize, f64)> = None;
        for look in 0..LOOKS {
            let slot = client % slots + look * step;
            let Some(&id) = self.table.member(slot).and_then(|m| self.ids.get(m)) else {
                break;
            };
            match ask.fit(id) {
                Fit::Yes => {}
                Fit::NotNow => continue,
                Fit::Out => {
                    self.bag.take_out(id, ask.entries);
                    continue;
                }
            }
            if self.is_within(id, ask) && ask.is_up_to_speed_for(id, client) {
                return Some(id);
            }
            let load = ask.cost(id, By::Connections);
            if spare.is_none_or(|(_, least)| load < least) {
                spare = Some((id, load));
            }
        }
        if let Some((id, _)) = spare {
            return Some(id);
        }
        let from = client % u64::try_from(self.bag.len().max(1)).unwrap_or(1);
        self.bag.first(usize::try_from(from).unwrap_or(0), ask)
    }

    pub(super) fn bag(&mut self) -> &mut Bag {
        &mut self.bag
    }

    fn is_within(&self, id: usize, ask: &Ask<'_>) -> bool {
        let (open, share) = ask.load(id);
        open < FEW || whole(open + 1) <= (BOUND * whole(self.open) * share).ceil()
    }

    fn count(&mut self, ask: &Ask<'_>) {
        if self.recount_in == 0 {
            self.open = self.ids.iter().map(|id| ask.load(*id).0).sum();
            self.recount_in = self.ids.len();
        }
        self.open += 1;
        self.recount_in = self.recount_in.saturating_sub(1);
    }
}

/// IPv4 clients are the same ones when they come over an IPv6 socket.
pub(super) fn client(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(ip) => maglev::hash(&ip.octets()),
        IpAddr::V6(ip) => maglev::hash(&ip.octets()),
    }
}
