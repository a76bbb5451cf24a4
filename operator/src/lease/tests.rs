use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant as TokioInstant;

use super::*;
use crate::scripted::{ApiServer, api_server};

const LIST: &str = "/apis/coordination.k8s.io/v1/namespaces/sys/leases";

/// Epochs far above any Unix time in minutes, so that the clock of the tests does not count.
const LATER: i32 = 2_000_000_000;

fn later(epoch: u64) -> u64 {
    epoch + u64::try_from(LATER).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(6);

struct Candidate {
    server: ApiServer,
    view: watch::Receiver<LeaseView>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Candidate {
    fn start() -> Self {
        let (client, server) = api_server();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (election, view) = Election::new(client, "sys", "op", "a", Timing::default(), metrics);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(election.run(shutdown.clone()));
        Self {
            server,
            view,
            shutdown,
            tasks,
        }
    }

    async fn get(&mut self, answer: &Value) {
        let call = self
            .server
            .expect(&format!("GET {LIST}/op"), PATIENCE)
            .await;
        call.answer(answer);
    }

    /// Accepts a replace, as the server would.
    async fn put(&mut self) -> Value {
        let call = self
            .server
            .expect(&format!("PUT {LIST}/op"), PATIENCE)
            .await;
        let stored = stored(call.body.clone());
        call.answer(&stored);
        stored
    }

    async fn acquired() -> Self {
        let mut candidate = Self::start();
        candidate
            .get(&lease("", LATER + 40, "2026-01-01T00:00:00.000000Z"))
            .await;
        candidate.put().await;
        candidate.until(Holds::Yes).await;
        candidate
    }

    async fn until(&mut self, wanted: Holds) {
        let wanted = |view: &LeaseView| view.holds(now()) == (wanted == Holds::Yes);
        let waited = timeout(Duration::from_secs(1), self.view.wait_for(wanted)).await;
        waited.expect("the view does not change").unwrap();
    }

    fn holds(&self) -> bool {
        self.view.borrow().holds(now())
    }
}

#[derive(PartialEq, Eq)]
enum Holds {
    Yes,
    No,
}

fn lease(holder: &str, transitions: i32, renewed: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "sys", "name": "op", "resourceVersion": "7", "uid": "u"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed,
                 "acquireTime": renewed, "leaseTransitions": transitions},
    })
}

fn stored(mut body: Value) -> Value {
    let version = body["metadata"]["resourceVersion"].as_str().unwrap_or("7");
    let next = version.parse::<u64>().unwrap() + 1;
    body["metadata"]["resourceVersion"] = json!(next.to_string());
    body
}

