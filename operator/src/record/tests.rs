use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::scripted::{ApiServer, Call, api_server};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
const PATIENCE: Duration = Duration::from_secs(1);

struct Telling {
    server: ApiServer,
    desk: Desk,
    lease: watch::Sender<LeaseView>,
    metrics: Metrics,
    _tasks: JoinSet<()>,
}

fn start() -> Telling {
    let (client, server) = api_server();
    let (lease, view) = watch::channel(LeaseView::alone());
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let (desk, scribe) = open(client, "operator-1", view, metrics.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(scribe.run());
    Telling {
        server,
        desk,
        lease,
        metrics,
        _tasks: tasks,
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        name: ForwardName::new("shop", name),
        uid: "u".to_owned(),
    }
}

fn news(reason: &str) -> News {
    News {
        tone: Tone::Warning,
        reason: reason.to_owned(),
        action: "Program",
        note: "port 8888 is taken".to_owned(),
    }
}

impl Telling {
    fn tell(&self, name: &str, reason: &str) {
        self.desk.tell(&subject(name), vec![news(reason)]);
    }

    async fn created(&mut self) -> Call {
        self.server
            .expect(&format!("POST {EVENTS}"), PATIENCE)
            .await
    }

    /// Until that many have had this result: calls are counted after their answers.
    async fn counted(&self, result: &str, n: u64) {
        let counter = self.metrics.records.with_label_values(&[result]);
        for _ in 0..1000 {
            if counter.get() == n {
                return;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(counter.get(), n, "{result}");
    }
}

fn answered(call: Call) -> Value {
    let body = call.body.clone();
    call.answer(&body);
    body
}

#[tokio::test(start_paused = true)]
async fn an_event_is_about_the_forward_and_repeats_are_a_series() {
    let mut telling = start();
    telling.tell("web", "Rejected");
    let event = answered(telling.created().await);
    let name = event["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("web."), "{name}");
    let regarding = json!({"apiVersion": "tcpforward.dev/v1alpha1", "kind": "TcpForward",
                           "namespace": "shop", "name": "web", "uid": "u"});
    assert_eq!(event["regarding"], regarding);
    let words = [
        "type",
        "reason",
        "action",
        "note",
        "reportingController",
        "reportingInstance",
    ];
    let said = [
        "Warning",
        "Rejected",
        "Program",
        "port 8888 is taken",
        CONTROLLER,
        "operator-1",
    ];
    assert_eq!(words.map(|word| event[word].as_str().unwrap()), said);

    telling.tell("web", "Rejected");
    let line = format!("PATCH {EVENTS}/{name}");
    let again = telling.server.expect(&line, PATIENCE);
    assert_eq!(answered(again.await)["series"]["count"], 2);
    telling.tell("web", "NoDataPlane");
    answered(telling.created().await);
    telling.counted("written", 3).await;
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_forward_may_be_as_long_as_names_are() {
    let mut telling = start();
    let long = "x".repeat(253);
    telling.tell(&long, "Rejected");
    let event = answered(telling.created().await);
    let name = event["metadata"]["name"].as_str().unwrap();
    assert_eq!(name.len(), 253);
    assert_eq!(event["regarding"]["name"], long);
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_gone_begins_anew() {
    let mut telling = start();
    telling.tell("web", "Rejected");
    answered(telling.created().await);
    telling.tell("web", "Rejected");
    telling.server.next(PATIENCE).await.refuse(404, "NotFound");
    answered(telling.created().await);
    telling.counted("written", 2).await;
    telling.counted("failed", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_and_silence_are_counted_and_the_next_one_is_written() {
    let mut telling = start();
    telling.tell("web", "Rejected");
    telling.created().await.refuse(403, "Forbidden");
    telling.tell("db", "Rejected");
    let hanging = telling.created().await.hang();
    telling.tell("ssh", "Rejected");
    let line = format!("POST {EVENTS}");
    let call = telling.server.expect(&line, Duration::from_secs(6));
    assert_eq!(answered(call.await)["regarding"]["name"], "ssh");
    drop(hanging);
    telling.counted("failed", 2).await;
    telling.counted("written", 1).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_but_the_holder_tells() {
    let mut telling = start();
    telling.lease.send_replace(LeaseView::unseen());
    telling.tell("web", "Rejected");
    telling.server.stays_quiet(Duration::from_secs(60)).await;
    telling.counted("dropped", 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_dropped_at_once() {
    let telling = start();
    for i in 0..250 {
        telling.tell(&format!("web-{i}"), "NoDataPlane");
    }
    telling.counted("dropped", 50).await;
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(cut("aü", 2), "a");
    assert_eq!(cut("aü", 3), "aü");
    assert_eq!(cut("", 3), "");
}
