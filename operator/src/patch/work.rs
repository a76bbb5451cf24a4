//! Edge. What can be written, and how.

use std::fmt::{Debug, Display};

use kube::Api;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, Status};
use prometheus::IntCounterVec;
use serde_json::{Value, json};

use super::{MANAGER, StatusPatch, Told};
use crate::metrics::Metrics;
use crate::record::Subject;
use crate::status::News;

/// One write. It says which state it was computed from, so that it does nothing to another one.
pub(crate) trait Work: Clone + Debug + Send + Sync + Sized + 'static {
    /// What tells one object from another.
    type Name: Clone + Debug + Display + Ord + Send + Sync;

    /// Of which object.
    fn name(&self) -> &Self::Name;

    /// What is written, for logs.
    fn what(&self) -> &'static str;

    /// Whether it is about what is not there yet.
    fn is_new(&self) -> bool {
        false
    }

    /// Whether the back-off of a write that it replaces is its own as well.
    fn goes_on(&self, _former: &Self) -> bool {
        true
    }

    /// Where results are counted.
    fn counter(metrics: &Metrics) -> &IntCounterVec;

    /// Writes it.
    fn send(&self, client: &Client) -> impl Future<Output = Result<(), kube::Error>> + Send;

    /// What the API server has against it, for the status of whom it is about.
    fn complaint(status: &Status) -> String {
        status.message.clone()
    }

    /// What to tell once it is written, and of whom.
    fn news(self) -> Option<(Subject, Vec<News>)>;
}

impl<K: Told> Work for StatusPatch<K> {
    type Name = K::Name;

    fn name(&self) -> &K::Name {
        &self.name
    }

    fn what(&self) -> &'static str {
        K::STATUS
    }

    fn counter(metrics: &Metrics) -> &IntCounterVec {
        &metrics.patches
    }

    async fn send(&self, client: &Client) -> Result<(), kube::Error> {
        // The answer is not decoded as what it is: an undecodable object has a status, too.
        let resource = ApiResource::erase::<K>(&());
        let (namespace, name) = K::place(&self.name);
        let client = client.clone();
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name,
                "resourceVersion": self.resource_version,
                "uid": self.uid,
            },
            "status": self.status,
        });
        if let (Some(namespace), Some(Value::Object(metadata))) =
            (namespace, body.get_mut("metadata"))
        {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        api.patch_status(name, &parameters, &patch).await.map(drop)
    }

    fn news(self) -> Option<(Subject, Vec<News>)> {
        Some((K::subject(&self.name, self.uid)?, self.news))
    }
}
