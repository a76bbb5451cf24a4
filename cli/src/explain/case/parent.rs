//! Pure. What is said where a parent proxy is asked.

use tcpforward_dataplane::connect::policy::ByNameAlone;
use tcpforward_dataplane::connect::target::Host;
use tcpforward_protocol::snapshot::Via;

use super::Case;
use crate::explain::explanation::{Answer, Explanation};

impl Case<'_> {
    /// What is said of a name that goes to a parent proxy as it is; none: it is looked up first.
    pub(in crate::explain) fn by_parent(&self, via: &Via) -> Option<Explanation> {
        if let Host::Address(_) = self.target.host {
            return None;
        }
        let subject = self.subject();
        let (rule, reason) = match self
            .proxy
            .policy()
            .by_name_alone(&self.ask(subject.as_ref()))
        {
            ByNameAlone::Allowed(rule) => {
                let rule = self.rule(rule);
                let reason = format!("allowed by rule {rule}; its name is all that is judged");
                (Some(rule), reason)
            }
            ByNameAlone::Denied => {
                let reason = "let through because mode is Report; Enforce: refused by its name";
                (None, reason.to_owned())
            }
            ByNameAlone::Unknown => return None,
        };
        let mut explanation = self.said(Answer::Perhaps, rule, reason);
        explanation.notes.push(note(via));
        Some(explanation)
    }
}

/// What else decides.
pub(in crate::explain) fn note(via: &Via) -> String {
    let (host, port) = (&via.host, via.port);
    format!("the parent proxy, {host} port {port}, is asked for it and may refuse it")
}
