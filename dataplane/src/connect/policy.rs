//! Pure. Who may go where through a CONNECT proxy: the first rule that holds decides, and where none
//! does the answer is no.
//!
//! A name is judged before anything is looked up or dialled, then each of its addresses. Rules are
//! compiled into sets, so that a verdict takes microseconds whatever the number of entries.

use std::net::IpAddr;
use std::sync::Arc;

use tcpforward_protocol::guard::{self, Forbidden};
use tcpforward_protocol::snapshot::{
    Action, HttpConnect, PolicyMode, Rule, ServiceName, Settings, Subject,
};

use crate::connect::policy::entries::Entries;
use crate::connect::policy::hosts::Hosts;
use crate::connect::policy::ranges::Ranges;
use crate::connect::policy::rule_set::{MAX_RULES, RuleSet};
use crate::connect::target::{Host, Target};

mod entries;
mod hosts;
mod ranges;
mod rule_set;

/// The rules of a forward, made to be asked.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Compiled>,
    hosts: Hosts,
    ports: Entries<u16>,
    services: Entries<ServiceName>,
    subjects: Entries<Subject>,
    cluster_domain: String,
    mode: PolicyMode,
}

/// What is left of a rule beside the sets.
#[derive(Debug)]
struct Compiled {
    name: Arc<str>,
    action: Action,
    /// It holds for Services alone.
    has_services: bool,
    /// Absent: it has no `cidrs`.
    ranges: Option<Ranges>,
}

/// One of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(u8);

/// Who wants to go where.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Where.
    pub target: &'a Target,
    /// Who; absent: nobody was asked.
    pub subject: Option<&'a Subject>,
}

/// What the rules say before any address of a name is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByName {
    /// The addresses decide, or an address of the internet is fine.
    Addresses,
    /// No, whatever the address; by that rule, or because none allows it.
    Denied(Option<RuleId>),
    /// Yes, by the backends of the Service. `cidrs` say nothing of those, neither of rules that
    /// allow nor of rules that deny: they are about addresses that DNS or a client names.
    Service {
        /// What allows it.
        rule: RuleId,
        /// Where to.
        service: ServiceName,
    },
}

/// What the rules say of a name whose addresses nobody here will know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByNameAlone {
    /// Yes, by that rule.
    Allowed(RuleId),
    /// No, whatever the address.
    Denied,
    /// A rule that holds but for its `cidrs` comes first.
    Unknown,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// By that rule, or because none allows it.
    #[error("the rules do not allow the address")]
    Denied(Option<RuleId>),
    /// Never, or without the pool's leave.
    #[error("the address must not be dialled: {0}")]
    Forbidden(Forbidden),
    /// That rule would allow it, had it an entry in `cidrs`.
    #[error(
        "the address is private, and the rule that allows its name has no entry in cidrs for it"
    )]
    Private(RuleId),
}

/// What the rules alone say of an address.
enum Verdict {
    Allowed(RuleId),
    Denied(Option<RuleId>),
    Private(RuleId),
}

impl Policy {
    /// Compiles the rules. Those beyond the 256th, which no valid forward has, never hold: what is
    /// lost by that is at most a yes.
    #[must_use]
    pub fn new(connect: &HttpConnect) -> Self {
        let mut policy = Self {
            rules: Vec::new(),
            hosts: Hosts::default(),
            ports: Entries::default(),
            services: Entries::default(),
            subjects: Entries::default(),
            cluster_domain: connect.cluster_domain.clone(),
            mode: connect.mode,
        };
        for (id, rule) in (0..=u8::MAX).zip(&connect.rules) {
            policy.add(RuleId(id), rule);
        }
        debug_assert!(policy.rules.len() <= MAX_RULES);
        policy
    }

    fn add(&mut self, id: RuleId, rule: &Rule) {
        self.hosts.add(id, &rule.hosts);
        self.ports.add(id, &rule.ports);
        self.services.add(id, &rule.services);
        self.subjects.add(id, &rule.subjects);
        self.rules.push(Compiled {
            name: rule.name.as_str().into(),
            action: rule.action,
            has_services: !rule.services.is_empty(),
            ranges: (!rule.cidrs.is_empty()).then(|| Ranges::new(&rule.cidrs)),
        });
    }

    /// What becomes of a no; that is the caller's affair.
    #[must_use]
    pub fn mode(&self) -> PolicyMode {
        self.mode
    }

    /// For logs and metrics.
    #[must_use]
    pub fn rule_name(&self, id: RuleId) -> Arc<str> {
        let rule = self.rules.get(usize::from(id.0));
        rule.map(|rule| Arc::clone(&rule.name)).unwrap_or_default()
    }

