use http::header::AUTHORIZATION;
use prometheus::Registry;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

use super::super::accounts::tests::accounts;
use super::*;
use crate::scripted::{ApiServer, Call, api_server};

const LINE: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";
const PATIENCE: Duration = Duration::from_secs(1);

struct Reviewing {
    server: ApiServer,
    reviewer: Arc<Reviewer>,
    asked: JoinSet<Result<Peer, Refusal>>,
}

fn start() -> Reviewing {
    let (client, server) = api_server();
    let (_, accounts) = watch::channel(accounts(&[("default", "edge", "proxy")]));
    let metrics = Metrics::new(&Registry::new()).unwrap();
    Reviewing {
        server,
        reviewer: Arc::new(Reviewer::new(client, accounts, metrics)),
        asked: JoinSet::new(),
    }
}

fn token(name: &str, seconds: i64) -> String {
    let claims = json!({"exp": Timestamp::now().as_second() + seconds, "name": name});
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("head.{claims}.signature")
}

impl Reviewing {
    fn ask(&mut self, token: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let reviewer = Arc::clone(&self.reviewer);
        self.asked
            .spawn(async move { reviewer.admit(&headers).await });
    }

    async fn call(&mut self) -> Call {
        self.server.expect(LINE, PATIENCE).await
    }

    async fn answer(&mut self) -> Result<Peer, Refusal> {
        self.asked.join_next().await.unwrap().unwrap()
    }

    fn counted(&self, result: &str) -> u64 {
        let reviews = &self.reviewer.metrics.token_reviews;
        reviews.with_label_values(&[result]).get()
    }
}

fn good(call: Call) {
    let mut review = call.body.clone();
    review["status"] = json!({
        "authenticated": true,
        "audiences": ["tcpforward"],
        "user": {
            "username": "system:serviceaccount:edge:proxy",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["u"],
            },
        },
    });
    call.answer(&review);
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_is_believed_for_a_moment() {
    let mut reviewing = start();
    let token = token("a", 3600);
    reviewing.ask(&token);
    let call = reviewing.call().await;
    assert_eq!(call.body["spec"]["audiences"], json!(["tcpforward"]));
    assert_eq!(call.body["spec"]["token"], json!(token));
    good(call);
    assert_eq!(reviewing.answer().await.unwrap().pod.name, "p");
    reviewing.ask(&token);
    assert_eq!(reviewing.answer().await.unwrap().pod.uid, "u");
    tokio::time::advance(BELIEVED).await;
    reviewing.ask(&token);
    good(reviewing.call().await);
    reviewing.answer().await.unwrap();
    assert_eq!(reviewing.counted("good"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_never_believed_beyond_its_end() {
    let mut reviewing = start();
    for token in [token("a", 0), "no.claims".to_owned()] {
        for _ in 0..2 {
            reviewing.ask(&token);
            good(reviewing.call().await);
            reviewing.answer().await.unwrap();
        }
    }
    assert_eq!(
        left(&token("a", 7), Timestamp::now().as_second()).as_secs(),
        7
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_can_not_say_admits_nobody() {
    for (code, reason, expected) in [
        (403, "Forbidden", "system:auth-delegator"),
        (500, "InternalError", "InternalError"),
        (503, "ServiceUnavailable", "ServiceUnavailable"),
    ] {
        let mut reviewing = start();
        reviewing.ask(&token("a", 3600));
        reviewing.call().await.refuse(code, reason);
        let refused = reviewing.answer().await.unwrap_err();
        assert_eq!(refused.reason(), "unavailable");
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(reviewing.counted("failed"), 1);
    }
    let mut reviewing = start();
    reviewing.ask(&token("a", 3600));
    let _silence = reviewing.call().await.hang();
    let refused = reviewing.answer().await.unwrap_err();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_remembered() {
    let mut reviewing = start();
    for _ in 0..2 {
        reviewing.ask(&token("a", 3600));
        let call = reviewing.call().await;
        let mut review = call.body.clone();
        review["status"] = json!({"error": "token has expired"});
        call.answer(&review);
        let refused = reviewing.answer().await.unwrap_err();
        assert!(refused.to_string().contains("has expired"), "{refused}");
    }
    assert_eq!(reviewing.counted("refused"), 2);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_asked_for_at_once() {
    let mut reviewing = start();
    for n in 0..=REVIEWS {
        reviewing.ask(&token(&n.to_string(), 3600));
    }
    let mut held = Vec::new();
    for _ in 0..REVIEWS {
        held.push(reviewing.call().await);
    }
    reviewing.server.stays_quiet(Duration::from_secs(1)).await;
    good(held.pop().unwrap());
    good(reviewing.call().await);
    held.into_iter().for_each(good);
    while let Some(answer) = reviewing.asked.join_next().await {
        answer.unwrap().unwrap();
    }
    let all = u32::try_from(REVIEWS).unwrap();
    let reviewer = Arc::clone(&reviewing.reviewer);
    let _turns = reviewer.turns.acquire_many(all).await.unwrap();
    reviewing.ask(&token("one too many", 3600));
    assert_eq!(reviewing.answer().await, Err(Refusal::Busy));
}
