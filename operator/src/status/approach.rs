//! Pure. What the Service by which clients come makes of `Programmed`: pods that serve are not all.

use super::{Holds, PENDING, PROGRAMMED, PoolView, SERVICE_UNAVAILABLE, Verdict};
use crate::compile::{Approach, Outcome, Standing};
use crate::index::Unseen;

/// The verdict on pods, unless clients don't come to them.
pub(super) fn judge(outcome: &Outcome, pool: &PoolView, of_pods: Verdict) -> Verdict {
    let Some(approach) = outcome
        .approach
        .as_ref()
        .filter(|_| outcome.accepted.is_ok())
    else {
        return of_pods;
    };
    // Nobody can serve it before its pods have a port; else what pods say comes first.
    let is_due = of_pods.holds == Holds::True || outcome.forward.is_none();
    match says(approach, pool.trouble.as_deref()).filter(|_| is_due) {
        Some((reason, message)) => Verdict::bad(PROGRAMMED, reason, message),
        None => of_pods,
    }
}

fn says(approach: &Approach, trouble: Option<&str>) -> Option<(&'static str, String)> {
    let entrance = &approach.entrance;
    let namespace = &entrance.namespace;
    let service = format!("Service {namespace}/{}", entrance.name());
    let pending = |what: &str| Some((PENDING, format!("{service} {what}")));
    match approach.standing {
        Standing::Foreign => Some((
            SERVICE_UNAVAILABLE,
            format!(
                "{service} is not the operator's, which would make one of that name; delete it, or give this \
                 TcpForward another name"
            ),
        )),
        Standing::Unseen(Unseen::TooMany) => Some((
            SERVICE_UNAVAILABLE,
            format!(
                "pools are in more namespaces than the operator watches, and namespace {namespace} is one too \
                 many; put pools into fewer of them"
            ),
        )),
        Standing::Unseen(Unseen::Forbidden) => Some((
            SERVICE_UNAVAILABLE,
            format!("the operator may not see Services of namespace {namespace}; {REMEDY}"),
        )),
        _ if trouble.is_some() => {
            let trouble = trouble.unwrap_or_default();
            Some((SERVICE_UNAVAILABLE, format!("{service}: {trouble}")))
        }
        Standing::Leaving => pending("is being deleted, and is made anew once it is gone"),
        Standing::Absent | Standing::Unread => pending("is not there yet"),
        Standing::Unallocated => pending("gets other ports of pods"),
        Standing::Closed => pending("does not lead to the pool's pods yet"),
        Standing::Unbalanced => pending(
            "has no address of a load balancer yet; does this cluster make any, of this \
             spec.expose.loadBalancerClass?",
        ),
        Standing::Open => None,
    }
}

/// What a namespace of pods has to give to the operator.
pub(crate) const REMEDY: &str =
    "give it a Role there with create, delete, list, patch and watch of services";
