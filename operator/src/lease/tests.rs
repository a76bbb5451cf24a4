use prometheus::Registry;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant as TokioInstant;

use super::*;
use crate::scripted::{ApiServer, api_server};

const LIST: &str = "/apis/coordination.k8s.io/v1/namespaces/sys/leases";

/// Of all namespaces.
const ALL: &str = "GET /apis/coordination.k8s.io/v1/leases";

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
    tasks: JoinSet<Result<(), Overlap>>,
}

impl Candidate {
    fn start() -> Self {
        let (client, server) = api_server();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (election, view) = Election::new(
            client,
            ("sys", "op"),
            "a",
            Scope::All,
            Timing::default(),
            metrics,
        );
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

    /// Answers a look at all operators' Leases.
    async fn others(&mut self, leases: &[Value]) {
        let call = self.server.expect(ALL, PATIENCE).await;
        assert_eq!(
            call.query,
            "&labelSelector=tcpforward.dev%2Flease%3Doperator"
        );
        call.answer(&json!({"metadata": {"resourceVersion": "9"}, "items": leases}));
    }

    async fn claimed() -> Self {
        let mut candidate = Self::start();
        candidate
            .get(&lease("", LATER + 40, "2026-01-01T00:00:00.000000Z"))
            .await;
        let put = candidate.put().await;
        let metadata = &put["metadata"];
        assert_eq!(metadata["labels"]["tcpforward.dev/lease"], "operator");
        assert_eq!(metadata["annotations"][others::WATCHED], "*");
        assert_eq!(metadata["annotations"].get(others::CLAIM), None);
        candidate
    }

    async fn acquired() -> Self {
        let mut candidate = Self::claimed().await;
        assert!(!candidate.holds() && !candidate.view.borrow().met());
        candidate.others(&[]).await;
        candidate.until(Holds::Yes).await;
        candidate
    }

    async fn end(&mut self) -> Result<(), Overlap> {
        let ended = timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("it goes on").expect("a task").unwrap()
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
        "metadata": {"namespace": "sys", "name": "op", "resourceVersion": "7", "uid": "u",
                     "annotations": {others::WATCHED: "*", others::CLAIM: "5"}},
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
    a.others(&[]).await;
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
    a.others(&[]).await;
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
    a.others(&[]).await;
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
    // Nobody was seen alive, so it is a claim of its own.
    a.others(&[]).await;
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
    a.others(&[]).await;
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
    a.others(&[]).await;
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
    a.end().await.unwrap();

    let mut b = Candidate::start();
    b.get(&lease("other", LATER + 40, "2026-01-01T00:00:00.000000Z"))
        .await;
    b.others(&[]).await;
    b.shutdown.cancel();
    b.end().await.unwrap();
    b.server.stays_quiet(Duration::from_secs(1)).await;
}

/// Of another operator, which watches everything and claimed before.
fn another(renewed: &str) -> Value {
    let mut other = lease("x", LATER, renewed);
    other["metadata"]["namespace"] = json!("first");
    other
}

#[tokio::test(start_paused = true)]
async fn one_that_another_operator_stands_in_the_way_of_gives_up() {
    let mut a = Candidate::claimed().await;
    a.others(&[another("2026-01-01T00:00:00.000000Z")]).await;
    let renewed = a.put().await;
    assert_eq!(renewed["metadata"]["annotations"][others::CLAIM], "8");
    assert!(!a.holds() && !a.view.borrow().met(), "it is let nowhere");
    a.others(&[another("2026-01-01T00:00:02.000000Z")]).await;
    let given = a.put().await;
    assert_eq!(given["spec"]["holderIdentity"], "");
    assert_eq!(given["metadata"]["annotations"].get(others::WATCHED), None);
    let text = a.end().await.unwrap_err().to_string();
    let parts = [
        "--watch-namespaces",
        "first/op",
        "all namespaces",
        "uninstall",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_renews_is_waited_out() {
    let mut a = Candidate::claimed().await;
    let start = TokioInstant::now();
    let dead = another("2020-01-01T00:00:00.000000Z");
    while !a.holds() {
        let next = a.server.next(PATIENCE).await;
        let answer = match next.line.as_str() {
            ALL => json!({"metadata": {}, "items": [dead]}),
            _ => stored(next.body.clone()),
        };
        next.answer(&answer);
        tokio::task::yield_now().await;
    }
    let waited = start.elapsed();
    assert!((45..60).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_look_at_the_others_nothing_is_held() {
    let mut a = Candidate::claimed().await;
    let call = a.server.expect(ALL, PATIENCE).await;
    call.refuse(403, "Forbidden");
    a.put().await;
    assert!(!a.holds() && !a.view.borrow().met());
    a.others(&[]).await;
    a.until(Holds::Yes).await;
}
