//! Pure. EndpointSlices, by the Service that they belong to.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1 as discovery;
use tcpforward_protocol::snapshot::ForwardName;

use super::{Index, Key};
use crate::resolve::Slice;

impl Index {
    /// A slice may move to another Service, or stop belonging to one.
    pub(super) fn put_slice(
        &mut self,
        key: Key,
        slice: &discovery::EndpointSlice,
        touched: &mut BTreeSet<ForwardName>,
    ) {
        let labels = slice.metadata.labels.as_ref();
        let owner = labels
            .and_then(|labels| labels.get(SERVICE_NAME))
            .map(|service| (key.0.clone(), service.clone()));
        let (Some(owner), Some(reduced)) = (owner, Slice::new(slice)) else {
            return self.delete_slice(&key, touched);
        };
        if self.owners.get(&key).is_some_and(|former| *former != owner) {
            self.delete_slice(&key, touched);
        }
        let of_owner = self.slices.entry(owner.clone()).or_default();
        if of_owner.get(&key.1) == Some(&reduced) {
            return;
        }
        of_owner.insert(key.1.clone(), reduced);
        touched.extend(self.uses_of_services.of(&owner).cloned());
        self.owners.insert(key, owner);
    }

    pub(super) fn delete_slice(&mut self, key: &Key, touched: &mut BTreeSet<ForwardName>) {
        let Some(owner) = self.owners.remove(key) else {
            return;
        };
        if let Some(of_owner) = self.slices.get_mut(&owner) {
            of_owner.remove(&key.1);
            if of_owner.is_empty() {
                self.slices.remove(&owner);
            }
        }
        touched.extend(self.uses_of_services.of(&owner).cloned());
    }
}

/// Slices without this label belong to no Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
