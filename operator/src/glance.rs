//! Edge. One look at a cluster, with the rights of whoever looks: what there is to know of one
//! TcpForward, and nothing is watched or written.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use tcpforward_protocol::snapshot::{ForwardName, ServiceName};
use tokio::time::timeout;

use crate::client;
use crate::forward::Draft;
use crate::index::{Contents, Event, Index, Object, Secret};
use crate::watch::{SERVICE_LABEL, contents};

mod forwards;
mod grants;
mod pools;

pub use forwards::Which;

mod surroundings;

/// Of all that is asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing could be seen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or is not there.
    #[error("can't read {what}")]
    Api {
        /// Kind and name.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither a kubeconfig nor a pod.
    #[error("can't tell where the cluster is; give --kubeconfig, or manifests")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rights of whoever looks don't reach that far.
    #[error("may not read {what}; {remedy}")]
    Forbidden {
        /// Kind, and where.
        what: String,
        /// What to do about it.
        remedy: &'static str,
        /// What the API server says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A kind of ours is nothing that the cluster knows.
    #[error("the cluster knows no {kind}: install their definition (`kubectl apply -f crds/`)")]
    Undefined {
        /// In the plural.
        kind: &'static str,
    },
    /// The API server takes too long.
    #[error("the API server has not answered within {PATIENCE:?}")]
    Slow,
}

impl From<KubeconfigError> for Error {
    fn from(error: KubeconfigError) -> Self {
        Self::Config(error.into())
    }
}

/// A cluster as kubectl finds it.
pub struct Cluster {
    client: Client,
    namespace: String,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// What there is.
    pub index: Index,
    /// What may not be read: kind and name.
    pub forbidden: Vec<String>,
}

impl Cluster {
    /// By that kubeconfig, or as kubectl finds its own, or as a pod does.
    ///
    /// # Errors
    /// There is none.
    pub async fn find(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let options = KubeConfigOptions {
            context: context.map(ToOwned::to_owned),
            ..KubeConfigOptions::default()
        };
        let config = match kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await?
            }
            None if context.is_some() => Config::from_kubeconfig(&options).await?,
            None => {
                let found = Config::infer().await;
                found.map_err(|error| Error::Config(error.into()))?
            }
        };
        let namespace = config.default_namespace.clone();
        let client = client::connect(config).map_err(|error| Error::Config(error.into()))?;
        Ok(Self { client, namespace })
    }

    /// Where names without a namespace are looked for.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Looks at a TcpForward, at its pool, at the Secrets that it names, and at that Service. Without the
    /// TcpForward the rest is not looked at.
    ///
    /// # Errors
    /// The TcpForward can't be read, or something else for another reason than a missing right.
    pub async fn look(
        &self,
        name: &ForwardName,
        service: Option<&ServiceName>,
    ) -> Result<Seen, Error> {
        let seen = timeout(PATIENCE, self.look_at(name, service)).await;
        seen.map_err(|_| Error::Slow)?
    }

    async fn look_at(
        &self,
        name: &ForwardName,
        service: Option<&ServiceName>,
    ) -> Result<Seen, Error> {
        let mut seen = Seen {
            index: Index::new(),
            forbidden: Vec::new(),
        };
        let Some(forward) = self.forward(name).await? else {
            return Ok(seen);
        };
        seen.index.apply(Event::Applied(forward));
        surroundings::look(&self.client, name, &mut seen).await?;
        let known = seen.index.known(name);
        let draft = known.and_then(|known| known.draft.as_ref().ok());
        let secrets = draft.into_iter().flat_map(Draft::secrets);
        for secret in secrets.cloned().collect::<BTreeSet<_>>() {
            let contents = self.secret(name.namespace(), &secret).await?;
            let secret = Secret::of(name.namespace(), &secret, contents);
            seen.index.apply(Event::Applied(Object::Secret(secret)));
        }
        let Some(service) = service else {
            return Ok(seen);
        };
        let ServiceName {
            namespace,
            name: its,
        } = service;
        if namespace != name.namespace() {
            self.grants(namespace, &mut seen).await?;
        }
        // What another namespace has is nobody's business here, unless it says so.
        if seen.index.permits(name.namespace(), namespace, its) {
            self.service(service, &mut seen).await?;
        }
        Ok(seen)
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Contents, Error> {
        let found: Result<Option<core::Secret>, _> = self.get(namespace, name).await;
        match found {
            Ok(Some(secret)) => Ok(contents(&secret)),
            Ok(None) => Ok(Contents::Absent),
            Err(error) if is_forbidden(&error) => Ok(Contents::Forbidden),
            Err(error) => Err(failed(&format!("Secret {namespace}/{name}"))(error)),
        }
    }

    async fn service(&self, service: &ServiceName, seen: &mut Seen) -> Result<(), Error> {
        let ServiceName { namespace, name } = service;
        let found: Result<Option<core::Service>, _> = self.get(namespace, name).await;
        match found {
            Ok(Some(service)) => {
                let object = Object::Service(Box::new(service));
                seen.index.apply(Event::Applied(object));
            }
            Ok(None) => {}
            Err(error) if is_forbidden(&error) => {
                seen.forbidden.push(format!("Service {namespace}/{name}"));
            }
            Err(error) => return Err(failed(&format!("Service {namespace}/{name}"))(error)),
        }
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), namespace);
        let of_service = ListParams::default().labels(&format!("{SERVICE_LABEL}={name}"));
        let what = format!("EndpointSlices of Service {namespace}/{name}");
        match api.list(&of_service).await {
            Ok(slices) => {
                for slice in slices {
                    let object = Object::EndpointSlice(Box::new(slice));
                    seen.index.apply(Event::Applied(object));
                }
            }
            Err(error) if is_forbidden(&error) => seen.forbidden.push(what),
            Err(error) => return Err(failed(&what)(error)),
        }
        Ok(())
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, kube::Error>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        Api::<K>::namespaced(self.client.clone(), namespace)
            .get_opt(name)
            .await
    }
}

fn failed(what: &str) -> impl FnOnce(kube::Error) -> Error {
    let what = what.to_owned();
    |error| Error::Api {
        what,
        source: cause(error),
    }
}

/// What the API server says in its own words; kube adds the whole answer to them.
fn cause(error: kube::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        kube::Error::Api(status) => status.message.into(),
        error => Box::new(error),
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}
