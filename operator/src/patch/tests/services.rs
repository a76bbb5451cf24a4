use serde_json::json;

use super::*;
use crate::entrance::Deed;

const SERVICES: &str = "/api/v1/namespaces/proxies/services";

struct Doors {
    server: ApiServer,
    queue: Arc<Queue<ServiceWrite>>,
    metrics: Metrics,
    _lease: watch::Sender<LeaseView>,
    _tasks: JoinSet<()>,
}

fn doors() -> Doors {
    let (client, server) = api_server();
    let (lease, view) = watch::channel(LeaseView::alone());
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let queue = Arc::<Queue<ServiceWrite>>::default();
    let writer = Writer::new(client, Arc::clone(&queue), view, metrics.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run(CancellationToken::new()));
    Doors {
        server,
        queue,
        metrics,
        _lease: lease,
        _tasks: tasks,
    }
}

fn name() -> ServiceName {
    ServiceName {
        namespace: "proxies".to_owned(),
        name: "db".to_owned(),
    }
}

fn write(deed: Deed) -> ServiceWrite {
    ServiceWrite { name: name(), deed }
}

impl Doors {
    fn trouble(&self) -> Option<String> {
        self.queue.troubles().borrow().get(&name()).cloned()
    }
}

#[tokio::test(start_paused = true)]
async fn each_deed_is_one_request() {
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}});
    let manager = "fieldManager=tcpforward-operator";
    let table = [
        (Deed::Create(body.clone()), "POST", "", manager.to_owned()),
        (
            Deed::Claim(body.clone()),
            "PATCH",
            "/db",
            manager.to_owned(),
        ),
        (
            Deed::Close(body.clone()),
            "PATCH",
            "/db",
            manager.to_owned(),
        ),
        (
            Deed::Apply(body.clone()),
            "PATCH",
            "/db",
            format!("force=true&{manager}"),
        ),
        (Deed::Delete("u".to_owned()), "DELETE", "/db", String::new()),
    ];
    let mut doors = doors();
    for (deed, verb, path, query) in table {
        doors.queue.put(write(deed));
        let line = format!("{verb} {SERVICES}{path}");
        let call = doors.server.expect(&line, PATIENCE).await;
        assert_eq!(call.query.trim_start_matches('&'), query);
        if verb == "DELETE" {
            assert_eq!(call.body["preconditions"]["uid"], "u");
        } else {
            assert_eq!(call.body["metadata"]["name"], "db");
        }
        call.answer(&body);
    }
    doors.server.stays_quiet(Duration::from_secs(120)).await;
    let written = doors.metrics.service_writes.with_label_values(&["written"]);
    assert_eq!(written.get(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_says_against_it_is_kept_until_it_is_written() {
    let mut doors = doors();
    let body = json!({"metadata": {"name": "db"}});
    doors.queue.put(write(Deed::Create(body.clone())));
    let line = format!("POST {SERVICES}");
    for (code, reason, says) in [
        (403, "Forbidden", "may not write it; give it a Role"),
        (404, "NotFound", "NotFound"),
        (422, "no node port is left", "no node port is left"),
    ] {
        let call = doors.server.expect(&line, Duration::from_secs(10)).await;
        call.refuse(code, reason);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let trouble = doors.trouble().unwrap();
        assert!(trouble.contains(says), "{trouble}");
    }
    // It is there by now: the watch says whose it is.
    let call = doors.server.expect(&line, Duration::from_secs(10)).await;
    call.refuse(409, "AlreadyExists");
    doors.server.stays_quiet(Duration::from_secs(120)).await;
    assert_eq!(doors.trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_no_other_write() {
    use super::super::queue::Next;
    let is_ready = |queue: &Queue<ServiceWrite>| matches!(queue.next(now()), Next::Ready(..));
    let refused = write(Deed::Apply(json!({"refused": true})));
    let (close, much_later) = (Deed::Close(json!({})), now() + Duration::from_secs(60));

    let queue = Queue::<ServiceWrite>::default();
    queue.again(refused.clone(), 3, much_later);
    queue.put(write(Deed::Apply(json!({}))));
    assert!(!is_ready(&queue), "the same kind of write waits on");
    queue.put(write(close.clone()));
    assert!(is_ready(&queue));

    let queue = Queue::<ServiceWrite>::default();
    queue.put(write(close));
    queue.again(refused, 3, much_later);
    assert!(
        is_ready(&queue),
        "it came while the other one was under way"
    );
}
