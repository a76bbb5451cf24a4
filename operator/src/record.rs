//! Edge. Writes Events about TcpForwards, while leading; nothing waits for one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::json;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::crd::TcpForward;
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::status::{News, Tone};

mod pace;
mod series;

use pace::Pace;
use series::{Deed, Key, Series};

/// `reportingController` of our Events.
const CONTROLLER: &str = "tcpforward.dev/operator";

/// Events that wait for the API server: as many as may be told at once.
const WAITING: usize = 256;

const CALL_TIME: Duration = Duration::from_secs(5);

/// `reportingInstance` at most, by the API server's rules.
const INSTANCE_BYTES: usize = 128;

/// `note` at most.
const NOTE_BYTES: usize = 1024;

/// Whom an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: ForwardName,
    pub(crate) uid: String,
}

/// Takes what is to be told.
#[derive(Debug)]
pub(crate) struct Desk {
    waiting: mpsc::Sender<(Subject, News)>,
    pace: Mutex<Pace>,
    metrics: Metrics,
}

/// A desk, and the scribe that writes what is handed in there.
pub(crate) fn open(
    client: Client,
    identity: &str,
    lease: watch::Receiver<LeaseView>,
    metrics: Metrics,
) -> (Desk, Scribe) {
    let (waiting, inbox) = mpsc::channel(WAITING);
    let scribe = Scribe {
        client,
        instance: cut(identity, INSTANCE_BYTES),
        series: Series::default(),
        inbox,
        lease,
        metrics: metrics.clone(),
        failing: false,
    };
    let desk = Desk {
        waiting,
        pace: Mutex::new(Pace::new(now())),
        metrics,
    };
    (desk, scribe)
}

impl Desk {
    /// Hands news in, or drops what is too much.
    pub(crate) fn tell(&self, subject: &Subject, news: Vec<News>) {
        for one in news {
            let allowed = {
                let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
                pace.allows(&subject.name, now())
            };
            if !allowed || self.waiting.try_send((subject.clone(), one)).is_err() {
                count(&self.metrics, "dropped");
            }
        }
    }
}

/// Writes Events, one after the other.
pub(crate) struct Scribe {
    client: Client,
    /// `reportingInstance` of our Events.
    instance: String,
    series: Series,
    inbox: mpsc::Receiver<(Subject, News)>,
    lease: watch::Receiver<LeaseView>,
    metrics: Metrics,
    failing: bool,
}

impl Scribe {
    /// Until the desk is closed.
    pub(crate) async fn run(mut self) {
        while let Some((subject, news)) = self.inbox.recv().await {
            if !self.lease.borrow().holds(now()) {
                count(&self.metrics, "dropped");
                continue;
            }
            let written = self.write(&subject, &news).await;
            self.account(&subject.name, written);
        }
    }

    async fn write(&mut self, subject: &Subject, news: &News) -> Result<(), String> {
        let key = key(subject, news);
        let mut result = timeout(CALL_TIME, self.publish(&key, subject, news)).await;
        if matches!(&result, Ok(Err(kube::Error::Api(status))) if status.is_not_found()) {
            // The one that it would have been added to is gone.
            self.series.forget(&key);
            result = timeout(CALL_TIME, self.publish(&key, subject, news)).await;
        }
        match result {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the API server does not answer".to_owned()),
        }
    }

    async fn publish(
        &mut self,
        key: &Key,
        subject: &Subject,
        news: &News,
    ) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), subject.name.namespace());
        let now = Timestamp::now();
        match self.series.next(key, now) {
            Deed::Begin => {
                let event = event(subject, news, &self.instance, now);
                api.create(&PostParams::default(), &event).await?;
                self.series.begun(key.clone(), &event, now);
            }
            Deed::GoOn(name, series) => {
                let patch = Patch::Merge(json!({"series": &series}));
                api.patch(&name, &PatchParams::default(), &patch).await?;
                self.series.went_on(key, &series);
            }
        }
        Ok(())
    }

    fn account(&mut self, forward: &ForwardName, written: Result<(), String>) {
        match written {
            Ok(()) => {
                count(&self.metrics, "written");
                self.failing = false;
            }
            Err(error) => {
                count(&self.metrics, "failed");
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%forward, error, "can't write an Event; statuses are not touched by that");
                }
            }
        }
    }
}

fn count(metrics: &Metrics, result: &str) {
    metrics.records.with_label_values(&[result]).inc();
}

/// What two Events that are one have in common.
fn key(subject: &Subject, news: &News) -> Key {
    let name = subject.name.to_string();
    let said = format!("{} {}", tone(news), news.reason);
    [name, subject.uid.clone(), said, news.action.to_owned()]
}

fn tone(news: &News) -> &'static str {
    match news.tone {
        Tone::Normal => "Normal",
        Tone::Warning => "Warning",
    }
}

fn event(subject: &Subject, news: &News, instance: &str, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            namespace: Some(subject.name.namespace().to_owned()),
            name: Some(series::name(subject.name.name(), now)),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        regarding: Some(reference(subject)),
        type_: Some(tone(news).to_owned()),
        reason: Some(news.reason.clone()),
        action: Some(news.action.to_owned()),
        note: Some(cut(&news.note, NOTE_BYTES)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

fn reference(subject: &Subject) -> ObjectReference {
    let resource = ApiResource::erase::<TcpForward>(&());
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        namespace: Some(subject.name.namespace().to_owned()),
        name: Some(subject.name.name().to_owned()),
        uid: Some(subject.uid.clone()),
        ..ObjectReference::default()
    }
}

/// As much of a text as the API server takes.
fn cut(text: &str, bytes: usize) -> String {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
