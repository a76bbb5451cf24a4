//! Edge. Names from a DNS server to the backends of forwards.

use std::net::IpAddr;
use std::num::NonZeroU16;

use hickory_resolver::proto::op::ResponseCode;
use tcpforward_protocol::answer::{HostError, HostErrorKind};
use tcpforward_protocol::snapshot::ForwardName;

use super::scripted::{Dns, Reply};
use super::*;
use crate::relay::ending::Ending;
use crate::sync::samples;
use crate::view::Row;

const DEADLINE: Duration = Duration::from_secs(20);

async fn resolve(dns: &Dns, name: &str, before: &Found) -> (Found, Keep) {
    Resolver::new(vec![dns.address]).resolve(name, before).await
}

fn found(addresses: &[&str], error: Option<&str>) -> Found {
    Found {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        error: error.map(|text| HostError::new(HostErrorKind::NotResolved, text)),
    }
}

#[tokio::test]
async fn both_families_of_a_name_are_found() {
    let dns = Dns::start().await;
    dns.set_addresses("db.example", &["2001:db8::1", "192.0.2.2", "192.0.2.1"], 60);
    let expected = found(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], None);
    let keep = Some(Duration::from_secs(60));
    let answer = resolve(&dns, "db.example", &Found::default()).await;
    assert_eq!(answer, (expected, keep));
}

#[tokio::test]
async fn an_alias_is_followed() {
    let dns = Dns::start().await;
    dns.set("db.example", Reply::Alias("real.example"));
    dns.set_addresses("real.example", &["192.0.2.1"], 7);
    let keep = Some(Duration::from_secs(7));
    let answer = resolve(&dns, "db.example", &Found::default()).await;
    assert_eq!(answer, (found(&["192.0.2.1"], None), keep));
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp() {
    let dns = Dns::start().await;
    let many: Vec<IpAddr> = (0..200).map(|i| IpAddr::from([192, 0, 2, i])).collect();
    dns.set("db.example", Reply::Long(many.clone()));
    let (found, _) = resolve(&dns, "db.example", &Found::default()).await;
    assert_eq!((found.addresses, found.error), (many, None));
}

#[tokio::test]
async fn while_dns_fails_the_last_good_addresses_stay() {
    let dns = Dns::start().await;
    let before = found(&["192.0.2.1"], None);
    let nowhere = found(&["192.0.2.1"], Some("DNS says that there is no such name"));
    assert_eq!(resolve(&dns, "db.example", &before).await, (nowhere, None));
    dns.set("db.example", Reply::Refuse(ResponseCode::ServFail));
    let (failed, keep) = resolve(&dns, "db.example", &before).await;
    assert_eq!((failed.addresses, keep), (before.addresses.clone(), None));
    assert!(
        failed
            .error
            .unwrap()
            .text
            .starts_with("the DNS server answers: ")
    );
    dns.set_addresses("db.example", &["192.0.2.7"], 60);
    let (recovered, _) = resolve(&dns, "db.example", &before).await;
    assert_eq!(recovered, found(&["192.0.2.7"], None));
}

#[tokio::test]
async fn an_address_in_place_of_a_name_never_reaches_dns() {
    let dns = Dns::start().await;
    let nothing = Found::default();
    for text in ["192.0.2.1", "2001:db8::1"] {
        let (answer, _) = resolve(&dns, text, &nothing).await;
        assert_eq!(answer, found(&[text], None));
    }
    let (answer, _) = resolve(&dns, "127.1", &nothing).await;
    assert!(answer.addresses.is_empty() && answer.error.is_some());
    assert_eq!(dns.asked(), [""; 0]);
}

/// A forward with a name as its target, in service.
struct Rig {
    dns: Dns,
    served: Arc<Served>,
    shared: Arc<Shared>,
    view: Arc<RwLock<View>>,
    _running: JoinSet<()>,
}

async fn rig(addresses: &[&str]) -> Rig {
    let dns = Dns::start().await;
    dns.set_addresses("db.example", addresses, 0);
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.targets[0].host = Some(Host {
        name: "db.example".to_owned(),
        port: NonZeroU16::new(5432).unwrap(),
    });
    let served = samples::served(forward);
    let row = Row {
        served: Arc::clone(&served),
        listeners: vec![SocketAddr::from(([127, 0, 0, 1], 1))],
        notes: Vec::new(),
    };
    let view = View {
        forwards: [(ForwardName::new("n", "f"), row)].into(),
        refused: BTreeMap::new(),
    };
    let view = Arc::new(RwLock::new(view));
    let shared = Arc::new(Shared::new(1000, 1));
    let mut running = JoinSet::new();
    let servers = vec![dns.address];
    running.spawn(run(Arc::clone(&view), Arc::clone(&shared), servers));
    Rig {
        dns,
        served,
        shared,
        view,
        _running: running,
    }
}

impl Rig {
    /// Waits for these backends and an error that is there or not.
    async fn until(&self, addresses: &[&str], has_error: bool) {
        let mut expected: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        expected.sort();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut now: Vec<_> = self.served.backends().iter().map(|b| b.address).collect();
            now.sort();
            let error = self.served.hosts()[0]
                .1
                .as_ref()
                .and_then(|f| f.error.clone());
            if now == expected && error.is_some() == has_error {
                return;
            }
            assert!(Instant::now() < deadline, "{now:?} and {error:?}");
            let _ = tokio::time::timeout(TICK, self.shared.news.notified()).await;
        }
    }
}

