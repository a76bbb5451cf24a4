//! Edge. The Secrets that forwards name, each by a watch of its own: nobody has to let the operator
//! list all of them, a Role with `resourceNames` is enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Pauses, is_forbidden, word};
use crate::index::{Contents, Event, Key, Kind, Object, Secret};
use crate::metrics::Metrics;

/// Each is a connection to the API server, or a stream of one.
const SECRETS: usize = 1000;

/// Forwards wait for their Secret, and at the start all of them wait; one that the API server can't
/// read, for want of its key perhaps, must not hold them up for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches what `wanted` names, until the controller is gone.
pub(super) async fn follow(
    client: Client,
    mut wanted: watch::Receiver<BTreeSet<Key>>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) {
    let mut secrets = Secrets {
        client,
        watching: BTreeMap::new(),
        beyond: BTreeSet::new(),
        watches: SelectAll::new(),
        lives: 0,
        metrics,
    };
    loop {
        let news = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => {
                    let wanted = wanted.borrow_and_update().clone();
                    secrets.want(&wanted)
                }
                Err(_) => return,
            },
            Some((key, life, seen)) = secrets.watches.next() => {
                secrets.take(&key, life, seen).into_iter().collect()
            }
        };
        for event in news {
            let word = word(Kind::Secret);
            secrets.metrics.events.with_label_values(&[word]).inc();
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// News of a Secret; none: the time to wait for any is over.
type Seen = Option<Result<Option<core::Secret>, watcher::Error>>;

struct Secrets {
    client: Client,
    watching: BTreeMap<Key, Watching>,
    /// Those that are too many.
    beyond: BTreeSet<Key>,
    watches: SelectAll<BoxStream<'static, (Key, u64, Seen)>>,
    lives: u64,
    metrics: Metrics,
}

struct Watching {
    /// Tells its news from that of an earlier watch of the same Secret.
    life: u64,
    answered: bool,
    /// The last complaint, so that it is made once.
    complaint: Option<String>,
    _end: DropGuard,
}

impl Secrets {
    /// Starts and ends watches. What is no longer wanted is forgotten: it would not be kept fresh.
    fn want(&mut self, wanted: &BTreeSet<Key>) -> Vec<Event> {
        let mut events = Vec::new();
        let known = self.watching.keys().chain(&self.beyond);
        let gone: Vec<Key> = known
            .filter(|key| !wanted.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.watching.remove(&key);
            self.beyond.remove(&key);
            let (namespace, name) = key;
            events.push(Event::Deleted {
                kind: Kind::Secret,
                namespace,
                name,
            });
        }
        for key in wanted {
            if self.watching.contains_key(key) {
                continue;
            }
            if self.watching.len() < SECRETS {
                self.beyond.remove(key);
                self.start(key);
            } else if self.beyond.insert(key.clone()) {
                tracing::warn!(limit = SECRETS, "more Secrets are named than are watched");
                events.push(is(key, Contents::Beyond));
            }
        }
        events
    }

    fn start(&mut self, key: &Key) {
        self.lives += 1;
        let (life, end) = (self.lives, CancellationToken::new());
        let watching = Watching {
            life,
            answered: false,
            complaint: None,
            _end: end.clone().drop_guard(),
        };
        self.watching.insert(key.clone(), watching);
        let (namespace, name) = key.clone();
        let api = Api::<core::Secret>::namespaced(self.client.clone(), &namespace);
        let watch = watch_object(api, &name).backoff(Pauses::new()).map(Some);
        let late = stream::once(async {
            tokio::time::sleep(PATIENCE).await;
            None
        });
        let seen = stream::select(watch, late).take_until(end.cancelled_owned());
        let seen = seen.map(move |seen| ((namespace.clone(), name.clone()), life, seen));
        self.watches.push(seen.boxed());
    }

    fn take(&mut self, key: &Key, life: u64, seen: Seen) -> Option<Event> {
        let watching = self.watching.get_mut(key).filter(|w| w.life == life)?;
        let (namespace, name) = (key.0.as_str(), key.1.as_str());
        let contents = match seen {
            None if watching.answered => return None,
            None => Contents::Unreadable,
            Some(Ok(secret)) => {
                if watching.complaint.take().is_some() {
                    tracing::info!(namespace, name, "watches the Secret again");
                }
                match secret {
                    None => Contents::Absent,
                    Some(secret) => contents(&secret),
                }
            }
            Some(Err(error)) => {
                let errors = &self.metrics.watch_errors;
                errors.with_label_values(&[word(Kind::Secret)]).inc();
                let text = error.to_string();
                if watching.complaint.as_ref() != Some(&text) {
                    tracing::warn!(namespace, name, error = text, "can't watch a Secret");
                    watching.complaint = Some(text);
                }
                // It is asked for again: a right that is given later takes effect.
                match is_forbidden(&error) {
                    true => Contents::Forbidden,
                    false => return None,
                }
            }
        };
        watching.answered = true;
        Some(is(key, contents))
    }
}

fn is((namespace, name): &Key, contents: Contents) -> Event {
    Event::Applied(Object::Secret(Secret::of(namespace, name, contents)))
}

/// What is kept of a Secret.
pub(crate) fn contents(secret: &core::Secret) -> Contents {
    let data = secret.data.iter().flatten();
    let data = data.map(|(key, ByteString(bytes))| (key.as_str(), bytes.as_slice()));
    Contents::of(data)
}

#[cfg(test)]
mod tests;