#[tokio::test(start_paused = true)]
async fn an_absent_lease_is_created_and_held() {
    let mut a = Candidate::start();
    let call = a.server.expect(&format!("GET {LIST}/op"), PATIENCE).await;
    call.refuse(404, "NotFound");
    let call = a.server.expect(&format!("POST {LIST}"), PATIENCE).await;
    let body = call.body.clone();
    assert_eq!(body["spec"]["holderIdentity"], "a");
    let minutes = Timestamp::now().as_second() / 60;
    let epoch = body["spec"]["leaseTransitions"].as_i64().unwrap();
    assert!((minutes - 1..=minutes).contains(&epoch), "{epoch}");
    call.answer(&stored(body));
    a.until(Holds::Yes).await;
    assert_eq!(a.view.borrow().epoch(), u64::try_from(epoch).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_race_to_create_that_is_lost_ends_in_watching() {
    let mut a = Candidate::start();
    let call = a.server.expect(&format!("GET {LIST}/op"), PATIENCE).await;
    call.refuse(404, "NotFound");
    let call = a.server.expect(&format!("POST {LIST}"), PATIENCE).await;
    call.refuse(409, "AlreadyExists");
    a.get(&lease("b", LATER + 40, "2026-01-01T00:00:00.000000Z"))
        .await;
    a.get(&lease("b", LATER + 40, "2026-01-01T00:00:02.000000Z"))
        .await;
    assert!(!a.holds());
    assert_eq!(a.view.borrow().epoch(), later(40));
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_is_taken_over_with_the_next_epoch() {
    let mut a = Candidate::start();
    let start = TokioInstant::now();
    let old = lease("b", LATER + 40, "2020-01-01T00:00:00.000000Z");
    a.get(&old).await;
    loop {
        let next = a.server.next(PATIENCE).await;
        if next.line.starts_with("PUT") {
            assert!(
                start.elapsed() >= Duration::from_secs(15),
                "taken too early"
            );
            assert_eq!(next.body["metadata"]["resourceVersion"], "7");
            assert_eq!(next.body["spec"]["leaseTransitions"], LATER + 41);
            let answer = stored(next.body.clone());
            next.answer(&answer);
            break;
        }
        next.answer(&old);
    }
    a.until(Holds::Yes).await;
    assert_eq!(a.view.borrow().epoch(), later(41));
}

#[tokio::test(start_paused = true)]
async fn the_holder_renews_by_one_replace_with_its_latest_version() {
    let mut a = Candidate::acquired().await;
    for version in ["8", "9", "10"] {
        let call = a.server.expect(&format!("PUT {LIST}/op"), PATIENCE).await;
        assert_eq!(call.body["metadata"]["resourceVersion"], version);
        assert_eq!(call.body["spec"]["leaseTransitions"], LATER + 41);
        let answer = stored(call.body.clone());
        call.answer(&answer);
    }
    assert!(a.holds());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_ends_belief_at_once() {
    let mut a = Candidate::acquired().await;
    let call = a.server.expect(&format!("PUT {LIST}/op"), PATIENCE).await;
    call.refuse(409, "Conflict");
    a.until(Holds::No).await;
    a.get(&lease("b", LATER + 42, "2026-01-01T00:00:09.000000Z"))
        .await;
    a.get(&lease("b", LATER + 42, "2026-01-01T00:00:11.000000Z"))
        .await;
    assert!(!a.holds());
    assert_eq!(a.view.borrow().epoch(), later(42));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_past_the_deadline_ends_belief() {
    let mut a = Candidate::acquired().await;
    let start = TokioInstant::now();
    let mut open = Vec::new();
    while start.elapsed() < Duration::from_secs(11) {
        open.push(a.server.next(PATIENCE + PATIENCE).await.hang());
    }
    assert!(!a.holds());
    assert!(a.view.borrow().fresh(now()));
    while start.elapsed() < Duration::from_secs(31) {
        open.push(a.server.next(PATIENCE + PATIENCE).await.hang());
    }
    assert!(!a.view.borrow().fresh(now()));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_paused_does_not_believe_before_its_next_call() {
    let mut a = Candidate::acquired().await;
    let call = a.server.expect(&format!("PUT {LIST}/op"), PATIENCE).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!a.holds());
    call.refuse(409, "Conflict");
    a.get(&lease("b", LATER + 42, "2026-01-01T00:01:00.000000Z"))
        .await;
    a.server.stays_quiet(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_the_lease_away_and_a_candidate_leaves_it_alone() {
    let mut a = Candidate::acquired().await;
    a.shutdown.cancel();
    let call = a.server.expect(&format!("PUT {LIST}/op"), PATIENCE).await;
    assert_eq!(call.body["spec"]["holderIdentity"], "");
    assert_eq!(call.body["spec"]["leaseDurationSeconds"], 1);
    assert!(!a.holds(), "it believes while it gives away");
    let answer = stored(call.body.clone());
    call.answer(&answer);
    a.tasks.join_next().await.unwrap().unwrap();

    let mut b = Candidate::start();
    b.get(&lease("other", LATER + 40, "2026-01-01T00:00:00.000000Z"))
        .await;
    b.shutdown.cancel();
    b.tasks.join_next().await.unwrap().unwrap();
    b.server.stays_quiet(Duration::from_secs(1)).await;
}
