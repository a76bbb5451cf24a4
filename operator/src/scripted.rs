//! Edge. An API server for tests that expects exact requests and answers each as it is told.

use std::time::Duration;

use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_test::mock::{Handle, SendResponse, pair};

/// The other end of a `Client`.
pub(crate) struct ApiServer(Handle<Request<Body>, Response<Body>>);

/// One request that waits for its answer.
pub(crate) struct Call {
    pub(crate) line: String,
    pub(crate) query: String,
    pub(crate) body: Value,
    answer: SendResponse<Response<Body>>,
}

pub(crate) fn api_server() -> (Client, ApiServer) {
    let (service, handle) = pair::<Request<Body>, Response<Body>>();
    (Client::new(service, "default"), ApiServer(handle))
}

impl ApiServer {
    /// The next request, which must come within `patience` and be `METHOD /path`.
    pub(crate) async fn expect(&mut self, line: &str, patience: Duration) -> Call {
        let call = self.next(patience).await;
        assert_eq!(call.line, line);
        call
    }

    /// The next request, whatever it is.
    pub(crate) async fn next(&mut self, patience: Duration) -> Call {
        let next = timeout(patience, self.0.next_request()).await;
        let (request, answer) = next
            .unwrap_or_else(|_| panic!("no request within {patience:?}"))
            .expect("the client is gone");
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        Call {
            line: format!("{} {}", head.method, head.uri.path()),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            answer,
        }
    }

    /// Nothing may be asked for this long.
    pub(crate) async fn stays_quiet(&mut self, duration: Duration) {
        match timeout(duration, self.0.next_request()).await {
            Err(_) | Ok(None) => {}
            Ok(Some((request, _))) => panic!("unexpected {} {}", request.method(), request.uri()),
        }
    }
}

impl Call {
    pub(crate) fn answer(self, object: &Value) {
        self.send(StatusCode::OK, object);
    }

    pub(crate) fn refuse(self, code: u16, reason: &str) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": reason, "reason": reason, "code": code,
        });
        self.send(StatusCode::from_u16(code).unwrap(), &status);
    }

    /// As of a group that the API server doesn't know.
    pub(crate) fn no_such_path(self) {
        self.send_text(StatusCode::NOT_FOUND, b"404 page not found\n".to_vec());
    }

    /// Never answers, as long as the returned value lives.
    pub(crate) fn hang(self) -> impl Sized {
        self.answer
    }

    fn send(self, status: StatusCode, body: &Value) {
        self.send_text(status, serde_json::to_vec(body).unwrap());
    }

    fn send_text(self, status: StatusCode, body: Vec<u8>) {
        let body = Body::from(body);
        let response = Response::builder().status(status).body(body).unwrap();
        self.answer.send_response(response);
    }
}
