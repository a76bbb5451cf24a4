//! What is scraped is what is documented.

use std::num::{NonZeroU16, NonZeroU32};

use tcpforward_protocol::snapshot::{BackendLimits, Host};

use super::*;
use crate::metrics;

#[tokio::test]
async fn every_metric_is_there_as_documented_and_no_other() {
    let (a, dns, port) = (server("a").await, Dns::start().await, free_port().await);
    let servers = vec![dns.address];
    let mut rig = start(|config| config.dns_servers = servers);
    let mut stream = rig.subscriber().await;
    let whole = whole(port, a.address);
    let proxy = proxy(free_port().await);
    let set = samples::snapshot([whole, proxy]);
    let applied = push_all(&mut stream, 1, &set).await;
    assert!(applied.refused.is_empty(), "{:?}", applied.refused);

    let families = rig.registry.gather();
    let mut scraped: Vec<_> = families.iter().map(|f| (f.name(), f.help())).collect();
    let mut documented: Vec<_> = metrics::ALL.iter().map(|m| (m.name, m.help)).collect();
    scraped.sort_unstable();
    documented.sort_unstable();
    assert_eq!(scraped, documented);
    for family in families {
        let metric = metrics::ALL.iter().find(|m| m.name == family.name());
        let mut expected = metric.unwrap().labels.to_vec();
        expected.sort_unstable();
        for series in family.get_metric() {
            let mut labels: Vec<_> = series.get_label().iter().map(|l| l.name()).collect();
            labels.sort_unstable();
            assert_eq!(labels, expected, "{}", family.name());
        }
    }
    let failed = || {
        metric(
            &rig,
            "tcpforward_dataplane_lookups_total{result=\"failed\"}",
        )
    };
    eventually("a failed lookup", || !failed().ends_with(" 0")).await;
    let due = || rig.handle.forwards()[0].hosts[0].next_lookup_ms;
    eventually("the time of the next one", || due().is_some()).await;
    let (mut session, _) = greeting(port).await;
    echo(&mut session).await;
    drop(session);
    let up = || metric(&rig, "tcpforward_dataplane_backend_bytes_total").ends_with(" 12");
    eventually("the backend's bytes", up).await;
    dns.set_addresses("a.example", &["127.0.0.1"], 60);
    let answered = || {
        metric(
            &rig,
            "tcpforward_dataplane_lookups_total{result=\"answered\"}",
        )
    };
    eventually("an answer", || answered().ends_with(" 1")).await;
}

/// A relay with a name and a limit.
fn whole(port: u16, address: SocketAddr) -> Forward {
    let plain = forward("f", port, &[address]);
    let mut spec = plain.spec;
    let mut named = testing::target("named");
    named.host = Some(Host {
        name: "a.example".to_owned(),
        port: NonZeroU16::MIN,
    });
    spec.relay.targets.push(named);
    spec.relay.backend_limits = Some(BackendLimits {
        connections: NonZeroU32::MIN,
        queue_timeout: Duration::ZERO,
    });
    spec.requires = feature::required(&spec);
    Forward::new(plain.name, spec, plain.backends)
}

fn proxy(port: u16) -> Forward {
    let plain = forward("proxy", port, &[]);
    let mut spec = plain.spec;
    spec.connect = Some(testing::connect(vec![testing::rule("a")]));
    spec.requires = feature::required(&spec);
    Forward::new(plain.name, spec, Vec::new())
}
