//! Edge. Writes of Services by which clients come.

use std::fmt;

use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client};
use prometheus::IntCounterVec;
use serde::Deserialize;

use super::{MANAGER, Work};
use crate::entrance::Deed;
use crate::metrics::Metrics;
use crate::record::Subject;
use crate::status::{News, SERVICES_REMEDY};

/// A Service, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is to be done to a Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceWrite {
    pub(crate) name: ServiceName,
    pub(crate) deed: Deed,
}

impl Work for ServiceWrite {
    type Name = ServiceName;

    fn name(&self) -> &ServiceName {
        &self.name
    }

    fn what(&self) -> &'static str {
        match self.deed {
            Deed::Create(_) => "a new Service",
            Deed::Claim(_) | Deed::Apply(_) | Deed::Close(_) | Deed::Trim(_) => "a Service",
            Deed::Delete(_) => "the end of a Service",
        }
    }

    fn is_new(&self) -> bool {
        matches!(self.deed, Deed::Create(_))
    }

    /// To close one can't wait for what was refused before.
    fn goes_on(&self, former: &Self) -> bool {
        self.deed.word() == former.deed.word()
    }

    fn counter(metrics: &Metrics) -> &IntCounterVec {
        &metrics.service_writes
    }

    async fn send(&self, client: &Client) -> Result<(), kube::Error> {
        let api: Api<Service> = Api::namespaced(client.clone(), &self.name.namespace);
        let name = &self.name.name;
        let plain = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match &self.deed {
            // By apply it would be merged into one that someone else has made meanwhile.
            Deed::Create(body) => {
                let service = Service::deserialize(body).map_err(kube::Error::SerdeError)?;
                let parameters = PostParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&parameters, &service).await.map(drop)
            }
            Deed::Claim(patch) | Deed::Close(patch) | Deed::Trim(patch) => api
                .patch(name, &plain, &Patch::Merge(patch))
                .await
                .map(drop),
            Deed::Apply(body) => {
                let parameters = PatchParams::apply(MANAGER).force();
                api.patch(name, &parameters, &Patch::Apply(body))
                    .await
                    .map(drop)
            }
            Deed::Delete(uid) => {
                let preconditions = Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: None,
                };
                let parameters = DeleteParams::default().preconditions(preconditions);
                api.delete(name, &parameters).await.map(drop)
            }
        }
    }

    fn complaint(status: &Status) -> String {
        match status.is_forbidden() {
            true => format!("the operator may not write it; {SERVICES_REMEDY}"),
            false => status.message.clone(),
        }
    }

    fn news(self) -> Option<(Subject, Vec<News>)> {
        None
    }
}
