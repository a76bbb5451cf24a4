//! Edge. What a forward is subject to: its pool, and the networks of its cluster.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tcpforward_protocol::snapshot::ForwardName;

use super::{Error, Seen, failed, is_forbidden};
use crate::crd::DataPlane;
use crate::forward;
use crate::index::{Event, Object};
use crate::watch::{data_plane, is_not_there, namespace, node, service_cidr};

/// Adds them to what was seen.
pub(super) async fn look(
    client: &Client,
    name: &ForwardName,
    seen: &mut Seen,
) -> Result<(), Error> {
    let pool = seen.index.raw(name).map(forward::pool).unwrap_or_default();
    let pool = pool.to_owned();
    let kind = ApiResource::erase::<DataPlane>(&());
    let pools = Api::<DynamicObject>::all_with(client.clone(), &kind);
    let what = format!("DataPlane {pool}");
    take(seen, &what, pools.get_opt(&pool).await, data_plane)?;
    let namespaces = Api::<Namespace>::all(client.clone());
    let found = namespaces.get_metadata_opt(name.namespace()).await;
    let what = format!("Namespace {}", name.namespace());
    take(seen, &what, found, namespace)?;
    all(client, "Nodes", seen, node).await?;
    all(client, "ServiceCIDRs", seen, service_cidr).await
}

async fn all<K>(
    client: &Client,
    what: &str,
    seen: &mut Seen,
    convert: fn(K) -> Option<Object>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await
    {
        Ok(list) => {
            let objects = list.into_iter().filter_map(convert);
            objects.for_each(|object| drop(seen.index.apply(Event::Applied(object))));
            Ok(())
        }
        // An older API server has no such kind.
        Err(kube::Error::Api(status)) if is_not_there(&status) => Ok(()),
        Err(error) => take::<K>(seen, what, Err(error), convert),
    }
}

fn take<K>(
    seen: &mut Seen,
    what: &str,
    found: Result<Option<K>, kube::Error>,
    convert: fn(K) -> Option<Object>,
) -> Result<(), Error> {
    match found {
        Ok(found) => {
            if let Some(object) = found.and_then(convert) {
                seen.index.apply(Event::Applied(object));
            }
            Ok(())
        }
        Err(error) if is_forbidden(&error) => {
            seen.forbidden.push(what.to_owned());
            Ok(())
        }
        Err(error) => Err(failed(what)(error)),
    }
}
