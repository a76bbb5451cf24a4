//! Pure. One stream's side of the push: what the data plane is known to hold, what it is told next.
//!
//! A set counts as held only once the data plane has said so. Whatever is in doubt becomes a full
//! set; whatever breaks the rules ends the stream, and the data plane starts over.

use std::time::{Duration, Instant};

use tcpforward_protocol::answer::{Applied, Hello, Source};
use tcpforward_protocol::delta::{Delta, Scope};
use tcpforward_protocol::feature;
use tcpforward_protocol::proto::{self, to_data_plane::Message};
use tcpforward_protocol::snapshot::Protected;
use tcpforward_protocol::version::Version;

mod close;
mod world;

pub(crate) use close::Close;
pub(crate) use world::{Lease, Wanted, World};

/// A data plane that has not answered a change for this long is not there, or stuck.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A data plane that holds what this replica never knew may be ahead of it: its watches, or the whole
/// process, may have been held. They get this long to catch up, before it is told what is known here.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);

/// What is to be sent, and of which size it is, for the metrics.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) messages: Vec<Message>,
    pub(crate) pushed: Option<Scope>,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    hello: Hello,
    held: Held,
    in_flight: Option<InFlight>,
    /// Since when it is asked to go on from what it never knew.
    puzzled: Option<Instant>,
    nonce: u64,
    /// Highest epoch that the data plane has applied, on whatever stream.
    epoch: u64,
    welcome: Option<proto::Welcome>,
    share: Option<proto::Share>,
}

/// What the data plane has said that it holds.
#[derive(Debug)]
enum Held {
    Named(Version),
    Nothing,
    Set(Wanted),
}

#[derive(Debug)]
struct InFlight {
    nonce: u64,
    epoch: u64,
    wanted: Wanted,
    sent: Instant,
}

impl Stream {
    pub(crate) fn new(hello: Hello) -> Self {
        Self {
            held: Held::said(hello.version),
            epoch: hello.epoch,
            hello,
            in_flight: None,
            puzzled: None,
            nonce: 0,
            welcome: None,
            share: None,
        }
    }

