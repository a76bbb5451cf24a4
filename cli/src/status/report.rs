//! Pure. The answer for programs: every key is always there, docs/reference/status.md says what each is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use tcpforward_operator::crd::Pods;
use tcpforward_operator::crd::status::{Backends, DataPlanes};

use super::pools::{PoolView, Pools};
use super::view::{Ready, Truth, View};

pub(super) fn of(views: &[View], pools: &Pools) -> Value {
    let known = pools.known.iter().map(pool).collect::<Vec<_>>();
    let count = |truth| views.iter().filter(|view| view.ready.is == truth).count();
    json!({
        "forwards": views.iter().map(forward).collect::<Vec<_>>(),
        "dataPlanes": pools.unread.is_none().then_some(known),
        "dataPlanesUnread": pools.unread,
        "summary": {
            "total": views.len(),
            "ready": count(Truth::True),
            "notReady": count(Truth::False),
            "unknown": count(Truth::Unknown),
        },
    })
}

fn forward(view: &View) -> Value {
    let status = &view.status;
    let addresses = status.addresses.iter();
    let addresses = addresses
        .map(|address| json!({"type": address.kind, "value": address.value, "port": address.port}));
    json!({
        "namespace": view.name.namespace(),
        "name": view.name.name(),
        "pool": view.pool,
        "port": view.port,
        "endPort": view.end_port,
        "generation": view.generation,
        "observedGeneration": status.observed_generation,
        "programmedGeneration": status.programmed_generation,
        "ready": ready(&view.ready),
        "conditions": status.conditions.iter().map(condition).collect::<Vec<_>>(),
        "addresses": addresses.collect::<Vec<_>>(),
        "backends": status.backends.as_ref().map(backends),
        "dataPlanes": status.data_planes.as_ref().map(data_planes),
    })
}

fn ready(ready: &Ready) -> Value {
    json!({
        "status": ready.is.word(),
        "reason": ready.reason,
        "message": ready.message,
        "since": ready.since,
    })
}

fn pool(pool: &PoolView) -> Value {
    let status = &pool.status;
    let versions = status.versions.iter();
    let versions = versions.map(|one| json!({"version": one.version, "pods": one.pods}));
    json!({
        "name": pool.name,
        "generation": pool.generation,
        "observedGeneration": status.observed_generation,
        "ready": ready(&pool.ready),
        "conditions": status.conditions.iter().map(condition).collect::<Vec<_>>(),
        "pods": status.pods.as_ref().map(pods),
        "versions": versions.collect::<Vec<_>>(),
    })
}

fn pods(pods: &Pods) -> Value {
    let pending = pods.pending.iter();
    let pending =
        pending.map(|pod| json!({"pod": pod.pod, "reason": pod.reason, "message": pod.message}));
    json!({
        "ready": pods.ready,
        "connected": pods.connected,
        "serving": pods.serving,
        "pending": pending.collect::<Vec<_>>(),
    })
}

fn condition(condition: &Condition) -> Value {
    json!({
        "type": condition.type_,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "since": condition.last_transition_time.0,
    })
}

fn backends(backends: &Backends) -> Value {
    let unhealthy = backends.unhealthy.iter().map(|backend| {
        json!({
            "target": backend.target,
            "address": backend.address,
            "reason": backend.reason,
            "message": backend.message,
            "since": backend.since.0,
        })
    });
    json!({
        "total": backends.total,
        "healthy": backends.healthy,
        "ejected": backends.ejected,
        "unhealthy": unhealthy.collect::<Vec<_>>(),
    })
}

fn data_planes(pods: &DataPlanes) -> Value {
    let pending = pods.pending.iter().map(|pod| {
        json!({
            "pod": pod.pod,
            "generation": pod.generation,
            "reason": pod.reason,
            "message": pod.message,
        })
    });
    json!({
        "ready": pods.ready,
        "programmed": pods.programmed,
        "rejected": pods.rejected,
        "pending": pending.collect::<Vec<_>>(),
    })
}
