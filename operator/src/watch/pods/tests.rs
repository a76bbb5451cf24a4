use std::time::Duration;

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::identity::accounts::tests::accounts;
use crate::scripted::{ApiServer, Call, api_server};

const PATIENCE: Duration = Duration::from_secs(120);
const PODS: &str = "GET /api/v1/namespaces/proxies/pods";

struct Case {
    server: ApiServer,
    pools: watch::Sender<Accounts>,
    pods: watch::Receiver<Pods>,
    _tasks: JoinSet<()>,
}

/// With a pool edge in namespace proxies.
fn start() -> Case {
    let (client, server) = api_server();
    let (seen, pods) = watch::channel(Pods::default());
    let (pools, known) = watch::channel(Accounts::default());
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let mut tasks = JoinSet::new();
    let shutdown = CancellationToken::new();
    tasks.spawn(follow(client, known, seen, metrics, shutdown));
    pools.send_replace(accounts(&[("edge", "proxies", "edge")]));
    Case {
        server,
        pools,
        pods,
        _tasks: tasks,
    }
}

fn list() -> Value {
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [
        {"metadata": {"name": "edge-1", "uid": "u", "labels": {POOL_LABEL: "edge"}},
         "status": {"conditions": [{"type": "Ready", "status": "True"}]}}]})
}

fn is_watch(call: &Call) -> bool {
    call.query.contains("watch=")
}

impl Case {
    async fn next(&mut self) -> Call {
        let call = self.server.expect(PODS, PATIENCE).await;
        let selector = "labelSelector=tcpforward.dev%2Fdata-plane";
        assert!(call.query.contains(selector), "{}", call.query);
        call
    }

    /// Waits until so many pods of the pool are known, or until nothing is.
    async fn know(&mut self, count: Option<usize>) {
        let known = |pods: &Pods| pods.of("edge").map(Iterator::count) == count;
        let waiting = self.pods.wait_for(known);
        let seen = tokio::time::timeout(PATIENCE, waiting).await;
        drop(seen.expect("it comes in time").unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_pods_knows_of_none_until_the_right_is_there() {
    let mut case = start();
    for _ in 0..2 {
        case.next().await.refuse(403, "Forbidden");
        assert!(case.pods.borrow().of("edge").is_none());
    }
    case.next().await.answer(&list());
    case.know(Some(1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_see_pods_again_lists_them_all() {
    let mut case = start();
    case.next().await.answer(&list());
    case.know(Some(1)).await;
    let call = case.next().await;
    assert!(is_watch(&call));
    call.refuse(403, "Forbidden");
    case.know(None).await;
    let call = case.next().await;
    assert!(!is_watch(&call), "what it missed is in no watch");
    call.answer(&list());
    case.know(Some(1)).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_where_no_pool_is() {
    let mut case = start();
    case.next().await.answer(&list());
    case.know(Some(1)).await;
    let _hanging = case.next().await.hang();
    case.pools.send_replace(accounts(&[]));
    case.know(None).await;
    assert_eq!(case.pods.borrow().pools().count(), 0);
    case.server.stays_quiet(PATIENCE).await;
}
