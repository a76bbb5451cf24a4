//! Edge. A tiny HTTP server that answers with its name, so that examples have something to forward to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What to answer, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name that it answers with.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
}

/// Connections at a time: it is for examples, and it shares the machine with them.
const CONNECTIONS: usize = 1024;

/// A client that has not sent its request by then is dropped.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Serves until `shutdown` completes. Prints where it listens, for people and scripts.
pub(crate) async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| anyhow::anyhow!("--listen is {}: {error}", args.listen))?;
    println!("{} listens on {}", args.name, listener.local_addr()?);
    let body = Bytes::from(format!("{}\n", args.name));
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while connections.try_join_next().is_some() {}
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let body = body.clone();
                connections.spawn(async move {
                    answer(stream, body).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers every request of a connection. A client that goes away is no error.
async fn answer(stream: TcpStream, body: Bytes) {
    let service = service_fn(move |_: Request<_>| {
        let mut response = Response::new(Full::new(body.clone()));
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the demo server ended early");
    }
}
