//! Edge. Asks the API server who a token's owner is, and remembers a good answer for a moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tcpforward_process::causes::chain;
use tcpforward_protocol::TEXT_CHARS;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant as Time, timeout_at};

use super::accounts::Accounts;
use super::verdict::{AUDIENCE, Peer, Pod, Refusal, bearer, judge};
use crate::lease::now;
use crate::metrics::Metrics;

/// Reviews under way: all pods of a large pool dial again at once after a restart, the API server
/// has others to serve.
const REVIEWS: usize = 16;

/// From the request to the answer, waiting for a turn included: shorter than data planes wait.
const DEADLINE: Duration = Duration::from_secs(5);

/// A token that was taken back is believed for this long.
const BELIEVED: Duration = Duration::from_secs(10);

/// Good answers that are remembered: one for each pod of a large cluster.
const REMEMBERED: usize = 4096;

/// Checks tokens.
pub(crate) struct Reviewer {
    api: Api<TokenReview>,
    accounts: watch::Receiver<Accounts>,
    turns: Semaphore,
    good: Mutex<BTreeMap<Key, (Pod, Instant)>>,
    metrics: Metrics,
}

/// A hash, so that no token lies in memory.
type Key = [u8; 32];

impl Reviewer {
    pub(crate) fn new(
        client: Client,
        accounts: watch::Receiver<Accounts>,
        metrics: Metrics,
    ) -> Self {
        Self {
            api: Api::all(client),
            accounts,
            turns: Semaphore::new(REVIEWS),
            good: Mutex::default(),
            metrics,
        }
    }

    /// Who sends a request with these headers.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<Peer, Refusal> {
        let token = bearer(headers)?;
        let key = Key::from(Sha256::digest(token));
        // Which pod it is may be remembered, of which pool it is may change at any time.
        if let Some(pod) = self.remembered(&key) {
            return pod.of_pool(&self.accounts.borrow());
        }
        let pod = self.review(token).await;
        let reviewed = pod.and_then(|pod| Ok((pod.of_pool(&self.accounts.borrow())?, pod)));
        let result = match &reviewed {
            Ok(_) => "good",
            Err(Refusal::Busy | Refusal::Unavailable { .. }) => "failed",
            Err(_) => "refused",
        };
        self.metrics
            .token_reviews
            .with_label_values(&[result])
            .inc();
        let (peer, pod) = reviewed?;
        self.remember(key, pod, left(token, Timestamp::now().as_second()));
        Ok(peer)
    }

    async fn review(&self, token: &str) -> Result<Pod, Refusal> {
        let deadline = Time::now() + DEADLINE;
        let Ok(Ok(_turn)) = timeout_at(deadline, self.turns.acquire()).await else {
            return Err(Refusal::Busy);
        };
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: token.to_owned(),
            },
            status: None,
        };
        let post = PostParams::default();
        let Ok(answer) = timeout_at(deadline, self.api.create(&post, &review)).await else {
            return Err(Refusal::Unavailable {
                text: "the API server does not answer".to_owned(),
            });
        };
        match answer {
            Ok(review) => judge(&review.status.unwrap_or_default()),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Err(Refusal::Unavailable {
                text: "it may not create tokenreviews.authentication.k8s.io; bind its \
                       ServiceAccount to the ClusterRole system:auth-delegator"
                    .to_owned(),
            }),
            Err(error) => Err(Refusal::Unavailable {
                text: chain(&error).chars().take(TEXT_CHARS).collect(),
            }),
        }
    }

    fn remembered(&self, key: &Key) -> Option<Pod> {
        let good = self.lock();
        let (pod, until) = good.get(key)?;
        (now() < *until).then(|| pod.clone())
    }

    fn remember(&self, key: Key, pod: Pod, left: Duration) {
        let now = now();
        let mut good = self.lock();
        good.retain(|_, (_, until)| now < *until);
        if good.len() < REMEMBERED {
            good.insert(key, (pod, now + left.min(BELIEVED)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, (Pod, Instant)>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a token is still good by its own word, which the API server has signed; one that says
/// nothing that we understand is not believed twice.
fn left(token: &str, now: i64) -> Duration {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    let end = claims.get("exp").and_then(Value::as_i64).unwrap_or(now);
    Duration::from_secs(u64::try_from(end.saturating_sub(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
