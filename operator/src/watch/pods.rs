//! Edge. Pods of pools, in the namespaces of pools alone: a Role there is enough to see them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::Client;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::is_forbidden;
use super::spread::{News, Spread};
use crate::identity::accounts::Accounts;
use crate::metrics::Metrics;
use crate::pods::{POOL_LABEL, Pod, Pods, reduce};

/// As metrics call it.
const KIND: &str = "Pod";

/// Watches the pods of the pools that are known, and says in `seen` what there is.
pub(crate) async fn follow(
    client: Client,
    mut accounts: watch::Receiver<Accounts>,
    seen: watch::Sender<Pods>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let config = watcher::Config::default().labels(POOL_LABEL);
    let mut spread = Spread::new(KIND, client, config, metrics);
    let mut lists = Lists::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            told = accounts.changed() => {
                if told.is_err() {
                    // Whoever knows the pools is gone, and whoever asks for their pods.
                    return;
                }
                let places = accounts.borrow_and_update().places().clone();
                seen.send_if_modified(|pods| {
                    let mut is_other = pods.place(&places);
                    // Of those that are left out the connected ones are known, as where nobody may look.
                    for namespace in spread.want(&pods.namespaces()).gone {
                        lists.remove(&namespace);
                        is_other |= pods.forget(&namespace);
                    }
                    is_other
                });
            }
            Some((namespace, news)) = spread.next() => {
                seen.send_if_modified(|pods| take(&mut lists, &namespace, news, pods));
            }
        }
    }
}

/// Lists that are not whole yet.
type Lists = BTreeMap<String, Vec<(String, Pod)>>;

/// Takes news in; whether that changes what is known.
fn take(lists: &mut Lists, namespace: &str, news: News<core::Pod>, pods: &mut Pods) -> bool {
    match news {
        Ok(watcher::Event::Init) => {
            lists.insert(namespace.to_owned(), Vec::new());
        }
        Ok(watcher::Event::InitApply(pod)) => {
            let list = lists.entry(namespace.to_owned()).or_default();
            list.extend(reduce(&pod));
        }
        Ok(watcher::Event::InitDone) => {
            pods.replace(namespace, lists.remove(namespace).unwrap_or_default());
            return true;
        }
        Ok(watcher::Event::Apply(pod)) => {
            let Some((uid, pod)) = reduce(&pod) else {
                return false;
            };
            pods.put(namespace, uid, pod);
            return true;
        }
        Ok(watcher::Event::Delete(pod)) => {
            pods.remove(namespace, pod.metadata.uid.as_deref().unwrap_or_default());
            return true;
        }
        // Who may not see pods knows those that are connected, and nothing of the others.
        Err(error) if is_forbidden(&error) => return pods.forget(namespace),
        Err(_) => {}
    }
    false
}

#[cfg(test)]
mod tests;
