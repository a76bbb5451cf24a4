//! Edge. DataPlanes, read once: one, or all.

use kube::Api;
use kube::api::DynamicObject;
use kube::core::ApiResource;
use tokio::time::timeout;

use super::forwards::{pages, refused};
use super::{Cluster, Error, PATIENCE};
use crate::crd::DataPlane;
use crate::index::{Event, Index};
use crate::watch::data_plane;

impl Cluster {
    /// Adds the DataPlane of that name, or all of the cluster, to what is known. One that is not there is
    /// no error.
    ///
    /// # Errors
    /// They can't be read, or the cluster knows no such thing; nothing is added then.
    pub async fn data_planes(&self, name: Option<&str>, index: &mut Index) -> Result<(), Error> {
        let kind = ApiResource::erase::<DataPlane>(&());
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &kind);
        let look = async {
            let Some(name) = name else {
                let found = pages(&api, data_plane).await;
                return found.map_err(|error| refused(KIND, KIND.to_owned(), ALL, error));
            };
            match api.get(name).await {
                Ok(object) => Ok(data_plane(object).into_iter().collect()),
                Err(kube::Error::Api(status))
                    if status.is_not_found() && status.details.is_some() =>
                {
                    Ok(Vec::new())
                }
                Err(error) => Err(refused(KIND, format!("DataPlane {name}"), ONE, error)),
            }
        };
        let found = timeout(PATIENCE, look).await.map_err(|_| Error::Slow)??;
        for object in found {
            index.apply(Event::Applied(object));
        }
        Ok(())
    }
}

const KIND: &str = "DataPlanes";

const ALL: &str =
    "have a ClusterRole with `list` on dataplanes.tcpforward.dev given to you in the cluster";

const ONE: &str =
    "have a ClusterRole with `get` on dataplanes.tcpforward.dev given to you in the cluster";
