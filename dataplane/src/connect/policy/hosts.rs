//! Pure. The host patterns of all rules. A name is looked up once as it is and once for each of its
//! parents, so the number of patterns doesn't matter, nor is there a size from which they are
//! matched in another way.

use std::collections::HashMap;

use tcpforward_protocol::snapshot::HostPattern;

use crate::connect::policy::RuleId;
use crate::connect::policy::rule_set::RuleSet;
use crate::connect::target::Host;

#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Rules without host patterns.
    always: RuleSet,
    any: RuleSet,
    exact: HashMap<String, RuleSet>,
    below: HashMap<String, RuleSet>,
    /// Bytes of the longest name in `below`: longer parents need no look.
    longest: usize,
}

impl Hosts {
    pub(super) fn add(&mut self, id: RuleId, patterns: &[HostPattern]) {
        if patterns.is_empty() {
            self.always.insert(id);
        }
        for pattern in patterns {
            let rules = match pattern {
                HostPattern::Any => &mut self.any,
                HostPattern::Below(name) => {
                    self.longest = self.longest.max(name.len());
                    self.below.entry(name.clone()).or_default()
                }
                HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            };
            rules.insert(id);
        }
    }

    /// The rules that hold for it. No pattern matches an address.
    pub(super) fn of(&self, host: &Host) -> RuleSet {
        let Host::Name(name) = host else {
            return self.always;
        };
        let mut rules = self.always.or(self.any);
        rules = rules.or(self.exact.get(name).copied().unwrap_or_default());
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            rest = parent;
            if parent.len() <= self.longest {
                rules = rules.or(self.below.get(parent).copied().unwrap_or_default());
            }
        }
        rules
    }
}
