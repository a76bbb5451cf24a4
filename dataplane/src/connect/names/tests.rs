//! Names from a scripted DNS server to those who look for them.

use futures::FutureExt as _;
use futures::future::join_all;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::*;
use crate::hosts::scripted::{Dns, Reply};

struct Rig {
    dns: Dns,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

async fn rig() -> Rig {
    rig_of(1000).await
}

async fn rig_of(descriptors: usize) -> Rig {
    let dns = Dns::start().await;
    let shared = Arc::new(Shared::new(descriptors, 1));
    let mut running = JoinSet::new();
    running.spawn(run(Arc::clone(&shared), vec![dns.address]));
    Rig {
        dns,
        shared,
        _running: running,
    }
}

impl Rig {
    async fn lookup(&self, name: &str) -> Answer {
        self.shared.names.lookup(name).await
    }

    /// What was asked for, in the order of the alphabet: that of the families is chance.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.dns.asked();
        asked.sort();
        asked
    }

    fn counts(&self) -> (u64, u64) {
        let Names {
            answered, failed, ..
        } = &self.shared.names;
        (
            answered.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed),
        )
    }

    /// Nothing is asked for any more, and no descriptor is held.
    async fn at_rest(&self, free: usize) {
        let deadline = Instant::now() + TIMEOUT * 2;
        while !self.shared.names.state().asked.is_empty() || self.shared.free_descriptors() < free {
            assert!(Instant::now() < deadline, "{:?}", self.shared.names);
            tokio::task::yield_now().await;
        }
    }
}

