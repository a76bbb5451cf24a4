//! Pure. When the operator's own certificates are made anew, one change at a time.
//!
//! ```text
//!  ca      ├──────── signs ─────────┬─ trusted ─┤
//!  next             made ── published ── signs ────────── …
//! ```
//!
//! A new authority is in every bundle for a while before it signs anything, and an old one stays in
//! them until it has expired: whoever read either bundle trusts whatever is shown to them.

use std::time::Duration;

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// How long certificates last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of one that the operator shows.
    pub certificate: Duration,
    /// Of one that signs them.
    pub authority: Duration,
}

impl Lifetimes {
    /// How long a new authority is published before it signs: mounted ConfigMaps follow within
    /// minutes, a day leaves time to notice those that don't.
    pub(crate) fn published(&self) -> Duration {
        (self.authority / 12).min(Duration::from_secs(24 * 3600))
    }
}

/// What is known of the certificates in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) ca: Dates,
    pub(crate) next: Option<Next>,
    /// Authorities that signed once and are still trusted.
    pub(crate) old: Vec<Dates>,
    pub(crate) server: Dates,
    pub(crate) names: Names,
}

/// An authority that signs nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) dates: Dates,
    /// Since when every bundle holds it.
    pub(crate) published: Option<i64>,
}

/// Whether the certificate is for every name that it should be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    AllThere,
    Missing,
}

/// Whether every data plane can read the bundle of what is in the Secret now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bundle {
    Behind,
    Published,
}

/// What is to be changed in the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Those that have expired are trusted no more.
    DropOld,
    MakeNext,
    /// The next authority is in the bundle from now on.
    NotePublished,
    /// The next authority signs; with it the server's certificate is made anew.
    Promote,
    RenewServer,
    /// Nothing in it is of any use.
    StartOver,
}

/// The most urgent change, if there is one. To be asked again after each.
pub(crate) fn change(
    known: &Known,
    bundle: Bundle,
    lifetimes: &Lifetimes,
    now: i64,
) -> Option<Change> {
    let (authority, overlap) = (seconds(lifetimes.authority), seconds(lifetimes.published()));
    let usable = known.next.filter(|next| now < next.dates.until);
    if now >= known.ca.until && usable.is_none() {
        return Some(Change::StartOver);
    }
    if let Some(next) = usable {
        let waited = next.published.is_some_and(|since| now >= since + overlap);
        // One that nobody was told of in all that time is of use to whoever reads it from now on;
        // one that ends is of use to nobody.
        if waited || now >= known.ca.until - overlap {
            return Some(Change::Promote);
        }
    }
    if renews(known, lifetimes, now) {
        return Some(Change::RenewServer);
    }
    if usable.is_none() && now >= known.ca.until - authority / 3 {
        return Some(Change::MakeNext);
    }
    let waits = usable.is_some_and(|next| next.published.is_none());
    if waits && bundle == Bundle::Published {
        return Some(Change::NotePublished);
    }
    let expired = known.old.iter().any(|old| now >= old.until);
    expired.then_some(Change::DropOld)
}

fn renews(known: &Known, lifetimes: &Lifetimes, now: i64) -> bool {
    if known.names == Names::Missing {
        return true;
    }
    let lifetime = seconds(lifetimes.certificate);
    let due = now >= known.server.until - lifetime / 3;
    // It can't outlive its authority: near the end of that one, a new one would end no later.
    due && (now + lifetime).min(known.ca.until) > known.server.until
}

pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
