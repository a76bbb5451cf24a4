//! Pure. What is written into the Lease.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::Rule;
use crate::lease::others::{CLAIM, LABEL, WATCHED, written};

impl Rule {
    pub(super) fn new_lease(&self, wall: Timestamp) -> Lease {
        let metadata = ObjectMeta {
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            ..Default::default()
        };
        Lease {
            metadata: self.claiming(metadata, None),
            spec: Some(self.record(self.next_epoch(None, wall), wall, wall)),
        }
    }

    pub(super) fn taken(&self, lease: &Lease, claim: Option<String>, wall: Timestamp) -> Lease {
        let old = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        Lease {
            metadata: self.claiming(lease.metadata.clone(), claim),
            spec: Some(self.record(self.next_epoch(old, wall), wall, wall)),
        }
    }

    pub(super) fn renewed(&self, lease: &Lease, claim: Option<String>, wall: Timestamp) -> Lease {
        let spec = lease.spec.clone().unwrap_or_default();
        let acquired = spec.acquire_time.map_or(wall, |time| time.0);
        let epoch = spec.lease_transitions.unwrap_or_default();
        Lease {
            metadata: self.claiming(lease.metadata.clone(), claim),
            spec: Some(self.record(epoch, acquired, wall)),
        }
    }

    /// What a replace needs, labels and annotations of others kept; managedFields would only be noise.
    /// Without a claim that goes on, this write makes one.
    fn claiming(&self, mut metadata: ObjectMeta, claim: Option<String>) -> ObjectMeta {
        metadata.managed_fields = None;
        let (label, value) = LABEL;
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(label.to_owned(), value.to_owned());
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(WATCHED.to_owned(), written(&self.watched));
        match claim {
            Some(claim) => annotations.insert(CLAIM.to_owned(), claim),
            None => annotations.remove(CLAIM),
        };
        metadata
    }

    fn record(&self, epoch: i32, acquired: Timestamp, renewed: Timestamp) -> LeaseSpec {
        let seconds = i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: Some(MicroTime(acquired)),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(epoch),
            ..Default::default()
        }
    }

    /// More than the record, than any epoch seen, and at least the Unix time in minutes: a Lease
    /// that was made anew, restored from a backup or made by hand is ahead of what data planes
    /// have applied too.
    fn next_epoch(&self, old: Option<i32>, wall: Timestamp) -> i32 {
        let minutes = i32::try_from(wall.as_second() / 60).unwrap_or(i32::MAX);
        let seen = i32::try_from(self.epoch).unwrap_or(i32::MAX);
        let last = old.unwrap_or_default().max(seen);
        last.saturating_add(1).max(minutes)
    }
}
