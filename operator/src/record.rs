//! Edge. Writes Events about TcpForwards, while leading; nothing waits for one.
//!
//! kube's recorder folds what repeats within six minutes into a series, as client-go does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tcpforward_protocol::snapshot::ForwardName;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::crd::TcpForward;
use crate::lease::{LeaseView, now};
use crate::metrics::Metrics;
use crate::status::{News, Tone};

mod pace;

use pace::Pace;

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
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(cut(identity, INSTANCE_BYTES)),
    };
    let scribe = Scribe {
        recorder: Recorder::new(client.clone(), reporter.clone()),
        client,
        reporter,
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
    recorder: Recorder,
    client: Client,
    reporter: Reporter,
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
            let written = self.write(&event(news), &reference(&subject)).await;
            self.account(&subject.name, written);
        }
    }

    async fn write(&mut self, event: &Event, regarding: &ObjectReference) -> Result<(), String> {
        let mut result = self.publish(event, regarding).await;
        if matches!(&result, Ok(Err(kube::Error::Api(status))) if status.is_not_found()) {
            // The one that it would have been added to is gone: the recorder has to forget it.
            self.recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            result = self.publish(event, regarding).await;
        }
        match result {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the API server does not answer".to_owned()),
        }
    }

    async fn publish(
        &self,
        event: &Event,
        regarding: &ObjectReference,
    ) -> Result<Result<(), kube::Error>, tokio::time::error::Elapsed> {
        timeout(CALL_TIME, self.recorder.publish(event, regarding)).await
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

fn event(news: News) -> Event {
    Event {
        type_: match news.tone {
            Tone::Normal => EventType::Normal,
            Tone::Warning => EventType::Warning,
        },
        reason: news.reason,
        note: Some(cut(&news.note, NOTE_BYTES)),
        action: news.action.to_owned(),
        secondary: None,
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
