//! Pure. Which backends of a target are near, as kube-proxy decides it: by node, else by zone, and
//! each only if all backends that count have such hints and one of them names our place.

use tcpforward_protocol::snapshot::{Backend, BackendState, TakesNew, Topology};

use crate::place::Place;

/// By what a target's backends are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Near {
    /// All are.
    All,
    /// Those whose hints name our node.
    Node,
    /// Those whose hints name our zone.
    Zone,
}

impl Near {
    /// For one target: `backends` are its own.
    pub(super) fn of<'a>(
        topology: Topology,
        place: &Place,
        backends: impl Iterator<Item = &'a Backend> + Clone,
    ) -> Self {
        // Those on their way out serve only when nobody else is left, near or far.
        let mut counted = backends
            .filter(|b| b.takes_new == TakesNew::Yes && b.state == BackendState::Ready)
            .peekable();
        if topology == Topology::Ignore || counted.peek().is_none() {
            return Self::All;
        }
        let by = |near: Self| {
            let all_hinted = counted.clone().all(|b| !near.hints(b).is_empty());
            all_hinted && counted.clone().any(|b| near.holds(b, place))
        };
        [Self::Node, Self::Zone]
            .into_iter()
            .find(|near| by(*near))
            .unwrap_or(Self::All)
    }

    /// Whether a backend is.
    pub(super) fn holds(self, backend: &Backend, place: &Place) -> bool {
        match self {
            Self::All => true,
            Self::Node => self.hints(backend).contains(&place.node),
            Self::Zone => self.hints(backend).contains(&place.zone),
        }
    }

    fn hints(self, backend: &Backend) -> &[String] {
        match self {
            Self::All => &[],
            Self::Node => &backend.nodes,
            Self::Zone => &backend.zones,
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpforward_protocol::testing;

    use super::*;

    /// (node, zone) hints of each; empty: none.
    fn near(hints: &[(&str, &str)]) -> Near {
        let backends: Vec<_> = hints
            .iter()
            .map(|(node, zone)| hinted(node, zone))
            .collect();
        Near::of(Topology::Auto, &here(), backends.iter())
    }

    fn here() -> Place {
        Place {
            node: "here".to_owned(),
            zone: "west".to_owned(),
            ..Place::default()
        }
    }

    fn hinted(node: &str, zone: &str) -> Backend {
        let list = |hint: &str| (!hint.is_empty()).then(|| hint.to_owned());
        Backend {
            nodes: list(node).into_iter().collect(),
            zones: list(zone).into_iter().collect(),
            ..testing::backend("t", "10.0.0.1:80")
        }
    }

    #[test]
    fn each_kind_of_hint_counts_for_all_or_none() {
        assert_eq!(near(&[("here", "east"), ("there", "east")]), Near::Node);
        assert_eq!(near(&[("here", "west"), ("", "east")]), Near::Zone);
        assert_eq!(near(&[("here", ""), ("", "west")]), Near::All);
        assert_eq!(near(&[("there", "east"), ("there", "east")]), Near::All);
        assert_eq!(near(&[]), Near::All);
    }

    #[test]
    fn a_place_that_is_not_known_is_near_to_none() {
        let backends = [hinted("here", "west")];
        let (nowhere, here) = (Place::default(), here());
        let near = |topology, place| Near::of(topology, place, backends.iter());
        assert_eq!(near(Topology::Auto, &nowhere), Near::All);
        assert_eq!(near(Topology::Auto, &here), Near::Node);
        assert_eq!(near(Topology::Ignore, &here), Near::All);
    }

    #[test]
    fn those_on_their_way_out_have_no_say() {
        let leaving = Backend {
            state: BackendState::Terminating,
            ..testing::backend("t", "10.0.0.2:80")
        };
        let both = [hinted("here", "west"), leaving.clone()];
        let near = |b: &[Backend]| Near::of(Topology::Auto, &here(), b.iter());
        assert_eq!(near(&both), Near::Node);
        assert_eq!(near(&[leaving]), Near::All);
    }
}
