//! Pure. Which Events are one: what repeats within six minutes is a series, as client-go has it.
//!
//! kube's recorder does that, too, and names each Event by the whole name of its object, so that the
//! API server refuses those of objects with long names.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

/// What comes later than that begins anew.
const QUIET: Duration = Duration::from_secs(360);

/// Of an Event's name, by the API server's rules.
const NAME_BYTES: usize = 253;

/// What has to be alike: whom it is about, and what it says but for its note.
pub(super) type Key = [String; 4];

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    /// The first one.
    Begin,
    /// One more of the Event with that name.
    GoOn(String, EventSeries),
}

/// Events that may go on. There are as many as are written in six minutes.
#[derive(Debug, Default)]
pub(super) struct Series(BTreeMap<Key, Known>);

#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Series {
    /// What one more comes to.
    pub(super) fn next(&mut self, key: &Key, now: Timestamp) -> Deed {
        self.0
            .retain(|_, known| now.duration_since(known.last).unsigned_abs() < QUIET);
        let Some(known) = self.0.get(key) else {
            return Deed::Begin;
        };
        let series = EventSeries {
            count: known.count.saturating_add(1),
            last_observed_time: MicroTime(now),
        };
        Deed::GoOn(known.name.clone(), series)
    }

    /// It was written.
    pub(super) fn begun(&mut self, key: Key, event: &Event, now: Timestamp) {
        let known = Known {
            name: event.metadata.name.clone().unwrap_or_default(),
            count: 1,
            last: now,
        };
        self.0.insert(key, known);
    }

    /// One more was.
    pub(super) fn went_on(&mut self, key: &Key, series: &EventSeries) {
        if let Some(known) = self.0.get_mut(key) {
            known.count = series.count;
            known.last = series.last_observed_time.0;
        }
    }

    /// The Event is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// The name of an Event: that of whom it is about as far as there is room, and the time.
pub(super) fn name(about: &str, now: Timestamp) -> String {
    let time = format!("{:x}", now.as_nanosecond());
    let room = NAME_BYTES.saturating_sub(time.len() + 1);
    let about = about.get(..about.floor_char_boundary(room));
    let about = about.unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{about}.{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_name_has_room_for_the_time_and_stays_a_name() {
        assert_eq!(name("web", at(0)), "web.18fae27693b40000");
        for length in [236, 237, 253] {
            let whole = name(&"x".repeat(length), at(0));
            assert_eq!(whole.len(), 253, "{length}");
        }
        let cut = name(&format!("{}-.tail", "x".repeat(234)), at(0));
        assert_eq!(cut, name(&"x".repeat(234), at(0)), "no part may end so");
    }

    #[test]
    fn what_repeats_within_six_minutes_goes_on() {
        let mut series = Series::default();
        let key: Key = ["shop/web", "u", "Rejected", "Program"].map(str::to_owned);
        assert_eq!(series.next(&key, at(0)), Deed::Begin);
        assert_eq!(series.next(&key, at(0)), Deed::Begin, "it was not written");
        let mut event = Event::default();
        event.metadata.name = Some("web.1".to_owned());
        series.begun(key.clone(), &event, at(0));
        for (seconds, count) in [(359, 2), (700, 3)] {
            let Deed::GoOn(name, next) = series.next(&key, at(seconds)) else {
                panic!("it begins anew");
            };
            assert_eq!((name.as_str(), next.count), ("web.1", count));
            series.went_on(&key, &next);
        }
        let mut other = key.clone();
        other[2] = "NoDataPlane".to_owned();
        assert_eq!(series.next(&other, at(700)), Deed::Begin);
        assert_eq!(series.next(&key, at(1060)), Deed::Begin);
        series.begun(key.clone(), &event, at(1060));
        series.forget(&key);
        assert_eq!(series.next(&key, at(1061)), Deed::Begin);
    }
}