#[tokio::test]
async fn backends_follow_the_name_and_outlast_a_failure_of_dns() {
    let rig = rig(&["192.0.2.1", "192.0.2.2"]).await;
    rig.until(&["192.0.2.1:5432", "192.0.2.2:5432"], false)
        .await;
    let before = rig.served.backends();
    rig.dns
        .set_addresses("db.example", &["192.0.2.2", "192.0.2.3"], 0);
    rig.until(&["192.0.2.2:5432", "192.0.2.3:5432"], false)
        .await;
    let kept = |b: &Arc<_>| before.iter().any(|old| Arc::ptr_eq(old, b));
    assert_eq!(rig.served.backends().iter().filter(|b| kept(b)).count(), 1);
    rig.dns.remove("db.example");
    rig.until(&["192.0.2.2:5432", "192.0.2.3:5432"], true).await;
    rig.dns.set_addresses("db.example", &["192.0.2.2"], 0);
    rig.until(&["192.0.2.2:5432"], false).await;
}

#[tokio::test]
async fn a_forbidden_address_of_a_name_is_no_backend() {
    let rig = rig(&["169.254.169.254", "192.0.2.1"]).await;
    rig.until(&["192.0.2.1:5432"], true).await;
    let report = rig.view.read().unwrap().report();
    assert_eq!(report.hosts.len(), 1);
    assert!(
        report.hosts[0]
            .error
            .as_ref()
            .unwrap()
            .text
            .contains("metadata")
    );
}

#[tokio::test]
async fn a_name_that_no_forward_has_is_not_asked_for() {
    let rig = rig(&["192.0.2.1"]).await;
    rig.until(&["192.0.2.1:5432"], false).await;
    rig.view.write().unwrap().forwards.clear();
    let deadline = Instant::now() + DEADLINE;
    // Quiet for longer than a name rests.
    let (mut asked, mut since) = (rig.dns.asked().len(), Instant::now());
    while since.elapsed() < Duration::from_millis(1500) {
        assert!(Instant::now() < deadline, "it is still asked for");
        let _ = tokio::time::timeout(TICK, std::future::pending::<()>()).await;
        if rig.dns.asked().len() != asked {
            (asked, since) = (rig.dns.asked().len(), Instant::now());
        }
    }
}

#[tokio::test]
async fn open_sessions_of_an_address_that_left_its_name_go_on() {
    let now = Instant::now().into_std();
    let host = |name: &str| Host {
        name: name.to_owned(),
        port: NonZeroU16::MIN,
    };
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.targets[0].host = Some(host("db"));
    let served = samples::served(forward.clone());
    let both = found(&["192.0.2.1", "192.0.2.2"], None);
    served.set_host("t", &host("db"), &both, now, 0);
    let mut backends = served.backends();
    backends.sort_by_key(|b| b.address);
    let ticket = served.sessions().enter(0, [127, 0, 0, 1].into());
    ticket.on(&backends[0], now);
    served.set_host("t", &host("db"), &found(&["192.0.2.2"], None), now, 0);
    assert_eq!(served.backends().len(), 1);
    let mut rng = Rng::with_seed(1);
    let (drain, tick) = (130, Duration::from_millis(250));
    for i in 0..drain {
        served.close_sessions(now + tick * i, &mut rng);
    }
    let cut = tokio::time::timeout(Duration::ZERO, ticket.cut()).await;
    assert!(cut.is_err(), "{cut:?}");
    // Another name: none of its addresses is one of the target any more.
    let now = now + tick * drain;
    forward.spec.relay.targets[0].host = Some(host("other"));
    served.update(Arc::new(forward), samples::terms(), now, 0);
    for i in 0..drain {
        served.close_sessions(now + tick * i, &mut rng);
    }
    let cut = tokio::time::timeout(Duration::ZERO, ticket.cut()).await;
    assert!(matches!(cut, Ok(Ending::Removed)), "{cut:?}");
}

#[tokio::test(start_paused = true)]
async fn names_that_wait_longest_are_asked_for_first() {
    let now = Instant::now();
    let entry = |due| Entry {
        found: None,
        users: Vec::new(),
        due,
        pace: Pace::default(),
        is_asked: false,
    };
    let silent = (0..120).map(|i| (format!("a{i}"), entry(now + TICK)));
    let mut names = Names {
        names: silent.chain([("z".to_owned(), entry(now))]).collect(),
        resolver: Arc::new(Resolver::new(vec![SocketAddr::from(([127, 0, 0, 1], 9))])),
        asking: JoinSet::new(),
        rng: Rng::new(),
        shared: Arc::new(Shared::new(1000, 1)),
    };
    tokio::time::advance(TICK * 2).await;
    names.ask();
    assert_eq!(names.asking.len(), AT_A_TIME);
    assert!(names.names["z"].due > now + TICK * 2, "it has its turn");
}
