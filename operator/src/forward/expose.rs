//! Pure. How clients reach a forward, parsed.

use std::collections::BTreeMap;

use crate::crd::{self, ExposeType, TrafficPolicy};

/// What a forward says of its Service; one that says nothing has what its pool gives to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    /// Which kind of Service, if any.
    pub kind: ExposeType,
    /// Where traffic from outside goes; absent: there is none.
    pub policy: Option<TrafficPolicy>,
    /// Which load balancer; absent: the cluster's default, or none.
    pub class: Option<String>,
    /// For whoever makes the load balancer.
    pub annotations: BTreeMap<String, String>,
}

impl Expose {
    /// What one gets that says nothing, of a pool whose pods have networks of their own.
    pub(crate) const DEFAULT: Self = Self {
        kind: ExposeType::ClusterIP,
        policy: None,
        class: None,
        annotations: BTreeMap::new(),
    };
}

pub(super) fn parse(written: crd::Expose) -> Expose {
    let is_outside = matches!(
        written.kind,
        ExposeType::NodePort | ExposeType::LoadBalancer
    );
    let policy = written.external_traffic_policy;
    Expose {
        kind: written.kind,
        policy: is_outside.then(|| policy.unwrap_or(crd::defaults::EXTERNAL_TRAFFIC_POLICY)),
        class: written.load_balancer_class,
        annotations: written.annotations.unwrap_or_default(),
    }
}
