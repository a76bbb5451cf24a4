//! Edge. TcpForwards, read once: one, those of a namespace, or all.

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use tcpforward_protocol::snapshot::ForwardName;
use tokio::time::timeout;

use super::{Cluster, Error, PATIENCE, cause, failed, is_forbidden};
use crate::crd::TcpForward;
use crate::index::{Event, Index, Object};
use crate::watch::{is_not_there, tcp_forward};

/// Which TcpForwards to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of a namespace.
    Namespace(String),
    /// One.
    One(ForwardName),
}

/// Objects in one answer of the API server.
const PAGE: u32 = 500;

impl Cluster {
    /// Looks at TcpForwards and at nothing else. One that is not there is no error.
    ///
    /// # Errors
    /// They can't be read, or the cluster knows no such thing.
    pub async fn forwards(&self, which: &Which) -> Result<Index, Error> {
        let look = async {
            match which {
                Which::All => self.list(None).await,
                Which::Namespace(namespace) => self.list(Some(namespace)).await,
                Which::One(name) => Ok(self.forward(name).await?.into_iter().collect()),
            }
        };
        let found = timeout(PATIENCE, look).await.map_err(|_| Error::Slow)??;
        let mut index = Index::new();
        for object in found {
            index.apply(Event::Applied(object));
        }
        Ok(index)
    }

    pub(super) async fn forward(&self, name: &ForwardName) -> Result<Option<Object>, Error> {
        let what = format!("TcpForward {name}");
        match self.api(Some(name.namespace())).get(name.name()).await {
            Ok(object) => Ok(tcp_forward(object)),
            Err(kube::Error::Api(status)) if status.is_not_found() && status.details.is_some() => {
                Ok(None)
            }
            Err(error) => Err(refused(KIND, what, ONE, error)),
        }
    }

    async fn list(&self, namespace: Option<&str>) -> Result<Vec<Object>, Error> {
        let (what, remedy) = match namespace {
            Some(namespace) => (format!("TcpForwards of namespace {namespace}"), SOME),
            None => ("TcpForwards of all namespaces".to_owned(), ALL),
        };
        let found = pages(&self.api(namespace), tcp_forward).await;
        found.map_err(|error| refused(KIND, what, remedy, error))
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<TcpForward>(&());
        let client = self.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        }
    }
}

/// All objects, in as many answers as that takes.
pub(super) async fn pages(
    api: &Api<DynamicObject>,
    convert: fn(DynamicObject) -> Option<Object>,
) -> Result<Vec<Object>, kube::Error> {
    let mut objects = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await?;
        objects.extend(list.items.into_iter().filter_map(convert));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// The API server has details of an object that is not there, and none of a kind that is not there.
pub(super) fn refused(
    kind: &'static str,
    what: String,
    remedy: &'static str,
    error: kube::Error,
) -> Error {
    match error {
        kube::Error::Api(status) if is_not_there(&status) => Error::Undefined { kind },
        error if is_forbidden(&error) => Error::Forbidden {
            what,
            remedy,
            source: cause(error),
        },
        error => failed(&what)(error),
    }
}

const KIND: &str = "TcpForwards";

const ALL: &str = "name a namespace, or have a ClusterRole with `list` on tcpforwards.tcpforward.dev given to you";

const SOME: &str = "have a Role with `list` on tcpforwards.tcpforward.dev given to you there";

const ONE: &str = "have a Role with `get` on tcpforwards.tcpforward.dev given to you there";
