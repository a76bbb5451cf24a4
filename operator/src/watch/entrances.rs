//! Edge. Services in the namespaces of pools, whatever namespaces are watched besides.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use tokio::sync::{mpsc, watch};

use super::is_forbidden;
use super::spread::{News, Spread, Turned};
use crate::entrance::{Live, reduce};
use crate::index::{EntranceNews, Event, Unseen};
use crate::metrics::Metrics;

/// As metrics call it.
pub(crate) const KIND: &str = "Entrance";

/// Watches those in `wanted` until the controller is gone.
pub(super) async fn follow(
    client: Client,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) {
    let config = watcher::Config::default();
    let mut spread: Spread<Service> = Spread::new(KIND, client, config, metrics);
    let mut lists = BTreeMap::new();
    loop {
        let news = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => {
                    let wanted = wanted.borrow_and_update().clone();
                    turned(spread.want(&wanted))
                }
                Err(_) => return,
            },
            Some((namespace, news)) = spread.next() => {
                take(&mut lists, namespace, news).into_iter().collect::<Vec<_>>()
            }
        };
        for one in news {
            if events.send(Event::Entrances(one)).await.is_err() {
                return;
            }
        }
    }
}

/// Who waits for all namespaces does not wait for those that are left out.
fn turned(turned: Turned) -> Vec<EntranceNews> {
    let gone = turned.gone.into_iter();
    let gone = gone.map(|namespace| EntranceNews::Forgotten { namespace });
    let left_out = turned.left_out.into_iter();
    let left_out = left_out.map(|namespace| EntranceNews::Unseen {
        namespace,
        why: Unseen::TooMany,
    });
    gone.chain(left_out).collect()
}

/// A list is gathered until it is whole.
fn take(
    lists: &mut BTreeMap<String, Vec<Live>>,
    namespace: String,
    news: News<Service>,
) -> Option<EntranceNews> {
    match news {
        Ok(watcher::Event::Init) => {
            lists.insert(namespace, Vec::new());
            None
        }
        Ok(watcher::Event::InitApply(service)) => {
            lists.entry(namespace).or_default().push(reduce(&service));
            None
        }
        Ok(watcher::Event::InitDone) => Some(EntranceNews::Listed {
            services: lists.remove(&namespace).unwrap_or_default(),
            namespace,
        }),
        Ok(watcher::Event::Apply(service)) => Some(EntranceNews::Seen(reduce(&service))),
        Ok(watcher::Event::Delete(service)) => Some(EntranceNews::Gone {
            namespace,
            name: service.name_any(),
        }),
        Err(error) if is_forbidden(&error) => Some(EntranceNews::Unseen {
            namespace,
            why: Unseen::Forbidden,
        }),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
