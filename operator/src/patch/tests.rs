use prometheus::Registry;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::task::JoinSet;

use super::*;
use crate::crd::TcpForwardStatus;
use crate::scripted::{ApiServer, Call, api_server};

const PATH: &str = "PATCH /apis/tcpforward.dev/v1alpha1/namespaces/shop/tcpforwards";
const PATIENCE: Duration = Duration::from_secs(1);

struct Writing {
    server: ApiServer,
    queue: Arc<Queue>,
    lease: watch::Sender<LeaseView>,
    metrics: Metrics,
    _tasks: JoinSet<()>,
}

fn start() -> Writing {
    let (client, server) = api_server();
    let (lease, view) = watch::channel(LeaseView::alone());
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let queue = Arc::<Queue>::default();
    let writer = Writer::new(client, Arc::clone(&queue), view, metrics.clone()).telling("o");
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run(CancellationToken::new()));
    Writing {
        server,
        queue,
        lease,
        metrics,
        _tasks: tasks,
    }
}

fn patch(name: &str, generation: i64) -> StatusPatch {
    StatusPatch {
        name: ForwardName::new("shop", name),
        resource_version: "7".to_owned(),
        uid: "u".to_owned(),
        status: TcpForwardStatus {
            observed_generation: Some(generation),
            ..Default::default()
        },
        news: Vec::new(),
    }
}

/// The same with news.
fn told(name: &str, generation: i64) -> StatusPatch {
    StatusPatch {
        news: vec![News {
            tone: crate::status::Tone::Warning,
            reason: "Rejected".to_owned(),
            action: "Program",
            note: "port 8888 is taken".to_owned(),
        }],
        ..patch(name, generation)
    }
}

impl Writing {
    async fn call(&mut self, name: &str, patience: Duration) -> Call {
        self.server
            .expect(&format!("{PATH}/{name}/status"), patience)
            .await
    }

    fn counted(&self, result: &str) -> u64 {
        self.metrics.patches.with_label_values(&[result]).get()
    }
}

fn stored(call: &Call) -> serde_json::Value {
    call.body.clone()
}

