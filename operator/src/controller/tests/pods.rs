use super::*;
use crate::pods::{Pod, Readiness};

/// What the API server says of the pool's pods, by uid.
fn seen(pods: &[(&str, Readiness)]) -> Pods {
    let mut seen = Pods::default();
    seen.place(&BTreeMap::from([("default".to_owned(), "edge".to_owned())]));
    let pods = pods.iter().map(|(uid, readiness)| {
        let pod = Pod {
            name: format!("pod-{uid}"),
            pool: "default".to_owned(),
            readiness: *readiness,
        };
        ((*uid).to_owned(), pod)
    });
    seen.replace("edge", pods.collect());
    seen
}

#[tokio::test(start_paused = true)]
async fn a_ready_pod_that_does_not_connect_counts_after_twelve_seconds() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let _seat = operator.serve(&["a", "b"]);
    let all = [("u", Readiness::Ready), ("v", Readiness::Ready)];
    operator.pods.send_replace(seen(&all[..1]));
    operator.settle().await;
    let programmed = || operator.condition("a", "Programmed");
    let word = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(programmed(), word("True", "Programmed"));

    operator.pods.send_replace(seen(&all));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(programmed(), word("True", "Programmed"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(programmed(), word("False", "Pending"));

    let ending = [all[0], ("v", Readiness::Ending)];
    operator.pods.send_replace(seen(&ending));
    operator.settle().await;
    assert_eq!(programmed(), word("True", "Programmed"));
}

#[tokio::test(start_paused = true)]
async fn the_pool_says_that_a_ready_pod_does_not_connect() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let seat = operator.serve(&["a", "b"]);
    let all = [("u", Readiness::Ready), ("v", Readiness::Ready)];
    operator.pods.send_replace(seen(&all[..1]));
    operator.settle().await;
    let said = || {
        let patch = operator.queue_of_pools.take_all().pop()?;
        let ready = patch.status.conditions.iter().find(|c| c.type_ == "Ready");
        Some((ready?.reason.clone(), patch.status.pods?.summary))
    };
    let says = |reason: &str, summary: &str| Some((reason.to_owned(), summary.to_owned()));
    assert_eq!(said(), says("Ready", "1/1"));
    operator.pods.send_replace(seen(&all));
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(said(), says("NotConnected", "1/2"));
    operator.pods.send_replace(seen(&all[..1]));
    operator.settle().await;
    assert_eq!(said(), says("Ready", "1/1"));

    // One that goes counts as it was for ten seconds, and for two more what was said holds.
    operator.roster.leave(&seat);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(said(), None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(said(), says("NotConnected", "0/1"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_deleted_does_not_count_again_because_it_was_connected_a_moment_ago() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let seat = operator.serve(&["a", "b"]);
    // So that nobody is waited for any more.
    tokio::time::sleep(GRACE + TICK).await;
    operator
        .pods
        .send_replace(seen(&[("u", Readiness::Ending)]));
    operator.settle().await;
    operator.roster.leave(&seat);
    operator.pods.send_replace(seen(&[]));
    operator.settle().await;
    let forwards = operator.forwards.borrow().clone();
    let status = &forwards[&ForwardName::new("shop", "a")].status;
    let programmed = status::condition(status, "Programmed").unwrap();
    assert_eq!(programmed.reason, "NoDataPlane");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_yet_turns_nothing() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator
        .pods
        .send_replace(seen(&[("u", Readiness::NotReady)]));
    let _seat = operator.serve(&["b"]);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let forwards = operator.forwards.borrow().clone();
    let status = &forwards[&ForwardName::new("shop", "a")].status;
    let programmed = status::condition(status, "Programmed").unwrap();
    assert_eq!(programmed.reason, "Pending");
    assert!(
        programmed.message.contains("none is Ready"),
        "{}",
        programmed.message
    );

    operator.pods.send_replace(seen(&[("u", Readiness::Ready)]));
    operator.settle().await;
    let serves = |name| operator.condition(name, "Programmed").1;
    assert_eq!(
        (serves("a"), serves("b")),
        ("Pending".to_owned(), "Programmed".to_owned())
    );
    // Nobody may see pods any more: who is connected counts.
    operator.pods.send_replace(Pods::default());
    operator.settle().await;
    assert_eq!(
        (serves("a"), serves("b")),
        ("Pending".to_owned(), "Programmed".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_namespace_of_pods_is_in_the_hint() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let seat = operator.serve(&["a", "b"]);
    operator.pods.send_replace(seen(&[("u", Readiness::Ready)]));
    let name = ForwardName::new("shop", "a");
    let wanted = operator.forwards.borrow()[&name].forward.clone().unwrap();
    let failing = tcpforward_protocol::answer::FailingBackend {
        forward: name,
        target: wanted.backends[0].target.clone(),
        address: wanted.backends[0].address,
        reason: tcpforward_protocol::answer::DialError::Timeout,
        message: "no answer within 1s".to_owned(),
        since_ms: 0,
        left_out: tcpforward_protocol::answer::LeftOut::No,
    };
    let report = tcpforward_protocol::answer::Report {
        failing: vec![failing],
        ..Default::default()
    };
    operator.roster.report(&seat, report);
    operator.settle().await;
    let forwards = operator.forwards.borrow().clone();
    let status = &forwards[&ForwardName::new("shop", "a")].status;
    let message = &status.backends.as_ref().unwrap().unhealthy[0].message;
    let hint = "from namespace edge: does a NetworkPolicy in shop allow it?";
    assert!(message.ends_with(hint), "{message}");
}
