//! Pure. One question about a proxy, in the order in which the proxy itself asks: where from, who, where
//! to. The verdicts are those of the data plane's own code.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tcpforward_dataplane::connect::names::Answer as Found;
use tcpforward_dataplane::connect::policy::{AddressRefused, Ask, ByName, RuleId};
use tcpforward_dataplane::connect::proxy::{Proxy, Verdict};
use tcpforward_dataplane::connect::refusal::Refusal;
use tcpforward_dataplane::connect::target::{Host, Target};
use tcpforward_dataplane::relay::ending::Ending;
use tcpforward_operator::resolve::Resolved;
use tcpforward_protocol::guard;
use tcpforward_protocol::snapshot::{
    Backend, Listener, LocalTargets, ServiceName, Settings, Subject, TakesNew,
};

use super::explanation::{Answer, Explanation, Kind, Way};

pub(super) mod parent;

/// A question, and what is known to answer it.
pub(super) struct Case<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) listener: &'a Listener,
    pub(super) settings: Settings,
    pub(super) place: Place,
    pub(super) target: &'a Target,
    pub(super) user: Option<&'a str>,
    pub(super) from: Option<IpAddr>,
    pub(super) users: Users,
    /// Why there are none, by the operator.
    pub(super) trouble: Option<&'a str>,
}

/// Where what is known comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Cluster,
    Manifests,
}

/// Whether it is known who may say who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Users {
    Known,
    /// For that reason.
    Unknown(String),
}

/// What has to be known next.
pub(super) enum Next {
    /// Nothing.
    Said(Explanation),
    /// The addresses of the target.
    Addresses,
    /// The backends of a Service.
    Service { rule: RuleId, service: ServiceName },
}

