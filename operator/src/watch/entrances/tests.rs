use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::spread::NAMESPACES;
use super::*;
use crate::scripted::{ApiServer, api_server};

const PATIENCE: Duration = Duration::from_secs(120);

struct Case {
    server: ApiServer,
    wanted: watch::Sender<BTreeSet<String>>,
    events: mpsc::Receiver<Event>,
    _tasks: JoinSet<()>,
}

fn start() -> Case {
    let (client, server) = api_server();
    let (wanted, asked) = watch::channel(BTreeSet::new());
    let (sink, events) = mpsc::channel(1024);
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(client, asked, sink, metrics));
    Case {
        server,
        wanted,
        events,
        _tasks: tasks,
    }
}

fn names(n: usize) -> BTreeSet<String> {
    (0..n).map(|i| format!("n-{i:03}")).collect()
}

impl Case {
    async fn news(&mut self) -> EntranceNews {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(Event::Entrances(news))) => news,
            other => panic!("no news: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn more_namespaces_than_are_watched_are_told_and_not_waited_for() {
    let mut case = start();
    let all = names(NAMESPACES + 1);
    let last = all.last().unwrap().clone();
    case.wanted.send_replace(all.clone());
    let unseen = EntranceNews::Unseen {
        namespace: last.clone(),
        why: Unseen::TooMany,
    };
    assert_eq!(case.news().await, unseen);
    // All lists hang; that of the last one begins when there is room.
    let mut hanging = Vec::new();
    for _ in 0..NAMESPACES {
        hanging.push(case.server.next(PATIENCE).await.hang());
    }
    case.server.stays_quiet(PATIENCE).await;
    let mut fewer = all;
    fewer.remove("n-007");
    case.wanted.send_replace(fewer);
    let namespace = "n-007".to_owned();
    assert_eq!(case.news().await, EntranceNews::Forgotten { namespace });
    let line = format!("GET /api/v1/namespaces/{last}/services");
    let call = case.server.expect(&line, PATIENCE).await;
    call.answer(
        &serde_json::json!({"apiVersion": "v1", "kind": "ServiceList",
                                    "metadata": {"resourceVersion": "1"}, "items": []}),
    );
    let listed = EntranceNews::Listed {
        namespace: last,
        services: Vec::new(),
    };
    assert_eq!(case.news().await, listed);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_and_is_wanted_no_more_is_forgotten() {
    let mut case = start();
    let all = names(NAMESPACES + 2);
    case.wanted.send_replace(all.clone());
    for _ in 0..2 {
        let news = case.news().await;
        assert!(matches!(news, EntranceNews::Unseen { .. }), "{news:?}");
    }
    let mut fewer = all;
    let namespace = fewer.pop_last().unwrap();
    case.wanted.send_replace(fewer);
    assert_eq!(case.news().await, EntranceNews::Forgotten { namespace });
}