    /// Judges a request before anything is looked up or dialled.
    #[must_use]
    pub fn by_name(&self, ask: &Ask<'_>) -> ByName {
        if let Host::Address(address) = ask.target.host {
            return match self.judge(ask, address) {
                Verdict::Denied(rule) => ByName::Denied(rule),
                Verdict::Allowed(_) | Verdict::Private(_) => ByName::Addresses,
            };
        }
        let service = self.service(ask);
        let mut may_be_allowed = false;
        for (id, rule) in self.candidates(ask, service.as_ref()) {
            match (rule.action, &rule.ranges) {
                (Action::Allow, Some(_)) => may_be_allowed = true,
                (Action::Allow, None) => {
                    let service = service.as_ref().filter(|_| rule.has_services);
                    return service.map_or(ByName::Addresses, |service| ByName::Service {
                        rule: id,
                        service: service.clone(),
                    });
                }
                (Action::Deny, Some(ranges)) if !ranges.is_everything() => {}
                (Action::Deny, _) if may_be_allowed => return ByName::Addresses,
                (Action::Deny, _) => return ByName::Denied(Some(id)),
            }
        }
        if may_be_allowed {
            ByName::Addresses
        } else {
            ByName::Denied(None)
        }
    }

    /// Judges a name that is no Service for a parent proxy, which will look it up. There is no address
    /// that could be private: what is reached is up to the parent.
    #[must_use]
    pub fn by_name_alone(&self, ask: &Ask<'_>) -> ByNameAlone {
        let service = self.service(ask);
        let first = self.candidates(ask, service.as_ref()).next();
        match first.map(|(id, rule)| (id, rule.action, &rule.ranges)) {
            Some((id, Action::Allow, None)) => ByNameAlone::Allowed(id),
            Some((_, Action::Deny, None)) | None => ByNameAlone::Denied,
            Some((_, _, Some(_))) => ByNameAlone::Unknown,
        }
    }

    /// Judges an address of the target's name, or the one that it is.
    ///
    /// # Errors
    /// It must not be dialled.
    pub fn by_address(
        &self,
        ask: &Ask<'_>,
        address: IpAddr,
        settings: &Settings,
    ) -> Result<RuleId, AddressRefused> {
        let verdict = match self.judge(ask, address) {
            Verdict::Allowed(id) => Ok(id),
            Verdict::Denied(id) => return Err(AddressRefused::Denied(id)),
            Verdict::Private(id) => Err(AddressRefused::Private(id)),
        };
        guard::check(address, settings).map_err(AddressRefused::Forbidden)?;
        verdict
    }

    fn judge(&self, ask: &Ask<'_>, address: IpAddr) -> Verdict {
        let readings = guard::readings(address);
        let is_public = !guard::is_private(address) && guard::protected(address).is_none();
        let service = self.service(ask);
        let mut otherwise = Verdict::Denied(None);
        for (id, rule) in self.candidates(ask, service.as_ref()) {
            match (rule.action, &rule.ranges) {
                (Action::Allow, None) if is_public => return Verdict::Allowed(id),
                (Action::Allow, None) => {
                    if let Verdict::Denied(_) = otherwise {
                        otherwise = Verdict::Private(id);
                    }
                }
                // No reading gets around it, …
                (Action::Allow, Some(ranges)) if readings.iter().all(|r| ranges.contains(*r)) => {
                    return Verdict::Allowed(id);
                }
                // … and one is enough here.
                (Action::Deny, Some(ranges))
                    if !ranges.contains(address)
                        && !readings.iter().any(|r| ranges.contains(*r)) => {}
                (Action::Deny, _) => return Verdict::Denied(Some(id)),
                (Action::Allow, Some(_)) => {}
            }
        }
        otherwise
    }

    /// The Service that is asked for, if any rule is about Services at all.
    fn service(&self, ask: &Ask<'_>) -> Option<ServiceName> {
        if self.services.has_none() {
            return None;
        }
        ask.target.host.service(&self.cluster_domain)
    }

    /// The rules that hold but for their `cidrs`, in their order.
    fn candidates(
        &self,
        ask: &Ask<'_>,
        service: Option<&ServiceName>,
    ) -> impl Iterator<Item = (RuleId, &Compiled)> {
        let sets: [RuleSet; 4] = [
            self.ports.of(Some(&ask.target.port)),
            self.subjects.of(ask.subject),
            self.services.of(service),
            self.hosts.of(&ask.target.host),
        ];
        let all = sets.into_iter().reduce(RuleSet::and).unwrap_or_default();
        all.iter()
            .filter_map(|id| Some((id, self.rules.get(usize::from(id.0))?)))
    }
}

#[cfg(test)]
mod tests;