impl Case<'_> {
    /// What is said before anything is looked up.
    pub(super) fn begin(&self) -> Next {
        if let Some(refused) = self.of_source().or_else(|| self.of_user()) {
            return Next::Said(refused);
        }
        let subject = self.subject();
        match self.proxy.by_name(&self.ask(subject.as_ref())) {
            ByName::Addresses => Next::Addresses,
            ByName::Service { rule, service } => Next::Service { rule, service },
            ByName::Denied(rule) => {
                let reason = self.refused(AddressRefused::Denied(rule));
                let rule = rule.map(|rule| self.rule(rule));
                Next::Said(self.said(Answer::Refused(Refusal::Denied), rule, reason))
            }
        }
    }

    /// What is said of a target by its addresses, or by why there is none.
    pub(super) fn by_addresses(&self, found: &Found) -> Explanation {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let answer = Answer::Refused(Refusal::from(error));
                return self.said(answer, None, format!("refused: {error}"));
            }
        };
        let subject = self.subject();
        let ask = self.ask(subject.as_ref());
        let judged = self.proxy.judge_all(&ask, found, &self.settings);
        let mut explanation = match judged.refusal(&self.target.host) {
            Some(refusal) => {
                let why: BTreeSet<_> = judged
                    .verdicts()
                    .iter()
                    .map(|(_, v)| self.what(v))
                    .collect();
                let reason = match (why.len(), judged.refused()) {
                    (1, Some(why)) => self.refused(why),
                    _ => "refused: none of its addresses may be dialled".to_owned(),
                };
                let rule = judged.refused().and_then(|why| match why {
                    AddressRefused::Denied(rule) => rule,
                    AddressRefused::Forbidden(_) | AddressRefused::Private(_) => None,
                });
                let rule = rule.map(|rule| self.rule(rule));
                self.said(Answer::Refused(refusal), rule, reason)
            }
            None => {
                let rules = judged
                    .allowed()
                    .filter_map(|(_, rule)| Some(self.rule(rule?)));
                let rules: BTreeSet<String> = rules.collect();
                let reason = match (rules.len(), judged.reported()) {
                    (0, Some(why)) => format!(
                        "let through because mode is Report; Enforce: {}",
                        self.refused(why)
                    ),
                    (1, _) => format!("allowed by rule {}", listed(&rules)),
                    _ => format!("allowed by rules {}", listed(&rules)),
                };
                self.said(Answer::Open, rules.into_iter().next(), reason)
            }
        };
        let ways = judged.verdicts().iter().map(|(ip, verdict)| Way {
            address: ip.to_string(),
            kind: Kind::Address,
            is_allowed: !matches!(verdict, Verdict::Refused(_)),
            what: self.what(verdict) + &self.elsewhere(*ip, verdict),
        });
        explanation.ways = ways.collect();
        if self.place == Place::Cluster && matches!(self.target.host, Host::Name(_)) {
            let note = "the name was looked up from here; a data plane may get another answer";
            explanation.notes.push(note.to_owned());
        }
        explanation
    }

    /// What is said of a name that is not looked up.
    pub(super) fn without_addresses(&self) -> Explanation {
        let reason = match self.proxy.only_reports() {
            true => {
                "let through because mode is Report, or by a rule; its addresses were not judged"
            }
            false => "not refused by its name; its addresses were not judged",
        };
        self.said(Answer::Perhaps, None, reason.to_owned())
    }

    /// What is said of a Service. `found`: none, if it may not be read.
    pub(super) fn by_service(
        &self,
        rule: RuleId,
        service: &ServiceName,
        found: Option<Resolved>,
    ) -> Explanation {
        let rule = self.rule(rule);
        let ServiceName { namespace, name } = service;
        let reason = format!("allowed by rule {rule}, to Service {namespace}/{name}");
        let Some(found) = found else {
            return self.said(Answer::Perhaps, Some(rule), reason);
        };
        let takes_new = |backend: &Backend| backend.takes_new == TakesNew::Yes;
        let unresolved = found.unresolved.as_ref();
        let is_permitted = unresolved.is_none_or(|found| !found.is_for_want_of_a_grant());
        let mut explanation = if !is_permitted {
            let reason = format!("{reason}, which namespace {namespace} does not permit");
            self.said(Answer::Refused(Refusal::NoBackend), Some(rule), reason)
        } else if found.backends.iter().any(takes_new) {
            self.said(Answer::Open, Some(rule), reason)
        } else {
            let reason = format!("{reason}, which has no backend that takes tunnels");
            let answer = Answer::Refused(Refusal::NoBackend);
            self.said(answer, Some(rule), reason)
        };
        explanation.ways = found.backends.iter().map(Way::from).collect();
        if let Some(unresolved) = found.unresolved {
            explanation.notes.push(unresolved.message);
        }
        explanation
    }

    /// Whether a client of that address is served at all.
    fn of_source(&self) -> Option<Explanation> {
        let from = self.from.filter(|from| !self.listener.allows(*from))?;
        let reason = format!("refused: {from} is in none of listener.sourceRanges");
        let answer = Answer::Reset(Ending::SourceNotAllowed);
        Some(self.said(answer, None, reason))
    }

    /// Whether it is known who asks, where somebody has to be.
    fn of_user(&self) -> Option<Explanation> {
        let users = self.proxy.users()?;
        let Some(user) = self.user else {
            let reason = "refused: the proxy wants user and password; --as USER says who asks";
            let answer = Answer::Refused(Refusal::CredentialsMissing);
            return Some(self.said(answer, None, reason.to_owned()));
        };
        if users.proof(user).is_some() || self.users != Users::Known {
            return None;
        }
        let is_left_out = users.left_out().iter().any(|name| name == user);
        let reason = match (is_left_out, self.trouble) {
            (true, _) => format!("refused: the hash of {user} can't be used, or costs too much"),
            (false, Some(trouble)) => format!("refused: {trouble}"),
            (false, None) => format!("refused: {user} is none of the users"),
        };
        let answer = Answer::Refused(Refusal::CredentialsWrong);
        Some(self.said(answer, None, reason))
    }

    fn subject(&self) -> Option<Subject> {
        self.proxy.users()?;
        self.user.map(|user| Subject::User(user.to_owned()))
    }

    fn ask<'b>(&'b self, subject: Option<&'b Subject>) -> Ask<'b> {
        Ask {
            target: self.target,
            subject,
        }
    }

    fn rule(&self, id: RuleId) -> String {
        self.proxy.policy().rule_name(id).to_string()
    }

    fn said(&self, answer: Answer, rule: Option<String>, reason: String) -> Explanation {
        let mut explanation = Explanation::new(answer, rule, reason);
        let notes = &mut explanation.notes;
        let ranges = &self.listener.source_ranges;
        if self.from.is_none() && !ranges.is_empty() {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            notes.push(format!(
                "only clients from {} are served; --from IP says whether one is",
                ranges.join(", ")
            ));
        }
        match (&self.users, self.proxy.users(), self.user) {
            (_, None, Some(user)) => notes.push(format!(
                "nobody is asked who they are: that it is {user} counts for nothing"
            )),
            (Users::Unknown(why), Some(_), Some(user)) => {
                notes.push(format!("{why}: that {user} is a user is taken for granted"));
            }
            _ => {}
        }
        if self.proxy.only_reports() && self.place == Place::Manifests {
            notes.push("mode Report is for `tcpforward run`; a cluster refuses it".to_owned());
        }
        explanation
    }

    fn what(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Allowed(rule) => format!("allowed by rule {}", self.rule(*rule)),
            Verdict::Reported(why) => format!("let through; Enforce: {}", self.refused(*why)),
            Verdict::Refused(why) => self.refused(*why),
        }
    }

    fn refused(&self, why: AddressRefused) -> String {
        match why {
            AddressRefused::Denied(Some(rule)) => format!("refused by rule {}", self.rule(rule)),
            AddressRefused::Denied(None) => "refused: no rule allows it".to_owned(),
            AddressRefused::Forbidden(why) => format!("refused: {why}"),
            AddressRefused::Private(rule) => format!(
                "refused: private, and rule {} has no entry in cidrs for it",
                self.rule(rule)
            ),
        }
    }

    /// What a cluster would say otherwise.
    fn elsewhere(&self, ip: IpAddr, verdict: &Verdict) -> String {
        let cluster = Settings::new(LocalTargets::Refuse);
        match (verdict, guard::check(ip, &cluster)) {
            (Verdict::Allowed(_) | Verdict::Reported(_), Err(why)) => {
                format!("; in a cluster refused: {why}")
            }
            _ => String::new(),
        }
    }
}

fn listed(rules: &BTreeSet<String>) -> String {
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    rules.join(", ")
}

#[cfg(test)]
mod tests;