#[tokio::test(start_paused = true)]
async fn a_status_is_applied_with_the_version_it_was_computed_from() {
    let mut writing = start();
    writing.queue.put(patch("web", 3));
    let call = writing.call("web", PATIENCE).await;
    assert_eq!(call.query, "&force=true&fieldManager=tcpforward-operator");
    assert_eq!(call.body["metadata"]["resourceVersion"], "7");
    assert_eq!(call.body["metadata"]["uid"], "u");
    assert_eq!(call.body["apiVersion"], "tcpforward.dev/v1alpha1");
    assert_eq!(call.body["status"]["observedGeneration"], 3);
    let answer = stored(&call);
    call.answer(&answer);
    writing.server.stays_quiet(Duration::from_secs(120)).await;
    assert_eq!(writing.counted("written"), 1);
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_objects_that_are_gone_are_dropped() {
    for (code, reason, result) in [(409, "Conflict", "conflict"), (404, "NotFound", "gone")] {
        let mut writing = start();
        writing.queue.put(patch("web", 3));
        writing.call("web", PATIENCE).await.refuse(code, reason);
        writing.server.stays_quiet(Duration::from_secs(120)).await;
        assert_eq!(writing.counted(result), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_with_the_latest_status() {
    let mut writing = start();
    writing.queue.put(patch("web", 3));
    writing.call("web", PATIENCE).await.refuse(403, "Forbidden");
    writing.server.stays_quiet(Duration::from_millis(900)).await;
    writing.queue.put(patch("web", 4));
    let call = writing.call("web", PATIENCE).await;
    assert_eq!(call.body["status"]["observedGeneration"], 4);
    call.refuse(403, "Forbidden");
    writing
        .server
        .stays_quiet(Duration::from_millis(1900))
        .await;
    let call = writing.call("web", PATIENCE).await;
    let answer = stored(&call);
    call.answer(&answer);
    writing.server.stays_quiet(Duration::from_secs(120)).await;
    assert_eq!(
        (writing.counted("failed"), writing.counted("written")),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_again_and_others_do_not_wait() {
    let mut writing = start();
    writing.queue.put(patch("web", 3));
    let hanging = writing.call("web", PATIENCE).await.hang();
    writing.queue.put(patch("db", 1));
    let call = writing.call("db", PATIENCE).await;
    let answer = stored(&call);
    call.answer(&answer);
    writing
        .call("web", Duration::from_secs(7))
        .await
        .refuse(404, "NotFound");
    drop(hanging);
    assert_eq!(
        (writing.counted("failed"), writing.counted("written")),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_but_the_holder_writes_and_what_waits_is_not_lost() {
    let mut writing = start();
    writing.lease.send_replace(LeaseView::unseen());
    writing.queue.put(patch("db", 1));
    writing.queue.put(patch("web", 3));
    writing.server.stays_quiet(Duration::from_secs(120)).await;
    writing.queue.put(patch("web", 4));
    writing.lease.send_replace(LeaseView::alone());
    for (name, generation) in [("db", 1), ("web", 4)] {
        let call = writing.call(name, PATIENCE).await;
        assert_eq!(call.body["status"]["observedGeneration"], generation);
        let answer = stored(&call);
        call.answer(&answer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_outlasts_a_lapse_of_the_lease() {
    let mut writing = start();
    writing.queue.put(patch("web", 3));
    let call = writing.call("web", PATIENCE).await;
    writing.lease.send_replace(LeaseView::unseen());
    call.refuse(403, "Forbidden");
    writing.server.stays_quiet(Duration::from_secs(120)).await;
    writing.lease.send_replace(LeaseView::alone());
    let call = writing.call("web", PATIENCE).await;
    assert_eq!(call.body["status"]["observedGeneration"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_belief_that_ends_by_the_clock_ends_writing() {
    let mut writing = start();
    let end = now() + Duration::from_secs(10);
    writing
        .lease
        .send_replace(LeaseView::seen(0, Some(end), None));
    writing.server.stays_quiet(Duration::from_secs(10)).await;
    writing.queue.put(patch("web", 3));
    writing.server.stays_quiet(Duration::from_secs(120)).await;
    let end = now() + Duration::from_secs(10);
    writing
        .lease
        .send_replace(LeaseView::seen(0, Some(end), None));
    let call = writing.call("web", PATIENCE).await;
    assert_eq!(call.body["status"]["observedGeneration"], 3);
}

#[tokio::test(start_paused = true)]
async fn one_object_is_written_by_one_call_at_a_time() {
    let mut writing = start();
    writing.queue.put(patch("web", 3));
    let first = writing.call("web", PATIENCE).await;
    writing.queue.put(patch("web", 4));
    writing.server.stays_quiet(Duration::from_secs(1)).await;
    let answer = stored(&first);
    first.answer(&answer);
    let second = writing.call("web", PATIENCE).await;
    assert_eq!(second.body["status"]["observedGeneration"], 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_told_once_the_status_is_written() {
    const EVENTS: &str = "POST /apis/events.k8s.io/v1/namespaces/shop/events";
    let mut writing = start();
    writing.queue.put(told("web", 3));
    writing.call("web", PATIENCE).await.refuse(409, "Conflict");
    writing.server.stays_quiet(Duration::from_secs(120)).await;

    writing.queue.put(told("web", 4));
    let call = writing.call("web", PATIENCE).await;
    let answer = stored(&call);
    call.answer(&answer);
    let event = writing.server.expect(EVENTS, PATIENCE).await;
    assert_eq!(event.body["regarding"]["uid"], "u");
    assert_eq!(event.body["note"], "port 8888 is taken");
    // Whatever becomes of it, statuses are written.
    let hanging = event.hang();
    writing.queue.put(told("web", 5));
    let call = writing.call("web", PATIENCE).await;
    assert_eq!(call.body["status"]["observedGeneration"], 5);
    drop(hanging);
}

mod services;
