//! Edge. The authorities that data planes trust, in a ConfigMap of each namespace that has some: a
//! pod mounts none of another namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;

use super::accounts::Accounts;
use super::keeper::{Error, call};
use super::rotation::Bundle;

/// The key in each ConfigMap, as cert-manager names it.
const KEY: &str = "ca.crt";

/// Where authorities are published.
pub(crate) struct Bundles {
    pub(crate) client: Client,
    pub(crate) name: String,
    /// Whose namespaces have data planes.
    pub(crate) accounts: watch::Receiver<Accounts>,
}

impl Bundles {
    /// Makes every ConfigMap hold this bundle. One that can't be written keeps no other one back.
    pub(crate) async fn publish(&self, bundle: &str) -> (Bundle, Option<Error>) {
        let mut failed = None;
        let accounts = self.accounts.borrow().clone();
        // Whose namespaces have to have it is not known yet: nothing may rest on that they do.
        if !accounts.known {
            return (Bundle::Behind, None);
        }
        for namespace in accounts.namespaces() {
            if let Err(source) = self.publish_in(namespace, bundle).await {
                failed = Some(Error::Publish {
                    namespace: namespace.to_owned(),
                    name: self.name.clone(),
                    source: Box::new(source),
                });
            }
        }
        match failed {
            None => (Bundle::Published, None),
            failed => (Bundle::Behind, failed),
        }
    }

    async fn publish_in(&self, namespace: &str, bundle: &str) -> Result<(), Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let post = PostParams::default();
        let Some(mut found) = call(api.get_opt(&self.name)).await? else {
            let made = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(KEY.to_owned(), bundle.to_owned())])),
                ..ConfigMap::default()
            };
            match call(api.create(&post, &made)).await {
                // There is no such namespace, so no pod there that could trust anyone.
                Err(Error::Kube(kube::Error::Api(status))) if status.is_not_found() => {
                    return Ok(());
                }
                created => created?,
            };
            tracing::info!(namespace, name = self.name, "published the authorities");
            return Ok(());
        };
        let data = found.data.get_or_insert_default();
        if data.get(KEY).is_some_and(|there| there == bundle) {
            return Ok(());
        }
        data.insert(KEY.to_owned(), bundle.to_owned());
        call(api.replace(&self.name, &post, &found)).await?;
        tracing::info!(namespace, name = self.name, "published the authorities");
        Ok(())
    }
}
