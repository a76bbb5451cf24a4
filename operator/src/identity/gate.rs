//! Edge. Stands before everything that a data plane may ask for: whoever does not show who it is
//! gets to no method, and not to know which there are.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};

use super::review::Reviewer;
use super::serving::Admission;
use super::verdict::Refusal;
use crate::lease::now;
use crate::metrics::Metrics;

/// Refusals are logged this often at most: anyone can cause them. All are counted.
const LOGGED: Duration = Duration::from_secs(1);

/// Who is let through.
#[derive(Clone)]
pub(crate) enum Gate {
    /// Anyone: a data plane of the same process, or one on the same machine where that was asked for.
    Open,
    /// Whoever shows a good token.
    Checked(Arc<Guard>),
}

/// What checking takes.
pub(crate) struct Guard {
    pub(crate) reviewer: Reviewer,
    pub(crate) metrics: Metrics,
    pub(crate) logged: Mutex<Option<Instant>>,
}

impl Guard {
    /// Counts and tells of someone who is turned away.
    fn refused(&self, refusal: &Refusal, admission: Option<&Admission>) {
        refusal_counted(&self.metrics, refusal);
        let now = now();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|last| now.saturating_duration_since(last) < LOGGED) {
            return;
        }
        *logged = Some(now);
        drop(logged);
        let remote = admission.map(|admission| admission.remote.to_string());
        let user = match refusal {
            Refusal::Account { user } => user.as_str(),
            _ => "",
        };
        let reason = refusal.reason();
        tracing::warn!(remote, reason, user, text = %refusal, "refused a data plane");
    }
}

pub(crate) fn refusal_counted(metrics: &Metrics, refusal: &Refusal) {
    let refusals = &metrics.identity_refusals;
    refusals.with_label_values(&[refusal.reason()]).inc();
}

impl<S> Layer<S> for Gate {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            gate: self.clone(),
            inner,
        }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    gate: Gate,
    inner: S,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Gate::Checked(guard) = &self.gate else {
            return Box::pin(self.inner.call(request));
        };
        let guard = Arc::clone(guard);
        // The one that is ready is used up, its copy waits for the next request.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let admission = request.extensions().get::<Admission>().cloned();
            match guard.reviewer.admit(request.headers()).await {
                Ok(peer) => {
                    if let Some(admission) = &admission {
                        admission.grant();
                    }
                    // Nobody behind the gate needs it, so nobody can log it.
                    request.headers_mut().remove(AUTHORIZATION);
                    request.extensions_mut().insert(peer);
                    inner.call(request).await
                }
                Err(refusal) => {
                    guard.refused(&refusal, admission.as_ref());
                    Ok(answer(&refusal, request.headers()))
                }
            }
        })
    }
}

/// A status of gRPC for who speaks it; others read the one of HTTP.
fn answer(refusal: &Refusal, asked: &HeaderMap) -> Response<Body> {
    let mut response = refusal.status().into_http();
    let kind = asked.get(CONTENT_TYPE).map(|value| value.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        *response.status_mut() = match refusal.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
    }
    response
}

#[cfg(test)]
mod tests;