fn addresses(texts: &[&str]) -> Answer {
    Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[tokio::test]
async fn both_families_are_asked_for_once_and_kept() {
    let rig = rig().await;
    rig.dns
        .set_addresses("db.example", &["192.0.2.1", "2001:db8::1"], 60);
    let expected = addresses(&["2001:db8::1", "192.0.2.1"]);
    for name in ["db.example", "db.example.", "DB.Example"] {
        assert_eq!(rig.lookup(name).await, expected, "{name}");
    }
    assert_eq!(rig.asked(), ["db.example. A", "db.example. AAAA"]);
    assert_eq!(rig.counts(), (1, 0));
}

#[tokio::test]
async fn a_name_that_flips_gives_one_answer_at_a_time() {
    let rig = rig().await;
    let ips = ["192.0.2.1", "127.0.0.1"].map(|ip| ip.parse().unwrap());
    rig.dns
        .set("rebind.example", Reply::Turns(ips.to_vec(), 60));
    for _ in 0..3 {
        let answer = rig.lookup("rebind.example").await;
        assert_eq!(answer, addresses(&["192.0.2.1"]));
    }
    assert_eq!(rig.asked().len(), 2);
}

#[tokio::test]
async fn even_an_answer_for_no_time_holds_for_a_second() {
    let rig = rig().await;
    let ips = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    rig.dns.set("flip.example", Reply::Turns(ips.to_vec(), 0));
    let start = Instant::now();
    let first = addresses(&["192.0.2.1"]);
    while rig.lookup("flip.example").await == first {
        assert!(start.elapsed() < TIMEOUT, "it holds for ever");
        tokio::task::yield_now().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_eq!(
        rig.lookup("flip.example").await,
        addresses(&["192.0.2.2"]),
        "asked for once more"
    );
}

#[tokio::test]
async fn all_who_look_for_a_name_at_a_time_share_a_question() {
    let rig = rig().await;
    rig.dns.set_addresses("db.example", &["192.0.2.1"], 0);
    let answers = join_all((0..100).map(|_| rig.lookup("db.example"))).await;
    assert_eq!(answers, vec![addresses(&["192.0.2.1"]); 100]);
    assert_eq!(rig.asked().len(), 2);
}

#[tokio::test]
async fn short_names_are_whole_names() {
    let rig = rig().await;
    for name in ["kubernetes", "metadata.", "db.prod"] {
        assert_eq!(rig.lookup(name).await, Err(NameError::NotFound), "{name}");
    }
    let whole = ["db.prod.", "kubernetes.", "metadata."];
    let asked = whole.map(|name| [format!("{name} A"), format!("{name} AAAA")]);
    assert_eq!(rig.asked(), asked.concat());
}

#[tokio::test]
async fn what_is_no_name_is_never_asked_for() {
    let rig = rig().await;
    assert_eq!(rig.lookup("192.0.2.1").await, addresses(&["192.0.2.1"]));
    assert_eq!(rig.lookup("::1").await, addresses(&["::1"]));
    for (text, error) in [
        ("127.1", NotAName::Number),
        ("a b", NotAName::Characters),
        ("", NotAName::Length),
    ] {
        assert_eq!(rig.lookup(text).await, Err(NameError::NotAName(error)));
    }
    assert_eq!(rig.asked(), [""; 0]);
}

#[tokio::test]
async fn a_no_is_kept_and_a_failure_is_not() {
    let rig = rig().await;
    let no = rig.lookup("none.example").await;
    assert_eq!(no, Err(NameError::NotFound));
    rig.dns.set_addresses("none.example", &["192.0.2.1"], 60);
    assert_eq!(rig.lookup("none.example").await, no);
    rig.dns.set_addresses("empty.example", &[], 60);
    let empty = rig.lookup("empty.example").await;
    assert_eq!(empty, Err(NameError::NoAddress));
    let refuse = Reply::Refuse(ResponseCode::ServFail);
    rig.dns.set("broken.example", refuse);
    let failed = rig.lookup("broken.example").await;
    assert!(matches!(failed, Err(NameError::Failed(_))), "{failed:?}");
    rig.dns.set_addresses("broken.example", &["192.0.2.1"], 60);
    let recovered = rig.lookup("broken.example").await;
    assert_eq!(recovered, addresses(&["192.0.2.1"]));
    assert_eq!(rig.counts(), (1, 3));
}

#[tokio::test]
async fn addresses_wait_for_the_other_family_for_a_moment_only() {
    let rig = rig().await;
    let ips = vec!["192.0.2.1".parse().unwrap()];
    rig.dns
        .set("db.example", Reply::SilenceAbout(RecordType::AAAA, ips));
    let start = Instant::now();
    let answer = rig.lookup("db.example").await;
    assert_eq!(answer, addresses(&["192.0.2.1"]));
    assert!(start.elapsed() < TIMEOUT / 5, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_is_not_answered_hears_so_in_time_and_nothing_is_left() {
    let rig = rig().await;
    let free = rig.shared.free_descriptors();
    rig.dns.set("db.example", Reply::Silence);
    let start = Instant::now();
    let answer = rig.lookup("db.example").await;
    assert_eq!(answer, Err(NameError::Timeout(TIMEOUT)));
    assert!(start.elapsed() <= TIMEOUT + Duration::from_millis(1));
    rig.at_rest(free).await;
}

#[tokio::test]
async fn beyond_those_who_wait_nobody_does() {
    let shared = Arc::new(Shared::new(1000, 1));
    let names: Vec<String> = (0..WAITING).map(|i| format!("n{i}.example")).collect();
    let mut waiting: Vec<_> = names
        .iter()
        .map(|name| Box::pin(shared.names.lookup(name)))
        .collect();
    for lookup in &mut waiting {
        assert_eq!(lookup.now_or_never(), None);
    }
    let answer = shared.names.lookup("one.more").await;
    assert_eq!(answer, Err(NameError::Busy));
    let mut known = Box::pin(shared.names.lookup("n7.example"));
    assert_eq!((&mut known).now_or_never(), None, "it waits already");
    drop((waiting, known));
    let dns = Dns::start().await;
    let mut running = JoinSet::new();
    running.spawn(run(Arc::clone(&shared), vec![dns.address]));
    while !shared.names.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = shared.names.lookup("one.more").await;
    assert_eq!(answer, Err(NameError::NotFound));
    let mut asked = dns.asked();
    asked.sort();
    assert_eq!(
        asked,
        ["one.more. A", "one.more. AAAA"],
        "nobody waits for the others"
    );
    assert_eq!(shared.names.state().asked.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn silent_names_keep_others_waiting_only_until_they_are_given_up() {
    let rig = rig().await;
    let names: Vec<String> = (0..AT_A_TIME * 3)
        .map(|i| format!("n{i}.example"))
        .collect();
    for name in &names {
        rig.dns.set(name, Reply::Silence);
    }
    let free = rig.shared.free_descriptors();
    let silent = join_all(names.iter().map(|name| rig.lookup(name)));
    let watch = async {
        let per_name = usize::try_from(PER_NAME).unwrap();
        while rig.shared.free_descriptors() > free - AT_A_TIME * per_name {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.shared.names.state().waiting.len(), AT_A_TIME * 2);
    };
    let (answers, ()) = tokio::join!(silent, watch);
    let timeout = |answer: &Answer| *answer == Err(NameError::Timeout(TIMEOUT));
    assert!(answers.iter().all(timeout), "{answers:?}");
    rig.at_rest(free).await;
}

#[tokio::test]
async fn without_descriptors_names_wait_for_some() {
    let rig = rig_of(100).await;
    rig.dns.set_addresses("db.example", &["192.0.2.1"], 60);
    let free = u32::try_from(rig.shared.free_descriptors()).unwrap();
    let held = rig.shared.try_descriptors(free);
    let mut lookup = Box::pin(rig.lookup("db.example"));
    let early = timeout(SHORTAGE * 2, &mut lookup).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(rig.asked(), [""; 0]);
    drop(held);
    assert_eq!(lookup.await, addresses(&["192.0.2.1"]));
}

#[tokio::test]
async fn who_waits_when_all_ends_is_told() {
    let Rig {
        dns,
        shared,
        _running: mut running,
    } = rig().await;
    dns.set("db.example", Reply::Silence);
    let lookup = shared.names.lookup("db.example");
    let end = async {
        while dns.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        running.shutdown().await;
    };
    let (answer, ()) = tokio::join!(lookup, end);
    assert_eq!(answer, Err(lost()));
}
