//! Pure. A forward's configuration in the form in which it is used.

use std::sync::Arc;

use tcpforward_protocol::guard;
use tcpforward_protocol::snapshot::{Forward, Permission};

use crate::balancer::backend::Backend;
use crate::connect::proxy::{Grounds, Proxy, Way};
use crate::parent::Parent;
use crate::place::Terms;

/// A forward's configuration, as a session sees it from its beginning to its end.
#[derive(Debug)]
pub struct Active {
    /// What the operator said, with the addresses of its names among the backends.
    pub forward: Arc<Forward>,
    /// What holds for all forwards.
    pub terms: Terms,
    /// The forward as a CONNECT proxy; absent: it is none.
    pub proxy: Option<Arc<Proxy>>,
    /// Who is asked to reach what is not reached directly; absent: nobody.
    pub parent: Option<Arc<Parent>>,
}

impl Active {
    /// Compiles what `before` doesn't have compiled already.
    #[must_use]
    pub fn new(forward: Arc<Forward>, terms: Terms, before: Option<&Self>) -> Self {
        let proxy = forward.spec.connect.as_ref().map(|connect| {
            let same = before.and_then(|before| before.proxy.clone());
            let same = same.filter(|proxy| proxy.is_of(connect));
            same.unwrap_or_else(|| Arc::new(Proxy::new(connect)))
        });
        let parent = forward.spec.via.as_ref().map(|via| {
            let same = before.and_then(|before| before.parent.clone());
            let same = same.filter(|parent| parent.is_of(via));
            same.unwrap_or_else(|| Arc::new(Parent::new(via)))
        });
        Self {
            forward,
            terms,
            proxy,
            parent,
        }
    }

    /// Who is asked to reach backends; of a CONNECT proxy nobody, since those are of Services.
    #[must_use]
    pub fn backends_parent(&self) -> Option<&Arc<Parent>> {
        self.parent.as_ref().filter(|_| self.proxy.is_none())
    }

    /// Whether a backend may be dialled; sessions that have it stand on that.
    #[must_use]
    pub fn may_dial(&self, backend: &Backend) -> bool {
        guard::check_of(backend.origin, backend.address.ip(), &self.terms.settings).is_ok()
    }

    /// Whether a tunnel on these grounds would be let through. Where a name leads only a parent knows:
    /// without one its addresses would have been judged.
    #[must_use]
    pub fn upholds(&self, grounds: &Grounds) -> bool {
        let settings = &self.terms.settings;
        let proxy = self.proxy.as_deref();
        (grounds.way != Way::Name || self.parent.is_some())
            && proxy.is_some_and(|proxy| proxy.upholds(grounds, settings))
    }

    /// Whether sessions may be there: by the leave of the Service's namespace, where they stand on it.
    /// A target that is gone, or leads elsewhere, is none on which that could be lost later.
    #[must_use]
    pub fn permits(&self, backend: &Backend) -> bool {
        let Some(service) = &backend.granted else {
            return true;
        };
        let grant = self.forward.grant(&backend.target);
        grant.is_some_and(|grant| {
            grant.permission == Permission::Given && grant.service == **service
        })
    }

    /// Whether everybody who may be here may be here by the other one as well.
    pub(super) fn has_the_rights_of(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.forward, &other.forward);
        let (one, two) = (&ours.spec.listener, &theirs.spec.listener);
        let same_proxy = match (&self.proxy, &other.proxy) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two) && ours.backends == theirs.backends,
            _ => false,
        };
        one.source_ranges == two.source_ranges
            && ours.grants == theirs.grants
            && one.proxy_protocol == two.proxy_protocol
            && self.terms.settings == other.terms.settings
            && self.parent.is_some() == other.parent.is_some()
            && same_proxy
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_protocol::snapshot::{LocalTargets, Origin, Protected, Settings};
    use tcpforward_protocol::testing;

    use super::*;
    use crate::connect::target::Target;
    use crate::sync::samples;

    #[test]
    fn a_tunnel_by_name_is_upheld_only_where_there_is_a_parent() {
        let mut forward = testing::forward("n/f", Vec::new());
        forward.spec.connect = Some(testing::connect(vec![testing::rule("any")]));
        let grounds = Grounds {
            target: Target::parse(b"www.example.com:443").unwrap(),
            identity: None,
            way: Way::Name,
        };
        let upholds = |forward: &Forward| {
            let active = Active::new(Arc::new(forward.clone()), samples::terms(), None);
            active.upholds(&grounds)
        };
        assert!(!upholds(&forward));
        forward.spec.via = Some(testing::via("parent.example", 3128));
        assert!(upholds(&forward));
        forward.spec.connect = None;
        assert!(!upholds(&forward), "it is no proxy");
    }

    #[test]
    fn an_address_of_the_cluster_is_for_backends_of_services() {
        let may_dial = |origin, settings: &Settings| {
            let terms = Terms {
                settings: settings.clone(),
                ..samples::terms()
            };
            let forward = testing::forward("n/f", Vec::new());
            let active = Active::new(Arc::new(forward), terms, None);
            let now = tokio::time::Instant::now().into_std();
            let address = "10.96.0.1:80".parse().unwrap();
            let mut backend = Backend::new("a".into(), address, now);
            backend.origin = origin;
            active.may_dial(&backend)
        };
        let open = Settings::new(LocalTargets::Refuse);
        let strict = Settings {
            protected: Protected::new(["10.96.0.0/16".parse().unwrap()]),
            ..open
        };
        assert!(may_dial(Origin::Author, &open) && !may_dial(Origin::Author, &strict));
        assert!(may_dial(Origin::Service, &open) && may_dial(Origin::Service, &strict));
    }
}
