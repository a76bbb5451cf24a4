//! Whom a session reaches, in which time, and what is said when it reaches nobody.

use std::net::TcpListener;
use std::num::{NonZeroU16, NonZeroU32};

use tcpforward_protocol::answer::{DialError, LeftOut};
use tcpforward_protocol::snapshot::{BackendLimits, Dial, Forward, PassiveCheck, Via, ViaScheme};

use super::silent::silent;
use super::*;
use crate::served::CONNECT_SECONDS;
use crate::shared::Shared;
use crate::sync::samples;

/// Beyond what anything here takes.
const LONG: Duration = Duration::from_secs(10);

/// Soon for a person, long for loopback.
const SHORT: Duration = Duration::from_millis(50);

fn times(attempts: u32, timeout: Duration, hedge_after: Option<Duration>) -> Dial {
    Dial {
        timeout,
        attempts: NonZeroU32::new(attempts).unwrap(),
        deadline: LONG,
        hedge_after,
    }
}

fn served(dial: Dial, backends: &[SocketAddr]) -> Arc<Served> {
    edited(dial, backends, |_| {})
}

fn edited(dial: Dial, backends: &[SocketAddr], edit: impl FnOnce(&mut Forward)) -> Arc<Served> {
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.dial = dial;
    edit(&mut forward);
    let backends = backends.iter().map(ToString::to_string);
    let backends = backends.map(|a| samples::backend("t", &a)).collect();
    samples::served(Forward::new(forward.name, forward.spec, backends))
}

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Where a connection is refused.
fn closed() -> SocketAddr {
    server().1
}

async fn dial_once(served: &Arc<Served>) -> Result<Dialled, Error> {
    dial_at(served, 0).await
}

async fn dial_at(served: &Arc<Served>, offset: u16) -> Result<Dialled, Error> {
    let context = Context {
        worker: 0,
        shared: Arc::new(Shared::new(1000, 1)),
    };
    dial(Dialling {
        served,
        active: &served.active(),
        context: &context,
        source: "127.0.0.1".parse().unwrap(),
        target: None,
        offset,
    })
    .await
}

fn pay_for_races(served: &Served, count: u32) {
    let now = Instant::now().into_std();
    (0..count * 10).for_each(|_| served.budget().dialled(now));
}

/// Failures of the backend at that address, and sessions on it.
fn failures(served: &Served, address: SocketAddr) -> (u64, u64) {
    let backends = served.backends();
    let backend = backends.iter().find(|b| b.address == address).unwrap();
    let counts = backend.counts();
    (counts.failed.iter().sum(), counts.open)
}

fn is_refusal(error: &Error) -> bool {
    let Error::Exhausted { cause, .. } = error else {
        return false;
    };
    cause.result() == DialResult::Failed(DialError::Refused)
}

#[tokio::test]
async fn the_end_of_the_time_hides_no_cause() {
    let mut dial = times(100, LONG, None);
    dial.deadline = Duration::from_millis(120);
    let error = dial_once(&served(dial, &[closed()])).await.unwrap_err();
    assert!(is_refusal(&error), "{error}");
    assert!(error.attempts() > 1);
    assert_eq!(error.ending(), Ending::DialFailed);
}

#[tokio::test]
async fn backends_that_vanish_hide_no_cause() {
    let served = served(times(100, LONG, None), &[closed()]);
    let vanish = async {
        while served.totals().dials.iter().sum::<u64>() == 0 {
            tokio::task::yield_now().await;
        }
        let none = Arc::new(samples::forward("f", 2, &[]));
        let now = Instant::now().into_std();
        served.update(none, samples::terms(), now, 0);
    };
    let (dialled, ()) = tokio::join!(dial_once(&served), vanish);
    let error = dialled.unwrap_err();
    assert!(is_refusal(&error), "{error}");
}

#[tokio::test]
async fn a_full_backend_hides_no_failure_of_another_nor_keeps_from_trying_it_again() {
    for queue_timeout in [Duration::ZERO, SHORT] {
        let (_server, address) = server();
        let served = edited(times(3, LONG, None), &[closed(), address], |forward| {
            forward.spec.relay.backend_limits = Some(BackendLimits {
                connections: NonZeroU32::MIN,
                queue_timeout,
            });
        });
        let _held = dial_once(&served).await.unwrap();
        let error = dial_once(&served).await.unwrap_err();
        assert!(is_refusal(&error), "{error}");
        assert_eq!(error.attempts(), 3);
    }
}

#[tokio::test]
async fn without_backends_it_says_so() {
    let error = dial_once(&served(times(3, LONG, None), &[])).await;
    assert_eq!(error.unwrap_err().ending(), Ending::NoBackend);
}

