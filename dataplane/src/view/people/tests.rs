use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Value, json};
use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::Forward;
use tcpforward_protocol::testing;

use super::*;
use crate::balancer::outcome::{Failure, Outcome};
use crate::sync::samples;

/// The page of two backends, the first of which failed once at the beginning, as of a second later.
#[test]
fn all_that_is_known_of_a_backend_is_there() {
    let mut plain = testing::forward(
        "n/f",
        ["192.0.2.1:80", "192.0.2.2:80"]
            .map(|address| testing::backend("t", address))
            .into(),
    );
    let passive = &mut plain.spec.relay.health_check.passive;
    passive.consecutive_dial_failures = Some(NonZeroU32::MIN);
    passive.max_ejection_percent = 50;
    passive.base_ejection_time = Duration::from_secs(10);
    plain.spec.listener.limits.connections = NonZeroU32::new(7);
    let served = samples::served(Forward::new(plain.name, plain.spec, plain.backends));
    let start = tokio::time::Instant::now().into_std();
    let backend = &served.accounts(start)[0].backend;
    let failure = Failure {
        reason: DialError::Refused,
        message: "refused".to_owned(),
        at_ms: 1,
    };
    let _ = served.observe(backend, Outcome::DialFailed(failure), start);
    let row = Row {
        served: Arc::clone(&served),
        listeners: vec!["127.0.0.1:1".parse().unwrap()],
        notes: Vec::new(),
    };
    let view = View {
        forwards: [(served.name.clone(), row)].into(),
        ..View::default()
    };
    let page = view.for_people(&Moment {
        now: start + Duration::from_secs(1),
        unix_ms: 100_000,
        lookups_due: BTreeMap::new(),
    });
    let page = serde_json::to_value(&page).unwrap();
    let forward = &page[0];
    assert_eq!(forward["policy"], "RoundRobin");
    assert_eq!(
        forward["priorities"],
        json!([{"priority": 0, "share": 1.0}])
    );
    assert_eq!(forward["limits"]["connections"], 7);
    assert_eq!(forward["limits"]["connectionsPerSource"], Value::Null);
    let first = &forward["backends"][0];
    for (key, expected) in [
        ("standing", json!("Ejected")),
        ("condition", json!("Unhealthy")),
        ("conditionSinceMs", json!(99_000)),
        ("failed", json!({"refused": 1})),
        ("failing", json!("refused")),
        ("failingSinceMs", json!(1)),
        ("ejections", json!(1)),
        ("share", json!(0.0)),
        ("check", Value::Null),
    ] {
        assert_eq!(first[key], expected, "{key}");
    }
    let until = first["ejectedUntilMs"].as_u64().unwrap();
    assert!((108_000..=110_000).contains(&until), "{until}");
    assert_eq!(forward["backends"][1]["share"], 1.0);
}
