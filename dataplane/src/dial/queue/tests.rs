//! Sessions that wait: in their order, in time, and never for a place that is free.

use std::num::NonZeroU32;
use std::time::Duration;

use tcpforward_protocol::answer::DialError;
use tcpforward_protocol::snapshot::{ActiveCheck, BackendLimits, Forward, Probe, TcpProbe};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::balancer::outcome::{Failure, Outcome};
use crate::sync::samples;

const PATIENCE: Duration = Duration::from_secs(10);
const ASKER: Asker<'_> = Asker {
    source: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    target: None,
};

fn forward(backends: &[&str], connections: u32) -> Forward {
    let mut forward = samples::forward("f", 1, &[]);
    forward.spec.relay.backend_limits =
        NonZeroU32::new(connections).map(|connections| BackendLimits {
            connections,
            queue_timeout: PATIENCE,
        });
    let backends = backends.iter().map(|a| samples::backend("t", a));
    Forward::new(forward.name, forward.spec, backends.collect())
}

/// One backend with that many places.
fn served(connections: u32) -> Arc<Served> {
    samples::served(forward(&["10.0.0.1:80"], connections))
}

fn now(served: &Arc<Served>) -> Seated {
    pick(served, &[], ASKER, None).unwrap()
}

async fn waits(served: &Arc<Served>) -> Result<Seated, NoSeat> {
    seat(served, &[], ASKER, Instant::now() + PATIENCE).await
}

/// Lets the tasks of this thread run until so many sessions wait.
async fn queued(served: &Arc<Served>, count: usize) {
    let waiting = async {
        while served.queue().len() != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .expect("a queue of that length");
}

#[tokio::test]
async fn places_go_to_those_who_wait_in_their_order() {
    let served = served(1);
    let held = now(&served);
    let mut tasks = JoinSet::new();
    for number in 0..3 {
        let waiter = Arc::clone(&served);
        tasks.spawn(async move { (number, waits(&waiter).await.unwrap()) });
        queued(&served, number + 1).await;
    }
    drop(held);
    for expected in 0..3 {
        // Nobody overtakes, though a place is free for a moment each time.
        let next = timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap();
        let (number, _seated) = next.unwrap();
        assert_eq!(number, expected);
        assert_eq!(served.backends()[0].open(), 1);
    }
    assert!(served.queue().is_empty());
    assert_eq!(served.backends()[0].open(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_is_told_and_gone() {
    let served = served(1);
    let held = now(&served);
    let start = Instant::now();
    let until = start + Duration::from_secs(2);
    let error = seat(&served, &[], ASKER, until).await.unwrap_err();
    assert_eq!((error, start.elapsed().as_secs()), (NoSeat::Timeout, 2));
    assert!(served.queue().is_empty());
    drop(held);
    assert!(pick(&served, &[], ASKER, None).is_ok());
}

#[tokio::test]
async fn behind_so_many_nobody_waits() {
    let served = served(1);
    let held = now(&served);
    let mut tasks = JoinSet::new();
    for _ in 0..LONGEST {
        let waiter = Arc::clone(&served);
        tasks.spawn(async move { waits(&waiter).await.map(drop) });
    }
    queued(&served, LONGEST).await;
    assert_eq!(waits(&served).await.unwrap_err(), NoSeat::Full);
    drop(held);
    while let Some(seated) = timeout(PATIENCE, tasks.join_next()).await.unwrap() {
        assert_eq!(seated.unwrap(), Ok(()));
    }
    assert_eq!(served.backends()[0].total(), 1 + LONGEST as u64);
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_place_with_it() {
    let served = served(1);
    let held = now(&served);
    let (mut leaves, mut stays) = (JoinSet::new(), JoinSet::new());
    for tasks in [&mut leaves, &mut stays] {
        let waiter = Arc::clone(&served);
        tasks.spawn(async move { waits(&waiter).await.unwrap() });
    }
    queued(&served, 2).await;
    leaves.shutdown().await;
    assert_eq!(served.queue().len(), 1);
    // One that has its seat already, and goes before it knows.
    let waiter = Arc::clone(&served);
    leaves.spawn(async move { waits(&waiter).await.unwrap() });
    queued(&served, 2).await;
    drop(held);
    let first = timeout(PATIENCE, stays.join_next()).await.unwrap();
    drop(first.unwrap().unwrap());
    assert!(served.queue().is_empty(), "the other one was given it");
    leaves.shutdown().await;
    assert_eq!(served.backends()[0].open(), 0);
}

#[tokio::test]
async fn another_backend_or_a_higher_limit_makes_room_at_once() {
    for wider in [
        forward(&["10.0.0.1:80", "10.0.0.2:80"], 1),
        forward(&["10.0.0.1:80"], 2),
        forward(&["10.0.0.1:80"], 0),
    ] {
        let served = served(1);
        let _held = now(&served);
        let mut tasks = JoinSet::new();
        let waiter = Arc::clone(&served);
        tasks.spawn(async move { waits(&waiter).await.map(drop) });
        queued(&served, 1).await;
        let at = Instant::now().into_std();
        served.update(Arc::new(wider), samples::terms(), at, 0);
        let seated = timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap();
        assert_eq!(seated.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn whoever_can_t_use_a_place_lets_the_next_one_have_it() {
    let served = samples::served(forward(&["10.0.0.1:80", "10.0.0.2:80"], 1));
    let (one, two) = (now(&served), now(&served));
    let tried = vec![Arc::clone(one.seat.backend())];
    let mut picky = JoinSet::new();
    let waiter = Arc::clone(&served);
    let until = Instant::now() + PATIENCE;
    picky.spawn(async move { seat(&waiter, &tried, ASKER, until).await.unwrap() });
    queued(&served, 1).await;
    let mut other = JoinSet::new();
    let waiter = Arc::clone(&served);
    other.spawn(async move { waits(&waiter).await.unwrap() });
    queued(&served, 2).await;
    let first = Arc::clone(one.seat.backend());
    drop(one);
    let seated = timeout(PATIENCE, other.join_next()).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(seated.unwrap().seat.backend(), &first));
    assert_eq!(served.queue().len(), 1);
    let second = Arc::clone(two.seat.backend());
    drop(two);
    let seated = timeout(PATIENCE, picky.join_next()).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(seated.unwrap().seat.backend(), &second));
}

#[tokio::test]
async fn a_backend_that_is_well_again_is_given_out_at_once() {
    let mut forward = forward(&["10.0.0.1:80", "10.0.0.2:80"], 1);
    forward.spec.relay.health_check.active = Some(ActiveCheck {
        interval: PATIENCE,
        timeout: PATIENCE,
        unhealthy_threshold: NonZeroU32::MIN,
        healthy_threshold: NonZeroU32::MIN,
        probe: Probe::Tcp(TcpProbe::default()),
    });
    let served = samples::served(forward);
    let held = now(&served);
    let backends = served.backends();
    let mut others = backends
        .iter()
        .filter(|b| !Arc::ptr_eq(b, held.seat.backend()));
    let other = others.next().unwrap();
    let at = Instant::now().into_std();
    let failure = Failure {
        reason: DialError::Refused,
        message: String::new(),
        at_ms: 0,
    };
    let _ = served.observe(other, Outcome::CheckFailed(failure), at);
    let mut tasks = JoinSet::new();
    let waiter = Arc::clone(&served);
    tasks.spawn(async move { waits(&waiter).await.unwrap() });
    queued(&served, 1).await;
    let _ = served.observe(other, Outcome::CheckPassed, at);
    let seated = timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(seated.unwrap().seat.backend(), other));
}