#[tokio::test]
async fn each_attempt_goes_to_another_backend() {
    let (_server, address) = server();
    let served = served(times(3, LONG, None), &[closed(), closed(), address]);
    for _ in 0..6 {
        let dialled = dial_once(&served).await.unwrap();
        assert_eq!(dialled.channel.peer_addr().unwrap(), address);
        assert!(dialled.attempts <= 3);
    }
    assert_eq!(failures(&served, address), (0, 0));
}

#[tokio::test]
async fn the_only_backend_is_tried_again_after_a_pause() {
    let served = served(times(3, LONG, None), &[closed()]);
    let start = Instant::now();
    let error = dial_once(&served).await.unwrap_err();
    assert_eq!(error.attempts(), 3);
    // 50 and 100 ms, give or take a quarter.
    assert!(start.elapsed() > Duration::from_millis(110));
}

#[tokio::test]
async fn a_silent_backend_is_left_after_its_time() {
    let (silent, (_server, address)) = (silent().await, server());
    let served = served(times(3, SHORT, None), &[silent.address, address]);
    // On a busy machine the end of the time is noticed late, which is no failure: once more then.
    while failures(&served, silent.address) == (0, 0) {
        let dialled = dial_once(&served).await.unwrap();
        assert_eq!(dialled.channel.peer_addr().unwrap(), address);
        assert!(dialled.attempts <= 2);
    }
}

#[tokio::test]
async fn the_last_candidate_may_use_the_rest_of_the_deadline() {
    let silent = silent().await;
    let mut dial = times(1, Duration::from_millis(1), None);
    dial.deadline = SHORT * 2;
    let start = Instant::now();
    let error = dial_once(&served(dial, &[silent.address])).await;
    assert_eq!(error.unwrap_err().attempts(), 1);
    assert!(start.elapsed() >= SHORT * 2);
}

#[tokio::test]
async fn a_slow_answer_is_raced_and_fails_no_session_but_is_remembered() {
    let (silent, (server, address)) = (silent().await, server());
    let dial = times(1, LONG, Some(SHORT));
    let served = served(dial, &[silent.address, address]);
    pay_for_races(&served, 20);
    let start = Instant::now();
    // On a busy machine the wait is noticed late, which is no failure: once more then.
    while failures(&served, silent.address) == (0, 0) && start.elapsed() < LONG {
        let dialled = dial_once(&served).await.unwrap();
        assert_eq!(dialled.channel.peer_addr().unwrap(), address);
        assert_eq!(dialled.attempts, 1);
    }
    assert!((SHORT..LONG).contains(&start.elapsed()));
    let totals = served.totals();
    assert!((1..=20).contains(&totals.races));
    assert_eq!(totals.races_won, totals.races);
    assert!(totals.connects.iter().sum::<u64>() >= totals.races);
    assert_eq!(failures(&served, address), (0, 0));
    let backends = served.backends();
    let failing = backends.iter().find_map(|b| b.failing()).unwrap();
    assert_eq!(failing.reason, DialError::Timeout);
    assert!(failing.message.contains("was faster"), "{failing:?}");
    drop(server);
}

#[tokio::test]
async fn who_waits_for_ports_is_neither_raced_nor_slow() {
    let ((_first, address), (_second, other)) = (server(), server());
    let hedge_after = Some(Duration::from_millis(1));
    let served = served(times(1, LONG, hedge_after), &[address, other]);
    pay_for_races(&served, 20);
    let start = Instant::now();
    for address in [address, other] {
        ports::hold(address, SHORT * 2);
    }
    dial_once(&served).await.unwrap();
    assert!(start.elapsed() >= SHORT, "it waits");
    assert_eq!(served.totals().races, 0);
    let connects = CONNECT_SECONDS.iter().zip(served.totals().connects);
    let fast = connects.filter(|(most, _)| **most <= SHORT.as_secs_f64());
    assert_eq!(fast.map(|(_, count)| count).sum::<u64>(), 1);
}

/// The one that it could race would need a port to the same parent.
#[tokio::test]
async fn who_may_wait_for_ports_to_a_parent_is_not_raced() {
    let ((parent, parent_address), backends) = (server(), [closed(), closed()]);
    for (pause, may_race) in [(LONG, false), (Duration::ZERO, true)] {
        let mut dial = times(1, LONG, Some(Duration::from_millis(1)));
        dial.deadline = SHORT * 2;
        let served = edited(dial, &backends, |forward| {
            forward.spec.via = Some(Via {
                scheme: ViaScheme::Http,
                host: "127.0.0.1".to_owned(),
                port: NonZeroU16::new(parent_address.port()).unwrap(),
                credentials: None,
                ca: None,
                unusable: None,
            });
        });
        pay_for_races(&served, 20);
        ports::hold("192.0.2.1:80".parse().unwrap(), pause);
        let error = dial_once(&served).await.unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");
        assert_eq!(served.totals().races > 0, may_race);
    }
    drop(parent);
}

