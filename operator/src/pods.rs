//! Pure. Pods of pools as the API server knows them: who should be connected.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;

/// The label by which a pod says whose it is.
pub const POOL_LABEL: &str = "tcpforward.dev/data-plane";

/// Pods of one namespace that are kept: more than may be connected of a pool.
const PODS: usize = 16_384;

/// A pod of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The pool that it says.
    pub pool: String,
    /// Whether it shall serve.
    pub readiness: Readiness,
}

/// Whether a pod shall serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is being deleted, or has ended.
    Ending,
    /// It has not got its first set, or something else keeps it from serving.
    NotReady,
    /// It has got a set.
    Ready,
}

/// Where pods of pools are, and the pods of each namespace that is watched, by uid: a name may come
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pools: BTreeMap<String, String>,
    namespaces: BTreeMap<String, BTreeMap<String, Pod>>,
}

impl Pods {
    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = &String> {
        self.pools.keys()
    }

    /// The namespace of a pool's pods.
    #[must_use]
    pub fn namespace(&self, pool: &str) -> Option<&str> {
        self.pools.get(pool).map(String::as_str)
    }

    /// Those of a pool; none: nobody may see them, or there is no such pool.
    pub fn of<'a>(&'a self, pool: &'a str) -> Option<impl Iterator<Item = (&'a str, &'a Pod)>> {
        let there = self.namespaces.get(self.pools.get(pool)?)?.iter();
        let pods = there.map(|(uid, pod)| (uid.as_str(), pod));
        Some(pods.filter(move |(_, pod)| pod.pool == pool))
    }

    /// Whether a pool's pods are seen and none of them has that uid.
    #[must_use]
    pub fn lack(&self, pool: &str, uid: &str) -> bool {
        let namespace = self.pools.get(pool);
        let seen = namespace.and_then(|namespace| self.namespaces.get(namespace));
        seen.is_some_and(|pods| !pods.contains_key(uid))
    }

    /// These are all pools, each with the namespace of its pods. True: that is news.
    pub(crate) fn place(&mut self, pools: &BTreeMap<String, String>) -> bool {
        let is_news = self.pools != *pools;
        self.pools.clone_from(pools);
        is_news
    }

    /// Where pods may be.
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        self.pools.values().cloned().collect()
    }

    /// These are all of a namespace.
    pub(crate) fn replace(&mut self, namespace: &str, pods: Vec<(String, Pod)>) {
        let pods = pods.into_iter().take(PODS).collect();
        self.namespaces.insert(namespace.to_owned(), pods);
    }

    /// One is new or other than before, where all are known: one alone is not all of a namespace.
    pub(crate) fn put(&mut self, namespace: &str, uid: String, pod: Pod) {
        if let Some(pods) = self.namespaces.get_mut(namespace)
            && (pods.len() < PODS || pods.contains_key(&uid))
        {
            pods.insert(uid, pod);
        }
    }

    /// One is gone.
    pub(crate) fn remove(&mut self, namespace: &str, uid: &str) {
        if let Some(pods) = self.namespaces.get_mut(namespace) {
            pods.remove(uid);
        }
    }

    /// Nobody looks there any more, or nobody may. True: something was known.
    pub(crate) fn forget(&mut self, namespace: &str) -> bool {
        self.namespaces.remove(namespace).is_some()
    }
}

/// What matters of a pod, by its uid.
pub(crate) fn reduce(pod: &core::Pod) -> Option<(String, Pod)> {
    let metadata = &pod.metadata;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Failed" | "Succeeded"));
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    let is_ready =
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let readiness = match (metadata.deletion_timestamp.is_some() || has_ended, is_ready) {
        (true, _) => Readiness::Ending,
        (false, true) => Readiness::Ready,
        (false, false) => Readiness::NotReady,
    };
    let pod = Pod {
        name: metadata.name.clone()?,
        pool: metadata.labels.as_ref()?.get(POOL_LABEL)?.clone(),
        readiness,
    };
    Some((metadata.uid.clone()?, pod))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> Option<(String, Pod)> {
        let mut raw = json!({
            "metadata": {"name": "edge-1", "uid": "u", "labels": {POOL_LABEL: "edge"}},
            "status": {"phase": "Running", "conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]},
        });
        change(&mut raw);
        reduce(&serde_json::from_value(raw).unwrap())
    }

    #[test]
    fn a_pod_is_reduced_to_whether_it_shall_serve() {
        let readiness = |change: fn(&mut Value)| pod(change).unwrap().1.readiness;
        assert_eq!(readiness(|_| {}), Readiness::Ready);
        assert_eq!(
            readiness(|raw| raw["status"]["conditions"][1]["status"] = json!("False")),
            Readiness::NotReady
        );
        assert_eq!(
            readiness(|raw| raw["status"] = json!({})),
            Readiness::NotReady
        );
        let ending = |raw: &mut Value| {
            raw["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        };
        assert_eq!(readiness(ending), Readiness::Ending);
        assert_eq!(
            readiness(|raw| raw["status"]["phase"] = json!("Failed")),
            Readiness::Ending
        );
        let (uid, whole) = pod(|_| {}).unwrap();
        assert_eq!(
            (uid.as_str(), whole.name.as_str(), whole.pool.as_str()),
            ("u", "edge-1", "edge")
        );
        assert_eq!(pod(|raw| raw["metadata"]["labels"] = json!({})), None);
        assert_eq!(pod(|raw| raw["metadata"]["uid"] = Value::Null), None);
    }

    #[test]
    fn what_nobody_may_see_is_not_nothing() {
        let mut pods = Pods::default();
        let names = |pods: &Pods, pool: &str| {
            let found = pods.of(pool)?;
            Some(found.map(|(uid, _)| uid.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&pods, "edge"), None);
        let place = |name: &str| (name.to_owned(), "a".to_owned());
        let pools = BTreeMap::from([place("edge"), place("other")]);
        assert!(pods.place(&pools) && !pods.place(&pools));
        assert_eq!(pods.namespaces().len(), 1);
        assert_eq!(
            (names(&pods, "edge"), pods.namespace("edge")),
            (None, Some("a"))
        );
        let (uid, edge) = pod(|_| {}).unwrap();
        pods.put("a", uid.clone(), edge.clone());
        assert_eq!(names(&pods, "edge"), None, "one is not all");
        pods.replace("a", vec![(uid, edge.clone())]);
        let other = Pod {
            pool: "other".to_owned(),
            ..edge.clone()
        };
        pods.put("a", "v".to_owned(), other);
        assert_eq!(names(&pods, "edge"), Some(vec!["u".to_owned()]));
        assert_eq!(names(&pods, "other"), Some(vec!["v".to_owned()]));
        assert_eq!(names(&pods, "none"), None);
        pods.remove("a", "u");
        assert_eq!(names(&pods, "edge"), Some(Vec::new()));
        assert!(pods.forget("a") && !pods.forget("a"));
        assert_eq!(names(&pods, "edge"), None);
        let many = (0..=PODS).map(|i| (i.to_string(), edge.clone()));
        pods.replace("a", many.collect());
        pods.put("a", "one more".to_owned(), edge);
        assert_eq!(names(&pods, "edge").unwrap().len(), PODS);
    }
}
