//! Pure. What names lead to, and the backends of a forward that follow from it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tcpforward_protocol::answer::{HostError, HostErrorKind};
use tcpforward_protocol::guard;
use tcpforward_protocol::snapshot::{
    Backend, BackendState, Forward, Host, Settings, TakesNew, Target,
};

/// Addresses of one name in use. Beyond that a name is no list of servers any more, and every
/// forward that names it would carry them all.
pub const MAX_ADDRESSES: usize = 256;

/// What a name leads to at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Sorted; the last good ones while DNS fails.
    pub addresses: Vec<IpAddr>,
    /// Why the latest answer could not be had, or not be used whole.
    pub error: Option<HostError>,
}

impl Found {
    /// The part that may be dialled; what is left out is said.
    #[must_use]
    pub fn permitted(&self, settings: &Settings) -> Self {
        let mut refused = None;
        let mut permitted = |address: &IpAddr| match guard::check(*address, settings) {
            Ok(()) => true,
            Err(forbidden) => {
                let text = format!("{address} is left out: {forbidden}");
                refused.get_or_insert_with(|| HostError::new(HostErrorKind::Forbidden, text));
                false
            }
        };
        let addresses = self.addresses.iter().copied();
        let addresses = addresses.filter(&mut permitted).collect();
        Self {
            addresses,
            // Whoever has no answer at all has to hear that first.
            error: match &self.error {
                Some(error) if error.kind == HostErrorKind::NotResolved => Some(error.clone()),
                other => refused.or_else(|| other.clone()),
            },
        }
    }
}

/// What the names of one forward lead to, by target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundHosts(BTreeMap<String, (Host, Found)>);

impl FoundHosts {
    /// Takes what a target's name leads to. True: that is news.
    pub fn set(&mut self, target: &str, host: &Host, found: &Found) -> bool {
        let known = self.0.get(target);
        if known.is_some_and(|(h, f)| h == host && f == found) {
            return false;
        }
        let entry = (host.clone(), found.clone());
        self.0.insert(target.to_owned(), entry);
        true
    }

    /// What this target's name leads to; absent: it has no name, or there was no answer yet.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<&Found> {
        let (host, found) = self.0.get(&target.name)?;
        (target.host.as_ref()? == host).then_some(found)
    }

    /// The forward with the addresses of its names among its backends. Targets that it no longer
    /// has, or that have another name now, are forgotten.
    pub fn applied_to(&mut self, forward: &Arc<Forward>, settings: &Settings) -> Arc<Forward> {
        let targets = &forward.spec.relay.targets;
        let is_current = |name: &str, host: &Host| {
            targets
                .iter()
                .any(|t| t.name == name && t.host.as_ref() == Some(host))
        };
        self.0.retain(|name, (host, _)| is_current(name, host));
        if targets.iter().all(|target| target.host.is_none()) {
            return Arc::clone(forward);
        }
        let is_named = |name: &str| targets.iter().any(|t| t.name == name && t.host.is_some());
        let given = forward.backends.iter().filter(|b| !is_named(&b.target));
        let mut backends: Vec<Backend> = given.cloned().collect();
        for (target, (host, found)) in &self.0 {
            let addresses = found.permitted(settings).addresses;
            backends.extend(addresses.into_iter().map(|ip| backend(target, ip, host)));
        }
        backends.sort();
        Arc::new(Forward {
            backends,
            ..Forward::clone(forward)
        })
    }
}

fn backend(target: &str, ip: IpAddr, host: &Host) -> Backend {
    Backend {
        target: target.to_owned(),
        address: SocketAddr::new(ip, host.port.get()),
        state: BackendState::Ready,
        takes_new: TakesNew::Yes,
        nodes: Vec::new(),
        zones: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use tcpforward_protocol::snapshot::LocalTargets;
    use tcpforward_protocol::testing;

    use super::*;

    const CLUSTER: Settings = Settings::new(LocalTargets::Refuse);

    fn host(name: &str) -> Host {
        Host {
            name: name.to_owned(),
            port: NonZeroU16::new(5432).unwrap(),
        }
    }

    fn found(addresses: &[&str]) -> Found {
        Found {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            error: None,
        }
    }

    /// Target a by address, target b by name.
    fn forward(name: &str) -> Arc<Forward> {
        let by_name = Target {
            host: Some(host(name)),
            ..testing::target("b")
        };
        let spec = testing::spec(vec![testing::target("a"), by_name]);
        let backends = vec![testing::backend("a", "192.0.2.9:80")];
        Arc::new(Forward::new("n/f".parse().unwrap(), spec, backends))
    }

    #[test]
    fn addresses_of_a_name_are_backends_of_its_target() {
        let mut hosts = FoundHosts::default();
        let forward = forward("db");
        let nothing_yet = hosts.applied_to(&forward, &CLUSTER);
        assert_eq!(nothing_yet.backends, forward.backends);
        hosts.set("b", &host("db"), &found(&["192.0.2.1", "2001:db8::1"]));
        let whole = hosts.applied_to(&forward, &CLUSTER);
        let expected = [
            testing::backend("a", "192.0.2.9:80"),
            testing::backend("b", "192.0.2.1:5432"),
            testing::backend("b", "[2001:db8::1]:5432"),
        ];
        assert_eq!(whole.backends, expected);
        assert_eq!(
            (whole.spec_hash, whole.hash),
            (forward.spec_hash, forward.hash)
        );
        // What was made from it before is no backend that the operator gave.
        hosts.set("b", &host("db"), &found(&["192.0.2.2"]));
        let again = hosts.applied_to(&whole, &CLUSTER);
        assert_eq!(again.backends.len(), 2);
        assert_eq!(again.backends[1], testing::backend("b", "192.0.2.2:5432"));
    }

    #[test]
    fn another_name_has_none_of_the_addresses_of_the_former() {
        let mut hosts = FoundHosts::default();
        hosts.set("b", &host("db"), &found(&["192.0.2.1"]));
        let other = forward("other");
        assert_eq!(hosts.applied_to(&other, &CLUSTER).backends, other.backends);
        assert_eq!(hosts, FoundHosts::default());
    }

    #[test]
    fn a_forbidden_address_is_left_out_and_told() {
        let found = found(&["127.0.0.1", "169.254.169.254", "192.0.2.1"]);
        let permitted = found.permitted(&CLUSTER);
        assert_eq!(permitted.addresses, found.addresses[2..]);
        let error = permitted.error.unwrap();
        assert_eq!(error.kind, HostErrorKind::Forbidden);
        assert!(error.text.starts_with("127.0.0.1 is left out: "), "{error}");
        let laptop = Settings::new(LocalTargets::Allow);
        let permitted = found.permitted(&laptop);
        assert_eq!(permitted.addresses.len(), 2);
        assert!(permitted.error.unwrap().text.contains("metadata"));
    }
}
