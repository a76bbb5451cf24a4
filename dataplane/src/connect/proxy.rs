//! Pure. A proxy's configuration in the form in which it is asked, and what an open tunnel stands on.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tcpforward_protocol::guard;
use tcpforward_protocol::snapshot::{
    HttpConnect, PolicyMode, ServiceName, Settings, Subject, TunnelLimits,
};

use crate::connect::policy::{AddressRefused, Ask, ByName, ByNameAlone, Policy, RuleId};
use crate::connect::refusal::{NO_ERROR, Refusal};
use crate::connect::target::{Host, Target};
use crate::connect::users::Users;

/// A proxy's configuration, compiled.
#[derive(Debug)]
pub struct Proxy {
    connect: HttpConnect,
    policy: Policy,
    users: Option<Users>,
}

/// Who asks, and by which proof.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub subject: Subject,
    /// The hash that said so.
    pub proof: Arc<str>,
}

/// Without the hash, which is nobody's business.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut identity = f.debug_struct("Identity");
        identity
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// What an open tunnel stands on: without all of this it would not have been let through.
#[derive(Debug)]
pub struct Grounds {
    /// What was asked for.
    pub target: Target,
    /// By whom; absent: nobody was asked who they are.
    pub identity: Option<Identity>,
    /// Where it leads.
    pub way: Way,
}

/// Where a tunnel leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// To an address.
    Address(IpAddr),
    /// To what a parent proxy takes the name for.
    Name,
    /// To a backend of that Service.
    Service(ServiceName),
}

/// What the rules say of an address, the mode considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be dialled.
    Allowed(RuleId),
    /// It may be dialled, though the rules refuse it.
    Reported(AddressRefused),
    /// It may not.
    Refused(AddressRefused),
}

/// The addresses that a target leads to, each with what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged(Vec<(IpAddr, Verdict)>);

impl Judged {
    /// All of them.
    #[must_use]
    pub fn verdicts(&self) -> &[(IpAddr, Verdict)] {
        &self.0
    }

    /// Those that may be dialled, each with the rule that says so; none: the rules don't, but are only
    /// asked.
    pub fn allowed(&self) -> impl Iterator<Item = (IpAddr, Option<RuleId>)> {
        self.0.iter().filter_map(|(ip, verdict)| match verdict {
            Verdict::Allowed(rule) => Some((*ip, Some(*rule))),
            Verdict::Reported(_) => Some((*ip, None)),
            Verdict::Refused(_) => None,
        })
    }

    /// Why the rules would have refused the last of those that they only report.
    #[must_use]
    pub fn reported(&self) -> Option<AddressRefused> {
        self.last(|verdict| match verdict {
            Verdict::Reported(why) => Some(why),
            Verdict::Allowed(_) | Verdict::Refused(_) => None,
        })
    }

    /// Why the last of those that are refused is.
    #[must_use]
    pub fn refused(&self) -> Option<AddressRefused> {
        self.last(|verdict| match verdict {
            Verdict::Refused(why) => Some(why),
            Verdict::Allowed(_) | Verdict::Reported(_) => None,
        })
    }

    /// What the client is told if none of them may be dialled.
    #[must_use]
    pub fn refusal(&self, host: &Host) -> Option<Refusal> {
        if self.allowed().next().is_some() {
            return None;
        }
        Some(match (host, self.refused()) {
            (_, None) => Refusal::DnsError(Some(NO_ERROR)),
            (Host::Address(_), Some(AddressRefused::Denied(_))) => Refusal::Denied,
            _ => Refusal::AddressProhibited,
        })
    }

    fn last(&self, why: impl Fn(Verdict) -> Option<AddressRefused>) -> Option<AddressRefused> {
        self.0.iter().rev().find_map(|(_, verdict)| why(*verdict))
    }
}

impl Proxy {
    /// Compiles it.
    #[must_use]
    pub fn new(connect: &HttpConnect) -> Self {
        Self {
            policy: Policy::new(connect),
            users: connect.users.as_deref().map(Users::new),
            connect: connect.clone(),
        }
    }

    /// Whether it is what would be made of that.
    #[must_use]
    pub fn is_of(&self, connect: &HttpConnect) -> bool {
        self.connect == *connect
    }

    /// Its rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who may say who they are; absent: nobody is asked.
    #[must_use]
    pub fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// How much of a request is waited for.
    #[must_use]
    pub fn limits(&self) -> TunnelLimits {
        self.connect.limits
    }

    /// Whether a refusal of the rules is only told.
    #[must_use]
    pub fn only_reports(&self) -> bool {
        self.connect.mode == PolicyMode::Report
    }

    /// What becomes of a request before anything is looked up. What rules refuse and only report is
    /// for its addresses to tell.
    #[must_use]
    pub fn by_name(&self, ask: &Ask<'_>) -> ByName {
        match self.policy.by_name(ask) {
            ByName::Denied(_) if self.only_reports() => ByName::Addresses,
            decided => decided,
        }
    }

    /// What becomes of all addresses that a target leads to.
    #[must_use]
    pub fn judge_all(&self, ask: &Ask<'_>, found: &[IpAddr], settings: &Settings) -> Judged {
        let all = found.iter().copied();
        Judged(all.map(|ip| (ip, self.judge(ask, ip, settings))).collect())
    }

    /// What becomes of an address that was asked for.
    #[must_use]
    pub fn judge(&self, ask: &Ask<'_>, ip: IpAddr, settings: &Settings) -> Verdict {
        match self.policy.by_address(ask, ip, settings) {
            Ok(rule) => Verdict::Allowed(rule),
            Err(refused @ AddressRefused::Forbidden(_)) => Verdict::Refused(refused),
            Err(refused) if self.only_reports() => match guard::check(ip, settings) {
                Ok(()) => Verdict::Reported(refused),
                Err(forbidden) => Verdict::Refused(AddressRefused::Forbidden(forbidden)),
            },
            Err(refused) => Verdict::Refused(refused),
        }
    }

    /// Whether a tunnel on these grounds would still be let through.
    #[must_use]
    pub fn upholds(&self, grounds: &Grounds, settings: &Settings) -> bool {
        let Grounds {
            target,
            identity,
            way,
        } = grounds;
        let is_known = match (&self.users, identity) {
            (None, _) => true,
            (Some(users), Some(Identity { subject, proof })) => {
                let Subject::User(name) = subject;
                users.proof(name) == Some(proof)
            }
            (Some(_), None) => false,
        };
        // Nobody is asked any more: then nobody is anybody.
        let identity = identity.as_ref().filter(|_| self.users.is_some());
        let ask = Ask {
            target,
            subject: identity.map(|identity| &identity.subject),
        };
        is_known
            && match (way, self.policy.by_name(&ask)) {
                (Way::Service(there), ByName::Service { service, .. }) => *there == service,
                (Way::Service(_), _) => false,
                (Way::Address(_) | Way::Name, ByName::Denied(_) | ByName::Service { .. })
                    if !self.only_reports() =>
                {
                    false
                }
                // If a rule wants to see addresses now: it can't.
                (Way::Name, _) => match self.policy.by_name_alone(&ask) {
                    ByNameAlone::Allowed(_) => true,
                    ByNameAlone::Denied => self.only_reports(),
                    ByNameAlone::Unknown => false,
                },
                (Way::Address(ip), _) => {
                    !matches!(self.judge(&ask, *ip, settings), Verdict::Refused(_))
                }
            }
    }
}
