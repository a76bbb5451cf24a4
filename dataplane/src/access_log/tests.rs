//! The line against the list of its fields, and what it says of time.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Names of the fields as they stand in the code, and what an event says.
#[derive(Clone, Default)]
struct Captured {
    names: Arc<Mutex<Vec<&'static str>>>,
    values: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Visit for Captured {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut values = self.values.lock().unwrap();
        values.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Captured {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "access"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let names = event.metadata().fields().iter().map(|field| field.name());
        *self.names.lock().unwrap() = names.collect();
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn refused(forward: &ForwardName) -> Line<'_> {
    Line {
        forward,
        client: "10.0.0.1:5".parse().unwrap(),
        via: None,
        local: "10.0.0.2:80".parse().unwrap(),
        unique_id: None,
        asked: None,
        upstream_target: None,
        upstream: None,
        upstream_local: None,
        parent: None,
        attempts: 0,
        queued: Duration::ZERO,
        dial: Duration::ZERO,
        duration: Duration::from_millis(12),
        up: 0,
        down: 0,
        ending: Ending::NoBackend,
        error: Some("no backend takes new sessions"),
        sockets: Sockets::default(),
    }
}

fn written(line: &Line<'_>) -> Captured {
    let captured = Captured::default();
    tracing::subscriber::with_default(captured.clone(), || write(line));
    captured
}

#[test]
fn the_list_of_fields_is_that_of_the_line() {
    let forward = "default/web".parse().unwrap();
    let mut names = written(&refused(&forward)).names.lock().unwrap().clone();
    names.retain(|name| *name != "message");
    let listed: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
}

#[test]
fn what_is_not_known_is_left_out() {
    let forward = "default/web".parse().unwrap();
    let values = written(&refused(&forward)).values.lock().unwrap().clone();
    let expected = [
        ("attempts", "0"),
        ("client", "10.0.0.1:5"),
        ("dial_ms", "0"),
        ("down_bytes", "0"),
        ("duration_ms", "12"),
        ("ending", "\"no_backend\""),
        ("error", "\"no backend takes new sessions\""),
        ("forward", "default/web"),
        ("local", "10.0.0.2:80"),
        ("message", "session"),
        ("queue_ms", "0"),
        ("up_bytes", "0"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(values, BTreeMap::from(expected));
}

#[test]
fn time_goes_to_who_held_the_session_up() {
    let info = |busy, peer_limited, round_trip| TcpInfo {
        busy: Duration::from_millis(busy),
        peer_limited: Duration::from_millis(peer_limited),
        round_trip: Duration::from_micros(round_trip),
        retransmits: 3,
        ..TcpInfo::default()
    };
    let forward = "default/web".parse().unwrap();
    let line = Line {
        sockets: Sockets {
            downstream: Some(info(1000, 900, 250)),
            upstream: Some(info(50, 0, 80)),
        },
        ..refused(&forward)
    };
    let values = written(&line).values.lock().unwrap().clone();
    let value = |name| values.get(name).map(String::as_str);
    assert_eq!(value("client_limited_ms"), Some("900"));
    assert_eq!(value("backend_limited_ms"), Some("0"));
    assert_eq!(value("network_limited_ms"), Some("150"));
    assert_eq!(value("downstream_rtt_us"), Some("250"));
    assert_eq!(value("upstream_rtt_us"), Some("80"));
    assert_eq!(value("upstream_retransmits"), Some("3"));
}
