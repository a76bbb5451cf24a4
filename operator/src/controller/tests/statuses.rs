use super::*;

#[tokio::test(start_paused = true)]
async fn statuses_follow_what_data_planes_say() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    let seat = operator.serve(&["a"]);
    operator.settle().await;
    assert_eq!(operator.condition("a", "Programmed").0, "True");
    assert_eq!(
        operator.condition("b", "Programmed"),
        ("False".to_owned(), "Pending".to_owned())
    );
    operator.roster.leave(&seat);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(operator.condition("a", "Programmed").0, "True");
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(operator.condition("a", "Programmed").1, "NoDataPlane");
}

#[tokio::test(start_paused = true)]
async fn only_a_holder_hands_statuses_over_and_a_new_one_hands_all_of_them() {
    let operator = Operator::with_two_forwards(LeaseView::unseen()).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(operator.queue.take_all(), []);
    operator.lease.send_replace(LeaseView::alone());
    operator.settle().await;
    assert_eq!(names(&operator.queue.take_all()), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_from_an_earlier_holding_is_not_written() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator.lease.send_replace(LeaseView::unseen());
    operator.settle().await;
    let Object::TcpForward(mut raw) = forward("a", 1, 8001) else {
        unreachable!()
    };
    let a = ForwardName::new("shop", "a");
    raw["metadata"]["resourceVersion"] = json!("50");
    raw["status"] = serde_json::to_value(&operator.forwards.borrow()[&a].status).unwrap();
    operator.say(Event::Applied(Object::TcpForward(raw))).await;
    operator.settle().await;
    operator.lease.send_replace(LeaseView::alone());
    operator.settle().await;
    assert_eq!(names(&operator.queue.take_all()), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_someone_has_changed_is_written_again() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator.serve(&["a", "b"]);
    operator.settle().await;
    let latest = operator.queue.take_all();
    let a = latest
        .iter()
        .find(|patch| patch.name.name() == "a")
        .unwrap();
    let Object::TcpForward(mut raw) = forward("a", 1, 8001) else {
        unreachable!()
    };
    raw["metadata"]["resourceVersion"] = json!("50");
    raw["status"] = serde_json::to_value(&a.status).unwrap();
    operator
        .say(Event::Applied(Object::TcpForward(raw.clone())))
        .await;
    operator.settle().await;
    assert_eq!(operator.queue.take_all(), []);
    raw["metadata"]["resourceVersion"] = json!("51");
    raw["status"] = json!({});
    operator.say(Event::Applied(Object::TcpForward(raw))).await;
    operator.settle().await;
    let again = operator.queue.take_all();
    assert_eq!(names(&again), ["a"]);
    assert_eq!(again[0].resource_version, "51");
}

#[tokio::test(start_paused = true)]
async fn counts_alone_are_written_every_ten_seconds() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator.serve(&["a", "b"]);
    tokio::time::sleep(Duration::from_secs(12)).await;
    operator.queue.take_all();
    let mut written = Vec::new();
    for i in 1..=30_u8 {
        let addresses: Vec<_> = (1..=i).map(|n| format!("10.0.0.{n}")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        operator.say(Event::Applied(slice("a", &addresses))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        written.extend(operator.queue.take_all());
    }
    assert!((3..=4).contains(&written.len()), "{} writes", written.len());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let last = operator
        .queue
        .take_all()
        .pop()
        .or_else(|| written.pop())
        .unwrap();
    assert_eq!(last.status.backends.unwrap().total, 30);
}

#[tokio::test(start_paused = true)]
async fn a_forward_that_is_gone_leaves_nothing_behind() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator
        .say(Event::Deleted {
            kind: Kind::TcpForward,
            namespace: "shop".to_owned(),
            name: "a".to_owned(),
        })
        .await;
    operator.settle().await;
    assert_eq!(names(&operator.queue.take_all()), ["b"]);
    assert_eq!(operator.forwards.borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_written_status_compiles_nothing_and_a_foreign_one_is_healed() {
    let operator = Operator::with_two_forwards(LeaseView::alone()).await;
    operator.serve(&["a", "b"]);
    operator.settle().await;
    let a = ForwardName::new("shop", "a");
    let status = operator.forwards.borrow()[&a].status.clone();
    let written = |version: &str, generation: i64| {
        let Object::TcpForward(mut raw) = forward("a", 1, 8001) else {
            unreachable!()
        };
        raw["metadata"]["resourceVersion"] = json!(version);
        raw["status"] = serde_json::to_value(&status).unwrap();
        raw["status"]["programmedGeneration"] = json!(generation);
        Event::Applied(Object::TcpForward(raw))
    };
    // The first one turns a claim to a port into a right.
    operator.say(written("50", 7)).await;
    operator.settle().await;
    operator.queue.take_all();
    let compiled = operator.compiled();
    operator.say(written("51", 8)).await;
    operator.settle().await;
    let again = operator.queue.take_all();
    assert_eq!(names(&again), ["a"]);
    assert_eq!(again[0].resource_version, "51");
    assert_eq!(operator.compiled(), compiled);
}
