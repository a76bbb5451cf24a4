use std::time::Duration;

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::scripted::{Call, api_server};

const PATIENCE: Duration = Duration::from_secs(120);

fn list(kind: &str, items: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}, "items": items})
}

fn is_watch(call: &Call) -> bool {
    call.query.contains("watch=")
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_pods_knows_of_none_until_the_right_is_there() {
    let (client, mut server) = api_server();
    let (seen, mut pods) = watch::channel(Pods::default());
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(client, seen, metrics, CancellationToken::new()));
    let pool = json!({"apiVersion": "tcpforward.dev/v1alpha1", "kind": "DataPlane",
                      "metadata": {"name": "edge"}, "spec": {"podNamespace": "proxies"}});
    let call = server.next(PATIENCE).await;
    assert_eq!(call.line, "GET /apis/tcpforward.dev/v1alpha1/dataplanes");
    call.answer(&list("DataPlaneList", &json!([pool])));

    let mut refusals = 0;
    let mut hanging = Vec::new();
    while refusals < 2 {
        let call = server.next(PATIENCE).await;
        if is_watch(&call) {
            hanging.push(call.hang());
            continue;
        }
        assert_eq!(call.line, "GET /api/v1/namespaces/proxies/pods");
        assert!(
            call.query
                .contains("labelSelector=tcpforward.dev%2Fdata-plane"),
            "{}",
            call.query
        );
        call.refuse(403, "Forbidden");
        refusals += 1;
        assert!(pods.borrow().of("edge").is_none());
    }
    let pod = json!({"metadata": {"name": "edge-1", "uid": "u", "labels": {POOL_LABEL: "edge"}},
                     "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let call = server.expect("GET /api/v1/namespaces/proxies/pods", PATIENCE);
    call.await.answer(&list("PodList", &json!([pod])));
    let there = pods
        .wait_for(|pods| pods.of("edge").is_some())
        .await
        .unwrap();
    let uids: Vec<_> = there.of("edge").unwrap().map(|(uid, _)| uid).collect();
    assert_eq!(uids, ["u"]);
}
