//! Edge. ReferenceGrants, of the version that the API server has. They are not Kubernetes' own: their
//! definition may be missing, come, go and change while this runs, and what was seen last holds until it
//! is known to be otherwise.

use std::time::{Duration, Instant};

use futures::stream::{SelectAll, StreamExt};
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::time::{sleep_until, timeout};

use super::{
    Complaints, Gathering, Pauses, Scope, Sink, Watched, apis, is_forbidden, is_not_there,
    is_unknown,
};
use crate::index::{Event, Kind, Object, ReferenceGrant, Sight};
use crate::lease::now;

mod looks;

use looks::{Looks, Step, Version};

const GROUP: &str = "gateway.networking.k8s.io";
const KIND: &str = "ReferenceGrant";
const PLURAL: &str = "referencegrants";

/// Of one look at discovery.
const LOOK: Duration = Duration::from_secs(10);

/// At the start the first answer is waited for, since nothing known means nothing permitted: for so long
/// where they may not be read, and where the API server can't hand them out.
const FORBIDDEN: Duration = Duration::from_secs(10);
const UNREADABLE: Duration = Duration::from_secs(60);

/// Watches them until the controller is gone.
pub(super) async fn follow(client: Client, scope: Scope, sink: Sink) {
    let mut grants = Grants::new(client, scope, sink);
    loop {
        let (look, give_up) = (grants.looks.due(), grants.give_up_at);
        let news = tokio::select! {
            () = reached(look) => grants.look().await,
            Some((source, seen)) = grants.watches.next() => grants.take(source, seen),
            () = reached(give_up) => grants.give_up(),
        };
        for event in news {
            if grants.sink.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Never, if there is no such time.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

struct Grants {
    client: Client,
    scope: Scope,
    sink: Sink,
    looks: Looks,
    watches: SelectAll<Watched<DynamicObject>>,
    gathering: Gathering,
    sources: usize,
    complaints: Complaints,
    /// What was said last; absent: nothing yet.
    said: Option<Sight>,
    /// When nothing known is taken for nothing there; absent: it is known, or not even asked.
    give_up_at: Option<Instant>,
}

impl Grants {
    fn new(client: Client, scope: Scope, sink: Sink) -> Self {
        Self {
            client,
            scope,
            sink,
            looks: Looks::new(now()),
            watches: SelectAll::new(),
            gathering: Gathering::new(Kind::ReferenceGrant, 0),
            sources: 0,
            complaints: Complaints::default(),
            said: None,
            give_up_at: None,
        }
    }

    async fn look(&mut self) -> Vec<Event> {
        let found = timeout(LOOK, served(&self.client)).await;
        let found = match found {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                self.complaints.failed(Kind::ReferenceGrant, &error);
                if matches!(error, kube::Error::Api(_)) {
                    self.troubled(UNREADABLE);
                }
                Err(())
            }
            Err(slow) => {
                self.complaints.failed(Kind::ReferenceGrant, &slow);
                Err(())
            }
        };
        match self.looks.found(found, now()) {
            Step::Stay => Vec::new(),
            Step::Watch(version) => {
                self.watch(version);
                Vec::new()
            }
            Step::Forget => {
                tracing::info!("the cluster has no ReferenceGrants");
                self.watches.clear();
                self.say(Sight::Absent, vec![none()])
            }
        }
    }

    /// What is known stays until the first list of the new version is whole.
    fn watch(&mut self, version: Version) {
        tracing::info!(version = version.word(), "watches ReferenceGrants");
        let resource = resource(version);
        let apis = apis(&self.scope, |namespace| match namespace {
            Some(name) => Api::namespaced_with(self.client.clone(), name, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        });
        self.sources = apis.len();
        self.gathering = Gathering::new(Kind::ReferenceGrant, apis.len());
        self.watches.clear();
        for (i, api) in apis.into_iter().enumerate() {
            let watch = watcher(api, watcher::Config::default()).backoff(Pauses::new());
            self.watches
                .push(watch.map(move |event| (i, event)).boxed());
        }
    }

    fn take(
        &mut self,
        source: usize,
        seen: Result<watcher::Event<DynamicObject>, watcher::Error>,
    ) -> Vec<Event> {
        match seen {
            Ok(event) => {
                self.complaints.worked(Kind::ReferenceGrant);
                let news = self.gathering.take(source, event, grant);
                match news.is_empty() {
                    true => news,
                    false => self.say(Sight::Seen, news),
                }
            }
            Err(error) => {
                self.failed(&error);
                Vec::new()
            }
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        let word = [self.sink.word()];
        self.sink
            .metrics
            .watch_errors
            .with_label_values(&word)
            .inc();
        if is_unknown(error) {
            return self.looks.missed(now());
        }
        self.complaints.failed(Kind::ReferenceGrant, error);
        if is_forbidden(error) {
            self.troubled(FORBIDDEN);
        } else if let watcher::Error::InitialListFailed(kube::Error::Api(_)) = error {
            self.troubled(UNREADABLE);
        }
    }

    /// The API server answers, but not this. While it answers nothing at all nobody else gets on either.
    fn troubled(&mut self, patience: Duration) {
        if self.said.is_none() {
            let at = now() + patience;
            self.give_up_at = Some(self.give_up_at.map_or(at, |before| before.min(at)));
        }
    }

    /// Those that can't be read count as none, for the others' sake.
    fn give_up(&mut self) -> Vec<Event> {
        tracing::warn!("ReferenceGrants can't be read: nothing in another namespace is permitted");
        let mut news: Vec<Event> = (0..self.sources)
            .flat_map(|source| self.gathering.give_up(source))
            .collect();
        if news.is_empty() {
            news.push(none());
        }
        self.say(Sight::Unread, news)
    }

    /// The news, and what they rest on if that is another thing than before.
    fn say(&mut self, sight: Sight, mut news: Vec<Event>) -> Vec<Event> {
        self.give_up_at = None;
        if self.said.replace(sight) != Some(sight) {
            news.insert(0, Event::Sight(sight));
        }
        news
    }
}

fn none() -> Event {
    Event::Replaced(Kind::ReferenceGrant, Vec::new())
}

/// Which version is there; none: the API server says that it has no such kind.
async fn served(client: &Client) -> Result<Option<Version>, kube::Error> {
    for version in Version::ALL {
        let group = format!("{GROUP}/{}", version.word());
        match client.list_api_group_resources(&group).await {
            Ok(list) => {
                let is_it = |name: &str, kind: &str| (name, kind) == (PLURAL, KIND);
                if list.resources.iter().any(|r| is_it(&r.name, &r.kind)) {
                    return Ok(Some(version));
                }
            }
            Err(kube::Error::Api(status)) if is_not_there(&status) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn resource(version: Version) -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, version.word(), KIND);
    ApiResource::from_gvk_with_plural(&kind, PLURAL)
}

fn grant(object: DynamicObject) -> Option<Object> {
    let raw = serde_json::to_value(object).ok()?;
    Some(Object::ReferenceGrant(ReferenceGrant::read(&raw)))
}

/// Those of a namespace, once; none: the cluster has no such kind.
pub(crate) async fn list(
    client: &Client,
    namespace: &str,
) -> Result<Option<Vec<Object>>, kube::Error> {
    let Some(version) = served(client).await? else {
        return Ok(None);
    };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource(version));
    let all = api.list(&ListParams::default()).await?;
    Ok(Some(all.into_iter().filter_map(grant).collect()))
}
