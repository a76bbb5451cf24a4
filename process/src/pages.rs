//! Edge. The HTTP pages of a program: `/livez`, `/readyz` and `/metrics` on its health address,
//! `/debug/…` on its admin address. Read only; nothing is read from a request but its path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Why a check fails, for people.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

type Page = Box<dyn Fn() -> Response<Full<Bytes>> + Send + Sync>;

/// Requests served at a time: probes, a scraper and a few people.
const CONNECTIONS: usize = 64;

/// A client that sends its request slower than this, or stalls, is dropped.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Pages by path.
#[derive(Default)]
pub struct Pages {
    pages: BTreeMap<&'static str, Page>,
}

impl Pages {
    /// No page at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A page that says `ok`, or 503 and why not.
    #[must_use]
    pub fn check(mut self, path: &'static str, check: Check) -> Self {
        let page = move || match check() {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        };
        self.pages.insert(path, Box::new(page));
        self
    }

    /// `/metrics` in Prometheus' text format.
    #[must_use]
    pub fn metrics(mut self, registry: Registry) -> Self {
        let page = move || match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(body) => typed(StatusCode::OK, "text/plain; version=0.0.4", body),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        };
        self.pages.insert("/metrics", Box::new(page));
        self
    }

    /// A page of JSON, made anew for each request.
    #[must_use]
    pub fn json(
        mut self,
        path: &'static str,
        value: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Self {
        let page = move || {
            typed(
                StatusCode::OK,
                "application/json",
                format!("{:#}\n", value()),
            )
        };
        self.pages.insert(path, Box::new(page));
        self
    }

    /// The pages of both, for programs that serve them on one address.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.pages.extend(other.pages);
        self
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.pages.get(path) {
            Some(page) => page(),
            None => {
                let known: Vec<_> = self.pages.keys().copied().collect();
                text(
                    StatusCode::NOT_FOUND,
                    format!("pages: {}\n", known.join(" ")),
                )
            }
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Serves the pages until `shutdown` completes.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, shutdown: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a request for a page");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        connections.spawn(async move {
            // One request a connection: a peer that goes away is the only failure, and harmless.
            let _ = tokio::time::timeout(REQUEST_TIME, one_request(stream, pages)).await;
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    Ok((listener.accept().await?.0, permit))
}

async fn one_request(stream: TcpStream, pages: Arc<Pages>) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<_>| {
        let response = pages.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    fn pages() -> Pages {
        Pages::new()
            .check("/livez", Box::new(|| Ok(())))
            .check("/readyz", Box::new(|| Err("nothing yet".to_owned())))
            .json("/debug/x", || serde_json::json!({"a": 1}))
            .and(Pages::new().metrics(Registry::new()))
    }

    #[test]
    fn each_path_has_its_answer() {
        let status = |method, path| pages().answer(&method, path).status().as_u16();
        assert_eq!(status(Method::GET, "/livez"), 200);
        assert_eq!(status(Method::GET, "/readyz"), 503);
        assert_eq!(status(Method::GET, "/metrics"), 200);
        assert_eq!(status(Method::GET, "/debug/x"), 200);
        assert_eq!(status(Method::GET, "/debug/../livez"), 404);
        assert_eq!(status(Method::POST, "/livez"), 405);
    }

    #[tokio::test]
    async fn pages_are_served_until_shutdown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(pages()), async {
            let _ = stopped.await;
        }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("nothing yet\n"), "{answer}");
        stop.send(()).unwrap();
        tasks.join_next().await.unwrap().unwrap();
    }
}