    pub(crate) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// When to call `next` again if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let answer = self.in_flight.as_ref().map(|f| f.sent + ACK_TIMEOUT);
        answer.or_else(|| self.puzzled.map(|since| since + SETTLE))
    }

    /// A hello after the first: the data plane has chosen another source.
    pub(crate) fn greeted(&mut self, hello: Hello) -> Result<(), Close> {
        let same = [
            ("pod", self.hello.pod == hello.pod),
            ("uid", self.hello.uid == hello.uid),
            ("pool", self.hello.pool == hello.pool),
        ];
        if let Some((field, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Close::OtherIdentity { field });
        }
        // An answer that is still under way is about an update that no longer counts.
        self.in_flight = None;
        self.puzzled = None;
        self.epoch = self.epoch.max(hello.epoch);
        self.holds(hello.version);
        self.hello = hello;
        Ok(())
    }

    /// What the data plane says that it has applied; the time that a delivered update took.
    pub(crate) fn answered(
        &mut self,
        applied: &Applied,
        now: Instant,
    ) -> Result<Option<Duration>, Close> {
        self.epoch = self.epoch.max(applied.epoch);
        let Some(in_flight) = &self.in_flight else {
            self.holds(applied.version);
            return Ok(None);
        };
        if applied.nonce != in_flight.nonce {
            return Ok(None);
        }
        if applied.version == Some(in_flight.wanted.version) {
            let took = now.saturating_duration_since(in_flight.sent);
            self.held = Held::Set(in_flight.wanted.clone());
            self.in_flight = None;
            return Ok(Some(took));
        }
        if applied.epoch > in_flight.epoch {
            // Refused as stale: it will choose another source, or hear a newer epoch from us.
            self.in_flight = None;
            self.holds(applied.version);
            return Ok(None);
        }
        Err(Close::OtherContent {
            nonce: in_flight.nonce,
            wanted: in_flight.wanted.version,
            held: applied
                .version
                .map_or_else(|| "nothing".to_owned(), |version| version.to_string()),
        })
    }

    /// What to say now; says each thing once.
    pub(crate) fn next(&mut self, world: &World, now: Instant) -> Result<Outgoing, Close> {
        let mut outgoing = Outgoing::default();
        let welcome = proto::Welcome {
            node: self.hello.node.clone(),
            zone: world.zone.clone(),
            epoch: world.lease.says(),
            operator: world.operator.clone(),
        };
        if self.welcome.as_ref() != Some(&welcome) {
            self.welcome = Some(welcome.clone());
            outgoing.messages.push(Message::Welcome(welcome));
        }
        let source = self.hello.source == Source::Chosen;
        if source && self.share != Some(world.share) {
            self.share = Some(world.share);
            outgoing.messages.push(Message::Share(world.share));
        }
        if let Some(in_flight) = &self.in_flight {
            if now >= in_flight.sent + ACK_TIMEOUT {
                return Err(Close::NoAnswer {
                    nonce: in_flight.nonce,
                });
            }
            return Ok(outgoing);
        }
        if !source || !self.may_push(world) {
            self.puzzled = None;
        } else if self.knows_its_place(world, now) {
            self.can_protect(world)?;
            self.push(world, now, &mut outgoing);
        }
        Ok(outgoing)
    }

    /// Whether the data plane is known to hold what it shall.
    pub(crate) fn holds_all_of(&self, world: &World) -> bool {
        let wanted = world.wanted.version;
        match &self.held {
            Held::Nothing => false,
            Held::Named(version) => *version == wanted,
            Held::Set(set) => set.version == wanted,
        }
    }

    /// An older one would drop the networks, and lead there.
    fn can_protect(&self, world: &World) -> Result<(), Close> {
        let settings = world.wanted.snapshot.settings();
        let knows = |feature: &String| feature == feature::PROTECTED_RANGES;
        match settings.protected == Protected::NOTHING || self.hello.features.iter().any(knows) {
            true => Ok(()),
            false => Err(Close::Outdated),
        }
    }

    fn may_push(&mut self, world: &World) -> bool {
        if let Held::Named(version) = &self.held
            && *version == world.wanted.version
        {
            self.held = Held::Set(world.wanted.clone());
        }
        match &self.held {
            Held::Set(set) if set.version == world.wanted.version => false,
            // One that has applied an epoch serves something, though it may not trust it.
            Held::Nothing if self.epoch == 0 => true,
            Held::Nothing | Held::Named(_) | Held::Set(_) => match world.lease {
                Lease::Fresh { epoch } => epoch >= self.epoch,
                Lease::Stale => false,
            },
        }
    }

    /// Whether what is wanted here comes after what is held there, or has been wanted for long enough.
    fn knows_its_place(&mut self, world: &World, now: Instant) -> bool {
        let is_puzzling = match (&self.held, world.lease) {
            // Who has no peers has nobody to be behind.
            (_, Lease::Fresh { epoch: 0 } | Lease::Stale) => false,
            (Held::Named(version), Lease::Fresh { .. }) => !world.wanted.follows(*version),
            (Held::Nothing | Held::Set(_), Lease::Fresh { .. }) => false,
        };
        if !is_puzzling {
            self.puzzled = None;
            return true;
        }
        now >= *self.puzzled.get_or_insert(now) + SETTLE
    }

    fn push(&mut self, world: &World, now: Instant, outgoing: &mut Outgoing) {
        let wanted = &world.wanted;
        let delta = match &self.held {
            Held::Set(set) => Delta::between(&set.snapshot, &wanted.snapshot),
            Held::Named(_) | Held::Nothing => Delta::full(&wanted.snapshot),
        };
        let epoch = world.lease.pushes();
        self.nonce += 1;
        outgoing.pushed = Some(delta.scope);
        let parts = delta.into_parts(self.nonce, epoch, &wanted.snapshot);
        outgoing
            .messages
            .extend(parts.into_iter().map(Message::Update));
        self.in_flight = Some(InFlight {
            nonce: self.nonce,
            epoch,
            wanted: wanted.clone(),
            sent: now,
        });
    }

    fn holds(&mut self, version: Option<Version>) {
        match (&self.held, version) {
            (Held::Set(set), Some(version)) if set.version == version => {}
            _ => self.held = Held::said(version),
        }
    }
}

impl Held {
    fn said(version: Option<Version>) -> Self {
        version.map_or(Self::Nothing, Self::Named)
    }
}

#[cfg(test)]
mod tests;