#[tokio::test]
async fn whose_turn_does_not_come_goes_elsewhere_and_blames_nobody() {
    let ((_first, address), (_second, other)) = (server(), server());
    ports::hold(address, LONG);
    let served = served(times(1, LONG, None), &[address]);
    let error = dial_once(&served).await.unwrap_err();
    assert_eq!(error.ending(), Ending::LocalError, "{error}");
    assert_eq!(failures(&served, address), (0, 0));
    let served = edited(times(2, LONG, None), &[address, other], |_| {});
    // Either of them is picked once.
    for _ in 0..2 {
        let dialled = dial_once(&served).await.unwrap();
        assert_eq!(dialled.channel.peer_addr().unwrap(), other);
    }
    assert_eq!(failures(&served, address), (0, 0));
}

#[tokio::test]
async fn one_that_always_loses_its_races_is_ejected() {
    let (silent, (_server, address)) = (silent().await, server());
    let served = edited(
        times(1, LONG, Some(SHORT)),
        &[silent.address, address],
        |f| {
            f.spec.relay.health_check.passive = PassiveCheck {
                consecutive_dial_failures: NonZeroU32::new(2),
                consecutive_early_resets: None,
                base_ejection_time: LONG,
                max_ejection_percent: 50,
            };
        },
    );
    pay_for_races(&served, 100);
    let is_ejected = || {
        served
            .backends()
            .iter()
            .any(|b| b.left_out() == LeftOut::Ejected)
    };
    let start = Instant::now();
    while !is_ejected() {
        assert!(start.elapsed() < LONG);
        let dialled = dial_once(&served).await.unwrap();
        assert_eq!(dialled.channel.peer_addr().unwrap(), address);
    }
}

#[tokio::test]
async fn whoever_fails_in_a_race_leaves_it_to_the_other() {
    let silent = silent().await;
    let mut dial = times(1, LONG, Some(SHORT));
    dial.deadline = SHORT * 6;
    let served = served(dial, &[silent.address, closed()]);
    pay_for_races(&served, 1);
    while served.totals().races == 0 {
        let error = dial_once(&served).await.unwrap_err();
        // The one that was refused in a race is not the last to fail.
        assert_eq!(is_refusal(&error), served.totals().races == 0, "{error}");
    }
    let totals = served.totals();
    assert_eq!((totals.races, totals.races_won), (1, 0));
    // Noticed late, it would be none.
    assert!(failures(&served, silent.address) <= (1, 0));
}

#[tokio::test]
async fn races_are_a_tenth_of_the_dials_and_need_a_rival() {
    let (silent, (_server, address)) = (silent().await, server());
    let dial = times(2, SHORT * 2, Some(SHORT));
    let poor = served(dial, &[silent.address, address]);
    while failures(&poor, silent.address) == (0, 0) {
        dial_once(&poor).await.unwrap();
    }
    assert_eq!(poor.totals().races, 0);
    let mut dial = times(1, LONG, Some(SHORT));
    dial.deadline = SHORT * 2;
    let alone = served(dial, &[silent.address]);
    pay_for_races(&alone, 1);
    dial_once(&alone).await.unwrap_err();
    assert_eq!(alone.totals().races, 0);
}

#[tokio::test]
async fn a_client_of_another_port_of_the_range_is_led_as_far() {
    let (_server, address) = server();
    let first = SocketAddr::new(address.ip(), address.port() - 3);
    let served = served(times(1, LONG, None), &[first]);
    let dialled = dial_at(&served, 3).await.unwrap();
    assert_eq!(dialled.channel.peer_addr().unwrap(), address);
    let error = dial_at(&served, NonZeroU16::MAX.get()).await.unwrap_err();
    assert!(error.to_string().contains("listener.endPort"), "{error}");
    assert_eq!(failures(&served, first).0, 0);
}

#[tokio::test]
async fn a_port_of_a_range_where_nobody_listens_says_nothing_of_the_others() {
    let refusing = closed();
    let first = SocketAddr::new(refusing.ip(), refusing.port() - 3);
    let served = served(times(1, LONG, None), &[first]);
    let error = dial_at(&served, 3).await.unwrap_err();
    assert!(is_refusal(&error), "{error}");
    assert_eq!(failures(&served, first), (0, 0));
    assert_eq!(served.backends()[0].failing(), None);
    // It is counted all the same.
    assert_eq!(served.totals().dials.iter().sum::<u64>(), 1);
}

#[test]
fn trouble_of_this_host_has_a_word_of_its_own() {
    let no_port = std::io::Error::from(rustix::io::Errno::ADDRNOTAVAIL);
    let error = Error::Exhausted {
        attempts: 1,
        target: "t".into(),
        address: closed(),
        cause: Cause::Io(no_port),
    };
    assert_eq!(error.ending(), Ending::LocalError);
}
