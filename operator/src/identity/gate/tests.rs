use http::HeaderValue;
use prometheus::Registry;
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};

use super::super::accounts::tests::accounts;
use super::super::verdict::Peer;
use super::*;
use crate::scripted::{ApiServer, api_server};

const PATIENCE: Duration = Duration::from_secs(1);

struct Gated {
    gate: Gate,
    metrics: Metrics,
    server: ApiServer,
}

fn start() -> Gated {
    let (client, server) = api_server();
    let (_, accounts) = tokio::sync::watch::channel(accounts(&[("default", "edge", "proxy")]));
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let guard = Guard {
        reviewer: Reviewer::new(client, accounts, metrics.clone()),
        metrics: metrics.clone(),
        logged: Mutex::default(),
    };
    Gated {
        gate: Gate::Checked(Arc::new(guard)),
        metrics,
        server,
    }
}

fn request(path: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::post(path).body(Body::empty()).unwrap();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Says who has come through, and fails the test if they still carry their token.
async fn greet(request: Request<Body>) -> Result<Response<Body>, std::convert::Infallible> {
    assert!(!request.headers().contains_key(AUTHORIZATION));
    let mut response = Response::new(Body::empty());
    if let Some(peer) = request.extensions().get::<Peer>() {
        let pod = HeaderValue::from_str(&peer.pod.name).unwrap();
        response.headers_mut().insert("pod", pod);
    }
    Ok(response)
}

fn status(user: &str, audiences: &[&str]) -> Value {
    json!({
        "authenticated": true,
        "audiences": audiences,
        "user": {
            "username": format!("system:serviceaccount:{user}"),
            "extra": {
                "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["u"],
            },
        },
    })
}

impl Gated {
    /// Asks behind the gate; `review` is what the API server says if it is asked.
    async fn ask(&mut self, request: Request<Body>, review: Option<Value>) -> Response<Body> {
        let answer = self.gate.layer(service_fn(greet)).oneshot(request);
        let answers = async {
            let Some(status) = review else { return };
            let call = self.server.next(PATIENCE).await;
            let mut body = call.body.clone();
            body["status"] = status;
            call.answer(&body);
        };
        let (answer, ()) = tokio::join!(answer, answers);
        answer.unwrap()
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    let value = response.headers().get(name).map(|value| value.to_str());
    value.map_or("", Result::unwrap)
}

#[tokio::test]
async fn nobody_gets_to_any_path_without_being_known() {
    let good = || status("edge:proxy", &["tcpforward"]);
    let expired = json!({"authenticated": false, "error": "the token has expired"});
    let table = [
        (None, None, "16", "--token-file"),
        (Some("a"), Some(status("edge:proxy", &[])), "16", "audience"),
        (
            Some("b"),
            Some(status("edge:other", &["tcpforward"])),
            "7",
            "ServiceAccount",
        ),
        (Some("c"), Some(expired), "16", "has expired"),
    ];
    let paths = [
        "/tcpforward.v1alpha1.ForwardSync/Subscribe",
        "/",
        "/debug/forwards",
    ];
    for path in paths {
        let mut gated = start();
        for (token, review, code, text) in &table {
            let refused = gated.ask(request(path, *token), review.clone()).await;
            assert_eq!(header(&refused, "grpc-status"), *code, "{path} {text}");
            let message = header(&refused, "grpc-message").replace("%20", " ");
            assert!(message.contains(text), "{path}: {message}");
            assert_eq!(refused.status(), StatusCode::OK);
        }
        let answer = gated.ask(request(path, Some("d")), Some(good())).await;
        assert_eq!(header(&answer, "pod"), "p");
        let refusals = &gated.metrics.identity_refusals;
        for reason in ["no_token", "audience", "account", "token"] {
            assert_eq!(refusals.with_label_values(&[reason]).get(), 1, "{reason}");
        }
    }
}

#[tokio::test]
async fn who_speaks_no_grpc_gets_a_status_of_http() {
    let mut gated = start();
    for (token, review, expected) in [
        (None, None, StatusCode::UNAUTHORIZED),
        (
            Some("a"),
            Some(status("x:y", &["tcpforward"])),
            StatusCode::FORBIDDEN,
        ),
    ] {
        let mut request = request("/", token);
        request.headers_mut().remove(CONTENT_TYPE);
        assert_eq!(gated.ask(request, review).await.status(), expected);
    }
}

#[tokio::test]
async fn an_open_gate_asks_nothing() {
    let mut gated = start();
    gated.gate = Gate::Open;
    let answer = gated.ask(request("/", None), None).await;
    assert_eq!(
        (answer.status(), header(&answer, "pod")),
        (StatusCode::OK, "")
    );
}
